#include "models/spec/spec_defaults.h"

#include <string>

namespace consilium {
namespace {

constexpr int64_t kParameterMin = 1;
constexpr int64_t kParameterMax = 1'000'000;
constexpr double kLayerNormEpsilon = 1e-5;
constexpr double kNormalScale = 0.01;

void FillLinear(v1::Linear& linear) {
  if (!linear.has_bias()) linear.set_bias(true);
  v1::Initialiser& init = *linear.mutable_weight_init();
  if (init.kind() == v1::Initialiser::KIND_UNSPECIFIED) {
    init.set_kind(v1::Initialiser::KAIMING_UNIFORM);
  }
  if (init.kind() == v1::Initialiser::NORMAL && init.scale() == 0) init.set_scale(kNormalScale);
}

}  // namespace

void FillSpecDefaults(v1::ModelSpec& spec) {
  for (v1::Parameter& parameter : *spec.mutable_parameters()) {
    if (!parameter.has_min()) parameter.set_min(kParameterMin);
    if (!parameter.has_max()) parameter.set_max(kParameterMax);
  }
  std::string before(kInputName);
  for (v1::Layer& layer : *spec.mutable_layers()) {
    if (layer.inputs().empty()) layer.add_inputs(before);
    before = layer.name();
    if (layer.has_linear()) FillLinear(*layer.mutable_linear());
    if (layer.has_layer_norm() && layer.layer_norm().epsilon() == 0) {
      layer.mutable_layer_norm()->set_epsilon(kLayerNormEpsilon);
    }
  }
}

}  // namespace consilium
