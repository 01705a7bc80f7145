// The one source of time of the programs. The engines never ask it: time comes to them with each
// event, so the simulator's virtual clock and a journal's replay are the same to them.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_CORE_CLOCK_H_
#define CONSILIUM_PROTOCOL_CORE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace consilium {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_CLOCK_H_
