#include "aggregator/server/timers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "protocol/core/bounded_queue.h"

namespace consilium {
namespace {

using federation::Timer;

Timer TimerOf(uint64_t number) {
  return {.run = RunId("run-1"), .kind = Timer::Kind::kBarrierDeadline, .number = number};
}

TEST(Timers, HandOverWhatIsDueAndKeepTheRest) {
  BoundedQueue<uint64_t> fired(16);
  SystemClock clock;
  Timers timers(clock, [&fired](const Timer& timer) { fired.Push(timer.number); });
  timers.Set(TimerOf(3), absl::InfiniteFuture());
  timers.Set(TimerOf(2), clock.Now() + absl::Hours(24));
  timers.Set(TimerOf(1), clock.Now() - absl::Seconds(1));
  EXPECT_EQ(fired.Pop(absl::Seconds(60)), 1);
  // Set again, it has the new time.
  timers.Set(TimerOf(2), clock.Now());
  EXPECT_EQ(fired.Pop(absl::Seconds(60)), 2);
  EXPECT_EQ(fired.size(), 0);
}

}  // namespace
}  // namespace consilium
