// An update's way into the federation: fenced, known or new, admitted or refused; and what a site
// is told again about updates that it has heard nothing final of.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_UPDATE_INTAKE_H_
#define CONSILIUM_AGGREGATOR_CORE_UPDATE_INTAKE_H_

#include "aggregator/core/events.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// Answers with exactly one RefuseUpdate or acceptance receipt. The same update again gets the
// same answer (and its terminal receipt, where it has one); another update for a known task is
// refused TASK_CONFLICT with an alarm.
void OnUpdateStaged(StepContext& step, const UpdateStaged& update);

// An accepted update that the site has not heard the end of: its terminal receipt, where it has
// one. False where it was never accepted here.
bool AnswerHeldReceipt(StepContext& step, const SiteId& site, const SiteAttached::Held& held);
// More than a site has on their way at once.
inline constexpr size_t kEndsToldAgain = 8;

// Ends of the newest tasks that the site knows of, up to `newest_task`: the acceptance of an upload
// may still be on its way to it while it attaches, and then it does not know that it waits for an
// end, which was told to the stream before. Who knows an end already takes it as said.
void TellEndsAgain(StepContext& step, const SiteId& site, const RunState& run, TaskId newest_task);

// The receipt of a task that was accepted: ACCEPTED, or the one that ended it.
SendReceipt AcceptanceReceipt(const SiteId& site, const RunState& run, TaskId task,
                              const TaskState& state);
SendReceipt TerminalReceipt(const SiteId& site, const RunState& run, TaskId task,
                            const TaskState& state);

// The update will not be in any version: terminal receipt, and its blob may go where the run
// keeps none.
void EndNotIncluded(StepContext& step, RunState& run, const SiteId& site, TaskId task);
// What of the site's waits to be folded ends NOT_INCLUDED.
void DropBuffered(StepContext& step, RunState& run, const SiteId& site);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_UPDATE_INTAKE_H_
