// A rank other than 0: it trains and evaluates what it is asked to, with data that it has loaded by
// itself, and keeps nothing.
//
// It does not end by itself, nor by SIGTERM: rank 0 tells it when, in good order or at once. So
// rank 0 can tell who has died from who was told to end because of it; where rank 0 has died, the
// launcher kills.
//
// Ownership: borrows the ranks. Threads: one calls Serve, which has others train.

#ifndef CONSILIUM_SIM_CLUSTER_RANK_WORKER_H_
#define CONSILIUM_SIM_CLUSTER_RANK_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/cluster.pb.h"
#include "consilium/v1/coordination.pb.h"
#include "sim/cluster/rank_identity.h"
#include "sim/cluster/ranks.h"
#include "sim/engine/site_data.h"
#include "sim/engine/site_work.h"
#include "sim/engine/training_pool.h"

namespace consilium {

struct RankWorkerOptions {
  // What it would simulate, or why it can not; rank 0 hears of either.
  absl::StatusOr<RankIdentity> identity;
  std::string data_folder;
  size_t threads = 1;
  TrainingPool::TrainerFactory trainers;
};

class RankWorker {
 public:
  RankWorker(Ranks& ranks, RankWorkerOptions options);

  // Until rank 0 has nothing more to do. ABORTED where a rank has died; INTERNAL where rank 0 says
  // what this program does not; else as Ranks::Receive.
  absl::Status Serve();

 private:
  // Of the simulation whose tasks come.
  struct Prepared {
    std::shared_ptr<const v1::RunPlan> plan;
    std::shared_ptr<const FederationData> data;
    std::map<SiteId, SiteWork::Options> sites;
    std::unique_ptr<ExamplesCache> cache;
    uint64_t elements = 0;  // Of the model.
    std::shared_ptr<const v1::Standardisation> standardisation;
    Ranks::Values base;
  };
  struct Task {
    uint64_t number = 0;
    SiteId site;
    SiteWork::TrainingTask task;
    // Of the same model, where that is asked instead; else without split.
    SiteWork::EvaluationTask evaluation;
    std::shared_ptr<const Prepared> of;
  };

  absl::Status TrainOnOneThread(Trainer& trainer) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing where there is nothing more to do.
  absl::StatusOr<std::optional<Task>> NextTask(Trainer& trainer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Task> TaskOf(const v1::RankTask& message, const RankFrame& frame)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What it answers.
  v1::RankPrepared Prepare(v1::RankPrepare message, Trainer& trainer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Load(v1::RankPrepare message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What it answers to the task.
  void Train(const Task& task, Trainer& trainer);
  void Evaluate(const Task& task, Trainer& trainer);
  void Answer(uint64_t number, const absl::Status& failure);

  Ranks& ranks_;
  const RankWorkerOptions options_;
  // One thread waits for the next task; what a task is depends on the one before it.
  absl::Mutex mu_;
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<Prepared> prepared_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_RANK_WORKER_H_
