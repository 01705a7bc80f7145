#include "models/spec/features.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

void AddElements(const v1::Column& column, Feature feature, std::vector<Feature>& features) {
  const v1::Tensor& tensor = column.tensor();
  feature.kind = Feature::Kind::kTensorElement;
  feature.min = tensor.min();
  feature.max = tensor.max();
  feature.mean = tensor.has_mean() ? tensor.mean() : tensor.min();
  feature.deviation = tensor.has_deviation() ? tensor.deviation() : tensor.max() - tensor.min();
  const size_t elements = TensorElements(tensor);
  if (elements > limits::kFeaturesMax) return;
  for (size_t i = 0; i < elements; ++i, ++feature.value) {
    feature.name = absl::StrCat(column.name(), "[", i, "]");
    features.push_back(feature);
  }
}

}  // namespace

size_t TensorElements(const v1::Tensor& tensor) {
  if (tensor.shape().empty()) return 0;
  uint64_t elements = 1;
  for (const uint32_t size : tensor.shape()) {
    elements *= size;  // Below 2^17 · 2^32.
    if (elements > limits::kFeaturesMax) return limits::kFeaturesMax + 1;
  }
  return static_cast<size_t>(elements);
}

std::vector<Feature> FeaturesOf(const v1::DataContract& contract) {
  std::vector<Feature> features;
  int tensor_elements = 0;
  for (int c = 0; c < contract.columns_size(); ++c) {
    const v1::Column& column = contract.columns(c);
    Feature feature;
    feature.column = c;
    if (column.has_number()) {
      feature.min = column.number().min();
      feature.max = column.number().max();
      feature.name = column.name();
      features.push_back(std::move(feature));
    } else if (column.has_category()) {
      feature.kind = Feature::Kind::kCategoryValue;
      for (int v = column.category().drop_first() ? 1 : 0; v < column.category().values_size();
           ++v) {
        feature.value = v;
        feature.name = absl::StrCat(column.name(), "=", column.category().values(v));
        features.push_back(feature);
      }
    } else if (column.has_tensor()) {
      const size_t before = features.size();
      feature.value = tensor_elements;
      AddElements(column, feature, features);
      tensor_elements += static_cast<int>(features.size() - before);
    }
  }
  return features;
}

}  // namespace consilium
