// What a search algorithm is to the loop that runs its trials: it is asked for points and told
// their losses, in whatever order they become known. It knows nothing of simulations.
//
// Every draw has a stream of its own, derived from the space's seed and the trial's number, so that
// grid, random search and the generational ones try the same points whatever the order of results,
// and the others whenever results come in the same order.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_ALGORITHM_H_
#define CONSILIUM_SIM_SEARCH_ALGORITHM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "consilium/v1/search_space.pb.h"
#include "sim/search/space.h"

namespace consilium {

struct Proposal {
  uint64_t trial = 0;  // Numbers are given without gaps, from 0, but may be told in any order.
  Point point;
  uint64_t slot = 0;  // The algorithm's own: the place in a population, the number of a draw.
  uint32_t rung = 0;  // Of successive halving.
};

class SearchAlgorithm {
 public:
  virtual ~SearchAlgorithm() = default;

  // The next trial; nothing where results are awaited, or where there is no more to try: so it has
  // ended when it gives nothing although all that it asked for is told.
  virtual std::optional<Proposal> Ask() = 0;

  // Losses, to be minimised; infinite where the trial failed. What was not asked for here was asked
  // for by an earlier process: it is told before the first Ask, in the order in which it was known.
  virtual void Tell(const Proposal& proposal, const std::vector<double>& losses) = 0;

  // Trials that it will ask for at most.
  virtual uint64_t trials_max() const = 0;

  // Why Ask gives nothing, where that is no end but an error.
  virtual absl::Status status() const { return absl::OkStatus(); }
};

// The one that `space`, which is resolved, names.
std::unique_ptr<SearchAlgorithm> MakeAlgorithm(const v1::SearchSpace& space);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_ALGORITHM_H_
