#include <zlib.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/array_files.h"
#include "site_agent/ingest/packed_bytes.h"

namespace consilium {
namespace {

using Kind = ArrayFormat::Kind;
using GzFile = std::unique_ptr<gzFile_s, int (*)(gzFile)>;

constexpr size_t kMagicBytes = 4;

absl::Status Wrong(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, " ", what));
}

absl::Status CutOff(const std::string& path, gzFile file) {
  int error = 0;
  const std::string why = gzerror(file, &error);
  return error == Z_OK || error == Z_BUF_ERROR
             ? Wrong(path, "ends before what its header says, so it is damaged or cut off")
             : Wrong(path, absl::StrCat("is damaged: ", why));
}

struct Type {
  Kind kind;
  size_t item_bytes;
};

std::optional<Type> TypeOf(uint8_t code) {
  switch (code) {
    case 0x08:
      return Type{Kind::kUnsigned, 1};
    case 0x09:
      return Type{Kind::kSigned, 1};
    case 0x0b:
      return Type{Kind::kSigned, 2};
    case 0x0c:
      return Type{Kind::kSigned, 4};
    case 0x0d:
      return Type{Kind::kFloat, 4};
    case 0x0e:
      return Type{Kind::kFloat, 8};
    default:
      return std::nullopt;
  }
}

// A file of which the header is read, and the items are not.
struct OpenedIdx {
  GzFile file;
  ArrayFormat format;
  uint64_t item_bytes = 0;
};

int64_t ReadSome(const GzFile& file, uint8_t* to, size_t n) {
  return int64_t{gzread(file.get(), to, static_cast<unsigned>(n))};
}

absl::StatusOr<ArrayFormat> ReadHeader(const std::string& path, const GzFile& file) {
  const auto read = [&file](uint8_t* to, size_t n) { return ReadSome(file, to, n); };
  std::vector<uint8_t> bytes;
  if (!ReadExactly(kMagicBytes, read, bytes)) return CutOff(path, file.get());
  const std::optional<Type> type = TypeOf(bytes[2]);
  if (bytes[0] != 0 || bytes[1] != 0 || !type.has_value() || bytes[3] == 0 ||
      bytes[3] > limits::kArrayRankMax) {
    return Wrong(path, "is no IDX file: it does not begin with the magic number of one");
  }
  ArrayFormat format;
  format.kind = type->kind;
  format.item_bytes = type->item_bytes;
  format.order = std::endian::big;
  const size_t rank = bytes[3];
  if (!ReadExactly(4 * rank, read, bytes)) return CutOff(path, file.get());
  for (size_t d = 0; d < rank; ++d) {
    uint64_t size = 0;
    for (size_t b = 0; b < 4; ++b) size = size << 8 | bytes[4 * d + b];
    format.shape.push_back(size);
  }
  return format;
}

absl::StatusOr<OpenedIdx> OpenIdx(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(RegularFile opened, OpenArrayFile(path));
  GzFile file(gzdopen(opened.descriptor(), "rb"), gzclose_r);  // Reads plain files as they are.
  if (file == nullptr) return SystemError("can not read", path);
  opened.Release();
  CONSILIUM_ASSIGN_OR_RETURN(ArrayFormat format, ReadHeader(path, file));
  const absl::StatusOr<uint64_t> item_bytes = BytesOf(format);
  if (!item_bytes.ok()) {
    return absl::Status(item_bytes.status().code(),
                        absl::StrCat(path, " ", item_bytes.status().message()));
  }
  if (!CanUnpackTo(opened.bytes(), *item_bytes)) {
    return Wrong(path, "claims more items than its bytes can hold");
  }
  return OpenedIdx{std::move(file), std::move(format), *item_bytes};
}

}  // namespace

absl::StatusOr<ArrayFormat> IdxFormat(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(OpenedIdx opened, OpenIdx(path));
  return std::move(opened.format);
}

absl::StatusOr<Array> ReadIdxFile(const std::string& path, const ArrayFormat& format,
                                  const TellUnpacked& tell) {
  CONSILIUM_ASSIGN_OR_RETURN(OpenedIdx opened, OpenIdx(path));
  if (opened.format != format) return Wrong(path, kChangedMeanwhile);
  Unpacking unpacking(tell);
  const auto read = [&](uint8_t* to, size_t n) {
    return unpacking.Told(ReadSome(opened.file, to, n));
  };
  gzFile_s* const file = opened.file.get();
  std::vector<uint8_t> bytes;
  const bool whole = ReadExactly(static_cast<size_t>(opened.item_bytes), read, bytes);
  CONSILIUM_RETURN_IF_ERROR(unpacking.ended());
  if (!whole) return CutOff(path, file);
  uint8_t beyond = 0;
  const int left = gzread(file, &beyond, 1);  // At the end zlib compares the checksum.
  if (left > 0) return Wrong(path, "goes on after what its header says");
  int error = Z_OK;
  gzerror(file, &error);
  // A file that lacks its checksum reads as ended, with an error.
  if (left < 0 || error != Z_OK) return CutOff(path, file);
  return Array(std::move(opened.format), std::move(bytes));
}

}  // namespace consilium
