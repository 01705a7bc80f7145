// A run's way at this site: offered, decided, its statistics sent, started, ended.
//
// Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_RUNS_H_
#define CONSILIUM_SITE_AGENT_CORE_RUNS_H_

#include "site_agent/core/events.h"
#include "site_agent/core/site_state.h"

namespace consilium::site {

// Plans are the largest of what an aggregator says, and each is kept before anyone has looked at
// it. Beyond these an offer is not looked at (BUSY): plans held at one time, and plans ever written
// to the journal.
inline constexpr uint64_t kPlanBytesHeldMax = uint64_t{32} << 20;
inline constexpr uint64_t kPlanBytesTakenMax = uint64_t{256} << 20;

// REASON_UNSPECIFIED where a run that was not known before would be looked at; else why not.
v1::Reason ReasonAgainst(const SiteState& site, const RunOffered& event);

void OnRunOffered(StepContext& step, const RunOffered& event);
void OnPlanChecked(StepContext& step, const PlanChecked& event);
void OnStatisticsComputed(StepContext& step, const StatisticsComputed& event);
void OnRunStarted(StepContext& step, const RunStarted& event);
void OnRunEnded(StepContext& step, const RunEnded& event);
void OnRunWithdrawn(StepContext& step, const RunWithdrawn& event);

// The link is up: what the aggregator may not have heard is said again.
void RepeatRefusal(StepContext& step, RunState& run);

// Lets go of the plan of a run that is over.
void SettlePlan(StepContext& step, RunState& run);

// The process started: asks again for what no answer to was recorded.
void ResumeRun(StepContext& step, const RunId& id, RunState& run);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_RUNS_H_
