#include "models/torch/discrete_hazard_loss.h"

#include <cmath>
#include <cstddef>

namespace consilium {
namespace {

double Sigmoid(double z) {
  const double small = std::exp(-std::abs(z));
  return (z >= 0 ? 1 : small) / (1 + small);
}

}  // namespace

DiscreteHazardLoss DiscreteHazardLossOf(const HazardIntervals& intervals,
                                        std::span<const float> logits,
                                        std::span<const float> labels) {
  DiscreteHazardLoss result;
  result.gradient.assign(logits.size(), 0);
  const size_t width = intervals.count();
  const double count = static_cast<double>(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    const Lived lived = intervals.Of(labels[i]);
    const std::span<const float> row = logits.subspan(i * width, width);
    const std::span<float> gradient = std::span(result.gradient).subspan(i * width, width);
    result.loss += HazardLoss(row, lived);
    for (size_t k = 0; k < lived.intervals; ++k) {
      gradient[k] = static_cast<float>(Sigmoid(row[k]) / count);
    }
    if (lived.has_event) {
      const double z = row[lived.intervals];
      gradient[lived.intervals] = static_cast<float>(-Sigmoid(-z) / count);
    }
  }
  result.loss /= count;
  return result;
}

}  // namespace consilium
