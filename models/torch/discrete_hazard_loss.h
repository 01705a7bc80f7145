// The discrete-time hazard's likelihood as a loss, with its derivative, by their equations in f64.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_TORCH_DISCRETE_HAZARD_LOSS_H_
#define CONSILIUM_MODELS_TORCH_DISCRETE_HAZARD_LOSS_H_

#include <span>
#include <vector>

#include "models/metrics/discrete_hazard.h"

namespace consilium {

struct DiscreteHazardLoss {
  double loss = 0;
  std::vector<float> gradient;  // By each logit, row-major.
};

// Over m patients with logits [m, intervals.count()], row-major, and labels T for an event at T, −T
// where none was observed till T (m >= 1):
//   loss = 1/m Σ_patients (Σ_{k lived through} −ln(1 − h_k) + [event] −ln h_event),  h_k = σ(z_k)
//   ∂loss/∂z_k = h_k/m where the patient lived through k, (h_k − 1)/m in the event's interval, else
//   0
// What a patient lived through is HazardIntervals'. Where a logit that takes part is not a number,
// the loss is none either.
DiscreteHazardLoss DiscreteHazardLossOf(const HazardIntervals& intervals,
                                        std::span<const float> logits,
                                        std::span<const float> labels);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_TORCH_DISCRETE_HAZARD_LOSS_H_
