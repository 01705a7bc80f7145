// Shapes of examples and tensors, without the batch: their text, their bound, and how a refusal
// names the place in a model spec that asks for one.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_SHAPES_H_
#define CONSILIUM_MODELS_SPEC_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace consilium {

using Shape = std::vector<int64_t>;

// "[1, 28, 28]".
std::string ShapeText(const Shape& shape);

// Elements of `shape`, or RESOURCE_EXHAUSTED where a dimension or the product meets its limit.
absl::StatusOr<uint64_t> BoundedElements(const Shape& shape);

// `status` and `what` behind the path of the field that they concern.
inline absl::Status At(absl::string_view path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}
inline absl::Status RefuseAt(absl::string_view path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_SHAPES_H_
