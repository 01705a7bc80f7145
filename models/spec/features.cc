#include "models/spec/features.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace consilium {

std::vector<Feature> FeaturesOf(const v1::DataContract& contract) {
  std::vector<Feature> features;
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
    }
  }
  return features;
}

}  // namespace consilium
