// The validator of a run with ZENO (strategies/zeno_rule.h): a member that trains as the others do,
// and whose updates are in the model in no other way than that theirs are scored by them. Its
// newest accepted update is the reference v. Its rows are held out in effect: no other site has
// them, and no update made of them is added.
//
//   * Before the first reference, and while the newest one is more than
//     limits.staleness_versions_max versions old, nothing can be scored: updates wait, and a site
//     has no more of them in hand than it may have open tasks.
//   * The validator has one task at a time, and none while an update of it that is young enough
//     waits for its version. In the buffer its update comes before the others'.
//   * It is in the version that it first scores, with a coefficient of 0, and is kept until the
//   next
//     one has taken its place.
//   * Without it, or with nobody beside it, the run ends.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_VALIDATOR_H_
#define CONSILIUM_AGGREGATOR_CORE_VALIDATOR_H_

#include <cstddef>
#include <string>

#include "aggregator/core/run_state.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

// False in a run without one.
bool IsValidator(const RunState& run, const SiteId& site);

// Its accepted updates that wait for a version: the first of the buffer.
size_t ValidatorsWaiting(const RunState& run);

// An accepted update enters the buffer: the validator's before those of others.
void WaitForScores(RunState& run, const SiteId& site, TaskId task);

// Whether there is a reference that is young enough. Of a run with ZENO.
bool HasReference(const RunState& run);

// Of `updates` from the front of the buffer: whether they make a version, because there is a
// reference and one of them is not the validator's. True in a run without one.
bool CanBeScored(const RunState& run, size_t updates);

// Whether a further task of the site would be of use to what is scored. `open_max`: the most open
// tasks of the plan. True in a run without one.
bool ScoringAllowsTask(const RunState& run, const SiteId& site, size_t open_max);

// Why these members can make no version; empty where they can.
std::string WhyNothingIsScored(const RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_VALIDATOR_H_
