// Grants are credits: a site may train a granted task when it gets to it, on the newest version
// that it holds. Without a barrier a member always has as many as the plan allows; with one it
// has one for each round that awaits it (rounds.h). Whether the member is attached does not count:
// an update can be whole here after its sender has died, and what is granted in its place, on which
// least base, must not hang on that. With a bound on who is ahead (stale-synchronous) a member
// waits while it is that many answers ahead of the slowest; so one that is gone holds up the others
// until it is removed. Who is gone hears of its open grants when it attaches. A fairness contract
// makes tasks shorter and has sites rest (fair_shares.h); with arrival groups a member has one, of
// as many steps as its group leaves it, and the next when its update is in a version
// (arrival_groups.h). With concurrency a grant needs one of a few slots, which are drawn for, among
// those who are attached (training_slots.h). What a validator's task hangs on, and the others' on
// it: validator.h.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_TASK_GRANTS_H_
#define CONSILIUM_AGGREGATOR_CORE_TASK_GRANTS_H_

#include <cstddef>
#include <optional>

#include "aggregator/core/federation.h"

namespace consilium::federation {

// The most tasks that a site may have open.
size_t OpenTasksMax(const RunState& run);

// Accepted updates of the site that wait in the buffer.
size_t WaitingOf(const RunState& run, const SiteId& site);
// Updates of one site that may wait for a version, its open grants included; nothing where every
// update that comes brings the next version nearer. Else one site alone could fill the disk while
// the others are away.
std::optional<size_t> WaitingMax(const RunState& run);

// What a member may have and has not; nothing unless the run runs. With concurrency: what is drawn
// for the free slots, whoever that is of all members.
void GrantTasks(StepContext& step, RunState& run, const SiteId& site);
void GrantToAll(StepContext& step, RunState& run);
// After `site`'s update was accepted or refused: to the site, and with kBounded, or if it is the
// validator, to those who waited for it.
void GrantAfterAnswer(StepContext& step, RunState& run, const SiteId& site);
// Says open grants again.
void OfferOpenTasks(StepContext& step, const RunState& run, const SiteId& site);
// Open grants end; a late update is told `reason`.
void WithdrawTasks(StepContext& step, RunState& run, const SiteId& site, v1::Reason reason);

// Interval: its timer is set, when a version is there.
void BeginInterval(StepContext& step, RunState& run);
// Whether the time since the current version is over.
bool IsIntervalOver(const RunState& run);
// Bounded: a new member begins level with the slowest of the others, so that nobody waits for what
// it has missed.
void JoinLevel(RunState& run, const SiteId& site);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_TASK_GRANTS_H_
