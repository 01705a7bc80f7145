#include "site_agent/ingest/packed_bytes.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/wire/limits.h"

namespace consilium {

absl::StatusOr<uint64_t> ArrayFileBytes(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return SystemError("can not open", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  const auto bytes = static_cast<uint64_t>(info.st_size);
  if (bytes > limits::kArrayFileBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has more than %d bytes", path, limits::kArrayFileBytesMax));
  }
  return bytes;
}

}  // namespace consilium
