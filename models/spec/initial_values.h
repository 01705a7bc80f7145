// Version 0 of a run: drawn from the spec's initialisers with a derived seed, one stream for each
// tensor by its name, so that adding a layer does not change the others.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_INITIAL_VALUES_H_
#define CONSILIUM_MODELS_SPEC_INITIAL_VALUES_H_

#include <cstdint>
#include <vector>

#include "models/spec/model_graph.h"

namespace consilium {

// layout.elements() floats in the layout's order. Stream: SeedPath{run_seed, "initial_model",
// site = tensor name}. Allocates that much: check the layout against a budget first.
std::vector<float> InitialValues(const ModelGraph& graph, uint64_t run_seed);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_INITIAL_VALUES_H_
