// The fairness contract at work: after each version every member's part in the last ones is
// measured against its share of patients, by the coefficients with which updates were folded and
// never by time. Who is far below is granted shorter tasks; who is far above because it delivers
// more often than its patients are worth rests between its tasks, for a multiple of the time that
// it worked, which a timer ends: so nobody waits for ever, and nobody is left out.
// strategies/fairness.h has the numbers. Nothing here does anything where the run has no contract.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_FAIR_SHARES_H_
#define CONSILIUM_AGGREGATOR_CORE_FAIR_SHARES_H_

#include <cstddef>
#include <cstdint>

#include "aggregator/core/federation.h"
#include "aggregator/core/strategies/fairness.h"

namespace consilium::federation {

// A version was committed: sets every member's deviation, ends the rests of those who are not above
// any more, and raises an alarm where the contract is broken over a whole window; once a window at
// most for each member, and with other words where it has been broken for a window since.
void MeasureShares(StepContext& step, RunState& run);

// Whether the member counts in the contract: it had an update in the window, or has not been there
// for as long as the window.
bool IsLive(const RunState& run, const Participant& participant);

// How many members are live; of a run with a contract. One look at each member for a version.
size_t LiveMembers(RunState& run);

// What the next task of the member is to have.
uint32_t LocalStepsFor(const RunState& run, const Participant& participant);

// At most so many open tasks it may have now: none while it rests, one while it is one to rest.
size_t OpenTasksNow(const RunState& run, const Participant& participant, size_t otherwise);

// An update of the member was accepted or refused; before it is granted another.
void RestAfterAnswer(StepContext& step, RunState& run, const SiteId& site);
// The timer `number` fired: whose rest it was; empty where it is over already.
SiteId EndRest(RunState& run, uint64_t number);
// The member leaves, or comes (again): nothing of before counts.
void ForgetShare(RunState& run, Participant& participant);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_FAIR_SHARES_H_
