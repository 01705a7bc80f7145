// The engine's timers: one thread that sleeps until the earliest is due and hands it over.
//
// Ownership: the destructor stops the thread; timers that are not due are dropped. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_TIMERS_H_
#define CONSILIUM_AGGREGATOR_SERVER_TIMERS_H_

#include <functional>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "aggregator/core/events.h"
#include "protocol/core/clock.h"

namespace consilium {

class Timers {
 public:
  // `fired` is called on the timers' thread, and may wait. `clock` outlives this.
  Timers(const Clock& clock, std::function<void(const federation::Timer&)> fired);
  ~Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // A timer that is set again has the new time.
  void Set(const federation::Timer& timer, absl::Time at) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  bool ChangedOrStopped() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return changed_ || stopped_; }

  const Clock& clock_;
  const std::function<void(const federation::Timer&)> fired_;
  absl::Mutex mu_;
  std::map<federation::Timer, absl::Time> due_ ABSL_GUARDED_BY(mu_);
  bool changed_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_TIMERS_H_
