#include "sim/engine/training_pool.h"

namespace consilium {

class TrainingPool::Begun {
 public:
  Begun(Place place, Task task) : place_(place), task_(std::move(task)) {}

 private:
  friend class TrainingPool;
  const Place place_;
  Task task_;  // Of whoever has taken it from those that wait.
  // Set once, under the pool's lock.
  std::optional<absl::StatusOr<SiteWork::Trained>> output_;
};

TrainingPool::TrainingPool(Options options, const TrainerFactory& factory)
    : options_(std::move(options)), own_(factory()) {
  for (size_t i = 1; i < options_.threads; ++i) trainers_.push_back(factory());
  threads_.reserve(trainers_.size());
  for (const auto& trainer : trainers_) {
    threads_.emplace_back([this, &trainer = *trainer] { Work(trainer); });
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
  absl::MutexLock lock(&mu_);
  const Place place = {due, begun_++};
  auto begun = std::make_shared<Begun>(place, std::move(task));
  waiting_.emplace(place, begun);
  return begun;
}

std::shared_ptr<TrainingPool::Begun> TrainingPool::First() {
  if (waiting_.empty()) return nullptr;
  return std::move(waiting_.extract(waiting_.begin()).mapped());
}

void TrainingPool::Compute(Begun& begun, Trainer& trainer) {
  absl::StatusOr<SiteWork::Trained> output = begun.task_(trainer);
  begun.task_ = nullptr;
  absl::MutexLock lock(&mu_);
  begun.output_ = std::move(output);
}

void TrainingPool::Work(Trainer& trainer) {
  while (true) {
    std::shared_ptr<Begun> begun;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &TrainingPool::HasWork));
      if (ends_) return;
      begun = First();
      ++working_;
    }
    Compute(*begun, trainer);
    begun.reset();
    absl::MutexLock lock(&mu_);
    --working_;
  }
}

absl::StatusOr<SiteWork::Trained> TrainingPool::Take(const std::shared_ptr<Begun>& begun) {
  // What nobody works at is done here at once; else something else meanwhile, so that no thread
  // waits while there is work.
  std::shared_ptr<Begun> next;
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (begun->output_.has_value()) return *std::move(begun->output_);
      const auto found = waiting_.find(begun->place_);
      next = found == waiting_.end() ? First() : std::move(waiting_.extract(found).mapped());
      if (next == nullptr) {
        const auto done = [&begun] { return begun->output_.has_value(); };
        mu_.Await(absl::Condition(&done));
        return *std::move(begun->output_);
      }
    }
    Compute(*next, *own_);
  }
}

void TrainingPool::Drop(const std::shared_ptr<Begun>& begun) {
  absl::MutexLock lock(&mu_);
  waiting_.erase(begun->place_);
}

void TrainingPool::Clear() {
  absl::MutexLock lock(&mu_);
  waiting_.clear();
  mu_.Await(absl::Condition(this, &TrainingPool::IsIdle));
}

}  // namespace consilium
