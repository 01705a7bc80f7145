#include "aggregator/server/input_budget.h"

#include <gtest/gtest.h>

#include "protocol/wire/reasons.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

const absl::Time kBegin = absl::FromUnixSeconds(1'800'000'000);
const SiteId kNorth("north");

TEST(InputBudget, HoldsSoManyInputsAndFillsUpAgain) {
  InputBudget budget;
  int taken = 0;
  while (budget.Take(kNorth, 10, kBegin).ok()) ++taken;
  EXPECT_EQ(taken, kSiteInputsAtOnceMax);
  const v1::ErrorDetail detail = DetailOf(budget.Take(kNorth, 10, kBegin));
  EXPECT_EQ(detail.reason(), v1::BUSY);
  EXPECT_GT(detail.retry_after_ms(), 0u);
  taken = 0;
  while (budget.Take(kNorth, 10, kBegin + absl::Seconds(2)).ok()) ++taken;
  EXPECT_EQ(taken, 2 * kSiteInputsPerSecond);
  // Nobody else pays.
  EXPECT_THAT(budget.Take(SiteId("south"), 10, kBegin), IsOk());
}

TEST(InputBudget, HoldsSoManyBytes) {
  InputBudget budget;
  EXPECT_FALSE(budget.Take(kNorth, static_cast<size_t>(kSiteInputBytesAtOnceMax) + 1, kBegin).ok());
  EXPECT_THAT(budget.Take(kNorth, static_cast<size_t>(kSiteInputBytesAtOnceMax), kBegin), IsOk());
  EXPECT_EQ(DetailOf(budget.Take(kNorth, 1, kBegin)).reason(), v1::BUSY);
  EXPECT_THAT(budget.Take(kNorth, 1, kBegin + absl::Seconds(1)), IsOk());
  // A clock that was set back fills nothing up.
  EXPECT_EQ(
      DetailOf(budget.Take(kNorth, static_cast<size_t>(kSiteInputBytesPerSecond), kBegin)).reason(),
      v1::BUSY);
}

}  // namespace
}  // namespace consilium
