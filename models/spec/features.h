// The features that a data contract gives a model: numbers count one, a category one for each of
// its values (or each but the first). The one place that fixes their order; encoding, statistics
// and standardisation all read it.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_MODELS_SPEC_FEATURES_H_
#define CONSILIUM_MODELS_SPEC_FEATURES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "consilium/v1/data_contract.pb.h"

namespace consilium {

struct Feature {
  enum class Kind { kNumber, kCategoryValue };
  Kind kind = Kind::kNumber;
  int column = 0;  // Index into contract.columns.
  int value = 0;   // kCategoryValue: the index of the value that makes it 1.
  double min = 0;  // The contract's range; 0 to 1 for a category's value.
  double max = 1;
  std::string name;  // "age", or "chest_pain=2". For messages and reports.
};

// In the order of columns, and of values within a category. Its size is FeatureCount(contract)
// (models/spec/run_plan.h). A column without a kind gives none.
std::vector<Feature> FeaturesOf(const v1::DataContract& contract);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_FEATURES_H_
