// The part of metrics.h that is about times to an event. Labels as there: T for an event at T > 0,
// −T where watching ended at T >= 0 without one.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_METRICS_SURVIVAL_H_
#define CONSILIUM_MODELS_METRICS_SURVIVAL_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "consilium/v1/coordination.pb.h"
#include "models/metrics/metrics.h"

namespace consilium {

// INVALID_ARGUMENT where a label is not finite.
absl::Status CheckSurvivalLabels(std::span<const float> labels);

uint64_t CountEvents(std::span<const float> labels);

// Sets c_index_* and cox_loss_sum as metrics.h says; width is 1, the outputs are finite.
// O(n log n).
void AddCoxSums(const Predictions& predictions, v1::MetricSums& sums);

// Sets c_index_* and log_loss_sum as metrics.h says; the outputs are finite, and their width is the
// number of interval_ends. O(n (log n + width)).
void AddDiscreteHazardSums(const Predictions& predictions, v1::MetricSums& sums);

// The part of CheckMetricSums: INVALID_ARGUMENT names the field that can not be so.
absl::Status CheckSurvivalSums(const v1::MetricSums& sums);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_METRICS_SURVIVAL_H_
