#include "models/spec/shapes.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/wire/limits.h"

namespace consilium {

std::string ShapeText(const Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<uint64_t> BoundedElements(const Shape& shape) {
  uint64_t product = 1;
  for (const int64_t size : shape) {
    if (size > limits::kDimensionMax) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "a dimension of %d; at most %d are allowed", size, limits::kDimensionMax));
    }
    product *= static_cast<uint64_t>(size);  // Below 2^34 · 2^24 before the check.
    if (product > limits::kModelElementsMax) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "%s has more than %d elements", ShapeText(shape), limits::kModelElementsMax));
    }
  }
  return product;
}

}  // namespace consilium
