// What an agent computes on its own data, on one thread of its own: whether a run fits here, its
// statistics, training and evaluation. Evaluations go before training, so that the federation does
// not wait for a score. Nothing is handed on for release that fewer patients than the minimum count
// stand behind (release_rules.h): no sum of a feature, no metric, no update.
//
// Ownership: borrows store, trainer. Threads: the calls from any, they only queue; `post` is called
// on the work thread.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_SITE_WORK_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_SITE_WORK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/events.h"
#include "site_agent/core/trainer.h"
#include "site_agent/runtime/local_data.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

struct SiteWorkOptions {
  SiteId site;
  Incarnation incarnation;
  uint64_t minimum_count = 0;
};

// The parts of a run that do not change once it has started.
struct RunContext {
  std::shared_ptr<const v1::RunPlan> plan;
  std::shared_ptr<const v1::Standardisation> standardisation;
};

class SiteWork {
 public:
  using PostEvent = std::function<void(Event)>;

  SiteWork(SiteStore* store, Trainer* trainer, SiteWorkOptions options, PostEvent post);
  ~SiteWork();
  SiteWork(const SiteWork&) = delete;
  SiteWork& operator=(const SiteWork&) = delete;

  void Start();
  // Finishes what is being computed, drops the rest, joins.
  void Stop();

  // PlanChecked follows: approved only where the plan is sound, a person has approved it, and its
  // data and enough of them are here; looked at in this order. A run whose data are not here waits
  // for them: to be asked again after an import.
  void Check(const CheckPlan& action);
  // StatisticsComputed follows, and over whom they are is on record; or RunWithdrawn, where they
  // can not be computed or must not leave.
  void Compute(const ComputeStatistics& action, RunContext run);
  // TrainDone or TrainFailed follows. The update is sealed and synced in the outbox before
  // TrainDone, and what is kept with it before that; passes the failpoint
  // agent.outbox_blob_synced.
  void Run(const Train& action, RunContext run);
  // Forgets a training that has not begun; one that runs is finished, and its end reported.
  void Cancel(const StopTraining& action);
  // EvaluationComputed follows; without metrics where they can not be computed or must not leave.
  void Run(const Evaluate& action, const Digest& model_id, RunContext run);

 private:
  struct Job {
    enum class Urgency { kSoon, kWhenIdle } urgency = Urgency::kSoon;
    RunId run = {};
    TaskId task = {};
    std::function<void()> work;
  };

  void Queue(Job job) ABSL_LOCKS_EXCLUDED(mu_);
  void Loop();
  bool HasJobOrStops() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  PlanChecked CheckNow(const CheckPlan& action);
  static absl::Status CheckSound(const CheckPlan& action);
  absl::StatusOr<TrainingPart> FitNow(const v1::RunPlan& plan);
  absl::StatusOr<v1::StatisticsReport> StatisticsNow(const v1::RunPlan& plan);
  absl::StatusOr<PlanChecked> AnswerTo(const CheckPlan& action);
  absl::StatusOr<TrainDone> TrainNow(const Train& action, const RunContext& run);
  absl::StatusOr<v1::MetricSums> EvaluateNow(const Evaluate& action, const Digest& model_id,
                                             const RunContext& run);
  // What was kept with `update`; empty where there is none.
  absl::StatusOr<std::vector<float>> ReadKept(const std::optional<Digest>& update);
  absl::Status StoreVector(const Digest& name, std::span<const uint8_t> payload);

  SiteStore* const store_;
  Trainer* const trainer_;
  const SiteWorkOptions options_;
  const PostEvent post_;
  LocalData data_;  // The work thread's.

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Job> soon_ ABSL_GUARDED_BY(mu_);
  std::deque<Job> when_idle_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_SITE_WORK_H_
