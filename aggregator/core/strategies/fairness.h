// The fairness contract: each live site's part in the last versions stays within (1 ± ε)·p_i.
//
// A site's deviation d is its part over the part that its patients are worth, less one. What is
// done about it begins at half of ε and is at its strongest at ε, so that a contract that can be
// kept is kept with room to spare:
//
//   strength = clamp((|d| − ε/2)/(ε/2), 0, 1)
//
// below, its tasks get shorter (StepsShare); above, it rests between them (RestRatio). Where the
// rule has rate correction, FairCap says how large a weight the contract needs.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_FAIRNESS_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_FAIRNESS_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"

namespace consilium::federation {

struct FairnessRule {
  double epsilon = 0.25;
  uint32_t window_versions = 50;
  double pace_share_min = 0.25;  // Of the plan's local steps, and of the time a site works.
};

// INVALID_ARGUMENT where a value is out of its range; 0 is a field's default.
absl::StatusOr<FairnessRule> FairnessRuleOf(const v1::FairnessContract& stage);

// 0 to 1, as above; of which side d is on the caller asks.
double StrengthAgainst(const FairnessRule& rule, double deviation);

// Which share of the plan's local steps a task gets: 1 down to pace_share_min below the contract's
// inner half, 1 elsewhere.
double StepsShare(const FairnessRule& rule, double deviation);

// How long a site rests after a task, over how long it worked on it: 0 up to 1/pace_share_min − 1
// above the contract's inner half, 0 elsewhere.
double RestRatio(const FairnessRule& rule, double deviation);

// One live site: its share of patients, and of folded updates; both in (0, 1], each summing to 1.
struct RateShare {
  double share = 0;  // p_i
  double rate = 0;   // r̂_i
};
struct FairCap {
  // The smallest cap C >= 1 on x_i = p_i/r̂_i with which the shares min(p_i, C·r̂_i)/Σ_j lie within
  // (1 ± ε/2)·p_i.
  double needed = 1;
  // The largest with which the effective sample size, (Σ r̂_i w_i)²/Σ r̂_i w_i² for
  // w_i = min(x_i, C), is at least kEffectiveShareMin of the updates: so that no few updates carry
  // the model.
  double bearable = 1;
};
inline constexpr double kEffectiveShareMin = 0.25;
FairCap FairCapOf(const FairnessRule& rule, std::span<const RateShare> sites);

// What an update weighs (p_i times its rate correction), where what is due to its site is known:
//
//   clamp(x_i/2 + (D_i/m_i + p_i·M/2)/u, x_i/4, C)
//
// so that half follows from the site's rate, and half from what it lacks: its part after the update
// is as far above what is due as it was below before it, whatever s(τ) and chance have taken.
struct FairWeightInput {
  double by_rate = 1;       // x_i = p_i/r̂_i
  double lacking = 0;       // D_i: what was due to the site in the window, less its influence.
  double of_a_version = 0;  // p_i·M, M the mean sum of coefficients of a version.
  double updates = 1;       // m_i: of the site in this version.
  double per_weight = 1;    // u: what a weight of 1 is in the coefficient: η·s(τ)/K.
  double cap = 1;           // C
};
double FairWeight(const FairWeightInput& input);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_FAIRNESS_H_
