// The workers of a federation on a wall clock (docs/adr/0010-wall-clock.md): each virtual site
// belongs to one of them, a thread or another process, which computes what its sites are asked for
// as soon as it comes to it, in the order in which they were asked, beside the other workers. When
// an answer is there is a matter of the machine.
//
// Ownership: owns its threads and workers. What a job borrows outlives Clear. Threads: Now by any;
// all else by the simulation's.

#ifndef CONSILIUM_SIM_ENGINE_WALL_WORKERS_H_
#define CONSILIUM_SIM_ENGINE_WALL_WORKERS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "sim/engine/site_work.h"

namespace consilium {

class WallWorkers {
 public:
  // `places` holds what computes at each worker beside each other (a rank has as many as it has
  // threads); one or more places, each of one or more.
  explicit WallWorkers(std::vector<std::vector<std::unique_ptr<TaskWorker>>> places);
  ~WallWorkers();
  WallWorkers(const WallWorkers&) = delete;
  WallWorkers& operator=(const WallWorkers&) = delete;

  size_t size() const { return places_.size(); }
  // The worker of a site of that index: index mod size().
  size_t PlaceOf(size_t site) const { return site % places_.size(); }

  // The clock begins at the Unix epoch, as virtual time does, and never goes back.
  void StartClock() { began_ = std::chrono::steady_clock::now(); }
  absl::Time Now() const;

  // Called once, on a thread of the site's worker.
  using Job = std::function<void(TaskWorker& worker)>;
  // Called after it, in Wait.
  using Then = std::function<void()>;
  uint64_t Begin(size_t site, Job job, Then then);
  // Its answer is not needed any more: `then` is not called, and `job` only where it has begun.
  // Nothing where it is done.
  void Drop(uint64_t number);
  // Begun, not dropped, and `then` not yet called.
  size_t open() const;
  // Until there are answers, or `until`; then what came, in the order in which it came.
  std::vector<Then> Wait(absl::Time until);
  // Drops all, and waits for the workers: nothing borrowed is used after it.
  void Clear();

 private:
  struct Task {
    uint64_t number = 0;
    Job job;
    Then then;
    enum class Wanted : uint8_t { kYes, kNo } wanted = Wanted::kYes;
  };
  using TaskRef = std::shared_ptr<Task>;
  struct Place {
    std::vector<std::unique_ptr<TaskWorker>> workers;
    std::deque<TaskRef> waiting;
    std::vector<TaskRef> working;
  };

  void Work(Place& place, TaskWorker& worker);
  bool IsIdle() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::vector<std::unique_ptr<Place>> places_;  // What they point to, under the lock.
  mutable absl::Mutex mu_;
  std::deque<TaskRef> done_ ABSL_GUARDED_BY(mu_);
  uint64_t begun_ ABSL_GUARDED_BY(mu_) = 0;
  size_t open_ ABSL_GUARDED_BY(mu_) = 0;
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_WALL_WORKERS_H_
