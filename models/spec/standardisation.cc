#include "models/spec/standardisation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/features.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

// Beyond it a count is not exact in f64.
constexpr uint64_t kCountMax = uint64_t{1} << 53;
// What rounding may do to a sum of up to kCountMax terms, relative to its size. Generous: it only
// has to tell rounding from invention.
constexpr double kRoundingSlack = 1e-9;
// Below this share of the second moment the variance is rounding, not spread.
constexpr double kConstantShare = 1e-12;

absl::Status CheckFeature(const Feature& feature, uint64_t count, double sum, double squares) {
  const auto invalid = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("feature ", feature.name, ": ", what));
  };
  if (count > kCountMax) return invalid("the count is beyond all reason");
  if (!std::isfinite(sum) || !std::isfinite(squares)) return invalid("a sum is not finite");
  const double n = static_cast<double>(count);
  const double largest = std::max(std::abs(feature.min), std::abs(feature.max));
  const double slack = kRoundingSlack * n * largest;
  if (sum < n * feature.min - slack || sum > n * feature.max + slack) {
    return invalid("the sum can not come from values within the contract's range");
  }
  const double squares_slack = slack * largest;
  if (squares > n * largest * largest + squares_slack) {
    return invalid("the sum of squares can not come from values within the contract's range");
  }
  if (squares < 0 || (count > 0 && squares < sum / n * sum - squares_slack)) {
    return invalid("the sum of squares is less than the sum allows");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckStatistics(const v1::DataContract& contract, const v1::StatisticsReport& report) {
  const std::vector<Feature> features = FeaturesOf(contract);
  const size_t size = features.size();
  if (static_cast<size_t>(report.counts_size()) != size ||
      static_cast<size_t>(report.sums_size()) != size ||
      static_cast<size_t>(report.sums_of_squares_size()) != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("the statistics do not have one entry for each of ", size, " features"));
  }
  for (size_t f = 0; f < size; ++f) {
    const int i = static_cast<int>(f);
    CONSILIUM_RETURN_IF_ERROR(
        CheckFeature(features[f], report.counts(i), report.sums(i), report.sums_of_squares(i)));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Standardisation> FoldStatistics(
    const v1::DataContract& contract, const std::map<SiteId, v1::StatisticsReport>& reports) {
  if (reports.empty()) return absl::InvalidArgumentError("no site has sent statistics");
  for (const auto& entry : reports) {
    if (absl::Status status = CheckStatistics(contract, entry.second); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("site ", entry.first.value(), ": ", status.message()));
    }
  }
  const std::vector<Feature> features = FeaturesOf(contract);
  v1::Standardisation result;
  for (size_t f = 0; f < features.size(); ++f) {
    const int i = static_cast<int>(f);
    double count = 0, sum = 0, squares = 0;
    for (const auto& entry : reports) {
      count += static_cast<double>(entry.second.counts(i));
      sum += entry.second.sums(i);
      squares += entry.second.sums_of_squares(i);
    }
    double mean = 0, deviation = 1;
    if (features[f].kind == Feature::Kind::kNumber && count > 0) {
      mean = sum / count;
      const double second = squares / count;
      const double variance = std::max(second - mean * mean, 0.0);
      if (variance > kConstantShare * second) deviation = std::sqrt(variance);
    }
    result.add_means(mean);
    result.add_deviations(deviation);
  }
  return result;
}

absl::Status CheckStandardisation(const v1::DataContract& contract,
                                  const v1::Standardisation& standardisation) {
  const std::vector<Feature> features = FeaturesOf(contract);
  const size_t size = features.size();
  if (static_cast<size_t>(standardisation.means_size()) != size ||
      static_cast<size_t>(standardisation.deviations_size()) != size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the standardisation does not have one entry for each of ", size, " features"));
  }
  for (size_t f = 0; f < size; ++f) {
    const double mean = standardisation.means(static_cast<int>(f));
    const double deviation = standardisation.deviations(static_cast<int>(f));
    if (!std::isfinite(mean) || !std::isfinite(deviation) || deviation <= 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "feature ", features[f].name, ": mean or deviation is not finite, or deviation not > 0"));
    }
  }
  return absl::OkStatus();
}

Digest StandardisationHash(const v1::Standardisation& standardisation) {
  FieldHasher hasher("consilium.standardisation.v1");
  hasher.Add(std::span<const double>(standardisation.means().data(),
                                     static_cast<size_t>(standardisation.means_size())));
  hasher.Add(std::span<const double>(standardisation.deviations().data(),
                                     static_cast<size_t>(standardisation.deviations_size())));
  return hasher.Finish();
}

}  // namespace consilium
