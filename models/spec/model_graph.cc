#include "models/spec/model_graph.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/expression.h"
#include "models/spec/layer_rules.h"
#include "models/spec/shapes.h"
#include "models/spec/spec_defaults.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr int kInputsMax = 64;

bool IsName(absl::string_view name, bool (*allowed)(unsigned char)) {
  return !name.empty() && name.size() <= limits::kNameCharsMax &&
         std::all_of(name.begin(), name.end(),
                     [allowed](char c) { return allowed(static_cast<unsigned char>(c)); });
}

bool InIdentifier(unsigned char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
}
bool InTitle(unsigned char c) { return InIdentifier(c) || c == '-'; }

// Turns one spec with its defaults filled in into a graph.
class GraphBuilder {
 public:
  explicit GraphBuilder(const v1::ModelSpec& spec) : spec_(spec) { FillSpecDefaults(spec_); }

  absl::StatusOr<ModelGraph> Build(const std::map<std::string, int64_t>& given) {
    CONSILIUM_RETURN_IF_ERROR(CheckCounts());
    CONSILIUM_RETURN_IF_ERROR(SetParameters(given));
    CONSILIUM_RETURN_IF_ERROR(SetInput());
    for (int i = 0; i < spec_.layers_size(); ++i) {
      CONSILIUM_RETURN_IF_ERROR(AddLayer(i));
    }
    PlaceBuffers();
    CONSILIUM_RETURN_IF_ERROR(CheckEveryLayerIsRead());
    CONSILIUM_RETURN_IF_ERROR(CheckLoss());
    return std::move(graph_);
  }

 private:
  absl::Status CheckCounts() {
    if (!IsName(spec_.name(), InTitle)) {
      return RefuseAt("name", "must be 1 to 64 characters of a-z, 0-9, '_' and '-'");
    }
    if (static_cast<size_t>(spec_.parameters_size()) > limits::kSpecParametersMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("parameters: there are %d; at most %d are allowed",
                          spec_.parameters_size(), limits::kSpecParametersMax));
    }
    if (static_cast<size_t>(spec_.layers_size()) > limits::kSpecLayersMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("layers: there are %d; at most %d are allowed", spec_.layers_size(),
                          limits::kSpecLayersMax));
    }
    if (spec_.layers().empty()) return RefuseAt("layers", "there must be at least one");
    graph_.name = spec_.name();
    return absl::OkStatus();
  }

  absl::Status SetParameters(const std::map<std::string, int64_t>& given) {
    for (const v1::Parameter& parameter : spec_.parameters()) {
      const std::string& name = parameter.name();
      const std::string path = absl::StrCat("parameters.", name);
      if (!IsName(name, InIdentifier) || absl::ascii_isdigit(name[0])) {
        return RefuseAt("parameters.name",
                        "must be 1 to 64 characters of a-z, 0-9 and '_', the first no digit");
      }
      if (name == "min" || name == "max") return RefuseAt(path, "is the name of a function");
      const auto found = given.find(name);
      if (found == given.end() && !parameter.has_default_value()) {
        return RefuseAt(path, "has no default, so the run config must give it a value");
      }
      const int64_t value = found == given.end() ? parameter.default_value() : found->second;
      if (value < parameter.min() || value > parameter.max()) {
        return RefuseAt(path, absl::StrFormat("is %d, but must be from %d to %d", value,
                                              parameter.min(), parameter.max()));
      }
      if (!parameters_.emplace(name, value).second) return RefuseAt(path, "is there twice");
    }
    for (const auto& entry : given) {
      if (parameters_.find(entry.first) == parameters_.end()) {
        return RefuseAt("parameters", IsName(entry.first, InIdentifier)
                                          ? absl::StrCat("there is no \"", entry.first, "\"")
                                          : "there is none of a name that was given");
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetInput() {
    if (spec_.input_shape().empty()) return RefuseAt("input_shape", "must have a dimension");
    if (static_cast<size_t>(spec_.input_shape_size()) > limits::kRankMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("input_shape: has %d dimensions; at most %d are allowed",
                          spec_.input_shape_size(), limits::kRankMax));
    }
    for (const std::string& expression : spec_.input_shape()) {
      const absl::StatusOr<int64_t> size = EvaluateExpression(expression, parameters_);
      if (!size.ok()) return At("input_shape", size.status());
      if (*size < 1) return RefuseAt("input_shape", absl::StrCat("a dimension is ", *size));
      graph_.input_shape.push_back(*size);
    }
    if (const auto bounded = BoundedElements(graph_.input_shape); !bounded.ok()) {
      return At("input_shape", bounded.status());
    }
    return absl::OkStatus();
  }

  absl::Status AddLayer(int index) {
    v1::Layer& layer_spec = *spec_.mutable_layers(index);
    if (!IsName(layer_spec.name(), InIdentifier) || layer_spec.name() == kInputName) {
      return RefuseAt(absl::StrCat("layers[", index, "].name"),
                      "must be 1 to 64 characters of a-z, 0-9 and '_', and not \"input\"");
    }
    const std::string path = absl::StrCat("layers.", layer_spec.name());
    GraphLayer layer;
    layer.name = layer_spec.name();
    CONSILIUM_RETURN_IF_ERROR(ConnectInputs(path, layer_spec, layer));
    layer.spec = std::move(layer_spec);
    CONSILIUM_ASSIGN_OR_RETURN(std::vector<TensorSpec> tensors,
                               ApplyLayerRule(path, parameters_, layer));
    if (const auto bounded = BoundedElements(layer.output_shape); !bounded.ok()) {
      return At(path, bounded.status());
    }
    for (TensorSpec& tensor : tensors) {
      CONSILIUM_RETURN_IF_ERROR(AddTensor(path, std::move(tensor), layer));
    }
    if (!by_name_.emplace(layer.name, index).second) return RefuseAt(path, "is there twice");
    graph_.layers.push_back(std::move(layer));
    return absl::OkStatus();
  }

  absl::Status ConnectInputs(const std::string& path, const v1::Layer& layer_spec,
                             GraphLayer& layer) {
    const bool takes_many = TakesManyInputs(layer_spec);
    const int count = layer_spec.inputs_size();
    if (takes_many && (count < 2 || count > kInputsMax)) {
      return RefuseAt(path + ".inputs",
                      absl::StrFormat("there are %d; this kind of layer takes from 2 to %d", count,
                                      kInputsMax));
    }
    if (!takes_many && count != 1) {
      return RefuseAt(path + ".inputs",
                      absl::StrFormat("there are %d; this kind of layer takes one", count));
    }
    for (const std::string& name : layer_spec.inputs()) {
      const auto found = by_name_.find(name);
      if (name != kInputName && found == by_name_.end()) {
        return RefuseAt(path + ".inputs", "a layer may only read \"input\" and layers before it");
      }
      const int source = name == kInputName ? -1 : found->second;
      layer.inputs.push_back(source);
      layer.input_shapes.push_back(source < 0 ? graph_.input_shape
                                              : graph_.layers[source].output_shape);
    }
    return absl::OkStatus();
  }

  absl::Status AddTensor(const std::string& path, TensorSpec tensor, GraphLayer& layer) {
    const absl::StatusOr<uint64_t> elements = BoundedElements(tensor.shape);
    if (!elements.ok()) return At(path, elements.status());
    elements_ += *elements;  // Each at most 2^34, and the sum is checked each time.
    if (elements_ > limits::kModelElementsMax) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "%s: the model has more than %d parameters", path, limits::kModelElementsMax));
    }
    if (graph_.layout.tensors.size() + buffers_.size() == limits::kTensorsMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%s: the model has more than %d tensors", path, limits::kTensorsMax));
    }
    tensor.name = absl::StrCat(layer.name, ".", tensor.name);
    if (tensor.group == TensorGroup::kBuffers) {
      buffers_.push_back({static_cast<int>(graph_.layers.size()), std::move(tensor)});
      return absl::OkStatus();
    }
    layer.tensors.push_back(static_cast<int>(graph_.layout.tensors.size()));
    graph_.layout.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Behind all parameters, so that an optimizer steps over one span.
  void PlaceBuffers() {
    for (Buffer& buffer : buffers_) {
      graph_.layers[static_cast<size_t>(buffer.layer)].tensors.push_back(
          static_cast<int>(graph_.layout.tensors.size()));
      graph_.layout.tensors.push_back(std::move(buffer.tensor));
    }
  }

  // What nobody reads would never be trained, and surely was not meant.
  absl::Status CheckEveryLayerIsRead() const {
    std::vector<char> is_read(graph_.layers.size(), 0);
    is_read.back() = 1;
    for (const GraphLayer& layer : graph_.layers) {
      for (const int source : layer.inputs) {
        if (source >= 0) is_read[source] = 1;
      }
    }
    const auto unread = std::find(is_read.begin(), is_read.end(), 0);
    if (unread == is_read.end()) return absl::OkStatus();
    return RefuseAt(absl::StrCat("layers.", graph_.layers[unread - is_read.begin()].name),
                    "no later layer reads it, and it is not the output");
  }

  absl::Status CheckLoss() {
    const std::vector<int64_t>& out = graph_.output_shape();
    graph_.loss = spec_.loss().kind();
    switch (graph_.loss) {
      case v1::Loss::CROSS_ENTROPY:
        if (out.size() == 1 && out[0] >= 2 && out[0] <= static_cast<int64_t>(limits::kClassesMax)) {
          return absl::OkStatus();
        }
        return RefuseAt("loss.kind",
                        absl::StrFormat("CROSS_ENTROPY needs an output of [2] to [%d], not %s",
                                        limits::kClassesMax, ShapeText(out)));
      case v1::Loss::BCE_WITH_LOGITS:
      case v1::Loss::MSE:
      case v1::Loss::COX:
        if (out == std::vector<int64_t>{1}) return absl::OkStatus();
        return RefuseAt("loss.kind", absl::StrCat(v1::Loss::Kind_Name(graph_.loss),
                                                  " needs an output of [1], not ", ShapeText(out)));
      case v1::Loss::DISCRETE_HAZARD:
        if (out.size() == 1 && out[0] >= kHazardIntervalsMin && out[0] <= kHazardIntervalsMax) {
          return absl::OkStatus();
        }
        return RefuseAt("loss.kind",
                        absl::StrFormat("DISCRETE_HAZARD needs an output of [%d] to [%d], not %s",
                                        kHazardIntervalsMin, kHazardIntervalsMax, ShapeText(out)));
      default:
        return RefuseAt("loss.kind",
                        "must be CROSS_ENTROPY, BCE_WITH_LOGITS, MSE, COX or DISCRETE_HAZARD");
    }
  }

  v1::ModelSpec spec_;
  std::map<std::string, int64_t> parameters_;
  std::map<std::string, int> by_name_;
  uint64_t elements_ = 0;
  struct Buffer {
    int layer = 0;
    TensorSpec tensor;
  };
  std::vector<Buffer> buffers_;
  ModelGraph graph_;
};

}  // namespace

uint64_t ModelGraph::multiply_adds() const {
  uint64_t sum = 0;
  for (const GraphLayer& layer : layers) sum += layer.multiply_adds;
  return sum;
}

absl::StatusOr<ModelGraph> BuildModelGraph(const v1::ModelSpec& spec,
                                           const std::map<std::string, int64_t>& parameters) {
  return GraphBuilder(spec).Build(parameters);
}

}  // namespace consilium
