// A trial: a point that was tried, and what came of it.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_SEARCH_TRIAL_H_
#define CONSILIUM_SIM_SEARCH_TRIAL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/search/algorithm.h"

namespace consilium {

// What every trial tells, whatever its objectives are; means over seeds.
struct TrialCosts {
  uint64_t parameters = 0;
  uint64_t multiply_adds = 0;
  double virtual_seconds = 0;
  double upload_bytes = 0;
  double wall_seconds = 0;
};

struct TrialResult {
  std::string error;               // Empty where the trial succeeded; else nothing below counts.
  std::vector<double> objectives;  // Means over seeds, finite, in the space's order.
  std::vector<double> deviations;  // Over seeds (n − 1); 0 of one seed.
  TrialCosts costs;
};

struct Trial {
  Proposal proposal;
  std::vector<std::string> texts;  // Of the parameters, in the space's order.
  // The earlier trial of the same texts whose result this is: it was not run again.
  std::optional<uint64_t> same_as;
  TrialResult result;

  uint64_t number() const { return proposal.trial; }
  bool succeeded() const { return result.error.empty(); }
};

// Of the trials that were run, succeeded and came to the highest rung that any came to: those of
// which no other is at least as good in every objective and better in one. With one objective, the
// best. By their numbers, in order.
std::vector<uint64_t> BestTrials(const v1::SearchSpace& space, const std::vector<Trial>& trials);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_TRIAL_H_
