#include "models/metrics/discrete_hazard.h"

#include <algorithm>
#include <cmath>

namespace consilium {
namespace {

// ln(1 + e^z) = −ln(1 − σ(z)), and of −z it is −ln σ(z): no overflow, and small ones keep their
// digits.
double Softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

}  // namespace

HazardIntervals::HazardIntervals(std::span<const double> ends) {
  float begin = 0;
  for (const double end : ends) {
    ends_.push_back(static_cast<float>(end));
    middles_.push_back(0.5 * (double{begin} + double{ends_.back()}));
    begin = ends_.back();
  }
}

Lived HazardIntervals::Of(float label) const {
  if (label > 0) {
    const auto next = std::upper_bound(ends_.begin(), ends_.end(), label);
    return {static_cast<size_t>(next - ends_.begin()), next != ends_.end()};
  }
  const auto next = std::upper_bound(middles_.begin(), middles_.end(), double{-label});
  return {static_cast<size_t>(next - middles_.begin()), false};
}

double HazardLoss(std::span<const float> logits, const Lived& lived) {
  double loss = 0;
  for (const float logit : logits.first(lived.intervals)) loss += Softplus(logit);
  if (lived.has_event) loss += Softplus(-double{logits[lived.intervals]});
  return loss;
}

double ExpectedIntervalsLost(std::span<const float> logits) {
  double lost = 0;
  double cumulative = 0;  // −ln S_k.
  for (const float logit : logits) {
    cumulative += Softplus(logit);
    lost -= std::expm1(-cumulative);
  }
  return lost;
}

}  // namespace consilium
