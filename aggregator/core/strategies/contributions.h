// What the rules that combine updates share: an update's part in the next version, and the product
// of its factors.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_CONTRIBUTIONS_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_CONTRIBUTIONS_H_

#include "aggregator/core/run_state.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

// Of an accepted update of a participant, as it would be folded into the version after the current
// one; no factors yet.
Contribution ContributionOf(const RunState& run, const SiteId& site, TaskId task,
                            Contribution::Role role);

// The coefficient becomes the product of the factors.
void SetCoefficient(Contribution& contribution);

// η, where the server's step is linear in the updates.
void AppendLearningRate(const Stages& stages, double learning_rate, Contribution& contribution);

// transform.clip_norm: shortens Δ to that norm, min(1, clip/‖Δ‖), by a factor of the coefficient
// that is there already. Nothing where the run has no clip.
void AppendClip(const RunState& run, Contribution& contribution);

// The plan's local steps over the task's, where the task was shorter; nothing elsewhere.
void AppendShorterTask(const RunState& run, Contribution& contribution);

// What the update counts in the version, as that of a whole task: the product of its factors but
// kShorterTask and kRescale.
double InfluenceOf(const Contribution& contribution);

// As how many updates rate correction counts it: 1; with a fairness contract its s(τ), so that who
// is always late is corrected for that too.
double FoldedAs(const RunState& run, const Contribution& contribution);

// min(1, longest/norm); 1 for a norm of 0.
double ShorteningTo(double longest, double norm);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_CONTRIBUTIONS_H_
