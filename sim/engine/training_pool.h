// Trains and evaluates for several virtual sites at once. What a site computes is a function of its
// task alone (Trainer), so it may be computed anywhere between the moment when its task begins and
// the moment of virtual time when it is done, by any thread, also of another process (sim/cluster):
// how many there are shows in the wall time and in nothing else.
//
// The simulation's own thread takes what it needs when it needs it. Until then the workers go
// through what has begun, what is due first before what is due later; while the simulation waits
// for one of them it trains, too. A worker that is lost gives its task back, and takes no more.
//
// Ownership: owns its threads and their trainers. What a task borrows outlives Clear. Threads:
// Begin, Take, Drop and Clear by one thread.

#ifndef CONSILIUM_SIM_ENGINE_TRAINING_POOL_H_
#define CONSILIUM_SIM_ENGINE_TRAINING_POOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "sim/engine/remote_trainers.h"
#include "sim/engine/site_work.h"
#include "site_agent/core/trainer.h"

namespace consilium {

class TrainingPool {
 public:
  using TrainerFactory = std::function<std::unique_ptr<Trainer>()>;
  // Called once, on any thread, with a worker that nobody else uses meanwhile; again, with another
  // one, where that worker is lost (UNAVAILABLE: nothing else that a task does may fail so).
  using Task = std::function<absl::StatusOr<SiteWork::Trained>(TaskWorker& worker)>;
  using Evaluation = std::function<absl::StatusOr<v1::MetricSums>(TaskWorker& worker)>;

  struct Options {
    size_t threads = 1;                // Counting the caller's, whose trainer is own(); 1 or more.
    std::string trainer_name;          // As of SimulationInput.
    RemoteTrainers* remote = nullptr;  // Train beside the threads; outlive the pool. May be null.
  };
  TrainingPool(Options options, const TrainerFactory& factory);
  ~TrainingPool();
  TrainingPool(const TrainingPool&) = delete;
  TrainingPool& operator=(const TrainingPool&) = delete;

  // Not while Take runs.
  Trainer& own() { return *own_; }
  const std::string& trainer_name() const { return options_.trainer_name; }
  RemoteTrainers* remote() const { return options_.remote; }

  // A task that has begun. Given to Drop or to the Take of its kind, once.
  class Begun;
  std::shared_ptr<Begun> Begin(absl::Time due, Task task);
  absl::StatusOr<SiteWork::Trained> Take(const std::shared_ptr<Begun>& begun);
  std::shared_ptr<Begun> BeginEvaluation(absl::Time due, Evaluation task);
  absl::StatusOr<v1::MetricSums> TakeEvaluation(const std::shared_ptr<Begun>& begun);
  // Its output is not needed any more; what a worker computes already it ends.
  void Drop(const std::shared_ptr<Begun>& begun);
  // Drops all, and waits for the workers: nothing borrowed is used after it.
  void Clear();

 private:
  using Place = std::pair<absl::Time, uint64_t>;  // When it is due, and which began first.
  struct Output {                                 // One of the two.
    SiteWork::Trained trained;
    v1::MetricSums sums;
  };
  using Job = std::function<absl::StatusOr<Output>(TaskWorker& worker)>;

  std::shared_ptr<Begun> BeginJob(absl::Time due, Job job);
  absl::StatusOr<Output> TakeOutput(const std::shared_ptr<Begun>& begun);
  void Work(TaskWorker& worker);
  std::shared_ptr<Begun> TakeOut(const Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::shared_ptr<Begun> First() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return ends_ || !waiting_.empty(); }
  bool IsIdle() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return working_ == 0; }
  // Computes it, without the lock; or puts it back where the worker is lost.
  enum class Computed : uint8_t { kYes, kWorkerLost };
  Computed Compute(const std::shared_ptr<Begun>& begun, TaskWorker& worker)
      ABSL_LOCKS_EXCLUDED(mu_);

  const Options options_;
  const std::unique_ptr<Trainer> own_;
  LocalWorker own_worker_;
  std::vector<std::unique_ptr<Trainer>> trainers_;
  std::vector<std::unique_ptr<TaskWorker>> workers_;
  absl::Mutex mu_;
  std::map<Place, std::shared_ptr<Begun>> waiting_ ABSL_GUARDED_BY(mu_);
  uint64_t begun_ ABSL_GUARDED_BY(mu_) = 0;
  size_t working_ ABSL_GUARDED_BY(mu_) = 0;  // Workers at a task.
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_TRAINING_POOL_H_
