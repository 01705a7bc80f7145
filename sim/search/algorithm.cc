#include "sim/search/algorithm.h"

#include "sim/search/aging_evolution.h"
#include "sim/search/differential_evolution.h"
#include "sim/search/generational.h"
#include "sim/search/policy_gradient.h"
#include "sim/search/sampling.h"
#include "sim/search/successive_halving.h"

namespace consilium {

std::unique_ptr<SearchAlgorithm> MakeAlgorithm(const v1::SearchSpace& space) {
  switch (space.algorithm_case()) {
    case v1::SearchSpace::kGrid:
      return std::make_unique<GridAlgorithm>(space);
    case v1::SearchSpace::kDifferentialEvolution:
      return std::make_unique<EvolutionAlgorithm>(space);
    case v1::SearchSpace::kSuccessiveHalving:
      return std::make_unique<HalvingAlgorithm>(space);
    case v1::SearchSpace::kCmaEs:
    case v1::SearchSpace::kNsga2:
      return std::make_unique<GenerationalAlgorithm>(space);
    case v1::SearchSpace::kAgingEvolution:
      return std::make_unique<AgingEvolutionAlgorithm>(space);
    case v1::SearchSpace::kPolicyGradient:
      return std::make_unique<PolicyGradientAlgorithm>(space);
    case v1::SearchSpace::kRandom:
    case v1::SearchSpace::ALGORITHM_NOT_SET:  // A resolved space has one.
      break;
  }
  return std::make_unique<RandomAlgorithm>(space);
}

}  // namespace consilium
