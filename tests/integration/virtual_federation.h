// Both production engines on one virtual clock, with everything between them made of faults: a
// network that delays, reorders, duplicates and drops, streams that break, and processes that
// crash at any commit boundary. Vectors are hashes, training is a hash.
//
// A script of arrivals (the order in which a calm federation admitted its updates and finished its
// programs, and on which bases) can gate a stormy one, which must then end with the same models.
//
// Threads: one.

#ifndef CONSILIUM_TESTS_INTEGRATION_VIRTUAL_FEDERATION_H_
#define CONSILIUM_TESTS_INTEGRATION_VIRTUAL_FEDERATION_H_

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "protocol/wire/derived_seed.h"
#include "site_agent/core/engine.h"
#include "tests/integration/hashed_vectors.h"
#include "tests/integration/journalled_engine.h"

namespace consilium::integration {

namespace fed = ::consilium::federation;

// One line of a script: an update's first arrival, or a program's end.
struct Arrival {
  SiteId site;  // Empty: a program.
  TaskId task;
  Version base;
  uint64_t program = 0;
};

struct WorldOptions {
  uint64_t seed = 1;
  std::shared_ptr<const v1::RunPlan> plan;
  enum class Weather : uint8_t { kCalm, kStormy } weather = Weather::kStormy;
  const std::vector<Arrival>* script = nullptr;  // Null: whatever order comes.
};

class VirtualFederation {
 public:
  explicit VirtualFederation(const WorldOptions& options);

  // A storm, if there is one, then fair weather until all is at rest. The first broken rule, or
  // empty.
  std::string Run();

  // What happened first, in order.
  const std::vector<Arrival>& arrivals() const { return arrivals_; }
  // Versions, their contributions, the ends of all updates and the result; no times.
  std::string Outcome() const;
  struct Counts {
    uint64_t aggregator_crashes = 0, site_crashes = 0, broken_streams = 0, lost_uploads = 0;
    uint64_t inputs_lost = 0, included = 0, not_included = 0, refused = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  using AggregatorEngine = JournalledEngine<fed::FederationEngine, fed::Event, fed::Action>;
  using AgentEngine = JournalledEngine<site::SiteEngine, site::Event, site::Action>;

  // A control stream, both directions in order. Each end notices for itself that it broke.
  struct Stream {
    SiteId site;
    Incarnation incarnation;
    struct Closed {};
    struct Welcomed {};
    struct Refused {
      v1::Reason reason;
    };
    std::deque<std::variant<fed::Event, Closed>> up;
    std::deque<std::variant<site::Event, Welcomed, Refused, Closed>> down;
    enum class End : uint8_t { kOpen, kGone } site_end = End::kOpen, aggregator_end = End::kOpen;
    bool welcomed = false;
  };

  // An upload, from Send to its answer.
  struct Call {
    SiteId site;
    uint64_t process = 0;  // Of the site; an answer to an earlier one falls to the floor.
    std::shared_ptr<const v1::UpdateHeader> header;
    Digest update = {};
    enum class State : uint8_t { kTravels, kServed, kAnswered } state = State::kTravels;
    site::Event answer;
  };

  struct Agent {
    Agent(const SiteId& id, const site::SiteOptions& options);
    SiteId id;
    uint64_t examples = 1;
    bool refuses = false;
    // Durable.
    AgentEngine journal;
    uint64_t incarnation = 0;
    uint64_t lease = 0;  // The number of the one it presents.
    uint64_t leases_made = 0;
    std::set<Digest> outbox;
    std::map<Digest, site::TrainDone> sealed;
    // Of the process.
    std::vector<site::Action> work;  // Asked for and not answered.
    std::map<site::Timer, absl::Time> timers;
    std::list<Stream>::iterator stream;
    enum class Link : uint8_t { kNone, kOpening, kUp } link = Link::kNone;
  };

  // ---- virtual_federation.cc: chance, schedule, checks.
  uint64_t Draw(uint64_t below) { return random_.NextBelow(below); }
  bool Chance(double p) { return random_.NextUnit() < p; }
  bool InStorm(double p) { return storm_ && Chance(p); }
  void Complain(const std::string& what);
  void StormyStep();
  bool FairRound();  // Whether anything happened.
  bool NextTimer();
  void ComeToRest();
  void CheckEnd() const;
  void CheckAgent(const Agent& agent) const;
  Agent& SomeAgent();
  const fed::RunState* AggregatorRun() const;
  const site::RunState* AgentRun(const Agent& agent) const;

  // ---- virtual_gate.cc: what a script holds back.
  bool IsDone(const Arrival& arrival) const;
  size_t FirstNotDone() const;
  bool MayArrive(const SiteId& site, TaskId task) const;
  bool MayEnd(uint64_t program) const;
  bool MayHear(const Agent& agent, const site::Event& event) const;

  // ---- virtual_aggregator.cc
  void AggregatorTakes(const fed::Event& event);
  void AggregatorCommits();
  void AggregatorCrashes();
  void AggregatorDoes(const fed::Action& action);
  void Tell(const SiteId& site, const site::Event& event);
  void AnswerAttach(const SiteId& site, v1::Reason refusal);
  void AnswerCall(const fed::UpdateStaged& about, const site::Event& answer);
  bool ServeStream(Stream& stream);
  bool ServeCall();
  bool FinishProgram();
  bool FireAggregatorTimer();
  void Record(const fed::Event& event);

  // ---- virtual_agents.cc
  void AgentTakes(Agent& agent, const site::Event& event);
  void AgentCommits(Agent& agent);
  void AgentCrashes(Agent& agent);
  void AgentDoes(Agent& agent, const site::Action& action);
  void Attach(Agent& agent);
  void BreakStream(Agent& agent);
  void SayUp(Agent& agent, const fed::Event& event);
  bool Hear(Agent& agent);
  bool HearAnswer();
  bool Work(Agent& agent);
  bool FireAgentTimer(Agent& agent);
  site::Event AnswerTo(Agent& agent, const site::Action& action);
  void ForgetStreams();

  WorldOptions options_;
  RandomStream random_;
  RunId run_id_{"run-1"};
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  bool storm_ = false;
  AggregatorEngine aggregator_;
  HashedVectors vectors_;  // Durable.
  std::map<Digest, fed::UpdateStaged> blobs_;
  std::vector<fed::Action> programs_;  // Asked for and not answered.
  std::map<fed::Timer, absl::Time> timers_;
  std::map<SiteId, Agent> agents_;
  std::list<Stream> streams_;
  std::map<SiteId, std::deque<std::list<Stream>::iterator>> attaching_;
  std::list<Call> calls_;
  std::vector<Arrival> arrivals_;
  Counts counts_;
  mutable std::string complaint_;
};

}  // namespace consilium::integration

#endif  // CONSILIUM_TESTS_INTEGRATION_VIRTUAL_FEDERATION_H_
