#include "sim/engine/training_pool.h"

#include "protocol/core/status_macros.h"

namespace consilium {

class TrainingPool::Begun {
 public:
  Begun(Place place, Job job) : place_(place), job_(std::move(job)) {}

 private:
  friend class TrainingPool;
  const Place place_;
  Job job_;  // Of whoever has taken it from those that wait.
  // Under the pool's lock.
  std::optional<absl::StatusOr<Output>> output_;  // Set once.
  bool is_back_ = false;                          // It waits for another worker.
  bool is_dropped_ = false;
};

TrainingPool::TrainingPool(Options options, const TrainerFactory& factory)
    : options_(std::move(options)), own_(factory()), own_worker_(*own_) {
  if (options_.remote != nullptr) workers_ = options_.remote->Workers();
  for (size_t i = 1; i < options_.threads; ++i) {
    trainers_.push_back(factory());
    workers_.push_back(std::make_unique<LocalWorker>(*trainers_.back()));
  }
  threads_.reserve(workers_.size());
  for (const auto& worker : workers_) {
    threads_.emplace_back([this, &worker = *worker] { Work(worker); });
  }
}

TrainingPool::~TrainingPool() {
  {
    absl::MutexLock lock(&mu_);
    waiting_.clear();
    ends_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

std::shared_ptr<TrainingPool::Begun> TrainingPool::Begin(absl::Time due, Task task) {
  return BeginJob(due, [task = std::move(task)](TaskWorker& worker) -> absl::StatusOr<Output> {
    Output output;
    CONSILIUM_ASSIGN_OR_RETURN(output.trained, task(worker));
    return output;
  });
}

std::shared_ptr<TrainingPool::Begun> TrainingPool::BeginEvaluation(absl::Time due,
                                                                   Evaluation task) {
  return BeginJob(due, [task = std::move(task)](TaskWorker& worker) -> absl::StatusOr<Output> {
    Output output;
    CONSILIUM_ASSIGN_OR_RETURN(output.sums, task(worker));
    return output;
  });
}

std::shared_ptr<TrainingPool::Begun> TrainingPool::BeginJob(absl::Time due, Job job) {
  absl::MutexLock lock(&mu_);
  const Place place = {due, begun_++};
  auto begun = std::make_shared<Begun>(place, std::move(job));
  waiting_.emplace(place, begun);
  return begun;
}

std::shared_ptr<TrainingPool::Begun> TrainingPool::TakeOut(const Place& place) {
  const auto found = waiting_.find(place);
  if (found == waiting_.end()) return nullptr;
  std::shared_ptr<Begun> begun = std::move(waiting_.extract(found).mapped());
  begun->is_back_ = false;
  return begun;
}

std::shared_ptr<TrainingPool::Begun> TrainingPool::First() {
  if (waiting_.empty()) return nullptr;
  const Place first = waiting_.begin()->first;
  return TakeOut(first);
}

TrainingPool::Computed TrainingPool::Compute(const std::shared_ptr<Begun>& begun,
                                             TaskWorker& worker) {
  absl::StatusOr<Output> output = begun->job_(worker);
  const bool is_lost = absl::IsUnavailable(output.status()) && &worker != &own_worker_;
  if (!is_lost) begun->job_ = nullptr;
  absl::MutexLock lock(&mu_);
  if (!is_lost) {
    begun->output_ = std::move(output);
    return Computed::kYes;
  }
  if (!begun->is_dropped_ && !ends_) {
    begun->is_back_ = true;
    waiting_.emplace(begun->place_, begun);
  }
  return Computed::kWorkerLost;
}

void TrainingPool::Work(TaskWorker& worker) {
  Computed computed = Computed::kYes;
  while (computed == Computed::kYes) {
    std::shared_ptr<Begun> begun;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &TrainingPool::HasWork));
      if (ends_) return;
      begun = First();
      ++working_;
    }
    computed = Compute(begun, worker);
    begun.reset();
    absl::MutexLock lock(&mu_);
    --working_;
  }
}

absl::StatusOr<SiteWork::Trained> TrainingPool::Take(const std::shared_ptr<Begun>& begun) {
  CONSILIUM_ASSIGN_OR_RETURN(Output output, TakeOutput(begun));
  return std::move(output.trained);
}

absl::StatusOr<v1::MetricSums> TrainingPool::TakeEvaluation(const std::shared_ptr<Begun>& begun) {
  CONSILIUM_ASSIGN_OR_RETURN(Output output, TakeOutput(begun));
  return std::move(output.sums);
}

absl::StatusOr<TrainingPool::Output> TrainingPool::TakeOutput(const std::shared_ptr<Begun>& begun) {
  // What nobody works at is done here at once; else something else meanwhile, so that no thread
  // waits while there is work.
  while (true) {
    std::shared_ptr<Begun> next;
    {
      absl::MutexLock lock(&mu_);
      if (begun->output_.has_value()) return *std::move(begun->output_);
      next = TakeOut(begun->place_);
      if (next == nullptr) next = First();
      if (next == nullptr) {
        const auto settled = [&begun] { return begun->output_.has_value() || begun->is_back_; };
        mu_.Await(absl::Condition(&settled));
        continue;
      }
    }
    Compute(next, own_worker_);
  }
}

void TrainingPool::Drop(const std::shared_ptr<Begun>& begun) {
  absl::MutexLock lock(&mu_);
  begun->is_dropped_ = true;
  waiting_.erase(begun->place_);
}

void TrainingPool::Clear() {
  absl::MutexLock lock(&mu_);
  waiting_.clear();
  mu_.Await(absl::Condition(this, &TrainingPool::IsIdle));
  waiting_.clear();  // What a lost worker has given back.
}

}  // namespace consilium
