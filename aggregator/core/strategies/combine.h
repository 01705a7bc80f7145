// From accepted updates to what each counts in the next version, and the program that makes it.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_COMBINE_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_COMBINE_H_

#include <span>
#include <utility>
#include <vector>

#include "aggregator/core/run_state.h"
#include "aggregator/core/strategies/fairness.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {

// η of the step that folds `batch`: LearningRateAt the current version, times DelayFactor of the
// batch's staleness where the server's step is delay-adaptive.
double LearningRateFor(const RunState& run, std::span<const std::pair<SiteId, TaskId>> batch);

// What folding `batch` (accepted updates of members, in order of acceptance) into the version
// after the current one would take: each update of the batch once as kNew, in that order, and
// the table's entries that count too as kTableEntry. Each coefficient is the product of its
// factors; 0 for an update that a later one of its site in the same batch replaces in the table,
// or that is too old for it. `learning_rate` is LearningRateFor the batch.
//
//   FedAvg   d = Σ n_i Δ_i / Σ n_i                                    (arXiv:1602.05629)
//   FedNova  d = (Σ p_i τ_i)·Σ p_i Δ_i/τ_i, p_i = n_i/Σ n_j, τ_i local steps  (arXiv:2007.07481)
//   FedAsync d = α·s(τ)·(w_i − w)                                     (arXiv:1903.03934)
//   FedBuff  d = (1/K)·Σ s(τ_i)Δ_i                                    (arXiv:2106.06639)
//   CA2FL    d = (1/N)·Σ_i h_i + (1/M)·Σ_{i∈S}(Δ_i − h_i), h_i as it was when the version began
//   ACE(D)   d = mean of the latest Δ_i of every site that has one (and not too old a one)
//   DC-ASGD  d = Δ − λ/(ηS)·Δ⊙Δ⊙(w − w_base)                          (arXiv:1609.08326)
//   Zeno++   d = mean of the Δ_i that the validator's update speaks for (strategies/zeno.h)
//   table    d = Σ a_i h_i / Σ a_i, a_i = p_i·s(max(0, age_i − usual_i)), h_i the latest ones
std::vector<Contribution> Combine(const RunState& run,
                                  std::span<const std::pair<SiteId, TaskId>> batch,
                                  double learning_rate);

// The program of a pending version: a function of the state alone, so it can be asked for again.
VectorProgram ProgramOf(const RunState& run, const PendingProgram& pending);

// Of the live members and those of `batch`, with rate correction and a fairness contract.
FairCap FairCapOfRun(const RunState& run, std::span<const std::pair<SiteId, TaskId>> batch);

// p_i over the members: their share of all training examples.
double ExamplesOfMembers(const RunState& run);

// How old the site's entries usually get before they are replaced: the median of the last ages,
// in versions; for a first entry 2·(its staleness at acceptance) + 1.
double UsualAge(std::span<const uint64_t> replaced_ages, uint64_t staleness_when_accepted);
inline constexpr size_t kReplacedAgesMax = 5;

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_COMBINE_H_
