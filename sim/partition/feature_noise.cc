#include "sim/partition/feature_noise.h"

#include <algorithm>
#include <cmath>

#include "models/spec/features.h"
#include "protocol/wire/derived_seed.h"
#include "site_agent/ingest/contract_check.h"

namespace consilium {
namespace {

double DeviationOf(const std::vector<RawRow>& rows, size_t column) {
  double count = 0;
  double sum = 0;
  for (const RawRow& row : rows) {
    if (std::isnan(row.values[column])) continue;
    ++count;
    sum += row.values[column];
  }
  if (count == 0) return 0;
  const double mean = sum / count;
  double squares = 0;
  for (const RawRow& row : rows) {
    if (!std::isnan(row.values[column])) squares += std::pow(row.values[column] - mean, 2);
  }
  return std::sqrt(squares / count);
}

double DeviationOfTensor(const std::vector<RawRow>& rows, size_t begin, size_t end) {
  double count = 0;
  double sum = 0;
  double squares = 0;
  for (const RawRow& row : rows) {
    for (size_t i = begin; i < end; ++i) sum += row.tensors[i];
    count += static_cast<double>(end - begin);
  }
  const double mean = count > 0 ? sum / count : 0;
  for (const RawRow& row : rows) {
    for (size_t i = begin; i < end; ++i) squares += std::pow(row.tensors[i] - mean, 2);
  }
  return count > 0 ? std::sqrt(squares / count) : 0;
}

struct TensorPlace {
  const v1::Tensor& tensor;
  size_t begin = 0;  // Among the numbers of a row's tensors.
};

// `level_per_site`: the noise of the first site, in standard deviations of the column.
void AddTensorNoise(const TensorPlace& place, double level_per_site,
                    std::span<const size_t> site_of, RandomStream& random,
                    std::vector<RawRow>& rows) {
  const size_t end = place.begin + TensorElements(place.tensor);
  const double unit = level_per_site * DeviationOfTensor(rows, place.begin, end);
  for (size_t r = 0; r < rows.size(); ++r) {
    const double scale = unit * static_cast<double>(site_of[r] + 1);
    for (size_t i = place.begin; i < end; ++i) {
      float& value = rows[r].tensors[i];
      value = static_cast<float>(
          std::clamp(value + scale * random.NextNormal(), place.tensor.min(), place.tensor.max()));
    }
  }
}

double Within(const v1::Number& range, double value) {
  value = std::clamp(value, range.min(), range.max());
  if (!range.integer()) return value;
  return std::clamp(std::round(value), std::ceil(range.min()), std::floor(range.max()));
}

}  // namespace

void AddFeatureNoise(const v1::DataContract& contract, const FeatureNoiseOptions& options,
                     std::span<const size_t> site_of, std::vector<RawRow>& rows) {
  if (options.level == 0) return;
  RandomStream random(SeedPath{.run_seed = options.seed, .purpose = "feature noise", .site = ""});
  size_t tensor_begin = 0;
  for (int c = 0; c < contract.columns_size(); ++c) {
    if (contract.columns(c).has_tensor()) {
      const v1::Tensor& tensor = contract.columns(c).tensor();
      AddTensorNoise({tensor, tensor_begin}, options.level / static_cast<double>(options.sites),
                     site_of, random, rows);
      tensor_begin += TensorElements(tensor);
    }
    if (!contract.columns(c).has_number()) continue;
    const double unit = options.level * DeviationOf(rows, c) / static_cast<double>(options.sites);
    for (size_t i = 0; i < rows.size(); ++i) {
      // Drawn for every row, so that one that was not measured changes no other.
      const double noise = unit * static_cast<double>(site_of[i] + 1) * random.NextNormal();
      double& value = rows[i].values[c];
      if (!std::isnan(value)) value = Within(contract.columns(c).number(), value + noise);
    }
  }
  if (!contract.patient_id_column().empty()) return;
  for (RawRow& row : rows) row.patient_id = PatientIdOfContent(row);
}

}  // namespace consilium
