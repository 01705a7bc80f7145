#include "site_agent/train/fused_chain.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "site_agent/train/matrix_product.h"

namespace consilium {
namespace {

constexpr size_t kEvaluationRowsMax = 256;
// Of all layers together in one pass of an evaluation.
constexpr size_t kEvaluationFloatsMax = size_t{1} << 22;
// Of one example of one convolution; where there are more the arithmetic is not small, and LibTorch
// has better ways.
constexpr size_t kPatchFloatsMax = size_t{1} << 22;

absl::Status NotAChain(const GraphLayer& layer) {
  return absl::UnimplementedError(
      absl::StrCat("layer ", layer.name, " is none that plain loops compute"));
}

size_t OffsetOf(const Layout& layout, int tensor) {
  size_t offset = 0;
  for (int i = 0; i < tensor; ++i) offset += layout.tensors[static_cast<size_t>(i)].elements();
  return offset;
}

absl::Status CheckLabels(v1::Loss::Kind loss, std::span<const float> labels, size_t outputs) {
  for (const float label : labels) {
    bool fits = std::isfinite(label);
    if (loss == v1::Loss::BCE_WITH_LOGITS) fits = label == 0 || label == 1;
    if (loss == v1::Loss::CROSS_ENTROPY) {
      fits = label >= 0 && label < static_cast<float>(outputs) && std::floor(label) == label;
    }
    if (!fits) return absl::InvalidArgumentError("a label is none that the loss can take");
  }
  return absl::OkStatus();
}

}  // namespace

FusedMatrix FusedChain::MatrixFor(const ModelGraph& graph, const GraphLayer& layer) {
  FusedMatrix matrix;
  const TensorSpec& weight = graph.layout.tensors[static_cast<size_t>(layer.tensors[0])];
  matrix.outputs = static_cast<size_t>(layer.units);
  matrix.inputs = weight.elements() / matrix.outputs;
  matrix.width = RoundUpToLanes(matrix.outputs);
  matrix.first_weight = weights_.size();
  matrix.first_bias = matrix.first_weight + matrix.inputs * matrix.width;
  matrix.layout_weight = OffsetOf(graph.layout, layer.tensors[0]);
  matrix.has_bias = layer.tensors.size() > 1;
  if (matrix.has_bias) matrix.layout_bias = OffsetOf(graph.layout, layer.tensors[1]);
  weights_.resize(matrix.first_bias + matrix.width);
  return matrix;
}

absl::Status FusedChain::AppendConv(const ModelGraph& graph, const GraphLayer& layer) {
  const Grid in = values();
  const Grid out = GridOfValues(layer.output_shape);
  const size_t kernel = static_cast<size_t>(layer.kernel);
  const size_t patch = kernel * (layer.input_shapes[0].size() == 3 ? kernel : 1) * in.channels;
  const bool is_small = RoundUpToLanes(patch) <= kPatchFloatsMax / out.positions();
  if (layer.groups != 1 || !is_small) return NotAChain(layer);
  layers_.push_back({FusedConv(in, out, layer, MatrixFor(graph, layer)), out});
  return absl::OkStatus();
}

absl::Status FusedChain::AppendPool(const GraphLayer& layer) {
  if (layers_.empty()) return NotAChain(layer);
  const Grid out = GridOfValues(layer.output_shape);
  layers_.push_back({FusedPool(values(), out, layer), out});
  return absl::OkStatus();
}

absl::Status FusedChain::AppendFlatten(const GraphLayer& layer) {
  if (layers_.empty()) {
    input_ = GridOfInput(layer.output_shape);  // They come channel by channel.
    return absl::OkStatus();
  }
  const Grid out = GridOfValues(layer.output_shape);
  if (layer.input_shapes[0].size() > 1) layers_.push_back({FusedFlatten(values(), out), out});
  return absl::OkStatus();
}

absl::Status FusedChain::AppendFunction(const GraphLayer& layer) {
  if (layers_.empty() || layers_.back().then != FusedFunction::kNone) return NotAChain(layer);
  FusedFunction& then = layers_.back().then;
  switch (layer.spec.activation().function()) {
    case v1::Activation::RELU:
      then = FusedFunction::kRelu;
      return absl::OkStatus();
    case v1::Activation::TANH:
      then = FusedFunction::kTanh;
      return absl::OkStatus();
    case v1::Activation::SIGMOID:
      then = FusedFunction::kSigmoid;
      return absl::OkStatus();
    default:
      return NotAChain(layer);
  }
}

absl::Status FusedChain::Append(const ModelGraph& graph, const GraphLayer& layer) {
  switch (layer.spec.kind_case()) {
    case v1::Layer::kLinear:
      if (layer.input_shapes[0].size() != 1) return NotAChain(layer);
      layers_.push_back(
          {FusedLinear(values(), MatrixFor(graph, layer)), GridOfValues(layer.output_shape)});
      return absl::OkStatus();
    case v1::Layer::kConv:
      return AppendConv(graph, layer);
    case v1::Layer::kPool:
      return AppendPool(layer);
    case v1::Layer::kFlatten:
      return AppendFlatten(layer);
    case v1::Layer::kActivation:
      return AppendFunction(layer);
    default:
      return NotAChain(layer);
  }
}

absl::StatusOr<FusedChain> FusedChain::Create(const ModelGraph& graph) {
  if (graph.loss != v1::Loss::CROSS_ENTROPY && graph.loss != v1::Loss::BCE_WITH_LOGITS &&
      graph.loss != v1::Loss::MSE) {
    return absl::UnimplementedError("the loss is none that plain loops compute");
  }
  FusedChain chain;
  chain.loss_ = graph.loss;
  chain.elements_ = graph.layout.elements();
  chain.input_ = GridOfInput(graph.input_shape);
  for (size_t i = 0; i < graph.layers.size(); ++i) {
    const GraphLayer& layer = graph.layers[i];
    const bool follows = layer.inputs.size() == 1 && layer.inputs[0] == static_cast<int>(i) - 1;
    if (!follows) return NotAChain(layer);
    CONSILIUM_RETURN_IF_ERROR(chain.Append(graph, layer));
  }
  const bool ends = !chain.layers_.empty() && chain.layers_.back().then == FusedFunction::kNone &&
                    std::holds_alternative<FusedLinear>(chain.layers_.back().kind);
  if (!ends) return absl::UnimplementedError("the model does not end with a linear layer");
  chain.gradient_.resize(chain.weights_.size());
  chain.activations_.resize(chain.layers_.size());
  return chain;
}

void FusedChain::Load(std::span<const float> weights) {
  for (const Layer& layer : layers_) {
    const auto* matrix = std::visit([](const auto& kind) { return kind.matrix(); }, layer.kind);
    if (matrix != nullptr) matrix->Load(weights, weights_);
  }
}

void FusedChain::Store(std::span<float> weights) const {
  for (const Layer& layer : layers_) {
    const auto* matrix = std::visit([](const auto& kind) { return kind.matrix(); }, layer.kind);
    if (matrix != nullptr) matrix->Store(weights_, weights);
  }
}

void FusedChain::Forward(std::span<const float> values, size_t rows) {
  const float* in = values.data();
  for (size_t k = 0; k < layers_.size(); ++k) {
    std::vector<float>& out = activations_[k];
    out.resize(rows * layers_[k].out.row);
    const FusedForward pass = {weights_.data(), in, rows, out.data()};
    std::visit([&](auto& kind) { kind.Forward(pass); }, layers_[k].kind);
    ApplyFunction(layers_[k].then, out);
    in = out.data();
  }
}

double FusedChain::CrossEntropyOf(float* logits, size_t label, float scale) const {
  const size_t classes = output_elements();
  const float largest = *std::max_element(logits, logits + classes);
  float sum = 0;
  for (size_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - largest);
  const float loss = std::log(sum) - (logits[label] - largest);
  for (size_t c = 0; c < classes; ++c) {
    const float share = std::exp(logits[c] - largest) / sum;
    logits[c] = (share - (c == label ? 1.0f : 0.0f)) * scale;
  }
  return loss;
}

double FusedChain::LossAndDerivative(std::span<const float> labels) {
  std::vector<float>& outputs = activations_.back();
  const size_t width = layers_.back().out.row;
  const float scale = 1 / static_cast<float>(labels.size());
  double loss = 0;
  for (size_t r = 0; r < labels.size(); ++r) {
    float* z = outputs.data() + r * width;
    const float y = labels[r];
    switch (loss_) {
      case v1::Loss::CROSS_ENTROPY:
        loss += CrossEntropyOf(z, static_cast<size_t>(y), scale);
        break;
      case v1::Loss::BCE_WITH_LOGITS:
        loss += std::max(*z, 0.0f) - *z * y + std::log1p(std::exp(-std::fabs(*z)));
        *z = (1 / (1 + std::exp(-*z)) - y) * scale;
        break;
      default:
        loss += (*z - y) * (*z - y);
        *z = 2 * (*z - y) * scale;
        break;
    }
    // What is padded is no output.
    std::fill(z + output_elements(), z + width, 0.0f);
  }
  return loss / static_cast<double>(labels.size());
}

// On entry activations_.back() is the loss's derivative by the outputs.
void FusedChain::Backward(std::span<const float> values, size_t rows) {
  std::fill(gradient_.begin(), gradient_.end(), 0.0f);
  for (size_t k = layers_.size(); k-- > 0;) {
    FusedBackward pass = {weights_.data(),
                          k == 0 ? values.data() : activations_[k - 1].data(),
                          rows,
                          activations_[k].data(),
                          gradient_.data(),
                          nullptr};
    if (k > 0) {
      below_.assign(activations_[k - 1].size(), 0);
      pass.below = below_.data();
    }
    std::visit([&](auto& kind) { kind.Backward(pass); }, layers_[k].kind);
    if (k == 0) break;
    DeriveFunction(layers_[k - 1].then, activations_[k - 1], below_);
    activations_[k - 1].swap(below_);
  }
}

size_t FusedChain::EvaluationRows() const {
  size_t floats = 1;
  for (const Layer& layer : layers_) floats += layer.out.row;
  return std::clamp(kEvaluationFloatsMax / floats, size_t{1}, kEvaluationRowsMax);
}

absl::StatusOr<double> FusedChain::LossAndGradient(const Batch& batch) {
  if (batch.labels.empty() || batch.values.size() != batch.labels.size() * input_elements()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the batch is empty, or its examples do not have the model's ",
                     input_elements(), " inputs"));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckLabels(loss_, batch.labels, output_elements()));
  Forward(batch.values, batch.labels.size());
  const double loss = LossAndDerivative(batch.labels);
  Backward(batch.values, batch.labels.size());
  return loss;
}

absl::StatusOr<std::vector<float>> FusedChain::Outputs(std::span<const float> values) {
  if (values.size() % input_elements() != 0) {
    return absl::InvalidArgumentError("the values are not whole examples of the model");
  }
  const size_t rows = values.size() / input_elements();
  std::vector<float> outputs;
  outputs.reserve(rows * output_elements());
  const size_t rows_max = EvaluationRows();
  for (size_t first = 0; first < rows; first += rows_max) {
    const size_t count = std::min(rows_max, rows - first);
    Forward(values.subspan(first * input_elements(), count * input_elements()), count);
    for (size_t r = 0; r < count; ++r) {
      const float* row = activations_.back().data() + r * layers_.back().out.row;
      outputs.insert(outputs.end(), row, row + output_elements());
    }
  }
  return outputs;
}

}  // namespace consilium
