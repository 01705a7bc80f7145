#include "aggregator/core/strategies/rate_correction.h"

#include <algorithm>
#include <cmath>

namespace consilium::federation {

absl::StatusOr<RateCorrectionRule> RateCorrectionRuleOf(const v1::RateCorrection& stage) {
  RateCorrectionRule rule;
  if (stage.cap() != 0) rule.cap = stage.cap();
  if (stage.kappa_per_site() != 0) rule.kappa_per_site = stage.kappa_per_site();
  if (stage.decay() != 0) rule.decay = stage.decay();
  if (!(rule.cap >= 1) || !std::isfinite(rule.cap)) {
    return absl::InvalidArgumentError("aggregation.rate_correction.cap: must be at least 1");
  }
  if (!(rule.kappa_per_site > 0) || !std::isfinite(rule.kappa_per_site)) {
    return absl::InvalidArgumentError(
        "aggregation.rate_correction.kappa_per_site: must be above 0");
  }
  if (!(rule.decay > 0 && rule.decay <= 1)) {
    return absl::InvalidArgumentError("aggregation.rate_correction.decay: must lie in (0, 1]");
  }
  return rule;
}

double RateCorrectionWeight(const RateCorrectionRule& rule, const RateOfSite& site) {
  const double kappa = rule.kappa_per_site * static_cast<double>(site.sites);
  const double rate =
      (site.folded_decayed + kappa * site.share) / (site.folded_decayed_sum + kappa);
  return std::min(1 / rate, rule.cap / site.share);
}

}  // namespace consilium::federation
