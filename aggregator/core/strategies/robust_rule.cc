#include "aggregator/core/strategies/robust_rule.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {
namespace {

using Config = v1::AggregationConfig;
using Kind = RobustRule::Kind;

constexpr uint32_t kIterationsMax = 32;
constexpr uint32_t kBucketsMax = kStepVectorsMax;  // Their means are compared in one step.

absl::Status Refusal(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(std::string("aggregation.combine") + std::string(field) + ": " +
                                    std::string(what));
}

std::optional<RobustRule> RuleOfPreset(Config::Preset preset) {
  RobustRule rule;
  switch (preset) {
    case Config::COORDINATE_MEDIAN:
      return rule;
    case Config::TRIMMED_MEAN:
      rule.kind = Kind::kTrimmedMean;
      return rule;
    case Config::KRUM:
      rule.kind = Kind::kKrum;
      return rule;
    case Config::MULTI_KRUM:
      rule.kind = Kind::kKrum;
      rule.chosen = 0;
      return rule;
    case Config::GEOMETRIC_MEDIAN:
      rule.kind = Kind::kGeometricMedian;
      return rule;
    case Config::BASGD:
      rule.kind = Kind::kBuckets;
      return rule;
    default:
      return std::nullopt;
  }
}

Kind KindOf(const v1::Combine& combine) {
  switch (combine.kind_case()) {
    case v1::Combine::kTrimmedMean:
      return Kind::kTrimmedMean;
    case v1::Combine::kKrum:
      return Kind::kKrum;
    case v1::Combine::kGeometricMedian:
      return Kind::kGeometricMedian;
    case v1::Combine::kBuckets:
      return Kind::kBuckets;
    default:
      return Kind::kMedian;
  }
}

void TakeValues(const v1::Combine& combine, RobustRule& rule) {
  if (combine.trimmed_mean().has_share()) rule.share = combine.trimmed_mean().share();
  if (combine.krum().has_hostile_max()) rule.hostile_max = combine.krum().hostile_max();
  if (combine.krum().has_chosen()) rule.chosen = combine.krum().chosen();
  const v1::GeometricMedian& median = combine.geometric_median();
  if (median.iterations() != 0) rule.iterations = median.iterations();
  if (median.smoothing() != 0) rule.smoothing = median.smoothing();
  if (combine.buckets().buckets() != 0) rule.buckets = combine.buckets().buckets();
  rule.band_versions = combine.band_versions();
}

absl::Status CheckValues(const RobustRule& rule) {
  if (!(rule.share >= 0 && rule.share < 0.5)) {
    return Refusal(".trimmed_mean.share", "must be at least 0 and below 0.5");
  }
  if (rule.iterations > kIterationsMax) {
    return Refusal(".geometric_median.iterations", "must be at most 32");
  }
  if (!(rule.smoothing > 0) || !std::isfinite(rule.smoothing)) {
    return Refusal(".geometric_median.smoothing", "must be above 0");
  }
  if (rule.buckets < 2 || rule.buckets > kBucketsMax) {
    return Refusal(".buckets.buckets", absl::StrCat("must be from 2 to ", kBucketsMax));
  }
  if (rule.kind == Kind::kBuckets && rule.band_versions != 0) {
    return Refusal(".band_versions", "buckets compare all sites");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<RobustRule>> RobustRuleOf(const Config& config) {
  std::optional<RobustRule> rule = RuleOfPreset(config.preset());
  const v1::Combine& combine = config.combine();
  if (combine.kind_case() != v1::Combine::KIND_NOT_SET) {
    if (!rule.has_value()) {
      rule.emplace().kind = KindOf(combine);
    } else if (rule->kind != KindOf(combine)) {
      return Refusal("", "is another rule than the preset's");
    }
  } else if (!rule.has_value()) {
    if (combine.band_versions() == 0) return rule;
    return Refusal(".band_versions", "a mean compares no updates");
  }
  TakeValues(combine, *rule);
  CONSILIUM_RETURN_IF_ERROR(CheckValues(*rule));
  return rule;
}

size_t UpdatesMin(const RobustRule& rule) {
  return rule.kind == Kind::kKrum ? 2 * size_t{rule.hostile_max.value_or(0)} + 3 : 1;
}

size_t HostileOf(const RobustRule& rule, size_t updates) {
  const size_t most = updates < 3 ? 0 : (updates - 3) / 2;
  return rule.hostile_max.has_value() ? std::min<size_t>(*rule.hostile_max, most) : most;
}

size_t CutOf(const RobustRule& rule, size_t updates) {
  const size_t most = (updates - 1) / 2;
  if (rule.kind != Kind::kTrimmedMean) return most;
  // A share that is a whole number of updates may lie a rounding above it.
  constexpr double kRounding = 1e-9;
  const double cut = std::ceil(rule.share * static_cast<double>(updates) - kRounding);
  return std::min(most, static_cast<size_t>(std::max(cut, 0.0)));
}

}  // namespace consilium::federation
