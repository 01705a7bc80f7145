#include "models/spec/spec_defaults.h"

#include <string>

namespace consilium {
namespace {

constexpr int64_t kParameterMin = 1;
constexpr int64_t kParameterMax = 1'000'000;
constexpr double kNormEpsilon = 1e-5;
constexpr double kBatchNormMomentum = 0.1;
constexpr double kNormalScale = 0.01;

void FillInitialiser(v1::Initialiser& init) {
  if (init.kind() == v1::Initialiser::KIND_UNSPECIFIED) {
    init.set_kind(v1::Initialiser::KAIMING_UNIFORM);
  }
  if (init.kind() == v1::Initialiser::NORMAL && init.scale() == 0) init.set_scale(kNormalScale);
}

void FillLinear(v1::Linear& linear) {
  if (!linear.has_bias()) linear.set_bias(true);
  FillInitialiser(*linear.mutable_weight_init());
}

void FillConv(v1::Conv& conv) {
  if (conv.stride().empty()) conv.set_stride("1");
  if (conv.padding().empty()) conv.set_padding("0");
  if (conv.groups().empty()) conv.set_groups("1");
  if (!conv.has_bias()) conv.set_bias(true);
  FillInitialiser(*conv.mutable_weight_init());
}

void FillBatchNorm(v1::BatchNorm& norm) {
  if (norm.epsilon() == 0) norm.set_epsilon(kNormEpsilon);
  if (!norm.has_momentum()) norm.set_momentum(kBatchNormMomentum);
}

void FillPool(v1::Pool& pool) {
  const bool slides = pool.kind() == v1::Pool::MAX || pool.kind() == v1::Pool::AVERAGE;
  if (slides && pool.stride().empty()) pool.set_stride(pool.kernel());
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
    if (layer.has_conv()) FillConv(*layer.mutable_conv());
    if (layer.has_pool()) FillPool(*layer.mutable_pool());
    if (layer.has_batch_norm()) FillBatchNorm(*layer.mutable_batch_norm());
    if (layer.has_layer_norm() && layer.layer_norm().epsilon() == 0) {
      layer.mutable_layer_norm()->set_epsilon(kNormEpsilon);
    }
    if (layer.has_group_norm() && layer.group_norm().epsilon() == 0) {
      layer.mutable_group_norm()->set_epsilon(kNormEpsilon);
    }
  }
}

}  // namespace consilium
