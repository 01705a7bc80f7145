// Where the bytes of an upload or download come from.
//
// Threads: one at a time.

#ifndef CONSILIUM_PROTOCOL_RPC_PAYLOAD_SOURCE_H_
#define CONSILIUM_PROTOCOL_RPC_PAYLOAD_SOURCE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "protocol/rpc/chunk_codec.h"
#include "protocol/wire/limits.h"

namespace consilium {

class PayloadSource {
 public:
  virtual ~PayloadSource() = default;
  // The bytes from `offset` on, at least one and at most limits::kChunkBytes. Asked for in order,
  // and never at or beyond the end. May read a file.
  virtual absl::StatusOr<SharedBytes> Read(uint64_t offset) = 0;
};

// One immutable buffer, shared with whoever else sends it.
class BufferSource final : public PayloadSource {
 public:
  explicit BufferSource(SharedBytes payload) : payload_(std::move(payload)) {}

  absl::StatusOr<SharedBytes> Read(uint64_t offset) override {
    const size_t left = payload_.bytes.size() - static_cast<size_t>(offset);
    return SharedBytes{payload_.owner, payload_.bytes.subspan(static_cast<size_t>(offset),
                                                              std::min(left, limits::kChunkBytes))};
  }

 private:
  const SharedBytes payload_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_PAYLOAD_SOURCE_H_
