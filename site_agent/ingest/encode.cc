#include "site_agent/ingest/encode.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "models/spec/features.h"
#include "models/spec/standardisation.h"
#include "protocol/core/status_macros.h"
#include "site_agent/ingest/value_matcher.h"

namespace consilium {
namespace {

constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

absl::Status CheckRow(const v1::DataContract& contract, const RawRow& row) {
  if (row.values.size() != static_cast<size_t>(contract.columns_size())) {
    return absl::InvalidArgumentError("a stored row does not have the contract's columns");
  }
  size_t tensor_elements = 0;
  for (int c = 0; c < contract.columns_size(); ++c) {
    const v1::Column& column = contract.columns(c);
    const double value = row.values[static_cast<size_t>(c)];
    const auto unfit = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat("a stored row does not fit the contract: \"", column.name(), "\" ", what));
    };
    if (column.has_tensor()) {
      tensor_elements += TensorElements(column.tensor());
    } else if (std::isnan(value)) {
      const v1::Missing::Rule rule = column.missing().rule();
      if (rule != v1::Missing::CONSTANT && rule != v1::Missing::MEAN) return unfit("is missing");
    } else if (column.has_number()) {
      if (value < column.number().min() || value > column.number().max()) {
        return unfit("is out of its range");
      }
    } else if (value < 0 || value >= column.category().values_size() ||
               std::floor(value) != value) {
      return unfit("is none of its values");
    }
  }
  if (row.tensors.size() != tensor_elements) {
    return absl::InvalidArgumentError("a stored row does not have the contract's tensors");
  }
  return absl::OkStatus();
}

// x of one feature before standardising, or NaN where it was not measured.
double RawFeature(const Feature& feature, const RawRow& row) {
  if (feature.kind == Feature::Kind::kTensorElement) {
    return (row.tensors[static_cast<size_t>(feature.value)] - feature.mean) / feature.deviation;
  }
  const double value = row.values[static_cast<size_t>(feature.column)];
  if (std::isnan(value) || feature.kind == Feature::Kind::kNumber) return value;
  return value == feature.value ? 1 : 0;
}

// What a row adds to a feature's sums. Nothing where it was not measured; nothing for a category's
// values or a tensor's numbers, which no standardisation needs and whose sums would be its exact
// counts, or an image of everybody.
std::optional<double> Summed(const Feature& feature, const RawRow& row) {
  if (feature.kind != Feature::Kind::kNumber) return std::nullopt;
  const double x = RawFeature(feature, row);
  if (std::isnan(x)) return std::nullopt;
  return x;
}

// What stands for each feature that was not measured, before standardising: the contract's
// constant, or for MEAN the mean of the federation.
absl::StatusOr<std::vector<double>> Substitutes(const v1::DataContract& contract,
                                                const std::vector<Feature>& features,
                                                const v1::Standardisation& standardisation) {
  std::vector<double> substitutes;
  for (const Feature& feature : features) {
    const v1::Column& column = contract.columns(feature.column);
    const bool is_number = feature.kind == Feature::Kind::kNumber;
    double substitute = kNotMeasured;
    if (column.missing().rule() == v1::Missing::CONSTANT) {
      substitute = column.missing().constant();
      if (!is_number) {
        const std::optional<double> value = ParseNumber(column.category().values(feature.value));
        substitute = value == substitute ? 1 : 0;
      }
    } else if (column.missing().rule() == v1::Missing::MEAN) {
      if (is_number && standardisation.means().empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("\"", column.name(),
                         "\" takes the federation's mean where it is missing, but the run "
                         "exchanges no statistics"));
      }
      substitute = is_number ? standardisation.means(static_cast<int>(substitutes.size())) : 0;
    }
    substitutes.push_back(substitute);
  }
  return substitutes;
}

absl::Status CheckParts(const SplitRows& input) {
  if (input.rows.size() == input.parts.size()) return absl::OkStatus();
  return absl::InvalidArgumentError("rows and their parts of the split are not equally many");
}

}  // namespace

absl::StatusOr<v1::StatisticsReport> StatisticsOf(const v1::DataContract& contract,
                                                  const SplitRows& input) {
  CONSILIUM_RETURN_IF_ERROR(CheckParts(input));
  const std::vector<Feature> features = FeaturesOf(contract);
  v1::StatisticsReport report;
  report.mutable_counts()->Resize(static_cast<int>(features.size()), 0);
  report.mutable_sums()->Resize(static_cast<int>(features.size()), 0);
  report.mutable_sums_of_squares()->Resize(static_cast<int>(features.size()), 0);
  for (size_t r = 0; r < input.rows.size(); ++r) {
    if (input.parts[r] != v1::TRAIN) continue;
    CONSILIUM_RETURN_IF_ERROR(CheckRow(contract, input.rows[r]));
    for (int f = 0; f < report.counts_size(); ++f) {
      const std::optional<double> x = Summed(features[static_cast<size_t>(f)], input.rows[r]);
      if (!x.has_value()) continue;
      report.set_counts(f, report.counts(f) + 1);
      report.set_sums(f, report.sums(f) + *x);
      report.set_sums_of_squares(f, report.sums_of_squares(f) + *x * *x);
    }
  }
  return report;
}

absl::StatusOr<std::vector<uint64_t>> PatientsPerFeature(const v1::DataContract& contract,
                                                         const SplitRows& input) {
  CONSILIUM_RETURN_IF_ERROR(CheckParts(input));
  const std::vector<Feature> features = FeaturesOf(contract);
  std::vector<absl::flat_hash_set<absl::string_view>> measured(features.size());
  for (size_t r = 0; r < input.rows.size(); ++r) {
    if (input.parts[r] != v1::TRAIN) continue;
    CONSILIUM_RETURN_IF_ERROR(CheckRow(contract, input.rows[r]));
    for (size_t f = 0; f < features.size(); ++f) {
      if (Summed(features[f], input.rows[r]).has_value()) {
        measured[f].insert(input.rows[r].patient_id);
      }
    }
  }
  std::vector<uint64_t> counts;
  counts.reserve(measured.size());
  for (const auto& patients : measured) counts.push_back(patients.size());
  return counts;
}

absl::StatusOr<Examples> TrainingLabels(const SplitRows& input) {
  CONSILIUM_RETURN_IF_ERROR(CheckParts(input));
  Examples part;
  absl::flat_hash_map<absl::string_view, uint32_t> patients;
  for (size_t r = 0; r < input.rows.size(); ++r) {
    if (input.parts[r] != v1::TRAIN) continue;
    const auto number = static_cast<uint32_t>(patients.size());
    part.labels.push_back(static_cast<float>(input.rows[r].label));
    part.patients.push_back(patients.emplace(input.rows[r].patient_id, number).first->second);
  }
  return part;
}

absl::StatusOr<SplitExamples> EncodeRows(const v1::DataContract& contract,
                                         const v1::Standardisation& standardisation,
                                         const SplitRows& input) {
  CONSILIUM_RETURN_IF_ERROR(CheckParts(input));
  const std::vector<Feature> features = FeaturesOf(contract);
  const bool standardise = !standardisation.means().empty();
  if (standardise) CONSILIUM_RETURN_IF_ERROR(CheckStandardisation(contract, standardisation));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<double> substitutes,
                             Substitutes(contract, features, standardisation));
  SplitExamples result;
  for (Examples* part : {&result.train, &result.validation, &result.test}) {
    part->features = features.size();
  }
  absl::flat_hash_map<absl::string_view, uint32_t> patients;
  for (size_t r = 0; r < input.rows.size(); ++r) {
    const RawRow& row = input.rows[r];
    CONSILIUM_RETURN_IF_ERROR(CheckRow(contract, row));
    const auto number = static_cast<uint32_t>(patients.size());
    Examples& part = input.parts[r] == v1::TRAIN        ? result.train
                     : input.parts[r] == v1::VALIDATION ? result.validation
                                                        : result.test;
    for (size_t f = 0; f < features.size(); ++f) {
      double x = RawFeature(features[f], row);
      if (std::isnan(x)) x = substitutes[f];
      if (standardise) {
        const int i = static_cast<int>(f);
        x = (x - standardisation.means(i)) / standardisation.deviations(i);
      }
      part.values.push_back(static_cast<float>(x));
    }
    part.labels.push_back(static_cast<float>(row.label));
    part.patients.push_back(patients.emplace(row.patient_id, number).first->second);
  }
  return result;
}

}  // namespace consilium
