// The layout of a model: the names, shapes and groups of its tensors, in the one order in which
// they lie in an update, a version and a file. Both sides compare its hash before a byte is
// merged, so the aggregator can sum spans of floats and know what it sums.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_MODELS_SPEC_LAYOUT_H_
#define CONSILIUM_MODELS_SPEC_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/core/ids.h"

namespace consilium {

// What happens to a tensor between site and aggregator.
enum class TensorGroup : uint8_t {
  kParameters,  // Trained and aggregated.
  kBuffers,     // Running statistics: aggregated, or kept by the site.
  kPersonal,    // Never leaves the site.
  kAdapters,    // The only part that travels where a run fine-tunes.
};

struct TensorSpec {
  std::string name;            // "<layer>.<tensor>", e.g. "hidden.weight".
  std::vector<int64_t> shape;  // Row-major; empty for a scalar.
  TensorGroup group = TensorGroup::kParameters;

  uint64_t elements() const;
};

struct Layout {
  // Buffers behind all others.
  std::vector<TensorSpec> tensors;

  // Sum over all tensors; the length of every vector of a run (protocol/wire/vector_program.h).
  uint64_t elements() const;
  // Those before the buffers, which an optimizer steps over.
  uint64_t trained_elements() const;
  uint64_t payload_bytes() const { return elements() * sizeof(float); }
  // Canonical digest of names, shapes, groups and order.
  Digest Hash() const;
};

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_LAYOUT_H_
