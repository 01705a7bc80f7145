// Includes single operators instead of ATen/ATen.h or torch/torch.h: 4 s to compile instead of 15.
#include "models/torch/torch_model.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/avg_pool1d.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool1d.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "models/metrics/discrete_hazard.h"
#include "models/torch/cox_loss.h"
#include "models/torch/discrete_hazard_loss.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

// Rows of one forward pass in evaluation: bounds the memory of the activations.
constexpr size_t kEvaluationRowsMax = 4096;

// LibTorch reports by exceptions; beyond this border there are none.
template <typename F>
auto WithStatus(F&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for the model or its activations");
  } catch (const c10::Error& error) {
    const absl::string_view what = error.what_without_backtrace();
    // The CPU's allocator has no type of exception of its own.
    if (absl::StrContains(what, "DefaultCPUAllocator")) {
      return absl::ResourceExhaustedError("no memory for the model or its activations");
    }
    return absl::InternalError(absl::StrCat("LibTorch: ", what));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
  }
}

size_t Elements(const std::vector<int64_t>& shape) {
  size_t product = 1;
  for (int64_t size : shape) product *= static_cast<size_t>(size);
  return product;
}

absl::Status CheckGraph(const ModelGraph& graph) {
  if (graph.layout.elements() == 0) {
    return absl::InvalidArgumentError("the model has nothing to train");
  }
  for (const GraphLayer& layer : graph.layers) {
    if (layer.spec.kind_case() == v1::Layer::KIND_NOT_SET) {
      return absl::InvalidArgumentError(
          absl::StrCat("layer ", layer.name, " is of a kind that this build can not run"));
    }
  }
  switch (graph.loss) {
    case v1::Loss::CROSS_ENTROPY:
    case v1::Loss::BCE_WITH_LOGITS:
    case v1::Loss::MSE:
    case v1::Loss::COX:
      return absl::OkStatus();
    case v1::Loss::DISCRETE_HAZARD:
      if (graph.interval_ends.size() == Elements(graph.output_shape())) return absl::OkStatus();
      return absl::InvalidArgumentError("there is not one interval_end for each output");
    default:
      return absl::InvalidArgumentError("the loss is one that this build can not run");
  }
}

enum class Mode { kTraining, kEvaluation };

at::Tensor Activate(v1::Activation::Function function, const at::Tensor& x) {
  switch (function) {
    case v1::Activation::TANH:
      return at::tanh(x);
    case v1::Activation::SIGMOID:
      return at::sigmoid(x);
    case v1::Activation::GELU:
      return at::gelu(x);
    default:
      return at::relu(x);
  }
}

at::Tensor Convolve(const GraphLayer& layer, const at::Tensor& x, const at::Tensor& weight,
                    const at::Tensor& bias) {
  const size_t dimensions = static_cast<size_t>(x.dim()) - 2;
  const auto all = [dimensions](int64_t value) { return std::vector<int64_t>(dimensions, value); };
  return at::convolution(x, weight, bias, all(layer.stride), all(layer.padding), all(1),
                         /*transposed=*/false, all(0), layer.groups);
}

at::Tensor Pool(const GraphLayer& layer, const at::Tensor& x) {
  const bool is_line = x.dim() == 3;
  switch (layer.spec.pool().kind()) {
    case v1::Pool::MAX:
      return is_line ? at::max_pool1d(x, layer.kernel, layer.stride)
                     : at::max_pool2d(x, layer.kernel, layer.stride);
    case v1::Pool::AVERAGE:
      return is_line ? at::avg_pool1d(x, layer.kernel, layer.stride)
                     : at::avg_pool2d(x, layer.kernel, layer.stride);
    default:
      return x.flatten(2).mean(-1);
  }
}

struct BatchNormTensors {
  at::Tensor weight, bias, running_mean, running_var;
};

// In training the running statistics change in place.
at::Tensor NormaliseOverBatch(const v1::BatchNorm& norm, const at::Tensor& x,
                              const BatchNormTensors& tensors, Mode mode) {
  const bool has_variance = x.numel() > x.size(1);
  if (mode == Mode::kTraining && has_variance) {
    return at::batch_norm(x, tensors.weight, tensors.bias, tensors.running_mean,
                          tensors.running_var, /*training=*/true, norm.momentum(), norm.epsilon(),
                          /*cudnn_enabled=*/false);
  }
  // A sum of differences of variances may be below 0 (docs/aggregation.md).
  return at::batch_norm(x, tensors.weight, tensors.bias, tensors.running_mean,
                        at::clamp_min(tensors.running_var, 0), /*training=*/false, norm.momentum(),
                        norm.epsilon(), /*cudnn_enabled=*/false);
}

// Element by element from our own stream: LibTorch's generators may change with its version.
at::Tensor DropOut(double probability, const at::Tensor& x, RandomStream& stream) {
  if (probability == 0) return x;
  at::Tensor mask = at::empty(x.sizes(), x.options());
  const float kept = static_cast<float>(1 / (1 - probability));
  float* values = mask.data_ptr<float>();
  for (int64_t i = 0; i < mask.numel(); ++i) {
    values[i] = stream.NextUnit() < probability ? 0.0f : kept;
  }
  return at::mul(x, mask);
}

}  // namespace

void InitialiseTorch() {
  static std::once_flag once;
  std::call_once(once, [] {
    setenv("MKL_CBWR", "COMPATIBLE", /*overwrite=*/0);
    at::set_num_threads(1);
  });
}

class TorchModel::Impl {
 public:
  explicit Impl(const ModelGraph& graph) : graph_(graph), intervals_(graph.interval_ends) {
    const int64_t elements = static_cast<int64_t>(graph.layout.elements());
    weights_ = at::zeros({elements}, at::kFloat);
    gradient_ = at::zeros({elements}, at::kFloat);
    int64_t offset = 0;
    for (const TensorSpec& spec : graph.layout.tensors) {
      const int64_t size = static_cast<int64_t>(spec.elements());
      at::Tensor tensor = weights_.narrow(0, offset, size).view(spec.shape).detach();
      offset += size;
      if (spec.group == TensorGroup::kBuffers) {
        tensors_.push_back(std::move(tensor));
        continue;
      }
      tensor.requires_grad_(true);
      // Where a gradient is there already, autograd adds to it in place.
      tensor.mutable_grad() = gradient_.narrow(0, offset - size, size).view(spec.shape);
      tensors_.push_back(std::move(tensor));
    }
    for (const GraphLayer& layer : graph.layers) {
      if (layer.spec.has_embedding()) entries_ = std::min(entries_, layer.entries);
    }
    input_elements_ = Elements(graph.input_shape);
    output_elements_ = Elements(graph.output_shape());
  }

  std::span<float> weights() { return Flat(weights_); }
  std::span<float> gradient() { return Flat(gradient_); }
  size_t trained_elements() const { return static_cast<size_t>(graph_.layout.trained_elements()); }
  size_t input_elements() const { return input_elements_; }
  size_t output_elements() const { return output_elements_; }

  absl::StatusOr<double> LossAndGradient(const Batch& batch, RandomStream& dropout) {
    CONSILIUM_RETURN_IF_ERROR(CheckBatch(batch));
    const at::AutoGradMode with_gradient(true);
    gradient_.zero_();
    const at::Tensor outputs = Forward(batch.values, &dropout);
    if (graph_.loss == v1::Loss::COX) return CoxBackward(outputs, batch.labels);
    if (graph_.loss == v1::Loss::DISCRETE_HAZARD) return HazardBackward(outputs, batch.labels);
    const at::Tensor loss = Loss(outputs, batch.labels);
    loss.backward();
    return static_cast<double>(loss.item<float>());
  }

  absl::StatusOr<std::vector<float>> Outputs(std::span<const float> values) {
    if (values.size() % input_elements_ != 0) {
      return absl::InvalidArgumentError("the values are not whole examples of the model");
    }
    CONSILIUM_RETURN_IF_ERROR(CheckEntries(values));
    const at::NoGradGuard without_gradient;
    const size_t rows = values.size() / input_elements_;
    std::vector<float> outputs;
    outputs.reserve(rows * output_elements_);
    for (size_t first = 0; first < rows; first += kEvaluationRowsMax) {
      const size_t count = std::min(kEvaluationRowsMax, rows - first);
      const at::Tensor out =
          Forward(values.subspan(first * input_elements_, count * input_elements_), nullptr)
              .contiguous();
      const float* data = out.const_data_ptr<float>();
      outputs.insert(outputs.end(), data, data + out.numel());
    }
    return outputs;
  }

 private:
  static std::span<float> Flat(const at::Tensor& tensor) {
    return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
  }

  absl::Status CheckBatch(const Batch& batch) const {
    if (batch.labels.empty() || batch.values.size() != batch.labels.size() * input_elements_) {
      return absl::InvalidArgumentError(
          absl::StrCat("the batch is empty, or its examples do not "
                       "have the model's ",
                       input_elements_, " inputs"));
    }
    for (float label : batch.labels) {
      bool fits = std::isfinite(label);
      if (graph_.loss == v1::Loss::BCE_WITH_LOGITS) fits = label == 0 || label == 1;
      if (graph_.loss == v1::Loss::CROSS_ENTROPY) {
        fits = label >= 0 && label < static_cast<float>(output_elements_) &&
               std::floor(label) == label;
      }
      if (!fits) return absl::InvalidArgumentError("a label is none that the loss can take");
    }
    return CheckEntries(batch.values);
  }

  absl::Status CheckEntries(std::span<const float> values) const {
    if (entries_ == kNoEmbedding) return absl::OkStatus();
    for (const float value : values) {
      if (value >= 0 && value < static_cast<float>(entries_) && std::floor(value) == value) {
        continue;
      }
      return absl::InvalidArgumentError(absl::StrCat(
          "an embedding has no such entry: they are whole numbers from 0 to ", entries_ - 1));
    }
    return absl::OkStatus();
  }

  // `dropout` is null in evaluation.
  at::Tensor Forward(std::span<const float> values, RandomStream* dropout) {
    std::vector<int64_t> shape = graph_.input_shape;
    shape.insert(shape.begin(), static_cast<int64_t>(values.size() / input_elements_));
    // Only read: the const is LibTorch's to lose.
    const at::Tensor input = at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat);
    std::vector<at::Tensor> outputs;
    outputs.reserve(graph_.layers.size());
    for (const GraphLayer& layer : graph_.layers) {
      std::vector<at::Tensor> inputs;
      for (int source : layer.inputs) {
        inputs.push_back(source < 0 ? input : outputs[static_cast<size_t>(source)]);
      }
      outputs.push_back(Run(layer, inputs, dropout));
    }
    return outputs.back();
  }

  at::Tensor Run(const GraphLayer& layer, const std::vector<at::Tensor>& inputs,
                 RandomStream* dropout) const {
    const at::Tensor& x = inputs[0];
    const auto tensor = [&](size_t i) {
      return i < layer.tensors.size() ? tensors_[static_cast<size_t>(layer.tensors[i])]
                                      : at::Tensor();
    };
    const Mode mode = dropout == nullptr ? Mode::kEvaluation : Mode::kTraining;
    switch (layer.spec.kind_case()) {
      case v1::Layer::kLinear:
        return at::linear(x, tensor(0), tensor(1));
      case v1::Layer::kLayerNorm:
        return at::layer_norm(x, {x.size(-1)}, tensor(0), tensor(1),
                              layer.spec.layer_norm().epsilon());
      case v1::Layer::kActivation:
        return Activate(layer.spec.activation().function(), x);
      case v1::Layer::kDropout:
        return dropout == nullptr ? x : DropOut(layer.spec.dropout().probability(), x, *dropout);
      case v1::Layer::kFlatten:
        return x.reshape({x.size(0), -1});
      case v1::Layer::kConv:
        return Convolve(layer, x, tensor(0), tensor(1));
      case v1::Layer::kPool:
        return Pool(layer, x);
      case v1::Layer::kGroupNorm:
        return at::group_norm(x, layer.groups, tensor(0), tensor(1),
                              layer.spec.group_norm().epsilon(), /*cudnn_enabled=*/false);
      case v1::Layer::kBatchNorm:
        return NormaliseOverBatch(layer.spec.batch_norm(), x,
                                  {tensor(0), tensor(1), tensor(2), tensor(3)}, mode);
      case v1::Layer::kConcat:
        return at::cat(inputs, 1);
      case v1::Layer::kEmbedding:
        return at::embedding(tensor(0), x.to(at::kLong));
      case v1::Layer::kAdd:
      case v1::Layer::KIND_NOT_SET:  // Create() refused it.
        break;
    }
    at::Tensor sum = x;
    for (size_t i = 1; i < inputs.size(); ++i) sum = at::add(sum, inputs[i]);
    return sum;
  }

  static double CoxBackward(const at::Tensor& outputs, std::span<const float> labels) {
    const at::Tensor scores = outputs.detach().contiguous();
    CoxLoss cox = CoxLossOf({scores.const_data_ptr<float>(), labels.size()}, labels);
    outputs.backward(at::from_blob(cox.gradient.data(), outputs.sizes(), at::kFloat));
    return cox.loss;
  }

  double HazardBackward(const at::Tensor& outputs, std::span<const float> labels) const {
    const at::Tensor logits = outputs.detach().contiguous();
    const size_t count = labels.size() * intervals_.count();
    DiscreteHazardLoss hazard =
        DiscreteHazardLossOf(intervals_, {logits.const_data_ptr<float>(), count}, labels);
    outputs.backward(at::from_blob(hazard.gradient.data(), outputs.sizes(), at::kFloat));
    return hazard.loss;
  }

  at::Tensor Loss(const at::Tensor& outputs, std::span<const float> labels) const {
    const int64_t count = static_cast<int64_t>(labels.size());
    const at::Tensor y = at::from_blob(const_cast<float*>(labels.data()), {count}, at::kFloat);
    switch (graph_.loss) {
      case v1::Loss::CROSS_ENTROPY:
        return at::cross_entropy_loss(outputs, y.to(at::kLong));
      case v1::Loss::BCE_WITH_LOGITS:
        return at::binary_cross_entropy_with_logits(outputs.view({count}), y);
      default:
        return at::mse_loss(outputs.view({count}), y);
    }
  }

  const ModelGraph graph_;
  const HazardIntervals intervals_;  // None, but of a DISCRETE_HAZARD.
  static constexpr int64_t kNoEmbedding = std::numeric_limits<int64_t>::max();
  int64_t entries_ = kNoEmbedding;  // Of the smallest embedding; all of them read the input.
  size_t input_elements_ = 0;
  size_t output_elements_ = 0;
  at::Tensor weights_;
  at::Tensor gradient_;
  std::vector<at::Tensor> tensors_;  // Views of weights_, their gradients of gradient_.
};

TorchModel::TorchModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TorchModel::~TorchModel() = default;

absl::StatusOr<std::unique_ptr<TorchModel>> TorchModel::Create(const ModelGraph& graph) {
  InitialiseTorch();
  CONSILIUM_RETURN_IF_ERROR(CheckGraph(graph));
  return WithStatus([&]() -> absl::StatusOr<std::unique_ptr<TorchModel>> {
    return std::unique_ptr<TorchModel>(new TorchModel(std::make_unique<Impl>(graph)));
  });
}

std::span<float> TorchModel::weights() { return impl_->weights(); }
std::span<float> TorchModel::gradient() { return impl_->gradient(); }
size_t TorchModel::trained_elements() const { return impl_->trained_elements(); }
size_t TorchModel::input_elements() const { return impl_->input_elements(); }
size_t TorchModel::output_elements() const { return impl_->output_elements(); }

absl::StatusOr<double> TorchModel::LossAndGradient(const Batch& batch, RandomStream& dropout) {
  return WithStatus([&] { return impl_->LossAndGradient(batch, dropout); });
}

absl::StatusOr<std::vector<float>> TorchModel::Outputs(std::span<const float> values) {
  return WithStatus([&] { return impl_->Outputs(values); });
}

}  // namespace consilium
