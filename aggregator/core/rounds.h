// Rounds: what a barrier waits for. A round is on the current version; every member is awaited, or
// as many as the plan has draw for it, and each has one task in it. The round is folded when it is
// over; where those who answered were refused and nobody else can bring it further, some try again.
//
// Threads: the engine's. Nothing here does anything where the trigger is no barrier.

#ifndef CONSILIUM_AGGREGATOR_CORE_ROUNDS_H_
#define CONSILIUM_AGGREGATOR_CORE_ROUNDS_H_

#include <cstddef>

#include "absl/time/time.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// Tasks of one site that a round grants without a wait, each after the one before was refused. What
// is refused so often will be refused again: an agent would train in vain until it had all the
// tasks that its plan allows, within minutes where it answers at once, and the run would stand.
inline constexpr size_t kTriesAtOnceMax = 3;
// From then on each try is after a wait: so long, or the round's deadline where that is longer,
// twice as long after each refusal, up to a day: time for a person to mend the site, or to remove
// it.
inline constexpr absl::Duration kRetryWaitMin = absl::Minutes(10);
inline constexpr absl::Duration kRetryWaitMax = absl::Hours(24);
// With so many the wait is the longest.
inline constexpr size_t kRefusalsCountedMax = kTriesAtOnceMax + 8;

// A round begins on the current version.
void BeginRound(StepContext& step, RunState& run);
// Others take the place of those who have left the open round, where members are drawn.
void RefillRound(StepContext& step, RunState& run);
// A new member is awaited in the round that is open, if there is room in it; not one that comes
// back to wait no longer.
void JoinRound(RunState& run, const SiteId& site);

// Updates without which no round is folded: 1, but where the rule compares them.
size_t RoundUpdatesMin(const RunState& run);
// Whether the round can be folded: enough have delivered, for the rule and for sites_min as far as
// there are as many members; and the others have been refused, or the deadline is over, or as many
// as are drawn have delivered.
bool IsRoundOver(const RunState& run);
// The round is folded: open tasks end, and its timers are gone.
void CloseRound(StepContext& step, RunState& run);

// Of a round that is not over: where nobody will bring it further otherwise, because those who
// answered were refused and the others are late or none, other members are drawn in their place
// where the plan has some drawn, and the late keep their tasks; else the refused may try again.
// Who was refused kTriesAtOnceMax times in a row waits for that.
void RetryRefused(StepContext& step, RunState& run);
// That wait is over.
void EndRetryWait(StepContext& step, RunState& run);
// After an update of the site was refused: an alarm, where it has to wait.
void TellOfRefusals(StepContext& step, const RunState& run, const SiteId& site, v1::Reason reason);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_ROUNDS_H_
