// The header of a safetensors file: names, shapes and places of tensors as JSON, checked before
// anything is allocated for a tensor. Read by events, not into a tree: nothing but these fields,
// no name twice, and no nesting beyond the three levels that the format has.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_SAFETENSORS_HEADER_H_
#define CONSILIUM_MODELS_SPEC_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

struct TensorPlace {
  std::string name;
  std::vector<int64_t> shape;  // Empty for a scalar.
  uint64_t begin = 0;          // In bytes of the data behind the header.
  uint64_t end = 0;

  uint64_t elements() const { return (end - begin) / sizeof(float); }
};

struct SafetensorsHeader {
  std::vector<TensorPlace> tensors;  // In the order of their places.
  std::map<std::string, std::string> metadata;
};

// `json` is the header's text, `data_bytes` what lies behind it in the file. INVALID_ARGUMENT where
// it is not such a header, a tensor is not F32, or the places overlap, leave a gap, run past the
// data or do not fit their shapes; RESOURCE_EXHAUSTED beyond kTensorsMax, kTensorNameCharsMax or
// kRankMax (protocol/wire/limits.h).
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t data_bytes);

// The text for `header`, filled up with blanks to a multiple of eight bytes so that the data is
// aligned. The same bytes as the format's own library writes for tensors in this order.
std::string FormatSafetensorsHeader(const SafetensorsHeader& header);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_SAFETENSORS_HEADER_H_
