#include "models/spec/layout.h"

#include "protocol/wire/hash.h"

namespace consilium {

uint64_t TensorSpec::elements() const {
  uint64_t product = 1;
  for (const int64_t size : shape) product *= static_cast<uint64_t>(size);
  return product;
}

uint64_t Layout::elements() const {
  uint64_t sum = 0;
  for (const TensorSpec& tensor : tensors) sum += tensor.elements();
  return sum;
}

uint64_t Layout::trained_elements() const {
  uint64_t sum = 0;
  for (const TensorSpec& tensor : tensors) {
    if (tensor.group != TensorGroup::kBuffers) sum += tensor.elements();
  }
  return sum;
}

Digest Layout::Hash() const {
  FieldHasher hash("consilium.layout.v1");
  hash.Add(uint64_t{tensors.size()});
  for (const TensorSpec& tensor : tensors) {
    hash.Add(tensor.name);
    hash.Add(static_cast<uint64_t>(tensor.group));
    hash.Add(uint64_t{tensor.shape.size()});
    for (const int64_t size : tensor.shape) hash.Add(static_cast<uint64_t>(size));
  }
  return hash.Finish();
}

}  // namespace consilium
