// Aging evolution (Real et al., arXiv:1802.01548, algorithm 1): the population is the trials that
// became known last, whatever their losses; the best of a sample of it, drawn with replacement, is
// the parent of the next trial, which differs from it in the value of one parameter. So a point
// stays only through children that are as good when they are tried again. Nobody waits for others:
// the points hang on the order of results.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_AGING_EVOLUTION_H_
#define CONSILIUM_SIM_SEARCH_AGING_EVOLUTION_H_

#include <deque>
#include <optional>
#include <vector>

#include "protocol/wire/derived_seed.h"
#include "sim/search/algorithm.h"
#include "sim/search/sampling.h"

namespace consilium {

class AgingEvolutionAlgorithm final : public SearchAlgorithm {
 public:
  explicit AgingEvolutionAlgorithm(const v1::SearchSpace& space);
  // The first population, drawn at random; then children, as soon as a sample is known.
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  uint64_t trials_max() const override { return space_.aging_evolution().trials(); }

 private:
  struct Member {
    Point point;
    double loss = 0;
  };
  const Point& Parent(RandomStream& random) const;
  // Where the parameter is the same trial at any coordinate, it is left out.
  void Mutate(RandomStream& random, Point& point) const;

  const v1::SearchSpace space_;
  std::vector<size_t> mutable_;  // Parameters of more than one value.
  DistinctDraws draws_;
  TrialNumbers numbers_;
  std::deque<Member> population_;  // The oldest first.
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_AGING_EVOLUTION_H_
