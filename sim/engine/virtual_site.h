// The production SiteEngine in a shell of virtual time: what consilium-agent does with a store,
// threads and a link, done in memory at once. Trains for real. On a wall clock its worker trains
// and evaluates, and the engine hears of it when that is done.
//
// A crash takes what a real process would lose: what it was training, and uploads that had not
// arrived. The engine is then made anew from its journal; outbox, models and lease are durable.
//
// Ownership: owns its engine and journal, shares models; borrows the world and the aggregator (for
// model bytes). Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_VIRTUAL_SITE_H_
#define CONSILIUM_SIM_ENGINE_VIRTUAL_SITE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "protocol/core/commit_barrier.h"
#include "sim/engine/idle_vectors.h"
#include "sim/engine/network.h"
#include "sim/engine/simulation_vectors.h"
#include "sim/engine/site_record.h"
#include "sim/engine/site_work.h"
#include "sim/engine/training_pool.h"
#include "sim/engine/virtual_aggregator.h"
#include "sim/engine/world.h"
#include "site_agent/core/engine.h"

namespace consilium {

struct VirtualSiteOptions {
  SiteId id;
  size_t index = 0;  // Of the world's links.
  // What computing a task of `local_steps` takes at factor 1.
  absl::Duration task_duration = absl::ZeroDuration();
  uint32_t local_steps = 1;
  absl::Duration task_duration_min = absl::ZeroDuration();  // As an agent's own option.
  v1::Speed task_speed;
  v1::Faults faults;
  uint64_t seed = 0;  // The scenario's.
  // Of a recorded run, whose pace the site then keeps instead of what is above; may be null, and
  // outlives the site.
  const SiteRecord* record = nullptr;
};

class VirtualSite {
 public:
  // `aggregator` outlives the site.
  VirtualSite(VirtualSiteOptions options, SiteClock clock, SiteWork work, World& world,
              const VirtualAggregator& aggregator);

  // The agent's process starts and attaches, as soon as the site is there.
  void Start();
  // A message; ignored where its stream or process is no more.
  void Deliver(const ToSite& message);
  void Take(const SiteTurn& turn);
  // Whether that process of it is alive.
  bool IsRunning(Incarnation process) const { return is_running_ && process == incarnation_; }
  // For good.
  bool has_left() const { return has_left_; }
  // Of a recorded run: tasks that it has come to the end of.
  uint64_t tasks_done() const { return tasks_done_; }
  // It was asked for a task beyond those that its record can give.
  bool has_fallen_silent() const { return has_fallen_silent_; }
  // It owes what its record does not tell of, and nothing will come of it.
  bool IsSilent() const;
  // Whether an update of it may come without another version before: it has a task, or may be given
  // one, when it is back or when it is drawn. `grants` says how the run's rule gives them.
  enum class Grants : uint8_t {
    kAlways,  // Who is there has one.
    kOnce,    // For each version; who is there has one, or has sent its update.
    kDrawn,   // Also who is there may wait for one.
  };
  bool MayContribute(const RunId& run, Grants grants) const;
  // For good, and at once.
  void LeaveSilently() { Leave(); }

  const site::SiteEngine& engine() const { return engine_; }
  // What it keeps from task to task; null where that is nothing. Errors as IdleVector::Read.
  absl::StatusOr<Weights> KeptOf(const RunId& run) const;

  // Models that it holds, and what it or an attacker keeps. TakeVectors: DATA_LOSS where `from`
  // lacks one that it holds.
  void AddVectors(SimulationVectors& out) const;
  absl::Status TakeVectors(const SimulationVectors& from);

 private:
  enum class LinkState : uint8_t { kDown, kAttaching, kUp };
  // What a site's worker computes; the worker's until it is done.
  template <typename Output>
  struct AtWorker {
    uint64_t job = 0;  // Of the workers.
    absl::Time began;
    absl::StatusOr<Output> output;
  };
  struct Training {
    site::Train action;
    IdleVectors::Held base;
    uint64_t number = 0;
    absl::Time began;
    absl::Time due = absl::InfiniteFuture();  // Where it does not come to its end.
    std::shared_ptr<TrainingPool::Begun> begun = nullptr;
    std::shared_ptr<AtWorker<SiteWork::Trained>> at_worker = nullptr;
  };
  struct Evaluation {
    site::Evaluate action;
    Incarnation process;
    // As they were when it began: the run may end before it does, and its plan goes then.
    std::shared_ptr<const v1::RunPlan> plan;
    std::shared_ptr<const v1::Standardisation> standardisation;
    IdleVectors::Held model;
    IdleVectors::Held kept = nullptr;
    std::shared_ptr<TrainingPool::Begun> begun = nullptr;
    std::shared_ptr<AtWorker<v1::MetricSums>> at_worker = nullptr;
  };
  struct Journalled {
    absl::Time at;
    site::Event event;
  };

  void Handle(const site::Event& event);
  void Execute(const site::Action& action);
  void CheckPlan(const site::CheckPlan& action);
  void ComputeStatistics(const site::ComputeStatistics& action);
  void Fetch(const site::Fetch& action);
  void Train(const site::Train& action);
  // Lets the pool, where there is one, compute what is in training.
  void BeginTraining();
  // The site's worker computes it, and a turn of that kind tells of the end.
  template <typename Output, typename Job>
  std::shared_ptr<AtWorker<Output>> BeginAtWorker(const SiteTurn& end, Job job);
  // To be called by whoever computes it: until then no vector of it need be in memory.
  std::function<absl::StatusOr<SiteWork::Trained>(TaskWorker& worker)> JobOf(
      const Training& training) const;
  absl::StatusOr<SiteWork::Update> Compute(const Training& training);
  void FinishTraining();
  void StopTraining();
  void Evaluate(const site::Evaluate& action);
  // As of a training.
  std::function<absl::StatusOr<v1::MetricSums>(TaskWorker& worker)> JobOf(
      const Evaluation& evaluation) const;
  void BeginEvaluation(Evaluation& evaluation);
  void FinishEvaluation(uint64_t number);
  void Send(const site::Send& action);
  void ReportDecision(const v1::RunDecision& decision);
  void Report(federation::Event event);
  void After(absl::Duration delay, site::Event event);

  // What befalls the site while it computes a task.
  struct TaskFate {
    double slowdown = 1;
    std::optional<SiteTurn::Kind> ends;  // kCrashes or kLeaves,
    double after = 0;                    // after this share of the task.
  };
  TaskFate DrawTask(const site::Train& action) const;
  absl::Duration WorkOf(const site::Train& action) const;

  // Whether the offer is held back until the recorded site had what it then trained from.
  bool HoldsBack(const ToSite& message);
  absl::Duration RecordedWork(const site::Train& action) const;
  // From the version that the recorded site would have had by now, where that is an older one.
  site::Train AsFetched(site::Train action) const;

  void Attach();
  void EndStream();
  void DropLink();
  void Crash();
  void StartAgain();
  void Leave();
  void GoAway();
  void ComeBack();
  const SiteTimeline& timeline() const { return world_.links[options_.index].timeline(); }
  // Nothing for InfiniteFuture.
  void Turn(absl::Time at, SiteTurn::Kind kind, uint64_t number);

  const VirtualSiteOptions options_;
  const SiteClock clock_;
  SiteWork work_;
  World& world_;
  const VirtualAggregator& aggregator_;
  site::SiteEngine engine_;
  CommitBarrier<site::Action> barrier_;
  std::vector<Journalled> journal_;  // Kept where the scenario has crashes.
  std::map<std::pair<RunId, Version>, IdleVectors::Held> models_;
  std::map<Digest, IdleVectors::Held> kept_;  // By the update that it was made with.
  std::optional<Training> training_;
  std::map<uint64_t, Evaluation> evaluations_;  // That have begun, by number.
  uint64_t trainings_ = 0;
  uint64_t evaluations_begun_ = 0;
  Incarnation incarnation_;
  uint64_t leases_ = 0;  // The lease is a counter: nobody copies a virtual site's store.
  LinkState link_state_ = LinkState::kDown;
  bool is_running_ = false;
  bool has_left_ = false;
  uint64_t tasks_done_ = 0;
  uint64_t held_back_ = 0;                        // Offers,
  absl::Time held_until_ = absl::InfinitePast();  // none of which overtakes another.
  bool has_fallen_silent_ = false;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_VIRTUAL_SITE_H_
