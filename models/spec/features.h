// The features that a data contract gives a model: numbers count one, a category one for each of
// its values (or each but the first), a tensor one for each of its numbers. The one place that
// fixes their order; encoding, statistics and standardisation all read it.
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
  enum class Kind { kNumber, kCategoryValue, kTensorElement };
  Kind kind = Kind::kNumber;
  int column = 0;  // Index into contract.columns.
  // kCategoryValue: the index of the value that makes it 1. kTensorElement: its place among the
  // numbers of all of a row's tensors.
  int value = 0;
  double min = 0;  // The contract's range; 0 to 1 for a category's value.
  double max = 1;
  // What the model sees of a tensor's number x: (x − mean)/deviation.
  double mean = 0;
  double deviation = 1;
  std::string name;  // "age", "chest_pain=2" or "image[17]". For messages and reports.
};

// In the order of columns, and of values within a category. Its size is FeatureCount(contract)
// (models/spec/run_plan.h). A column without a kind gives none.
std::vector<Feature> FeaturesOf(const v1::DataContract& contract);

// The numbers of one example, at most limits::kFeaturesMax + 1: a contract that is not checked yet
// may say anything.
size_t TensorElements(const v1::Tensor& tensor);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_FEATURES_H_
