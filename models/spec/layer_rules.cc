#include "models/spec/layer_rules.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/expression.h"
#include "models/spec/shapes.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr int64_t kUnitsMax = 65536;
constexpr int64_t kKernelMax = 127;
constexpr int64_t kEntriesMax = 16'777'216;
// Of one layer; a linear one can not have more.
constexpr uint64_t kMultiplyAddsMax = uint64_t{1} << 50;

// One layer on its way into the graph.
class LayerRule {
 public:
  LayerRule(const std::string& path, const ParameterValues& parameters, GraphLayer& layer)
      : path_(path), parameters_(parameters), layer_(layer), in_(layer.input_shapes[0]) {}

  absl::Status Apply() {
    layer_.output_shape = in_;
    switch (layer_.spec.kind_case()) {
      case v1::Layer::kLinear:
        return Linear(layer_.spec.linear());
      case v1::Layer::kLayerNorm:
        CONSILIUM_RETURN_IF_ERROR(CheckEpsilon("layer_norm", layer_.spec.layer_norm().epsilon()));
        AddScale(in_.back());
        return absl::OkStatus();
      case v1::Layer::kActivation:
        return Activation(layer_.spec.activation());
      case v1::Layer::kDropout:
        return Dropout(layer_.spec.dropout());
      case v1::Layer::kFlatten:
        layer_.output_shape = {1};
        for (const int64_t size : in_) layer_.output_shape[0] *= size;
        return absl::OkStatus();
      case v1::Layer::kAdd:
        return Add();
      case v1::Layer::kConv:
        return Conv(layer_.spec.conv());
      case v1::Layer::kPool:
        return Pool(layer_.spec.pool());
      case v1::Layer::kGroupNorm:
        return GroupNorm(layer_.spec.group_norm());
      case v1::Layer::kBatchNorm:
        return BatchNorm(layer_.spec.batch_norm());
      case v1::Layer::kConcat:
        return Concat();
      case v1::Layer::kEmbedding:
        return Embedding(layer_.spec.embedding());
      case v1::Layer::KIND_NOT_SET:
        break;
    }
    return RefuseAt(path_, "is of no kind that this build knows");
  }

  std::vector<TensorSpec> TakeTensors() { return std::move(tensors_); }

 private:
  struct Bounds {
    int64_t min = 1;
    int64_t max = 1;
  };

  // `field` is relative to the layer, e.g. "conv.kernel".
  absl::StatusOr<int64_t> Evaluate(absl::string_view field, const std::string& expression,
                                   const Bounds& bounds) const {
    const std::string path = absl::StrCat(path_, ".", field);
    const absl::StatusOr<int64_t> value = EvaluateExpression(expression, parameters_);
    if (!value.ok()) return At(path, value.status());
    if (*value < bounds.min || *value > bounds.max) {
      return RefuseAt(path, absl::StrFormat("is %d, but must be from %d to %d", *value, bounds.min,
                                            bounds.max));
    }
    return value;
  }

  void AddTensor(const std::string& name, Shape shape,
                 TensorGroup group = TensorGroup::kParameters) {
    tensors_.push_back({name, std::move(shape), group});
  }
  void AddScale(int64_t size) {
    AddTensor("weight", {size});
    AddTensor("bias", {size});
  }

  absl::Status CheckEpsilon(absl::string_view kind, double epsilon) const {
    if (epsilon > 0 && epsilon <= 1) return absl::OkStatus();
    return RefuseAt(absl::StrCat(path_, ".", kind, ".epsilon"), "must be above 0 and at most 1");
  }

  absl::Status CheckInitialiser(absl::string_view kind, const v1::Initialiser& init) const {
    const std::string path = absl::StrCat(path_, ".", kind, ".weight_init");
    if (!v1::Initialiser::Kind_IsValid(init.kind())) {
      return RefuseAt(path + ".kind", "must be one that this build knows");
    }
    const bool normal = init.kind() == v1::Initialiser::NORMAL;
    if (normal ? init.scale() > 0 && init.scale() <= 100 : init.scale() == 0) {
      return absl::OkStatus();
    }
    return RefuseAt(path + ".scale",
                    normal ? "must be above 0 and at most 100" : "belongs to NORMAL only");
  }

  // Of a layer that works on channels, which come before the positions.
  absl::Status CheckPositions(absl::string_view kind) const {
    if (in_.size() == 2 || in_.size() == 3) return absl::OkStatus();
    return RefuseAt(
        path_ + ".inputs",
        absl::StrCat(kind, " needs [channels, width] or [channels, height, width], not ",
                     ShapeText(in_)));
  }

  absl::Status SetMultiplyAdds(uint64_t times, uint64_t each) {
    if (each > 0 && times > kMultiplyAddsMax / each) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%s: has more than %d multiply-adds", path_, kMultiplyAddsMax));
    }
    layer_.multiply_adds = times * each;
    return absl::OkStatus();
  }

  absl::Status Linear(const v1::Linear& linear) {
    CONSILIUM_ASSIGN_OR_RETURN(layer_.units,
                               Evaluate("linear.units", linear.units(), {1, kUnitsMax}));
    CONSILIUM_RETURN_IF_ERROR(CheckInitialiser("linear", linear.weight_init()));
    layer_.output_shape.back() = layer_.units;
    CONSILIUM_ASSIGN_OR_RETURN(const uint64_t inputs, BoundedElements(in_));
    CONSILIUM_RETURN_IF_ERROR(SetMultiplyAdds(inputs, static_cast<uint64_t>(layer_.units)));
    AddTensor("weight", {layer_.units, in_.back()});
    if (linear.bias()) AddTensor("bias", {layer_.units});
    return absl::OkStatus();
  }

  absl::Status Activation(const v1::Activation& activation) const {
    if (v1::Activation::Function_IsValid(activation.function()) &&
        activation.function() != v1::Activation::FUNCTION_UNSPECIFIED) {
      return absl::OkStatus();
    }
    return RefuseAt(path_ + ".activation.function", "must be one that this build knows");
  }

  absl::Status Dropout(const v1::Dropout& dropout) const {
    if (dropout.probability() >= 0 && dropout.probability() < 1) return absl::OkStatus();
    return RefuseAt(path_ + ".dropout.probability", "must be at least 0 and below 1");
  }

  absl::Status Add() const {
    for (const Shape& shape : layer_.input_shapes) {
      if (shape == in_) continue;
      return RefuseAt(path_ + ".inputs", absl::StrCat("add needs one shape, but there are ",
                                                      ShapeText(in_), " and ", ShapeText(shape)));
    }
    return absl::OkStatus();
  }

  absl::Status Concat() {
    layer_.output_shape[0] = 0;
    for (const Shape& shape : layer_.input_shapes) {
      if (shape.size() != in_.size() ||
          !std::equal(shape.begin() + 1, shape.end(), in_.begin() + 1)) {
        return RefuseAt(path_ + ".inputs",
                        absl::StrCat("concat needs shapes that agree but for the first dimension, "
                                     "but there are ",
                                     ShapeText(in_), " and ", ShapeText(shape)));
      }
      layer_.output_shape[0] += shape[0];  // At most 64 of 2^24.
    }
    return absl::OkStatus();
  }

  // The output's size in each dimension behind the channels, by a window of `kernel`.
  absl::Status SlideWindow(absl::string_view kind) {
    for (size_t d = 1; d < in_.size(); ++d) {
      const int64_t padded = in_[d] + 2 * layer_.padding;
      if (padded < layer_.kernel) {
        return RefuseAt(absl::StrCat(path_, ".", kind, ".kernel"),
                        absl::StrFormat("is %d, more than there is of %s with its padding",
                                        layer_.kernel, ShapeText(in_)));
      }
      layer_.output_shape[d] = (padded - layer_.kernel) / layer_.stride + 1;
    }
    return absl::OkStatus();
  }

  absl::Status Conv(const v1::Conv& conv) {
    CONSILIUM_RETURN_IF_ERROR(CheckPositions("conv"));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.units,
                               Evaluate("conv.channels", conv.channels(), {1, kUnitsMax}));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.kernel,
                               Evaluate("conv.kernel", conv.kernel(), {1, kKernelMax}));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.stride,
                               Evaluate("conv.stride", conv.stride(), {1, kKernelMax}));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.padding,
                               Evaluate("conv.padding", conv.padding(), {0, layer_.kernel - 1}));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.groups,
                               Evaluate("conv.groups", conv.groups(), {1, kUnitsMax}));
    if (in_[0] % layer_.groups != 0 || layer_.units % layer_.groups != 0) {
      return RefuseAt(path_ + ".conv.groups",
                      absl::StrFormat("is %d, which does not divide the %d channels that come in "
                                      "and the %d that go out",
                                      layer_.groups, in_[0], layer_.units));
    }
    CONSILIUM_RETURN_IF_ERROR(CheckInitialiser("conv", conv.weight_init()));
    CONSILIUM_RETURN_IF_ERROR(SlideWindow("conv"));
    layer_.output_shape[0] = layer_.units;
    Shape weight = {layer_.units, in_[0] / layer_.groups};
    weight.resize(in_.size() + 1, layer_.kernel);
    const absl::StatusOr<uint64_t> weights = BoundedElements(weight);
    if (!weights.ok()) return At(path_, weights.status());
    const absl::StatusOr<uint64_t> outputs = BoundedElements(layer_.output_shape);
    if (!outputs.ok()) return At(path_, outputs.status());
    CONSILIUM_RETURN_IF_ERROR(
        SetMultiplyAdds(*outputs / static_cast<uint64_t>(layer_.units), *weights));
    AddTensor("weight", std::move(weight));
    if (conv.bias()) AddTensor("bias", {layer_.units});
    return absl::OkStatus();
  }

  absl::Status Pool(const v1::Pool& pool) {
    CONSILIUM_RETURN_IF_ERROR(CheckPositions("pool"));
    switch (pool.kind()) {
      case v1::Pool::GLOBAL_AVERAGE:
        if (!pool.kernel().empty() || !pool.stride().empty()) {
          return RefuseAt(path_ + ".pool", "has no kernel and no stride with GLOBAL_AVERAGE");
        }
        layer_.output_shape.resize(1);
        return absl::OkStatus();
      case v1::Pool::MAX:
      case v1::Pool::AVERAGE:
        break;
      default:
        return RefuseAt(path_ + ".pool.kind", "must be MAX, AVERAGE or GLOBAL_AVERAGE");
    }
    CONSILIUM_ASSIGN_OR_RETURN(layer_.kernel,
                               Evaluate("pool.kernel", pool.kernel(), {1, kKernelMax}));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.stride,
                               Evaluate("pool.stride", pool.stride(), {1, kKernelMax}));
    return SlideWindow("pool");
  }

  absl::Status GroupNorm(const v1::GroupNorm& norm) {
    CONSILIUM_RETURN_IF_ERROR(CheckEpsilon("group_norm", norm.epsilon()));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.groups,
                               Evaluate("group_norm.groups", norm.groups(), {1, kUnitsMax}));
    if (in_[0] % layer_.groups != 0) {
      return RefuseAt(
          path_ + ".group_norm.groups",
          absl::StrFormat("is %d, which does not divide the %d channels", layer_.groups, in_[0]));
    }
    AddScale(in_[0]);
    return absl::OkStatus();
  }

  absl::Status BatchNorm(const v1::BatchNorm& norm) {
    CONSILIUM_RETURN_IF_ERROR(CheckEpsilon("batch_norm", norm.epsilon()));
    if (!(norm.momentum() > 0 && norm.momentum() <= 1)) {
      return RefuseAt(path_ + ".batch_norm.momentum", "must be above 0 and at most 1");
    }
    if (in_.size() > 3) {
      return RefuseAt(path_ + ".inputs",
                      absl::StrCat("batch norm takes up to 3 dimensions, not ", ShapeText(in_)));
    }
    AddScale(in_[0]);
    AddTensor("running_mean", {in_[0]}, TensorGroup::kBuffers);
    AddTensor("running_var", {in_[0]}, TensorGroup::kBuffers);
    return absl::OkStatus();
  }

  absl::Status Embedding(const v1::Embedding& embedding) {
    // What other layers make is no integer, and only an example's can be checked before training.
    if (layer_.inputs[0] >= 0 || in_.size() != 1) {
      return RefuseAt(path_ + ".inputs",
                      "an embedding reads the example itself, which is [length] integers");
    }
    CONSILIUM_ASSIGN_OR_RETURN(
        layer_.entries, Evaluate("embedding.entries", embedding.entries(), {1, kEntriesMax}));
    CONSILIUM_ASSIGN_OR_RETURN(layer_.units,
                               Evaluate("embedding.units", embedding.units(), {1, kUnitsMax}));
    layer_.output_shape.push_back(layer_.units);
    AddTensor("weight", {layer_.entries, layer_.units});
    return absl::OkStatus();
  }

  const std::string& path_;
  const ParameterValues& parameters_;
  GraphLayer& layer_;
  const Shape in_;
  std::vector<TensorSpec> tensors_;
};

}  // namespace

bool TakesManyInputs(const v1::Layer& layer) { return layer.has_add() || layer.has_concat(); }

absl::StatusOr<std::vector<TensorSpec>> ApplyLayerRule(const std::string& path,
                                                       const ParameterValues& parameters,
                                                       GraphLayer& layer) {
  LayerRule rule(path, parameters, layer);
  CONSILIUM_RETURN_IF_ERROR(rule.Apply());
  return rule.TakeTensors();
}

}  // namespace consilium
