// What the sites report about versions, and what follows: target, patience, the result.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_EVALUATION_H_
#define CONSILIUM_AGGREGATOR_CORE_EVALUATION_H_

#include <cstdint>

#include "aggregator/core/events.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// How many versions, the current one included, a site that was away is asked to evaluate; their
// models are kept for it.
inline constexpr uint64_t kEvaluationsAskedAgainMax = 8;

// The first report of a site counts. One that can not be (CheckMetricSums) raises an alarm
// MALFORMED.
void OnEvaluationReported(StepContext& step, const EvaluationReported& event);

// Tells all attached members of a version and asks for its evaluation, where the plan has such a
// part.
void AnnounceToAll(StepContext& step, RunState& run, Version version, v1::Split evaluate);
// At attach: the versions that the site has not evaluated and the run still needs. Those are the
// current one, a few before it, and the result when closing; the current one comes last.
void AnnounceMissed(StepContext& step, const RunState& run, const SiteId& site);

// Whether every member has reported on that part (a report without metrics, for lack of
// examples, counts), or the plan has no such part.
bool IsComplete(RunState& run, Version version, v1::Split split);

// The best on validation by stop.select_by. Compared are the versions that every member has
// evaluated which is attached or has evaluated the last version, over those members: a hospital
// that has been gone for long neither freezes the choice nor changes whose patients are counted.
// The last version where there is none, the earliest of equals.
Version ChooseResult(const StepContext& step, const RunState& run);

// Reports that were missing may be missing no more: scores versions and stops or goes on.
void AfterMembersChanged(StepContext& step, RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_EVALUATION_H_
