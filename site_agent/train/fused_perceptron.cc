#include "site_agent/train/fused_perceptron.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "site_agent/train/matrix_product.h"

namespace consilium {
namespace {

// Rows of one forward pass in evaluation: bounds the memory of the activations.
constexpr size_t kEvaluationRowsMax = 256;

absl::Status NotAChain(const GraphLayer& layer) {
  return absl::UnimplementedError(
      absl::StrCat("layer ", layer.name, " is none of a plain chain of linear layers"));
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

absl::Status FusedPerceptron::Append(const ModelGraph& graph, const GraphLayer& layer) {
  switch (layer.spec.kind_case()) {
    case v1::Layer::kLinear: {
      Linear linear;
      linear.inputs = static_cast<size_t>(layer.input_shapes[0][0]);
      linear.outputs = static_cast<size_t>(layer.units);
      linear.width = RoundUpToLanes(linear.outputs);
      linear.first_weight = weights_.size();
      linear.first_bias = linear.first_weight + linear.inputs * linear.width;
      linear.layout_weight = OffsetOf(graph.layout, layer.tensors[0]);
      linear.has_bias = layer.tensors.size() > 1;
      if (linear.has_bias) linear.layout_bias = OffsetOf(graph.layout, layer.tensors[1]);
      weights_.resize(linear.first_bias + linear.width);
      linears_.push_back(linear);
      return absl::OkStatus();
    }
    case v1::Layer::kActivation: {
      if (linears_.empty() || linears_.back().then != Function::kNone) return NotAChain(layer);
      Function& then = linears_.back().then;
      switch (layer.spec.activation().function()) {
        case v1::Activation::RELU:
          then = Function::kRelu;
          return absl::OkStatus();
        case v1::Activation::TANH:
          then = Function::kTanh;
          return absl::OkStatus();
        case v1::Activation::SIGMOID:
          then = Function::kSigmoid;
          return absl::OkStatus();
        default:
          return NotAChain(layer);
      }
    }
    default:
      return NotAChain(layer);
  }
}

absl::StatusOr<FusedPerceptron> FusedPerceptron::Create(const ModelGraph& graph) {
  if (graph.loss != v1::Loss::CROSS_ENTROPY && graph.loss != v1::Loss::BCE_WITH_LOGITS &&
      graph.loss != v1::Loss::MSE) {
    return absl::UnimplementedError("the loss is none that plain loops compute");
  }
  FusedPerceptron model;
  model.loss_ = graph.loss;
  model.elements_ = graph.layout.elements();
  for (size_t i = 0; i < graph.layers.size(); ++i) {
    const GraphLayer& layer = graph.layers[i];
    const bool follows = layer.inputs.size() == 1 && layer.inputs[0] == static_cast<int>(i) - 1 &&
                         layer.input_shapes[0].size() == 1;
    if (!follows) return NotAChain(layer);
    CONSILIUM_RETURN_IF_ERROR(model.Append(graph, layer));
  }
  if (model.linears_.empty() || model.linears_.back().then != Function::kNone) {
    return absl::UnimplementedError("the model does not end with a linear layer");
  }
  model.gradient_.resize(model.weights_.size());
  model.activations_.resize(model.linears_.size());
  return model;
}

void FusedPerceptron::Load(std::span<const float> weights) {
  for (const Linear& layer : linears_) {
    for (size_t o = 0; o < layer.outputs; ++o) {
      const float* row = weights.data() + layer.layout_weight + o * layer.inputs;
      for (size_t i = 0; i < layer.inputs; ++i) {
        weights_[layer.first_weight + i * layer.width + o] = row[i];
      }
      if (layer.has_bias) weights_[layer.first_bias + o] = weights[layer.layout_bias + o];
    }
  }
}

void FusedPerceptron::Store(std::span<float> weights) const {
  for (const Linear& layer : linears_) {
    for (size_t o = 0; o < layer.outputs; ++o) {
      float* row = weights.data() + layer.layout_weight + o * layer.inputs;
      for (size_t i = 0; i < layer.inputs; ++i) {
        row[i] = weights_[layer.first_weight + i * layer.width + o];
      }
      if (layer.has_bias) weights[layer.layout_bias + o] = weights_[layer.first_bias + o];
    }
  }
}

void FusedPerceptron::Forward(std::span<const float> values, size_t rows) {
  const float* input = values.data();
  size_t input_row = input_elements();
  for (size_t k = 0; k < linears_.size(); ++k) {
    const Linear& layer = linears_[k];
    std::vector<float>& out = activations_[k];
    out.resize(rows * layer.width);
    const float* bias = weights_.data() + layer.first_bias;
    for (size_t r = 0; r < rows; ++r) std::copy_n(bias, layer.width, out.data() + r * layer.width);
    AddProduct({.a = input,
                .a_row = input_row,
                .b = weights_.data() + layer.first_weight,
                .b_row = layer.width,
                .c = out.data(),
                .c_row = layer.width,
                .rows = rows,
                .inner = layer.inputs,
                .columns = layer.width});
    switch (layer.then) {
      case Function::kNone:
        break;
      case Function::kRelu:
        // A value that is no number stays one, as in LibTorch.
        for (float& x : out) x = x < 0 ? 0 : x;
        break;
      case Function::kTanh:
        for (float& x : out) x = std::tanh(x);
        break;
      case Function::kSigmoid:
        for (float& x : out) x = 1 / (1 + std::exp(-x));
        break;
    }
    input = out.data();
    input_row = layer.width;
  }
}

double FusedPerceptron::CrossEntropyOf(float* logits, size_t label, float scale) const {
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

double FusedPerceptron::LossAndDerivative(std::span<const float> labels) {
  std::vector<float>& outputs = activations_.back();
  const size_t width = linears_.back().width;
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
void FusedPerceptron::Backward(std::span<const float> values, size_t rows) {
  std::fill(gradient_.begin(), gradient_.end(), 0.0f);
  for (size_t k = linears_.size(); k-- > 0;) {
    const Linear& layer = linears_[k];
    const float* derivative = activations_[k].data();
    const float* input = k == 0 ? values.data() : activations_[k - 1].data();
    const size_t input_row = k == 0 ? input_elements() : linears_[k - 1].width;
    AddProduct({.a = input,
                .a_row = 1,
                .a_column = input_row,
                .b = derivative,
                .b_row = layer.width,
                .c = gradient_.data() + layer.first_weight,
                .c_row = layer.width,
                .rows = layer.inputs,
                .inner = rows,
                .columns = layer.width});
    if (layer.has_bias) {
      float* bias = gradient_.data() + layer.first_bias;
      for (size_t r = 0; r < rows; ++r) {
        for (size_t o = 0; o < layer.width; ++o) bias[o] += derivative[r * layer.width + o];
      }
    }
    if (k > 0) DeriveBelow(k, rows);
  }
}

void FusedPerceptron::DeriveBelow(size_t k, size_t rows) {
  const Linear& layer = linears_[k];
  const Linear& before = linears_[k - 1];
  transposed_.assign(layer.outputs * before.width, 0);
  const float* weights = weights_.data() + layer.first_weight;
  for (size_t i = 0; i < layer.inputs; ++i) {
    for (size_t o = 0; o < layer.outputs; ++o) {
      transposed_[o * before.width + i] = weights[i * layer.width + o];
    }
  }
  below_.assign(rows * before.width, 0);
  AddProduct({.a = activations_[k].data(),
              .a_row = layer.width,
              .b = transposed_.data(),
              .b_row = before.width,
              .c = below_.data(),
              .c_row = before.width,
              .rows = rows,
              .inner = layer.outputs,
              .columns = before.width});
  std::vector<float>& outputs = activations_[k - 1];
  switch (before.then) {
    case Function::kNone:
      break;
    case Function::kRelu:
      for (size_t i = 0; i < below_.size(); ++i) below_[i] = outputs[i] > 0 ? below_[i] : 0;
      break;
    case Function::kTanh:
      for (size_t i = 0; i < below_.size(); ++i) below_[i] *= 1 - outputs[i] * outputs[i];
      break;
    case Function::kSigmoid:
      for (size_t i = 0; i < below_.size(); ++i) below_[i] *= outputs[i] * (1 - outputs[i]);
      break;
  }
  outputs.swap(below_);
}

absl::StatusOr<double> FusedPerceptron::LossAndGradient(const Batch& batch) {
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

absl::StatusOr<std::vector<float>> FusedPerceptron::Outputs(std::span<const float> values) {
  if (values.size() % input_elements() != 0) {
    return absl::InvalidArgumentError("the values are not whole examples of the model");
  }
  const size_t rows = values.size() / input_elements();
  std::vector<float> outputs;
  outputs.reserve(rows * output_elements());
  for (size_t first = 0; first < rows; first += kEvaluationRowsMax) {
    const size_t count = std::min(kEvaluationRowsMax, rows - first);
    Forward(values.subspan(first * input_elements(), count * input_elements()), count);
    for (size_t r = 0; r < count; ++r) {
      const float* row = activations_.back().data() + r * linears_.back().width;
      outputs.insert(outputs.end(), row, row + output_elements());
    }
  }
  return outputs;
}

}  // namespace consilium
