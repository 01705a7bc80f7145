#include "sim/engine/wall_workers.h"

#include <algorithm>
#include <utility>

namespace consilium {

WallWorkers::WallWorkers(std::vector<std::vector<std::unique_ptr<TaskWorker>>> places) {
  for (auto& workers : places) {
    places_.push_back(std::make_unique<Place>());
    places_.back()->workers = std::move(workers);
  }
  for (const auto& place : places_) {
    for (const auto& worker : place->workers) {
      threads_.emplace_back([this, &place = *place, &worker = *worker] { Work(place, worker); });
    }
  }
}

WallWorkers::~WallWorkers() {
  {
    absl::MutexLock lock(&mu_);
    ends_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

// In whole nanoseconds, as engines count.
absl::Time WallWorkers::Now() const {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::steady_clock::now() - began_));
}

uint64_t WallWorkers::Begin(size_t site, Job job, Then then) {
  auto task = std::make_shared<Task>();
  task->job = std::move(job);
  task->then = std::move(then);
  absl::MutexLock lock(&mu_);
  task->number = ++begun_;
  ++open_;
  places_[PlaceOf(site)]->waiting.push_back(task);
  return task->number;
}

void WallWorkers::Drop(uint64_t number) {
  const auto is_it = [number](const TaskRef& task) {
    return task->number == number && task->wanted == Task::Wanted::kYes;
  };
  absl::MutexLock lock(&mu_);
  for (const auto& place : places_) {
    auto& waiting = place->waiting;
    if (const auto at = std::find_if(waiting.begin(), waiting.end(), is_it); at != waiting.end()) {
      waiting.erase(at);
      --open_;
      return;
    }
    auto& working = place->working;
    if (const auto at = std::find_if(working.begin(), working.end(), is_it); at != working.end()) {
      (*at)->wanted = Task::Wanted::kNo;
      --open_;
      return;
    }
  }
  if (const auto at = std::find_if(done_.begin(), done_.end(), is_it); at != done_.end()) {
    done_.erase(at);
    --open_;
  }
}

size_t WallWorkers::open() const {
  absl::MutexLock lock(&mu_);
  return open_;
}

std::vector<WallWorkers::Then> WallWorkers::Wait(absl::Time until) {
  absl::MutexLock lock(&mu_);
  const auto has_news = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !done_.empty(); };
  mu_.AwaitWithTimeout(absl::Condition(&has_news), until - Now());
  std::vector<Then> came;
  came.reserve(done_.size());
  for (const TaskRef& task : done_) came.push_back(std::move(task->then));
  open_ -= done_.size();
  done_.clear();
  return came;
}

void WallWorkers::Clear() {
  absl::MutexLock lock(&mu_);
  for (const auto& place : places_) {
    place->waiting.clear();
    for (const TaskRef& task : place->working) task->wanted = Task::Wanted::kNo;
  }
  mu_.Await(absl::Condition(this, &WallWorkers::IsIdle));
  done_.clear();
  open_ = 0;
}

bool WallWorkers::IsIdle() const {
  return std::all_of(places_.begin(), places_.end(),
                     [](const auto& place) { return place->working.empty(); });
}

void WallWorkers::Work(Place& place, TaskWorker& worker) {
  while (true) {
    TaskRef task;
    {
      absl::MutexLock lock(&mu_);
      const auto has_work = [this, &place]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
        return ends_ || !place.waiting.empty();
      };
      mu_.Await(absl::Condition(&has_work));
      if (ends_) return;
      task = std::move(place.waiting.front());
      place.waiting.pop_front();
      place.working.push_back(task);
    }
    task->job(worker);
    task->job = nullptr;
    absl::MutexLock lock(&mu_);
    place.working.erase(std::find(place.working.begin(), place.working.end(), task));
    if (task->wanted == Task::Wanted::kYes) done_.push_back(std::move(task));
  }
}

}  // namespace consilium
