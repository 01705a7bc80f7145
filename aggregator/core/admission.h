// Whether an update may count: pure checks of what the shell found out about it against the run
// and the grant, each with its reason.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_ADMISSION_H_
#define CONSILIUM_AGGREGATOR_CORE_ADMISSION_H_

#include <cstdint>
#include <string>

#include "aggregator/core/events.h"
#include "aggregator/core/run_state.h"

namespace consilium::federation {

// Whatever a plan says: no sum of updates below this, nor their squares in an optimizer's moments,
// comes near the largest f32, so that no site can end a run with finite numbers.
inline constexpr double kUpdateRmsMax = 1e6;

// limits.staleness_versions_max, or its default.
uint64_t StalenessMax(const RunState& run);

// limits.site_examples_max, or its default.
uint64_t SiteExamplesMax(const RunState& run);

// What stands against folding `update` for the open grant `task` of a running run;
// REASON_UNSPECIFIED: nothing. In this order:
//   LAYOUT_MISMATCH   names, shapes or sizes are not the run's
//   BASE_UNKNOWN      the base version does not exist, or is not the one named
//   TOO_STALE         the base is older than the grant or the limit allows
//   NOT_FINITE        a NaN or an infinity, in the values, the norm or the loss
//   NORM_TOO_LARGE    ‖Δ‖₂ is above limits.update_norm_max, or the root mean square of Δ above
//                     kUpdateRmsMax
//   MALFORMED         the rule counts local steps, and the task does not have so many
//   TOO_FEW_EXAMPLES  trained on no example
//   TOO_MANY_EXAMPLES trained on more than SiteExamplesMax
v1::Reason ReasonAgainst(const RunState& run, const TaskState& task, const UpdateStaged& update);

// The sentence for a person: a function of what is recorded, so that the same refusal always
// says the same. `task` may be nullptr where there is none.
std::string SentenceFor(v1::Reason reason, const RunState* run, const TaskState* task);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_ADMISSION_H_
