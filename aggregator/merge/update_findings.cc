#include "aggregator/merge/update_findings.h"

#include <cmath>

namespace consilium {

void UpdateFindings::Add(std::span<const float> values) {
  AddSquares(elements_, values, lanes_);
  elements_ += values.size();
}

double UpdateFindings::norm() const { return std::sqrt(SumOfLanes(lanes_)); }

bool UpdateFindings::finite() const { return std::isfinite(SumOfLanes(lanes_)); }

}  // namespace consilium
