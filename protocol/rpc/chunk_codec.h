// v1.Chunk between its message form and gRPC's buffers without copying the data: protobuf's own
// parser would copy each megabyte once more than the network does.
//
//   EncodeChunk: [header fields ‖ tag and length of `data`] as one slice, the data as another that
//   refers to the caller's memory and keeps it alive until gRPC has sent it.
//   DecodeChunk: reads the fields in place; the data is spans into the received slices.
//
// Threads: any; a Chunk received is used by one thread at a time.

#ifndef CONSILIUM_PROTOCOL_RPC_CHUNK_CODEC_H_
#define CONSILIUM_PROTOCOL_RPC_CHUNK_CODEC_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/transfer.pb.h"

namespace consilium {

// Immutable bytes and what keeps them alive.
struct SharedBytes {
  std::shared_ptr<const void> owner;
  std::span<const uint8_t> bytes;
};

// `head` has the header, if any, and no data. Refers to `data` (see above).
grpc::ByteBuffer EncodeChunk(const v1::Chunk& head, SharedBytes data);

using ByteSpans = std::span<const std::span<const uint8_t>>;

class ReceivedChunk {
 public:
  // The header that came with it, if any; no data.
  const v1::Chunk& head() const { return head_; }
  // In order; valid as long as this object.
  ByteSpans data() const { return data_; }
  size_t data_bytes() const { return data_bytes_; }

 private:
  friend absl::StatusOr<ReceivedChunk> DecodeChunk(const grpc::ByteBuffer& buffer);
  std::vector<grpc::Slice> slices_;
  v1::Chunk head_;
  std::vector<std::span<const uint8_t>> data_;
  size_t data_bytes_ = 0;
};

// Takes what protobuf's parser takes, but for a field that comes twice (which no serializer writes)
// and for groups. Refusals: MALFORMED; OVERSIZE for data above limits::kChunkBytesMax or a header
// above kChunkHeaderBytesMax. Unknown fields are passed over.
absl::StatusOr<ReceivedChunk> DecodeChunk(const grpc::ByteBuffer& buffer);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_CHUNK_CODEC_H_
