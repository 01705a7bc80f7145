// A chain of linear layers and activations in plain loops: forward, loss and backward of one batch
// in one go, without LibTorch. For models so small that LibTorch's calls cost more than their
// arithmetic; the same numbers as TorchModel up to the order of sums.
//
// Weights lie transposed and padded with zeros inside; Load and Store translate from and to the
// layout's order. Elementwise optimizers run on the inside order: what is padded has gradient 0
// and stays 0.
//
// Given the same weights and batch, the same bits, on every processor of one C library (exp, tanh).
//
// Ownership: owns its arrays. Threads: one call at a time on one model; models are independent.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_FUSED_PERCEPTRON_H_
#define CONSILIUM_SITE_AGENT_TRAIN_FUSED_PERCEPTRON_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/spec/model_graph.h"
#include "models/torch/torch_model.h"

namespace consilium {

class FusedPerceptron {
 public:
  // Weights are zeros. UNIMPLEMENTED where the graph is not a chain of linear layers and ReLU, tanh
  // or sigmoid with a loss of cross entropy, BCE or MSE: TorchModel runs it.
  static absl::StatusOr<FusedPerceptron> Create(const ModelGraph& graph);

  // In the layout's order; of the layout's size.
  void Load(std::span<const float> weights);
  void Store(std::span<float> weights) const;

  // In the inside order, which is the same for both.
  std::span<float> weights() { return weights_; }
  std::span<float> gradient() { return gradient_; }

  size_t elements() const { return elements_; }
  size_t input_elements() const { return linears_.front().inputs; }
  size_t output_elements() const { return linears_.back().outputs; }

  // As TorchModel's, without dropout.
  absl::StatusOr<double> LossAndGradient(const Batch& batch);
  absl::StatusOr<std::vector<float>> Outputs(std::span<const float> values);

 private:
  enum class Function { kNone, kRelu, kTanh, kSigmoid };
  struct Linear {
    size_t inputs = 0;
    size_t outputs = 0;
    size_t width = 0;         // outputs, rounded up: of a row of weights and of activations.
    size_t first_weight = 0;  // Inside: [inputs][width].
    size_t first_bias = 0;    // Inside: [width]; zeros without a bias.
    size_t layout_weight = 0;
    size_t layout_bias = 0;
    bool has_bias = false;
    Function then = Function::kNone;
  };

  FusedPerceptron() = default;
  absl::Status Append(const ModelGraph& graph, const GraphLayer& layer);
  // activations_[k] = what layer k gives for `rows` rows.
  void Forward(std::span<const float> values, size_t rows);
  // Replaces the last activations by the loss's derivative.
  double LossAndDerivative(std::span<const float> labels);
  double CrossEntropyOf(float* logits, size_t label, float scale) const;
  // The weights' derivative of all layers; uses the activations up.
  void Backward(std::span<const float> values, size_t rows);
  // From layer k's derivative to that of the layer before it, in place of its activations.
  void DeriveBelow(size_t k, size_t rows);

  std::vector<Linear> linears_;
  v1::Loss::Kind loss_ = v1::Loss::KIND_UNSPECIFIED;
  size_t elements_ = 0;
  std::vector<float> weights_;
  std::vector<float> gradient_;
  std::vector<std::vector<float>> activations_;
  std::vector<float> transposed_;  // Of one layer's weights: [outputs][inputs, rounded up].
  std::vector<float> below_;       // A derivative on its way.
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_FUSED_PERCEPTRON_H_
