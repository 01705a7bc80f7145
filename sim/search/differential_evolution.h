// Differential evolution, DE/rand/1/bin (Storn and Price, doi:10.1023/A:1008202821328), in steady
// state: for the parent x of the next place, with three others a, b, c of the population as it is
// now, coordinate j of the offspring is
//   a_j + F·(b_j − c_j)   with probability CR, and for one j drawn at random;   x_j otherwise,
// and the offspring takes the place when its loss is known and no greater than that of who is there
// then. Nobody waits for the others of a generation, so the points depend on the order of results.
// A coordinate outside of [0, 1] is drawn anew between a_j and the bound.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_DIFFERENTIAL_EVOLUTION_H_
#define CONSILIUM_SIM_SEARCH_DIFFERENTIAL_EVOLUTION_H_

#include <optional>
#include <vector>

#include "sim/search/algorithm.h"
#include "sim/search/sampling.h"

namespace consilium {

class EvolutionAlgorithm final : public SearchAlgorithm {
 public:
  explicit EvolutionAlgorithm(const v1::SearchSpace& space);
  // The first population, drawn at random, and then generations · population offspring. An
  // offspring needs four places whose losses are known.
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  uint64_t trials_max() const override;

 private:
  struct Member {
    Point point;
    double loss = 0;
  };
  std::optional<Proposal> Offspring(uint64_t trial);

  const v1::SearchSpace space_;
  DistinctDraws draws_;
  TrialNumbers numbers_;
  std::vector<std::optional<Member>> population_;  // Nothing where the loss is not known yet.
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_DIFFERENTIAL_EVOLUTION_H_
