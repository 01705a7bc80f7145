// A run from its submission to its end: offers, the statistics phase, version 0, stopping, the
// last evaluations, the result (RunPhase in run_state.h; docs/adr/0001-lifecycle.md).
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_RUN_LIFECYCLE_H_
#define CONSILIUM_AGGREGATOR_CORE_RUN_LIFECYCLE_H_

#include <string>

#include "aggregator/core/events.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// Alarm SPEC_REFUSED, and no run, where the plan can not be run or the id is taken.
void OnRunSubmitted(StepContext& step, const RunSubmitted& event);
void OnRunDecided(StepContext& step, const RunDecided& event);
// A report that can not be one (CheckStatistics) makes the site refuse the run: MALFORMED, alarm.
void OnStatisticsReported(StepContext& step, const StatisticsReported& event);
// Ignored where the timer is not set (any more).
void OnTimerFired(StepContext& step, const TimerFired& event);
void OnStopRequested(StepContext& step, const StopRequested& event);
// Alarm where the run has not ended.
void OnPurgeRequested(StepContext& step, const PurgeRequested& event);

// After a start: what was asked of the shell and not answered.
void ResumeRun(StepContext& step, RunState& run);
// Everything that an attached site must know of a run that has not ended, in the order in which
// it needs it. Idempotent.
void TellRun(StepContext& step, const RunState& run, const SiteId& site);
// Tells of the newest tasks' ends again, and of the end of a run that is over. Gives RUN_UNKNOWN or
// TASK_UNKNOWN where the site knows more than was ever given to it: an aggregator's store that is
// older than the site's.
v1::Reason AnswerProgress(StepContext& step, const SiteId& site,
                          const SiteAttached::Progress& progress);
// The site takes no part any more: removed, or its consent is withdrawn.
void LeaveRun(StepContext& step, RunState& run, const SiteId& site, v1::Reason reason);

// Version 0 is durable.
void BeginRunning(StepContext& step, RunState& run);
// No version after the current one: every grant is withdrawn, what waits to be folded ends
// NOT_INCLUDED (no partial flush), a pending program is given up.
void StopRun(StepContext& step, RunState& run, std::string why);
// Goes on with closing as far as the evaluations that are in allow.
void AdvanceClosing(StepContext& step, RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_RUN_LIFECYCLE_H_
