// What a trial's objectives are, out of the summary of its simulation (`consilium-sim run --json`)
// and the size of its model.
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_OBJECTIVES_H_
#define CONSILIUM_SIM_SEARCH_OBJECTIVES_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "consilium/v1/search_space.pb.h"
#include "sim/search/trial.h"

namespace consilium {

struct ModelSize {
  uint64_t parameters = 0;     // Elements of the layout.
  uint64_t multiply_adds = 0;  // Of one example's forward pass.
};

// Means and deviations over the summary's seeds. A result with an error where an objective is not
// there, or no finite number, for some seed.
TrialResult ResultOf(const v1::SearchSpace& space, const nlohmann::json& summary,
                     const ModelSize& size);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_OBJECTIVES_H_
