#include "site_agent/core/retry.h"

#include <algorithm>
#include <cmath>

namespace consilium::site {

absl::Duration RetryDelay(const RetryInput& input) {
  absl::Duration window = kRetryWindowMin;
  for (uint32_t i = 1; i < input.failures && window < kRetryWindowMax; ++i) window *= 2;
  window = std::min(window, kRetryWindowMax);
  const double jitter = std::isnan(input.jitter) ? 0 : std::clamp(input.jitter, 0.0, 1.0);
  const auto jittered_ns =
      static_cast<int64_t>(jitter * static_cast<double>(absl::ToInt64Nanoseconds(window)));
  return std::min(absl::Milliseconds(input.retry_after_ms), kRetryAfterMax) +
         absl::Nanoseconds(jittered_ns);
}

bool IsFinal(const v1::ErrorDetail& error) {
  if (error.retryable()) return false;
  switch (error.reason()) {
    case v1::REASON_UNSPECIFIED:
    case v1::NO_CERTIFICATE:
    case v1::FOREIGN_CERTIFICATE:
    case v1::CERTIFICATE_EXPIRED:
    case v1::SITE_REVOKED:
    case v1::SITE_UNKNOWN:
    case v1::LEASE_FENCED:
    case v1::LEASE_IN_USE:
    case v1::INCARNATION_FENCED:
    case v1::WIRE_VERSION:
    case v1::NOT_ATTACHED:
      return false;
    default:
      return true;
  }
}

}  // namespace consilium::site
