// What may be forgotten. A run that keeps its updates (the default) forgets nothing until it is
// purged; with UNTIL_DURABLE an update goes when no version to come can need it, and a model when
// no grant may be trained on it and it can not be the result.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_RETENTION_H_
#define CONSILIUM_AGGREGATOR_CORE_RETENTION_H_

#include "aggregator/core/federation.h"

namespace consilium::federation {

// Whether a version to come may need the site's latest update again.
bool KeepsLatestOf(const RunState& run, const SiteId& site);
// Emits Forget, unless the run keeps its updates.
void ForgetUpdate(StepContext& step, const RunState& run, const Digest& update);
// After a commit: models that nothing can name again.
void ForgetOldModels(StepContext& step, RunState& run);
// The run has ended: its result and its last version stay.
void ForgetAtEnd(StepContext& step, RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_RETENTION_H_
