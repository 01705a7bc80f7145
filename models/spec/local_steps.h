// How many local steps the tasks of a plan may have: what a site's people approve, and what an
// aggregator may ask for.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_LOCAL_STEPS_H_
#define CONSILIUM_MODELS_SPEC_LOCAL_STEPS_H_

#include <cstdint>

#include "consilium/v1/run_config.pb.h"

namespace consilium {

// Both inclusive; 1 <= min <= max where the plan has its defaults.
struct LocalStepsRange {
  uint32_t min = 1;
  uint32_t max = 1;
};

// training.local_steps alone, unless a fairness contract lets tasks be shorter; with arrival groups
// their own.
LocalStepsRange LocalStepsOf(const v1::RunConfig& config);

// The smallest whole number of steps that is at least `share` (0 to 1) of `steps`; at least 1.
uint32_t StepsAtShare(uint32_t steps, double share);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_LOCAL_STEPS_H_
