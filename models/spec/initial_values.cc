#include "models/spec/initial_values.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

void FillUniform(double bound, RandomStream& random, std::span<float> out) {
  for (float& value : out) value = static_cast<float>(bound * (2.0 * random.NextUnit() - 1.0));
}

void FillNormal(double scale, RandomStream& random, std::span<float> out) {
  for (float& value : out) value = static_cast<float>(scale * random.NextNormal());
}

// How many numbers of the input one of the output hangs on, and the other way round.
struct Fans {
  double in = 1;
  double out = 1;
};

Fans FansOf(const TensorSpec& weight) {
  Fans fans = {static_cast<double>(weight.shape[1]), static_cast<double>(weight.shape[0])};
  for (size_t d = 2; d < weight.shape.size(); ++d) {
    fans.in *= static_cast<double>(weight.shape[d]);
    fans.out *= static_cast<double>(weight.shape[d]);
  }
  return fans;
}

enum class Role { kWeight, kBias };

void FillByInitialiser(const v1::Initialiser& init, const Fans& fans, Role role,
                       RandomStream& random, std::span<float> out) {
  switch (init.kind()) {
    case v1::Initialiser::XAVIER_UNIFORM:
      if (role == Role::kWeight) FillUniform(std::sqrt(6.0 / (fans.in + fans.out)), random, out);
      return;
    case v1::Initialiser::NORMAL:
      if (role == Role::kWeight) FillNormal(init.scale(), random, out);
      return;
    case v1::Initialiser::KAIMING_UNIFORM:
      FillUniform(1.0 / std::sqrt(fans.in), random, out);
      return;
    default:  // ZEROS; BuildModelGraph lets no other kind through.
      return;
  }
}

// One of the layer's tensors, the `place`-th; `out` is all zero. Without a default, so that a new
// kind of layer does not compile before someone has said what its tensors begin as.
void FillTensor(const ModelGraph& graph, const GraphLayer& layer, size_t place,
                RandomStream& random, std::span<float> out) {
  const TensorSpec& weight = graph.layout.tensors[static_cast<size_t>(layer.tensors[0])];
  const Role role = place == 0 ? Role::kWeight : Role::kBias;
  switch (layer.spec.kind_case()) {
    case v1::Layer::kLinear:
      FillByInitialiser(layer.spec.linear().weight_init(), FansOf(weight), role, random, out);
      return;
    case v1::Layer::kConv:
      FillByInitialiser(layer.spec.conv().weight_init(), FansOf(weight), role, random, out);
      return;
    case v1::Layer::kLayerNorm:
    case v1::Layer::kGroupNorm:
    case v1::Layer::kBatchNorm:
      // The weight and the running variance are one; bias and running mean stay zero.
      if (place == 0 || place == 3) std::fill(out.begin(), out.end(), 1.0f);
      return;
    case v1::Layer::kEmbedding:
      FillNormal(1, random, out);
      return;
    case v1::Layer::kActivation:
    case v1::Layer::kDropout:
    case v1::Layer::kFlatten:
    case v1::Layer::kAdd:
    case v1::Layer::kPool:
    case v1::Layer::kConcat:
    case v1::Layer::KIND_NOT_SET:  // They have none.
      return;
  }
}

}  // namespace

std::vector<float> InitialValues(const ModelGraph& graph, uint64_t run_seed) {
  std::vector<float> values(graph.layout.elements(), 0.0f);
  std::vector<size_t> offsets;
  size_t end = 0;
  for (const TensorSpec& tensor : graph.layout.tensors) {
    offsets.push_back(end);
    end += tensor.elements();
  }
  for (const GraphLayer& layer : graph.layers) {
    for (size_t place = 0; place < layer.tensors.size(); ++place) {
      const auto index = static_cast<size_t>(layer.tensors[place]);
      const TensorSpec& tensor = graph.layout.tensors[index];
      const std::span<float> out =
          std::span<float>(values).subspan(offsets[index], tensor.elements());
      RandomStream random(
          SeedPath{.run_seed = run_seed, .purpose = "initial_model", .site = tensor.name});
      FillTensor(graph, layer, place, random, out);
    }
  }
  return values;
}

}  // namespace consilium
