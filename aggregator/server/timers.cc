#include "aggregator/server/timers.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace consilium {

Timers::Timers(const Clock& clock, std::function<void(const federation::Timer&)> fired)
    : clock_(clock), fired_(std::move(fired)), thread_([this] { Run(); }) {}

Timers::~Timers() {
  absl::MutexLock lock(&mu_);
  stopped_ = true;
}

void Timers::Set(const federation::Timer& timer, absl::Time at) {
  absl::MutexLock lock(&mu_);
  due_[timer] = at;
  changed_ = true;
}

void Timers::Run() {
  for (;;) {
    std::vector<federation::Timer> now_due;
    {
      absl::MutexLock lock(&mu_);
      absl::Time next = absl::InfiniteFuture();
      for (const auto& [timer, at] : due_) next = std::min(next, at);
      changed_ = false;
      mu_.AwaitWithTimeout(
          absl::Condition(this, &Timers::ChangedOrStopped),
          next == absl::InfiniteFuture() ? absl::InfiniteDuration() : next - clock_.Now());
      if (stopped_) return;
      const absl::Time now = clock_.Now();
      for (auto it = due_.begin(); it != due_.end();) {
        if (it->second <= now) {
          now_due.push_back(it->first);
          it = due_.erase(it);
        } else {
          ++it;
        }
      }
    }
    for (const federation::Timer& timer : now_due) fired_(timer);
  }
}

}  // namespace consilium
