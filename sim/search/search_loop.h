// Runs the trials that an algorithm asks for on a pool of threads, without any barrier: a thread
// that is free asks for the next trial at once. What was tried already is not tried again.
//
// Threads: RunSearchLoop makes them, and joins them before it returns.

#ifndef CONSILIUM_SIM_SEARCH_SEARCH_LOOP_H_
#define CONSILIUM_SIM_SEARCH_SEARCH_LOOP_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "sim/search/algorithm.h"
#include "sim/search/trial.h"

namespace consilium {

struct SearchLoopInput {
  v1::SearchSpace space;  // Resolved.
  SearchAlgorithm* algorithm = nullptr;
  size_t workers = 1;
  std::vector<Trial> known;  // Of earlier processes, in the order in which they were known.
  // Tries `trial`, whose result is empty: called from every thread. A trial that fails is a result
  // with an error; a Status ends the search.
  std::function<absl::StatusOr<TrialResult>(const Trial& trial)> evaluate;
  // Each trial as soon as it is known, before the algorithm hears of it: one call at a time. A
  // Status ends the search.
  std::function<absl::Status(const Trial& trial)> on_known;
};

// All trials, the known ones too, by their numbers. The first Status of evaluate, on_known or the
// algorithm, after the trials that were under way have ended.
absl::StatusOr<std::vector<Trial>> RunSearchLoop(SearchLoopInput input);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SEARCH_LOOP_H_
