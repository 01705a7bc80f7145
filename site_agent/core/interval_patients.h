// Of how many patients each interval of a DISCRETE_HAZARD speaks. Row k of such a model's output
// layer has a gradient from those alone who lived through interval k or had the event in it
// (models/metrics/discrete_hazard.h): of one patient, it is that patient's features. So an update
// is of no more patients than its thinnest interval, whoever else its steps have seen.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_CORE_INTERVAL_PATIENTS_H_
#define CONSILIUM_SITE_AGENT_CORE_INTERVAL_PATIENTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "models/spec/examples.h"

namespace consilium::site {

// [intervals]: the different patients of `part` who add to each; never rising from one interval to
// the next. Empty with another loss. Of `part` labels and patients are read.
std::vector<uint64_t> PatientsPerInterval(const v1::RunPlan& resolved, const Examples& part);

// The smallest count that is not 0; where there is none, `otherwise`.
uint64_t FewestPatients(std::span<const uint64_t> patients_per_interval, uint64_t otherwise);

// Refusal TOO_FEW_EXAMPLES names the end of the first interval that some patients add to, but fewer
// than the minimum. `patients_per_interval`: of the plan.
absl::Status CheckIntervals(const v1::RunPlan& resolved,
                            std::span<const uint64_t> patients_per_interval,
                            uint64_t minimum_count);

// Clears the metrics where some of `part`, but fewer than the minimum, had the event within the
// intervals, or had not: an event after the last one is to this loss as a life through all of them,
// so WithholdSmallCounts (release_rules.h), which counts all events, does not see these few. With
// another loss nothing changes.
void WithholdFewEventsInIntervals(const v1::RunPlan& resolved, uint64_t minimum_count,
                                  const Examples& part, v1::MetricSums& metrics);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_INTERVAL_PATIENTS_H_
