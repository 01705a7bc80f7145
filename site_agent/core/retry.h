// When to try again what failed: exponential backoff with full jitter, so that many sites do not
// come back at once (Brooker, "Exponential Backoff And Jitter", 2015).
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_CORE_RETRY_H_
#define CONSILIUM_SITE_AGENT_CORE_RETRY_H_

#include <cstdint>

#include "absl/time/time.h"
#include "consilium/v1/errors.pb.h"

namespace consilium::site {

inline constexpr absl::Duration kRetryWindowMin = absl::Milliseconds(500);
inline constexpr absl::Duration kRetryWindowMax = absl::Seconds(60);
// A peer can not ask for more patience than this.
inline constexpr absl::Duration kRetryAfterMax = absl::Minutes(10);

struct RetryInput {
  uint32_t failures = 1;        // In a row, this one included; >= 1.
  uint32_t retry_after_ms = 0;  // The peer's wish.
  double jitter = 0;            // In [0, 1); anything else counts as the nearest of it.
};

// retry_after + jitter · min(60 s, 0.5 s · 2^(failures−1)), in whole nanoseconds.
absl::Duration RetryDelay(const RetryInput& input);

// Whether an upload or download that failed so is over. A reason that speaks of the link, the
// certificate or the process says nothing about what was carried; neither does a failure without
// a reason: such are tried again.
bool IsFinal(const v1::ErrorDetail& error);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_RETRY_H_
