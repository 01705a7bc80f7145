// A version of a run with ZENO: which of its updates count, and how much. The mean of those that
// do, each as long as the validator's update:
//
//   d = (1/|A|)·Σ_{i∈A} s(τ_i)·Δ_i·‖v‖/‖Δ_i‖,   A by strategies/zeno_rule.h
//
// With one update a version (the default) that is the paper's. Who is not in A is in the version
// with a coefficient of 0, and so is the validator's update, which is v in the versions from this
// one on (validator.h).
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ZENO_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ZENO_H_

#include <span>
#include <utility>
#include <vector>

#include "aggregator/core/run_state.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {

// The updates of `batch`, none of which counts yet.
std::vector<Contribution> CombineScored(const RunState& run,
                                        std::span<const std::pair<SiteId, TaskId>> batch);

// ⟨v, Δ_i⟩ of each update that is not the validator's, in order.
void AppendScoreSteps(const RunState& run, const std::vector<Contribution>& contributions,
                      VectorProgram& program);
// `products`: what those steps brought. Sets which updates count.
void DecideByScores(const RunState& run, std::span<const double> products, PendingProgram& pending);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ZENO_H_
