#include "site_agent/runtime/statistics_sets.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/string_view.h"
#include "protocol/wire/hash.h"

namespace consilium::site {
namespace {

uint64_t TokenOf(absl::string_view key, absl::string_view column, absl::string_view patient,
                 const std::vector<double>& values) {
  FieldHasher hash("consilium.site.statistics.v1");
  hash.Add(key).Add(column).Add(patient).Add(uint64_t{values.size()});
  for (const double value : values) hash.Add(std::bit_cast<uint64_t>(value));
  const Digest digest = hash.Finish();
  uint64_t token = 0;
  memcpy(&token, digest.data(), sizeof(token));
  return token;
}

}  // namespace

std::vector<MeasuredSet> MeasuredSetsOf(const v1::DataContract& contract, const SplitRows& input,
                                        std::span<const uint8_t> key, uint64_t minimum_count) {
  const absl::string_view key_bytes(reinterpret_cast<const char*>(key.data()), key.size());
  std::vector<MeasuredSet> sets;
  for (int c = 0; c < contract.columns_size(); ++c) {
    const v1::Column& column = contract.columns(c);
    if (!column.has_number()) continue;
    std::map<absl::string_view, std::vector<double>> values_of;
    for (size_t r = 0; r < input.rows.size(); ++r) {
      if (input.parts[r] != v1::TRAIN) continue;
      const double value = input.rows[r].values.at(static_cast<size_t>(c));
      if (std::isnan(value)) continue;
      values_of[input.rows[r].patient_id].push_back(value);
    }
    if (values_of.size() < minimum_count) continue;
    MeasuredSet set;
    set.column = column.name();
    for (const auto& [patient, values] : values_of) {
      set.patients.push_back(TokenOf(key_bytes, column.name(), patient, values));
    }
    std::sort(set.patients.begin(), set.patients.end());
    sets.push_back(std::move(set));
  }
  return sets;
}

size_t DifferenceOf(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) ++common;
    const bool steps_a = a[i] <= b[j];
    const bool steps_b = b[j] <= a[i];
    i += steps_a ? 1 : 0;
    j += steps_b ? 1 : 0;
  }
  return std::max(a.size(), b.size()) - common;
}

}  // namespace consilium::site
