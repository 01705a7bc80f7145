// Robust rules in the place of the mean: from a batch of updates to each one's share, and the steps
// of the program that makes the direction. u_i = s(τ_i)·clip_i·Δ_i is what a rule compares.
//
//   median, trimmed mean  d_k = the middle values of u_1k … u_nk        (arXiv:1803.01498)
//   Krum, multi-Krum      d = mean of the m best u_i                    (NeurIPS 2017)
//   geometric median      d = Σ λ_i u_i                                 (arXiv:1912.13445)
//   buckets               d_k = median of the buckets' means at k       (arXiv:2003.00937)
//
// A share is recorded for each update. Of Krum and the geometric median it is what the update
// counts. Of median, trimmed mean and buckets no single number says that (another update is in the
// middle at each coordinate); what is recorded is nominal: its share if nothing were cut, 1/n, or
// 1/(buckets·updates of its bucket).
//
// Bands of staleness: updates whose τ lie in one interval of band_versions are compared with each
// other, and the bands' directions are averaged by their numbers of updates. A band of one or two
// beside others has nothing to compare with: it is their mean, each shortened to the median norm of
// the batch, so that a hostile site gains no more by being late than one honest update's length.
//
// Every result is independent of the order in which the updates came.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ROBUST_COMBINE_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ROBUST_COMBINE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "aggregator/core/run_state.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {

// As Combine(), for a run with a robust rule. Shares of rules that need distances are not in the
// factors yet, and the coefficients are 0.
std::vector<Contribution> CombineRobust(const RunState& run,
                                        std::span<const std::pair<SiteId, TaskId>> batch,
                                        double learning_rate);

// The inner products that the rule decides by, one step for each band that is compared.
void AppendDistanceSteps(const RunState& run, const std::vector<Contribution>& contributions,
                         VectorProgram& program);
// `scalars`: what those steps brought. Sets shares and coefficients.
void DecideByDistances(const RunState& run, std::span<const double> scalars,
                       PendingProgram& pending);

// The steps that add the rule's direction to `direction`.
void AppendRobustDirection(const RunState& run, const PendingProgram& pending,
                           const VectorName& direction, VectorProgram& program);

// Whether the rule has buckets, which wait for each other.
bool HasBuckets(const RunState& run);
// Buckets: whether the buffer is to be folded. A bucket counts while a member belongs to it. All
// that count have an update; or half of them have several, and those that are empty then are not
// waited for: they count as no change, so that fewer than half that are hostile still decide
// nothing.
bool AreBucketsReady(const RunState& run);
inline constexpr size_t kBucketUpdatesPatience = 4;

// Of the buckets that count, those without an update in `contributions`; 0 for other rules.
uint32_t EmptyBuckets(const RunState& run, const std::vector<Contribution>& contributions);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ROBUST_COMBINE_H_
