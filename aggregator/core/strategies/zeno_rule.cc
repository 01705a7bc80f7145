#include "aggregator/core/strategies/zeno_rule.h"

#include <cmath>

namespace consilium::federation {

absl::StatusOr<ZenoRule> ZenoRuleOf(const v1::ZenoScore& config) {
  ZenoRule rule;
  rule.validator = SiteId(config.validator());
  if (rule.validator.empty()) {
    return absl::InvalidArgumentError("aggregation.transform.zeno.validator: must be given");
  }
  if (config.gamma() != 0) rule.gamma = config.gamma();
  if (config.rho() != 0) rule.rho = config.rho();
  rule.epsilon = config.epsilon();
  const bool in_range = std::isfinite(rule.gamma) && rule.gamma > 0 && std::isfinite(rule.rho) &&
                        rule.rho >= 0 && std::isfinite(rule.epsilon) && rule.epsilon >= 0;
  if (!in_range) {
    return absl::InvalidArgumentError(
        "aggregation.transform.zeno: gamma must be above 0, rho and epsilon 0 or more");
  }
  return rule;
}

std::optional<double> ZenoScaleOf(const ZenoRule& rule, const ZenoMeasures& measures) {
  if (measures.norm == 0) return std::nullopt;
  const double scale = measures.validator_norm / measures.norm;
  if (scale > kZenoScaleMax) return std::nullopt;
  const double score = rule.gamma * scale * measures.product -
                       rule.rho * measures.validator_norm * measures.validator_norm;
  if (score < -rule.gamma * rule.epsilon) return std::nullopt;
  return scale;
}

}  // namespace consilium::federation
