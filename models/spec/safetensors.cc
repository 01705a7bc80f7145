#include "models/spec/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's floats are little-endian");

constexpr size_t kLengthBytes = 8;
constexpr size_t kPieceBytes = 16 << 20;  // Of one read or write call.

absl::Status ReadAt(const std::string& path, int descriptor, uint64_t offset, std::span<char> out) {
  while (!out.empty()) {
    const ssize_t got = pread(descriptor, out.data(), std::min(out.size(), kPieceBytes),
                              static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("can not read", path);
    if (got == 0) return absl::DataLossError(absl::StrCat(path, " became shorter while read"));
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::Status WriteAll(const std::string& path, int descriptor, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(descriptor, bytes.data(), std::min(bytes.size(), kPieceBytes));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return SystemError("can not write", path);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return absl::OkStatus();
}

template <typename T>
std::span<const char> CharsOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

SafetensorsHeader HeaderFor(const TensorFileContent& content) {
  SafetensorsHeader header;
  header.metadata = content.metadata;
  uint64_t end = 0;
  for (const TensorSpec& tensor : content.layout->tensors) {
    const uint64_t begin = end;
    end += tensor.elements() * sizeof(float);
    header.tensors.push_back(
        {.name = tensor.name, .shape = tensor.shape, .begin = begin, .end = end});
  }
  return header;
}

}  // namespace

TensorFile::TensorFile(TensorFile&& other) noexcept { *this = std::move(other); }

TensorFile& TensorFile::operator=(TensorFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_begin_, other.data_begin_);
  std::swap(header_, other.header_);
  return *this;
}

TensorFile::~TensorFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::StatusOr<TensorFile> TensorFile::Open(const std::string& path) {
  // Without waiting: a pipe put in the file's place must not hang the program.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return SystemError("can not open", path);
  TensorFile file(path, descriptor);
  CONSILIUM_RETURN_IF_ERROR(file.ReadHeader());
  return file;
}

absl::Status TensorFile::ReadHeader() {
  struct stat info;
  if (fstat(descriptor_, &info) != 0) return SystemError("can not look at", path_);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, " is not a regular file"));
  }
  const uint64_t file_bytes = static_cast<uint64_t>(info.st_size);
  std::array<unsigned char, kLengthBytes> length;
  if (file_bytes < kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path_, " is too short for a safetensors file"));
  }
  CONSILIUM_RETURN_IF_ERROR(
      ReadAt(path_, descriptor_, 0, {reinterpret_cast<char*>(length.data()), kLengthBytes}));
  uint64_t header_bytes = 0;
  for (size_t i = kLengthBytes; i-- > 0;) header_bytes = (header_bytes << 8) | length[i];
  if (header_bytes > limits::kSafetensorsHeaderBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has a header of %d bytes; at most %d are read", path_, header_bytes,
                        limits::kSafetensorsHeaderBytesMax));
  }
  if (header_bytes > file_bytes - kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path_, " ends within its header"));
  }
  data_begin_ = kLengthBytes + header_bytes;
  if (file_bytes - data_begin_ > limits::kPayloadBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has more than %d bytes of tensors", path_, limits::kPayloadBytesMax));
  }
  std::string json(header_bytes, '\0');
  CONSILIUM_RETURN_IF_ERROR(ReadAt(path_, descriptor_, kLengthBytes, json));
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(json, file_bytes - data_begin_);
  if (!header.ok()) {
    return absl::Status(header.status().code(),
                        absl::StrCat(path_, ": ", header.status().message()));
  }
  header_ = *std::move(header);
  return absl::OkStatus();
}

absl::Status TensorFile::Read(const TensorPlace& tensor, std::span<float> out) const {
  if (out.size() != tensor.elements()) {
    return absl::InvalidArgumentError(absl::StrCat(tensor.name, ": room for another size"));
  }
  return ReadAt(path_, descriptor_, data_begin_ + tensor.begin,
                {reinterpret_cast<char*>(out.data()), out.size_bytes()});
}

absl::Status TensorFile::ReadModel(const Layout& layout, std::span<float> out) const {
  if (out.size() != layout.elements()) {
    return absl::InvalidArgumentError("the room is not of the layout's size");
  }
  absl::flat_hash_map<absl::string_view, const TensorPlace*> places;
  for (const TensorPlace& place : header_.tensors) places[place.name] = &place;
  const auto wrong = [this](absl::string_view name, absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor \"", name, "\" ", what));
  };
  absl::flat_hash_set<absl::string_view> known;
  for (const TensorSpec& tensor : layout.tensors) {
    known.insert(tensor.name);
    const auto found = places.find(tensor.name);
    if (found == places.end()) return wrong(tensor.name, "is missing");
    if (found->second->shape != tensor.shape) return wrong(tensor.name, "has another shape");
  }
  for (const TensorPlace& place : header_.tensors) {
    if (!known.contains(place.name)) return wrong(place.name, "is none of the model's");
  }
  size_t begin = 0;
  for (const TensorSpec& tensor : layout.tensors) {
    const std::span<float> part = out.subspan(begin, tensor.elements());
    CONSILIUM_RETURN_IF_ERROR(Read(*places[tensor.name], part));
    if (!std::all_of(part.begin(), part.end(), [](float value) { return std::isfinite(value); })) {
      return wrong(tensor.name, "holds a number that is not finite");
    }
    begin += part.size();
  }
  return absl::OkStatus();
}

absl::Status WriteTensors(int descriptor, const std::string& name,
                          const TensorFileContent& content) {
  if (content.values.size() != content.layout->elements()) {
    return absl::InvalidArgumentError(absl::StrFormat("%d values for a layout of %d elements",
                                                      content.values.size(),
                                                      content.layout->elements()));
  }
  const std::string header = FormatSafetensorsHeader(HeaderFor(content));
  std::array<char, kLengthBytes> length;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length[i] = static_cast<char>(uint64_t{header.size()} >> (8 * i));
  }
  CONSILIUM_RETURN_IF_ERROR(WriteAll(name, descriptor, length));
  CONSILIUM_RETURN_IF_ERROR(WriteAll(name, descriptor, header));
  return WriteAll(name, descriptor, CharsOf(content.values));
}

absl::Status WriteTensorFile(const std::string& path, const TensorFileContent& content) {
  const std::string temporary = absl::StrCat(path, ".writing-", getpid());
  const int descriptor =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, content.mode);
  if (descriptor < 0) return SystemError("can not create", temporary);
  absl::Cleanup remove_temporary = [&] { unlink(temporary.c_str()); };
  {
    const absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
    CONSILIUM_RETURN_IF_ERROR(WriteTensors(descriptor, temporary, content));
    if (fsync(descriptor) != 0) return SystemError("can not sync", temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return SystemError("can not rename", path);
  std::move(remove_temporary).Cancel();
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncFolder(folder.empty() ? "." : folder);
}

}  // namespace consilium
