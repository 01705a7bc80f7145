// A run's way at this site: offered, decided, its statistics sent, started, ended.
//
// Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_RUNS_H_
#define CONSILIUM_SITE_AGENT_CORE_RUNS_H_

#include "site_agent/core/events.h"
#include "site_agent/core/site_state.h"

namespace consilium::site {

void OnRunOffered(StepContext& step, const RunOffered& event);
void OnPlanChecked(StepContext& step, const PlanChecked& event);
void OnStatisticsComputed(StepContext& step, const StatisticsComputed& event);
void OnRunStarted(StepContext& step, const RunStarted& event);
void OnRunEnded(StepContext& step, const RunEnded& event);

// The process started: asks again for what no answer to was recorded.
void ResumeRun(StepContext& step, const RunId& id, RunState& run);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_RUNS_H_
