#include "aggregator/core/strategies/fairness.h"

#include <algorithm>
#include <cmath>

namespace consilium::federation {
namespace {

// Halvings of [1, largest]: beyond the precision of a double for any weight that occurs.
constexpr int kHalvings = 60;

// Whether capped weights leave all shares within (1 ± slack)·p_i.
bool KeepsShares(std::span<const RateShare> sites, double largest, double cap, double slack) {
  double total = 0;
  for (const RateShare& site : sites) total += std::min(site.share, cap * site.rate);
  // The site with the largest weight loses the most; whoever is not capped gains alike.
  const double least = std::min(1.0, cap / largest) / total;
  return least >= 1 - slack && 1 / total <= 1 + slack;
}

bool IsBearable(std::span<const RateShare> sites, double cap) {
  double sum = 0;
  double squares = 0;
  for (const RateShare& site : sites) {
    const double weight = std::min(site.share / site.rate, cap);
    sum += site.rate * weight;
    squares += site.rate * weight * weight;
  }
  return sum * sum >= kEffectiveShareMin * squares;
}

// The border in [low, high] of what holds on one side of it only: at `high` for kAbove, at `low`
// for kBelow.
enum class Holds : uint8_t { kAbove, kBelow };
template <typename Condition>
double Border(double low, double high, Holds where, const Condition& holds) {
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = low + (high - low) / 2;
    if (holds(middle) == (where == Holds::kAbove)) {
      high = middle;
    } else {
      low = middle;
    }
  }
  return where == Holds::kAbove ? high : low;
}

}  // namespace

absl::StatusOr<FairnessRule> FairnessRuleOf(const v1::FairnessContract& stage) {
  FairnessRule rule;
  if (stage.epsilon() != 0) rule.epsilon = stage.epsilon();
  if (stage.window_versions() != 0) rule.window_versions = stage.window_versions();
  if (stage.local_steps_share_min() != 0) rule.pace_share_min = stage.local_steps_share_min();
  if (!(rule.epsilon > 0 && rule.epsilon <= 1)) {
    return absl::InvalidArgumentError("aggregation.fairness.epsilon: must lie in (0, 1]");
  }
  if (!(rule.pace_share_min > 0 && rule.pace_share_min <= 1)) {
    return absl::InvalidArgumentError(
        "aggregation.fairness.local_steps_share_min: must lie in (0, 1]");
  }
  return rule;
}

double StrengthAgainst(const FairnessRule& rule, double deviation) {
  const double half = rule.epsilon / 2;
  return std::clamp((std::abs(deviation) - half) / half, 0.0, 1.0);
}

double StepsShare(const FairnessRule& rule, double deviation) {
  if (deviation >= 0) return 1;
  return 1 - (1 - rule.pace_share_min) * StrengthAgainst(rule, deviation);
}

double RestRatio(const FairnessRule& rule, double deviation) {
  if (deviation <= 0) return 0;
  return (1 / rule.pace_share_min - 1) * StrengthAgainst(rule, deviation);
}

FairCap FairCapOf(const FairnessRule& rule, std::span<const RateShare> sites) {
  double largest = 1;
  for (const RateShare& site : sites) largest = std::max(largest, site.share / site.rate);
  const double slack = rule.epsilon / 2;
  FairCap out;
  if (!KeepsShares(sites, largest, 1, slack)) {
    out.needed = Border(1, largest, Holds::kAbove,
                        [&](double cap) { return KeepsShares(sites, largest, cap, slack); });
  }
  out.bearable = largest;
  if (!IsBearable(sites, largest)) {
    out.bearable =
        Border(1, largest, Holds::kBelow, [&](double cap) { return IsBearable(sites, cap); });
  }
  return out;
}

double FairWeight(const FairWeightInput& input) {
  const double lacking = input.lacking / input.updates + input.of_a_version / 2;
  const double wanted = input.by_rate / 2 + (input.per_weight > 0 ? lacking / input.per_weight : 0);
  return std::min(std::max(wanted, input.by_rate / 4), input.cap);
}

}  // namespace consilium::federation
