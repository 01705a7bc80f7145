#include "site_agent/core/interval_patients.h"

#include <algorithm>
#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "models/metrics/discrete_hazard.h"
#include "protocol/wire/reasons.h"

namespace consilium::site {
namespace {

bool IsHazard(const v1::RunPlan& resolved) {
  return resolved.spec().loss().kind() == v1::Loss::DISCRETE_HAZARD;
}

HazardIntervals IntervalsOf(const v1::RunPlan& resolved) {
  const auto& ends = resolved.contract().label().survival().interval_ends();
  return HazardIntervals({ends.data(), static_cast<size_t>(ends.size())});
}

}  // namespace

std::vector<uint64_t> PatientsPerInterval(const v1::RunPlan& resolved, const Examples& part) {
  if (!IsHazard(resolved)) return {};
  const HazardIntervals intervals = IntervalsOf(resolved);
  // Who adds to an interval adds to all before it.
  absl::flat_hash_map<size_t, size_t> intervals_of;
  for (size_t i = 0; i < part.count(); ++i) {
    const Lived lived = intervals.Of(part.labels[i]);
    size_t& most = intervals_of[part.patient(i)];
    most = std::max(most, lived.intervals + (lived.has_event ? 1 : 0));
  }
  std::vector<uint64_t> counts(intervals.count(), 0);
  for (const auto& [patient, most] : intervals_of) {
    for (size_t k = 0; k < most; ++k) ++counts[k];
  }
  return counts;
}

uint64_t FewestPatients(std::span<const uint64_t> patients_per_interval, uint64_t otherwise) {
  for (auto count = patients_per_interval.rbegin(); count != patients_per_interval.rend();
       ++count) {
    if (*count != 0) return *count;
  }
  return otherwise;
}

absl::Status CheckIntervals(const v1::RunPlan& resolved,
                            std::span<const uint64_t> patients_per_interval,
                            uint64_t minimum_count) {
  for (size_t k = 0; k < patients_per_interval.size(); ++k) {
    const uint64_t count = patients_per_interval[k];
    if (count == 0 || count >= minimum_count) continue;
    const double end = resolved.contract().label().survival().interval_ends(static_cast<int>(k));
    return Refusal(v1::TOO_FEW_EXAMPLES,
                   absl::StrCat("only ", count,
                                " patients are watched into the interval that ends "
                                "at ",
                                end, "; this site's minimum is ", minimum_count,
                                ": take earlier interval_ends"));
  }
  return absl::OkStatus();
}

void WithholdFewEventsInIntervals(const v1::RunPlan& resolved, uint64_t minimum_count,
                                  const Examples& part, v1::MetricSums& metrics) {
  if (!IsHazard(resolved)) return;
  const HazardIntervals intervals = IntervalsOf(resolved);
  absl::flat_hash_set<size_t> with;
  absl::flat_hash_set<size_t> without;
  for (size_t i = 0; i < part.count(); ++i) {
    (intervals.Of(part.labels[i]).has_event ? with : without).insert(part.patient(i));
  }
  for (const auto* patients : {&with, &without}) {
    if (!patients->empty() && patients->size() < minimum_count) metrics.Clear();
  }
}

}  // namespace consilium::site
