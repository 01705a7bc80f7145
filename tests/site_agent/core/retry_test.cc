#include "site_agent/core/retry.h"

#include <limits>

#include "gtest/gtest.h"
#include "protocol/wire/reasons.h"

namespace consilium::site {
namespace {

TEST(RetryDelay, DoublesFromHalfASecondToAMinute) {
  const absl::Duration windows[] = {absl::Milliseconds(500), absl::Seconds(1),  absl::Seconds(2),
                                    absl::Seconds(4),        absl::Seconds(8),  absl::Seconds(16),
                                    absl::Seconds(32),       absl::Seconds(60), absl::Seconds(60)};
  for (uint32_t failures = 1; failures <= std::size(windows); ++failures) {
    EXPECT_EQ(RetryDelay({.failures = failures, .retry_after_ms = 0, .jitter = 1}),
              windows[failures - 1]);
    EXPECT_EQ(RetryDelay({.failures = failures, .retry_after_ms = 0, .jitter = 0}),
              absl::ZeroDuration());
  }
  EXPECT_EQ(
      RetryDelay(
          {.failures = std::numeric_limits<uint32_t>::max(), .retry_after_ms = 0, .jitter = 0.25}),
      absl::Seconds(15));
}

TEST(RetryDelay, ComesOnTopOfWhatThePeerAsksFor) {
  EXPECT_EQ(RetryDelay({.failures = 1, .retry_after_ms = 3000, .jitter = 0.5}),
            absl::Milliseconds(3250));
  EXPECT_EQ(
      RetryDelay(
          {.failures = 1, .retry_after_ms = std::numeric_limits<uint32_t>::max(), .jitter = 0}),
      kRetryAfterMax);
}

TEST(RetryDelay, TakesAnyJitter) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(RetryDelay({.failures = 1, .retry_after_ms = 0, .jitter = nan}), absl::ZeroDuration());
  EXPECT_EQ(RetryDelay({.failures = 1, .retry_after_ms = 0, .jitter = -3}), absl::ZeroDuration());
  EXPECT_EQ(RetryDelay({.failures = 1, .retry_after_ms = 0, .jitter = 1e300}), kRetryWindowMin);
}

TEST(IsFinal, OnlyWhatSpeaksOfTheUpdateItself) {
  for (v1::Reason reason : {v1::RUN_ENDED, v1::TOO_STALE, v1::NOT_FINITE, v1::TASK_CONFLICT,
                            v1::ROUND_CLOSED, v1::RUN_UNKNOWN, v1::IDENTITY_MISMATCH}) {
    EXPECT_TRUE(IsFinal(DetailOf(Refusal(reason, "")))) << v1::Reason_Name(reason);
  }
  for (v1::Reason reason :
       {v1::REASON_UNSPECIFIED, v1::BUSY, v1::TRUNCATED, v1::HASH_MISMATCH, v1::STORAGE,
        v1::NOT_ATTACHED, v1::INCARNATION_FENCED, v1::NO_CERTIFICATE, v1::SITE_REVOKED}) {
    EXPECT_FALSE(IsFinal(DetailOf(Refusal(reason, "")))) << v1::Reason_Name(reason);
  }
}

}  // namespace
}  // namespace consilium::site
