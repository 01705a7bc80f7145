#include "site_agent/runtime/stored_vector.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium::site {

absl::StatusOr<std::vector<float>> ReadStoredVector(const BlobStore& blobs, const Digest& name) {
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, blobs.Read(name));
  if (reader.size() % sizeof(float) != 0 || reader.size() > limits::kPayloadBytesMax) {
    return absl::DataLossError("a stored vector has an impossible size");
  }
  std::vector<float> values(reader.size() / sizeof(float));
  auto* out = reinterpret_cast<uint8_t*>(values.data());
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<std::span<const uint8_t>> record, reader.Next());
  while (record.has_value()) {
    memcpy(out, record->data(), record->size());
    out += record->size();
    CONSILIUM_ASSIGN_OR_RETURN(record, reader.Next());
  }
  return values;
}

}  // namespace consilium::site
