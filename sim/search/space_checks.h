// Ranges, names and combinations of a search space. A file of sim/search/space.h.
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_SPACE_CHECKS_H_
#define CONSILIUM_SIM_SEARCH_SPACE_CHECKS_H_

#include "absl/status/status.h"
#include "consilium/v1/search_space.pb.h"

namespace consilium {

void FillSearchDefaults(v1::SearchSpace& space);

// INVALID_ARGUMENT begins with the field's path.
absl::Status CheckSearchSpace(const v1::SearchSpace& space);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SPACE_CHECKS_H_
