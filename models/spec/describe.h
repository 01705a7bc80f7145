// What a model is and what it costs, for a person or a program (`consilium model describe`).
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_DESCRIBE_H_
#define CONSILIUM_MODELS_SPEC_DESCRIBE_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/spec/model_graph.h"

namespace consilium {

struct LayerDescription {
  std::string name;
  std::string kind;  // "linear", as the field of v1::Layer; an activation by its function.
  std::vector<std::string> inputs;
  std::vector<int64_t> output_shape;  // Without the batch.
  uint64_t parameters = 0;
  uint64_t multiply_adds = 0;  // Of one example's forward pass; matrix products only.
};

struct ModelDescription {
  std::string name;
  std::vector<int64_t> input_shape;
  std::string loss;
  std::vector<LayerDescription> layers;
  uint64_t parameters = 0;
  uint64_t multiply_adds = 0;
  // One version, one update: what is stored and sent.
  uint64_t payload_bytes = 0;
  // One example's outputs of all layers, as training keeps them for the backward pass. A site
  // needs about 4 × payload_bytes (weights, gradient, two moments of Adam) and this times the
  // batch.
  uint64_t activation_bytes = 0;
  std::string layout_hash;  // Hexadecimal.
};

ModelDescription DescribeModel(const ModelGraph& graph);

// A table for a terminal, with a line for each layer and the sums below.
std::string DescriptionText(const ModelDescription& description);

// Every field of the structs above, under its own name.
nlohmann::ordered_json DescriptionJson(const ModelDescription& description);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_DESCRIBE_H_
