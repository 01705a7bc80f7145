#include "sim/engine/frame_file.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

constexpr absl::string_view kMagic = "CONSILIUM FRAMES 1\n";
constexpr size_t kBlockBytes = 1 << 20;
constexpr size_t kLengthBytes = 8;
constexpr size_t kDigestBytes = 32;
constexpr size_t kBlockHeadBytes = kLengthBytes + kDigestBytes;
constexpr size_t kFrameHeadBytes = 1 + kLengthBytes;

void AppendLength(uint64_t value, std::string& out) {
  for (size_t i = 0; i < kLengthBytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t LengthAt(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = kLengthBytes; i > 0; --i) {
    value = (value << 8) | static_cast<uint8_t>(bytes[i - 1]);
  }
  return value;
}

}  // namespace

// --- Writing ----------------------------------------------------------------------------------

FrameWriter::FrameWriter(std::string path, File file, uint64_t written)
    : path_(std::move(path)), file_(std::move(file)), written_(written) {}

absl::StatusOr<FrameWriter> FrameWriter::Create(const std::string& path) {
  File file(fopen(path.c_str(), "wbe"));
  if (file == nullptr) return SystemError("can not create", path);
  FrameWriter writer(path, std::move(file), 0);
  CONSILIUM_RETURN_IF_ERROR(writer.Write(kMagic));
  return writer;
}

absl::StatusOr<FrameWriter> FrameWriter::GoOn(const std::string& path, uint64_t bytes) {
  File file(fopen(path.c_str(), "r+be"));
  if (file == nullptr) return SystemError("can not open", path);
  if (ftruncate(fileno(file.get()), static_cast<off_t>(bytes)) != 0 ||
      fseeko(file.get(), 0, SEEK_END) != 0) {
    return SystemError("can not cut off the end of", path);
  }
  return FrameWriter(path, std::move(file), bytes);
}

absl::Status FrameWriter::Add(char kind, absl::string_view bytes) {
  block_.push_back(kind);
  AppendLength(bytes.size(), block_);
  block_.append(bytes.data(), bytes.size());
  return block_.size() < kBlockBytes ? absl::OkStatus() : WriteBlock();
}

absl::Status FrameWriter::WriteBlock() {
  if (block_.empty()) return absl::OkStatus();
  std::string head;
  AppendLength(block_.size(), head);
  head += ToBytes(Sha256Of(absl::string_view(block_)));
  CONSILIUM_RETURN_IF_ERROR(Write(head));
  CONSILIUM_RETURN_IF_ERROR(Write(block_));
  block_.clear();
  return absl::OkStatus();
}

absl::Status FrameWriter::Write(absl::string_view bytes) {
  if (fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) {
    return SystemError("can not write", path_);
  }
  written_ += bytes.size();
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> FrameWriter::Sync() {
  CONSILIUM_RETURN_IF_ERROR(WriteBlock());
  if (fflush(file_.get()) != 0 || fsync(fileno(file_.get())) != 0) {
    return SystemError("can not sync", path_);
  }
  return written_;
}

// --- Reading ----------------------------------------------------------------------------------

FrameReader::FrameReader(std::string path, std::ifstream file, uint64_t end,
                         uint64_t frame_bytes_max)
    : path_(std::move(path)),
      file_(std::move(file)),
      end_(end),
      frame_bytes_max_(frame_bytes_max),
      read_(kMagic.size()) {}

absl::StatusOr<FrameReader> FrameReader::Open(const std::string& path,
                                              std::optional<uint64_t> bytes,
                                              uint64_t frame_bytes_max) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return absl::NotFoundError(absl::StrCat("can not open ", path));
  const uint64_t end = bytes.value_or(size);
  std::string magic(kMagic.size(), '\0');
  file.read(magic.data(), static_cast<std::streamsize>(magic.size()));
  if (!file || magic != kMagic || size < end || end < kMagic.size()) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: it is cut off, or another file"));
  }
  return FrameReader(path, std::move(file), end, frame_bytes_max);
}

absl::Status FrameReader::Damaged() const {
  return absl::DataLossError(absl::StrCat(path_, " is damaged at byte ", read_));
}

absl::Status FrameReader::ReadBlock() {
  std::string head(kBlockHeadBytes, '\0');
  if (end_ - read_ < head.size()) return Damaged();
  file_.read(head.data(), static_cast<std::streamsize>(head.size()));
  const uint64_t size = LengthAt(head);
  // No more memory than the file has bytes.
  if (!file_ || size > end_ - read_ - head.size()) return Damaged();
  // A writer ends a block with the frame that fills it.
  const uint64_t size_max = kBlockBytes + kFrameHeadBytes + frame_bytes_max_;
  if (size > size_max) {
    return absl::DataLossError(absl::StrCat(path_, " is damaged at byte ", read_, ": a block of ",
                                            size, " bytes, where at most ", size_max, " are read"));
  }
  block_.assign(size, '\0');
  place_ = 0;
  file_.read(block_.data(), static_cast<std::streamsize>(size));
  if (!file_ || ToBytes(Sha256Of(absl::string_view(block_))) != head.substr(kLengthBytes)) {
    return Damaged();
  }
  read_ += head.size() + size;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Frame>> FrameReader::Next() {
  if (place_ == block_.size()) {
    if (read_ == end_) return std::nullopt;
    CONSILIUM_RETURN_IF_ERROR(ReadBlock());
  }
  const absl::string_view rest = absl::string_view(block_).substr(place_);
  if (rest.size() < kFrameHeadBytes) return Damaged();
  const uint64_t size = LengthAt(rest.substr(1));
  if (size > rest.size() - kFrameHeadBytes) return Damaged();
  place_ += kFrameHeadBytes + size;
  return Frame{rest[0], std::string(rest.substr(kFrameHeadBytes, size))};
}

absl::Status CheckFrames(const std::string& path, uint64_t bytes, uint64_t frame_bytes_max) {
  CONSILIUM_ASSIGN_OR_RETURN(FrameReader reader, FrameReader::Open(path, bytes, frame_bytes_max));
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<Frame> frame, reader.Next());
    if (!frame.has_value()) return absl::OkStatus();
  }
}

}  // namespace consilium
