// Rate correction: sites that deliver more often would own the model; weighting with the inverse
// of their share among the folded updates gives each its share of patients back.
//
//   weight = min(p_i/r̂_i, cap),   r̂_i = (c_i + κ·p_i)/(Σc + κ)
//
// with c_i the decayed counts of folded updates: of versions, never of wall time, so that a replay
// gives the same. κ keeps it neutral while little has been folded.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_RATE_CORRECTION_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_RATE_CORRECTION_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"

namespace consilium::federation {

struct RateCorrectionRule {
  double cap = 10;
  double kappa_per_site = 2;
  double decay = 0.98;  // Of the counts, per version.
};

// INVALID_ARGUMENT where a value is out of its range; 0 is a field's default.
absl::StatusOr<RateCorrectionRule> RateCorrectionRuleOf(const v1::RateCorrection& stage);

struct RateOfSite {
  double share = 0;               // p_i in (0, 1].
  double folded_decayed = 0;      // c_i
  double folded_decayed_sum = 0;  // Σc over the members.
  size_t sites = 0;               // N; κ = kappa_per_site·N.
};
// The factor beside the size factor p_i: min(1/r̂_i, cap/p_i). So p_i times it is at most the cap.
double RateCorrectionWeight(const RateCorrectionRule& rule, const RateOfSite& site);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_RATE_CORRECTION_H_
