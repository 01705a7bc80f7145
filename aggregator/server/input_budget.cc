#include "aggregator/server/input_budget.h"

#include <algorithm>

#include "consilium/v1/errors.pb.h"
#include "protocol/wire/reasons.h"

namespace consilium {

absl::Status InputBudget::Take(const SiteId& site, size_t bytes, absl::Time now) {
  absl::MutexLock lock(&mu_);
  Allowance& allowance = sites_[site];
  if (now > allowance.filled) {
    const double seconds = absl::ToDoubleSeconds(now - allowance.filled);
    allowance.inputs =
        std::min(kSiteInputsAtOnceMax, allowance.inputs + seconds * kSiteInputsPerSecond);
    allowance.bytes =
        std::min(kSiteInputBytesAtOnceMax, allowance.bytes + seconds * kSiteInputBytesPerSecond);
  }
  // A clock that was set back fills nothing up, and later goes on from there.
  allowance.filled = now;
  const double wanted = static_cast<double>(bytes);
  if (allowance.inputs < 1 || allowance.bytes < wanted) {
    v1::ErrorDetail detail;
    detail.set_reason(v1::BUSY);
    detail.set_retryable(true);
    detail.set_retry_after_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(kBudgetRetryAfter)));
    detail.set_message("the site sends more than the aggregator keeps of one site; send it later");
    return Refusal(detail);
  }
  allowance.inputs -= 1;
  allowance.bytes -= wanted;
  return absl::OkStatus();
}

void InputBudget::GiveBack(const SiteId& site, size_t bytes) {
  absl::MutexLock lock(&mu_);
  Allowance& allowance = sites_[site];
  allowance.inputs = std::min(kSiteInputsAtOnceMax, allowance.inputs + 1);
  allowance.bytes =
      std::min(kSiteInputBytesAtOnceMax, allowance.bytes + static_cast<double>(bytes));
}

}  // namespace consilium
