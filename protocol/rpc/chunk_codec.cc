#include "protocol/rpc/chunk_codec.h"

#include <string.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

constexpr uint32_t kDataTag = (v1::Chunk::kDataFieldNumber << 3) | kLength;
constexpr uint32_t kFieldNumberMax = (uint32_t{1} << 29) - 1;
constexpr int kVarintBytesMax = 10;
// Tags, lengths and what a newer peer may add beside header and data.
constexpr size_t kFramingBytesMax = 4096;

void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

absl::Status Malformed(absl::string_view what) {
  return Refusal(v1::MALFORMED, absl::StrFormat("a chunk of a transfer is malformed: %s", what));
}

absl::Status TooLong(absl::string_view what, uint64_t bytes, size_t bytes_max) {
  return Refusal(v1::OVERSIZE, absl::StrFormat("%s of %d bytes in one chunk; at most %d are taken",
                                               what, bytes, bytes_max));
}

// Reads forward over slices. Every call checks what is left.
class SliceReader {
 public:
  explicit SliceReader(const std::vector<grpc::Slice>& slices) : slices_(slices) {
    for (const grpc::Slice& slice : slices) left_ += slice.size();
  }

  uint64_t left() const { return left_; }

  bool ReadByte(uint8_t& byte) {
    bool read = false;
    Take(1, [&](std::span<const uint8_t> piece) {
      byte = piece[0];
      read = true;
    });
    return read;
  }

  bool ReadVarint(uint64_t& value) {
    value = 0;
    for (int i = 0; i < kVarintBytesMax; ++i) {
      uint8_t byte = 0;
      if (!ReadByte(byte)) return false;
      value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  // Calls `with` for each piece of the next `bytes`; false, and nothing called, where fewer are
  // left.
  template <typename F>
  bool Take(uint64_t bytes, F with) {
    if (bytes > left_) return false;
    left_ -= bytes;
    while (bytes > 0) {
      const grpc::Slice& slice = slices_[index_];
      const size_t here = static_cast<size_t>(std::min<uint64_t>(bytes, slice.size() - offset_));
      if (here > 0) with(std::span<const uint8_t>(slice.begin() + offset_, here));
      bytes -= here;
      offset_ += here;
      if (offset_ == slice.size()) {
        ++index_;
        offset_ = 0;
      }
    }
    return true;
  }

  bool Skip(uint64_t bytes) {
    return Take(bytes, [](std::span<const uint8_t>) {});
  }

 private:
  const std::vector<grpc::Slice>& slices_;
  uint64_t left_ = 0;
  size_t index_ = 0;
  size_t offset_ = 0;
};

bool SkipField(uint32_t wire_type, SliceReader& reader) {
  uint64_t value = 0;
  switch (wire_type) {
    case kVarint:
      return reader.ReadVarint(value);
    case kFixed64:
      return reader.Skip(8);
    case kFixed32:
      return reader.Skip(4);
    case kLength:
      return reader.ReadVarint(value) && reader.Skip(value);
    default:
      return false;
  }
}

absl::Status ReadHeader(uint32_t field, SliceReader& reader, v1::Chunk& head) {
  if (head.header_case() != v1::Chunk::HEADER_NOT_SET) return Malformed("two headers");
  uint64_t bytes = 0;
  std::string text;
  if (!reader.ReadVarint(bytes)) return Malformed("a header without a length");
  if (bytes > limits::kChunkHeaderBytesMax) {
    return TooLong("a header", bytes, limits::kChunkHeaderBytesMax);
  }
  const bool read = reader.Take(bytes, [&text](std::span<const uint8_t> piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  if (!read) return Malformed("it ends inside its header");
  const bool parsed = field == v1::Chunk::kUpdateFieldNumber
                          ? head.mutable_update()->ParseFromString(text)
                          : head.mutable_model()->ParseFromString(text);
  return parsed ? absl::OkStatus() : Malformed("its header is no header");
}

void DropOwner(void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

}  // namespace

grpc::ByteBuffer EncodeChunk(const v1::Chunk& head, SharedBytes data) {
  std::string front = head.SerializeAsString();
  if (data.bytes.empty()) {
    const grpc::Slice slice(front);
    return grpc::ByteBuffer(&slice, 1);
  }
  AppendVarint(kDataTag, front);
  AppendVarint(data.bytes.size(), front);
  const grpc::Slice slices[] = {
      grpc::Slice(front),
      // gRPC takes a void* and never writes to it.
      grpc::Slice(const_cast<uint8_t*>(data.bytes.data()), data.bytes.size(), DropOwner,
                  new std::shared_ptr<const void>(std::move(data.owner)))};
  return grpc::ByteBuffer(slices, 2);
}

absl::StatusOr<ReceivedChunk> DecodeChunk(const grpc::ByteBuffer& buffer) {
  constexpr size_t kBytesMax =
      limits::kChunkBytesMax + limits::kChunkHeaderBytesMax + kFramingBytesMax;
  ReceivedChunk chunk;
  if (!buffer.Valid()) return Malformed("it is empty");
  if (buffer.Length() > kBytesMax) return TooLong("a message", buffer.Length(), kBytesMax);
  if (!buffer.Dump(&chunk.slices_).ok()) return Malformed("it can not be read");
  SliceReader reader(chunk.slices_);
  bool has_data = false;
  while (reader.left() > 0) {
    uint64_t tag = 0;
    if (!reader.ReadVarint(tag)) return Malformed("it ends inside a field");
    const uint32_t wire_type = tag & 7;
    const uint64_t field = tag >> 3;
    if (field == 0 || field > kFieldNumberMax) return Malformed("a field without a number");
    if ((field == v1::Chunk::kUpdateFieldNumber || field == v1::Chunk::kModelFieldNumber) &&
        wire_type == kLength) {
      CONSILIUM_RETURN_IF_ERROR(ReadHeader(static_cast<uint32_t>(field), reader, chunk.head_));
    } else if (tag == kDataTag) {
      if (has_data) return Malformed("data twice");
      has_data = true;
      uint64_t bytes = 0;
      if (!reader.ReadVarint(bytes)) return Malformed("data without a length");
      if (bytes > limits::kChunkBytesMax) return TooLong("data", bytes, limits::kChunkBytesMax);
      chunk.data_bytes_ = static_cast<size_t>(bytes);
      const bool read = reader.Take(
          bytes, [&chunk](std::span<const uint8_t> piece) { chunk.data_.push_back(piece); });
      if (!read) return Malformed("it ends inside its data");
    } else if (!SkipField(wire_type, reader)) {
      return Malformed("an unknown field that can not be passed over");
    }
  }
  return chunk;
}

}  // namespace consilium
