// Makes a federation that breaks an invariant smaller, as long as it breaks the same one: fewer
// sites and versions, fields of run config and scenario left out or halved, one after the other,
// until nothing can go any more (Zeller and Hildebrandt, "Simplifying and isolating
// failure-inducing input", doi:10.1109/32.988498, taken one field at a time).
//
// Threads: one.

#ifndef CONSILIUM_SIM_CHECK_SHRINK_H_
#define CONSILIUM_SIM_CHECK_SHRINK_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "sim/check/federation_case.h"

namespace consilium {

// Each a little smaller than `federation`; the largest steps first.
std::vector<FederationCase> Smaller(const FederationCase& federation);

struct Shrunk {
  FederationCase federation;
  uint64_t tried = 0;
};
// `is_broken` says whether a federation breaks the invariant in question. At most `tries_max`
// calls.
Shrunk Shrink(const FederationCase& federation,
              const std::function<bool(const FederationCase&)>& is_broken, uint64_t tries_max);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CHECK_SHRINK_H_
