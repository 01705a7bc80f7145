// A federation that misbehaves on purpose, from a seed: sites that lose streams, crash, send
// twice, out of order or not at all, copies of their stores, an aggregator that crashes anywhere
// and loses what was not committed. There are no vectors; a model's root is the digest of the
// program that made it. Every rule of docs/adr that can be seen from outside is checked as it goes;
// Complain() keeps the first that is broken.

#ifndef CONSILIUM_TESTS_AGGREGATOR_CORE_RANDOM_FEDERATION_H_
#define CONSILIUM_TESTS_AGGREGATOR_CORE_RANDOM_FEDERATION_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "aggregator/core/journal_codec.h"
#include "protocol/core/commit_barrier.h"

namespace consilium::federation {

// What a fake site knows. All of it but `attached` is durable.
struct FakeSite {
  SiteId id;
  uint64_t examples = 1;
  bool refuses = false;
  bool removed = false;
  bool gone = false;  // For good.
  bool attached = false;
  bool run_over = false;
  Incarnation incarnation;
  uint64_t lease = 0;  // Number of the one it presents.
  uint64_t leases_made = 0;
  uint64_t leases_dead = 0;  // All below it.
  std::map<Version, Digest> models;
  struct Task {
    Version base_min;
    std::optional<UpdateStaged> update;  // Trained: waits in the outbox.
    enum class End : uint8_t { kNone, kIncluded, kNotIncluded, kRefused } end = End::kNone;
    bool accepted = false;
  };
  std::map<TaskId, Task> tasks;
  std::deque<Event> stream_out;       // In order; lost with the stream.
  std::vector<UpdateStaged> uploads;  // In any order; the shell checks nothing.
};

class RandomFederation {
 public:
  RandomFederation(uint64_t seed, std::shared_ptr<const v1::RunPlan> plan);

  // Chaos, then a fair schedule until the run has ended, then the final checks. The first broken
  // rule, or empty.
  std::string Run();

  const RunState& run() const { return engine_.runs().at(run_id_); }
  // Programs that only asked for numbers, and crashes of the aggregator before the version that
  // hung on their answer.
  uint64_t measured() const { return measures_.size(); }
  uint64_t crashed_between() const { return crashed_between_; }

 private:
  // Random.
  uint64_t Draw(uint64_t below) { return random_() % below; }
  bool Chance(double p) { return static_cast<double>(random_() >> 11) * 0x1.0p-53 < p; }
  void Complain(const std::string& what);

  // The aggregator's shell.
  void Step(const Event& event);
  void Commit();
  void Crash();
  void Execute(const Action& action);
  void ExecuteReceipt(const SendReceipt& receipt);
  void ExecuteRefusal(const RefuseUpdate& refusal);
  void ExecuteCompute(const Compute& compute);
  void AnswerProgram();
  void FireTimers();

  // The sites.
  void TryAttach(FakeSite& site);
  void LoseStream(FakeSite& site);
  void AttachCopy(FakeSite& site);
  void Train(FakeSite& site);
  void SendOne(FakeSite& site);
  void UploadOne(FakeSite& site);
  void UploadConflict(FakeSite& site);
  void OnOffer(FakeSite& site, const OfferRun& offer);
  void OnAnnounce(FakeSite& site, const AnnounceModel& announce);
  FakeSite* Attached(const SiteId& id);

  void ChaoticStep();
  void MaybeLoseOneForGood();
  void FairRound();
  // What must hold after every step, and at the end.
  void CheckOpenGrants();
  void CheckSlots();
  void CheckEnd();
  void CheckVersion(const VersionState& version);
  void CheckShares(const VersionState& version);
  void CheckReplay();

  std::mt19937_64 random_;
  std::shared_ptr<const v1::RunPlan> plan_;
  RunId run_id_ = RunId("r");
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  FederationEngine engine_;
  CommitBarrier<Action> barrier_;
  std::vector<JournalledEvent> journal_;
  size_t committed_ = 0;
  std::map<uint64_t, Digest> digests_;  // Sampled, by sequence.
  std::map<SiteId, FakeSite> sites_;
  std::vector<ComputeDone> programs_;  // Asked for and not answered.
  std::map<Timer, absl::Time> timers_;
  // Seen from outside: how often each accepted update ended, and how.
  std::map<std::pair<SiteId, TaskId>, v1::Receipt::Kind> ends_;
  std::map<std::pair<SiteId, TaskId>, SendReceipt> acceptances_;
  bool fair_ = false;
  std::set<uint64_t> measures_;  // Programs that only ask.
  uint64_t crashed_between_ = 0;
  std::string complaint_;
};

}  // namespace consilium::federation

#endif  // CONSILIUM_TESTS_AGGREGATOR_CORE_RANDOM_FEDERATION_H_
