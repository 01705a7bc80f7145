#include "models/spec/local_steps.h"

#include <algorithm>
#include <cmath>

namespace consilium {

LocalStepsRange LocalStepsOf(const v1::RunConfig& config) {
  const uint32_t steps = config.training().local_steps();
  if (config.aggregation().trigger().has_groups()) {
    const v1::Trigger::Groups& groups = config.aggregation().trigger().groups();
    return {.min = groups.local_steps_min(), .max = groups.local_steps_max()};
  }
  if (!config.aggregation().has_fairness()) return {.min = steps, .max = steps};
  const double share = config.aggregation().fairness().local_steps_share_min();
  return {.min = StepsAtShare(steps, share), .max = steps};
}

uint32_t StepsAtShare(uint32_t steps, double share) {
  const double whole = std::ceil(static_cast<double>(steps) * std::clamp(share, 0.0, 1.0));
  return std::max<uint32_t>(1, static_cast<uint32_t>(whole));
}

}  // namespace consilium
