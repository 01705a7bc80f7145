// Tasks from grant to outbox. One training at a time over all runs, oldest grant first; a task
// starts when the outbox has room, the run has started, and a model not below its base_min is here,
// to whose newest it is bound. A site whose update waits for its task_duration_min counts as busy.
//
// Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_TASKS_H_
#define CONSILIUM_SITE_AGENT_CORE_TASKS_H_

#include "site_agent/core/events.h"
#include "site_agent/core/site_state.h"

namespace consilium::site {

// So many tasks a site takes of one run: of a run of V versions of K updates each, twice V·K and a
// few, even if all of them are this site's and every other one comes too late. With buckets, and
// where K is a share of the live sites, it counts as no less than one site's updates that may wait
// for a version.
size_t TasksMax(const v1::RunPlan& plan);

void OnTaskOffered(StepContext& step, const TaskOffered& event);
void OnTrainDone(StepContext& step, const TrainDone& event);
void OnTrainFailed(StepContext& step, const TrainFailed& event);

// Ends a task that was not sent.
void WithdrawTask(StepContext& step, const TaskRef& ref);

// The process started: what was training is granted again.
void ResumeTasks(StepContext& step, const RunId& id, RunState& run);

// Lets go of trained updates whose time has come.
void ReleaseTrained(StepContext& step, const RunId& id, RunState& run);

// Starts the next training, of whichever run, if one may start.
void StartTraining(StepContext& step);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_TASKS_H_
