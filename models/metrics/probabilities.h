// Scores of the probabilities that a classifier gives.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_METRICS_PROBABILITIES_H_
#define CONSILIUM_MODELS_METRICS_PROBABILITIES_H_

#include <optional>

#include "models/metrics/metrics.h"

namespace consilium {

// Average precision times the number of positives: Σ over the positives of the precision among all
// that score as high or higher (ties count together). Labels 0 or 1, outputs finite; O(n log n).
// Nothing without positives.
std::optional<double> AveragePrecisionSum(const Predictions& predictions);

// Expected calibration error (Guo et al., arXiv:1706.04599) times the number of examples:
//   Σ_b |examples of bin b whose likeliest class is the label − Σ of that class' probabilities|
// over 10 equal bins (0, .1], …, (.9, 1] of the probability of the likeliest class. Outputs are
// finite logits: one each for labels 0 or 1, or `width` of them.
double CalibrationErrorSum(const Predictions& predictions);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_METRICS_PROBABILITIES_H_
