// A chain of linear layers, convolutions, pooling and activations in plain loops: forward, loss and
// backward of one batch in one go, without LibTorch. For models so small that LibTorch's calls cost
// more than their arithmetic; the same numbers as TorchModel up to the order of sums.
//
// Weights lie transposed and padded with zeros inside; Load and Store translate from and to the
// layout's order. Elementwise optimizers run on the inside order: what is padded has gradient 0
// and stays 0.
//
// Given the same weights and batch, the same bits, on every processor of one C library (exp, tanh).
//
// Ownership: owns its arrays. Threads: one call at a time on one model; models are independent.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_FUSED_CHAIN_H_
#define CONSILIUM_SITE_AGENT_TRAIN_FUSED_CHAIN_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/spec/model_graph.h"
#include "models/torch/torch_model.h"
#include "site_agent/train/fused_layers.h"

namespace consilium {

class FusedChain {
 public:
  // Weights are zeros. UNIMPLEMENTED where the graph is not a chain that begins with a linear layer
  // or a convolution of one group and ends with a linear layer, of these, flatten, pooling, ReLU,
  // tanh and sigmoid, with a loss of cross entropy, BCE or MSE: TorchModel runs it.
  static absl::StatusOr<FusedChain> Create(const ModelGraph& graph);

  // In the layout's order; of the layout's size.
  void Load(std::span<const float> weights);
  void Store(std::span<float> weights) const;

  // In the inside order, which is the same for both.
  std::span<float> weights() { return weights_; }
  std::span<float> gradient() { return gradient_; }

  size_t elements() const { return elements_; }
  size_t input_elements() const { return input_.row; }
  size_t output_elements() const { return layers_.back().out.channels; }

  // As TorchModel's, without dropout.
  absl::StatusOr<double> LossAndGradient(const Batch& batch);
  absl::StatusOr<std::vector<float>> Outputs(std::span<const float> values);

 private:
  struct Layer {
    FusedLayerKind kind;
    Grid out;
    FusedFunction then = FusedFunction::kNone;
  };

  FusedChain() = default;
  // Where the values lie that the next layer reads.
  const Grid& values() const { return layers_.empty() ? input_ : layers_.back().out; }
  FusedMatrix MatrixFor(const ModelGraph& graph, const GraphLayer& layer);
  absl::Status Append(const ModelGraph& graph, const GraphLayer& layer);
  absl::Status AppendConv(const ModelGraph& graph, const GraphLayer& layer);
  absl::Status AppendPool(const GraphLayer& layer);
  absl::Status AppendFlatten(const GraphLayer& layer);
  absl::Status AppendFunction(const GraphLayer& layer);
  // activations_[k] = what layer k gives for `rows` rows.
  void Forward(std::span<const float> values, size_t rows);
  // Replaces the last activations by the loss's derivative.
  double LossAndDerivative(std::span<const float> labels);
  double CrossEntropyOf(float* logits, size_t label, float scale) const;
  // The weights' derivative of all layers; uses the activations up.
  void Backward(std::span<const float> values, size_t rows);
  // Rows of one forward pass in evaluation: bounds the memory of the activations.
  size_t EvaluationRows() const;

  Grid input_;
  std::vector<Layer> layers_;
  v1::Loss::Kind loss_ = v1::Loss::KIND_UNSPECIFIED;
  size_t elements_ = 0;
  std::vector<float> weights_;
  std::vector<float> gradient_;
  std::vector<std::vector<float>> activations_;
  std::vector<float> below_;  // A derivative on its way.
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_FUSED_CHAIN_H_
