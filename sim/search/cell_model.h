// The model spec of a stack of cells. From the example to the head:
//   average over squares of side `pooling`, where that is above 1; the stem, a 3 × 3 convolution
//   then `stages` times `cells` cells, the positions halved and the channels doubled before each
//     stage but the first: by maximum pooling, or by the reduction cell
//   an average over all positions, and the head: what the base spec has behind its last flatten
// A cell reads the two cells before it, each brought to the stage's channels by a 1 × 1
// convolution; its output is all that none of its nodes reads, side by side. In a reduction cell
// every operation on one of those two, and what puts an unread one into the output, goes in steps
// of two positions: n of them become ⌈n/2⌉; an identity is a 1 × 1 convolution there, and so is
// what the next cell reads of the cell before the reduction. Convolutions come behind a ReLU and
// before a normalisation over the example (group norm of one group), which federations take better
// than batches' statistics.
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_CELL_MODEL_H_
#define CONSILIUM_SIM_SEARCH_CELL_MODEL_H_

#include "absl/status/statusor.h"
#include "consilium/v1/model_spec.pb.h"
#include "sim/search/cell_space.h"

namespace consilium {

// `base` gives name, parameters, input shape, head and loss. INVALID_ARGUMENT: it has no flatten,
// nor a global average, behind which a head begins; or no images or signals. What else may be wrong
// with it is for BuildModelGraph.
absl::StatusOr<v1::ModelSpec> CellModel(const v1::ModelSpec& base, const CellDesign& design);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_CELL_MODEL_H_
