// From the buffer to the next version: when, of what, by which program; and what follows when the
// program has been run.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_VERSION_FOLDING_H_
#define CONSILIUM_AGGREGATOR_CORE_VERSION_FOLDING_H_

#include "aggregator/core/events.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// Looks at the trigger; where it says so, asks for the program of the next version. Nothing
// while one is pending: it is called again when that ends.
void TryFold(StepContext& step, RunState& run);

// The version commits: inclusion receipts, announcements, the next round or fold, or the end.
// A second answer, or one to a program that was given up, changes nothing; an answer to a
// program that was never asked for raises an alarm. A direction that is not finite ends the run.
void OnComputeDone(StepContext& step, const ComputeDone& event);

// Emits the pending program (again).
void AskForPending(StepContext& step, const RunState& run);

// The run stops: what the pending version would have held, and the buffer, end NOT_INCLUDED.
void GiveUpPending(StepContext& step, RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_VERSION_FOLDING_H_
