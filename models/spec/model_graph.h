// A model spec, checked and sized: every expression evaluated, every shape known, every limit
// met, before anything is allocated for the model and without any tensor library.
// models/torch turns it into a module; the aggregator needs only its layout and initial values.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_MODELS_SPEC_MODEL_GRAPH_H_
#define CONSILIUM_MODELS_SPEC_MODEL_GRAPH_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/model_spec.pb.h"
#include "models/spec/layout.h"

namespace consilium {

// Outputs of a discrete hazard.
inline constexpr int kHazardIntervalsMin = 2;
inline constexpr int kHazardIntervalsMax = 1024;

struct GraphLayer {
  std::string name;
  // The kind and its settings; expressions inside are replaced by `units`.
  v1::Layer spec;
  // Indices of the layers read; -1 is the input.
  std::vector<int> inputs;
  std::vector<std::vector<int64_t>> input_shapes;  // Without the batch.
  std::vector<int64_t> output_shape;
  // Evaluated expressions, where the kind has them.
  int64_t units = 0;  // Linear, Embedding; Conv: the output's channels.
  int64_t kernel = 0;
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t groups = 1;
  int64_t entries = 0;
  // Indices into layout.tensors: weight, bias, running_mean, running_var, of those that it has.
  std::vector<int> tensors;
  uint64_t multiply_adds = 0;  // Of one example's forward pass.
};

struct ModelGraph {
  std::string name;
  std::vector<int64_t> input_shape;
  std::vector<GraphLayer> layers;  // Evaluation order; the last is the output.
  v1::Loss::Kind loss = v1::Loss::KIND_UNSPECIFIED;
  // Of a DISCRETE_HAZARD, one for each output: what the data contract says (run_plan.h's GraphOf).
  std::vector<double> interval_ends;
  Layout layout;

  const std::vector<int64_t>& output_shape() const { return layers.back().output_shape; }
  uint64_t multiply_adds() const;
};

// `parameters` overrides the spec's defaults; a name that the spec does not have is refused.
// INVALID_ARGUMENT names the layer and says what is wrong with it; RESOURCE_EXHAUSTED names the
// limit (protocol/wire/limits.h). The loss and the output shape must agree.
absl::StatusOr<ModelGraph> BuildModelGraph(const v1::ModelSpec& spec,
                                           const std::map<std::string, int64_t>& parameters);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_MODEL_GRAPH_H_
