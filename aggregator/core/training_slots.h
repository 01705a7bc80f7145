// Who trains where a plan has concurrency (FedBuff, arXiv:2106.06639): a bounded number of slots,
// each held by one member for one task. A slot is free again when an update of that task has come,
// when its holder leaves, or at its deadline. The holder then keeps its task, and what comes of it
// later counts as any update of its age: nobody else's work hangs on it, and it would train on in
// any case. It gets no other slot before.
//
// A free slot goes to a member that is connected and may have a task, each as likely as the others.
// Who is away gets none: it would hold the slot, and train nothing, until the deadline.
//
// The draw follows from the run's seed, the model, the number of the slot and the journal's place,
// so that a journal draws the same again. Who is asked is a function of the state alone, and no
// list of those who wait is kept.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_TRAINING_SLOTS_H_
#define CONSILIUM_AGGREGATOR_CORE_TRAINING_SLOTS_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// 0 in a run without concurrency.
size_t FreeSlots(const RunState& run);

// One of the members of which `may_train` is true, uniformly; nothing where there is none. Of a
// run with concurrency.
std::optional<SiteId> DrawForSlot(const StepContext& step, RunState& run,
                                  absl::FunctionRef<bool(const SiteId&)> may_train);

// The member, which is granted a task now, holds a slot. One must be free.
void TakeSlot(StepContext& step, RunState& run, const SiteId& site);
// Nothing where it holds none.
void LeaveSlot(RunState& run, const SiteId& site);
// The deadline of the slot `number` is over, and with it those of all older ones.
void EndLateSlots(StepContext& step, RunState& run, uint64_t number);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_TRAINING_SLOTS_H_
