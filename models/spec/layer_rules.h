// What one layer of each kind makes of its inputs: the shape of its output, its tensors and its
// cost, and what it refuses.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_LAYER_RULES_H_
#define CONSILIUM_MODELS_SPEC_LAYER_RULES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/spec/model_graph.h"

namespace consilium {

// Parameters of the spec by name, evaluated.
using ParameterValues = std::map<std::string, int64_t>;

// Whether the kind takes two inputs and more; all others take one.
bool TakesManyInputs(const v1::Layer& layer);

// Sets output_shape, the evaluated expressions and multiply_adds of `layer`, whose spec (with its
// defaults) and inputs are there; gives its tensors, "weight" before "bias" and before buffers,
// named without the layer. Errors as of BuildModelGraph; `path` is the layer's.
absl::StatusOr<std::vector<TensorSpec>> ApplyLayerRule(const std::string& path,
                                                       const ParameterValues& parameters,
                                                       GraphLayer& layer);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_LAYER_RULES_H_
