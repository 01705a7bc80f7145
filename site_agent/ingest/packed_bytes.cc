#include "site_agent/ingest/packed_bytes.h"

#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {

absl::StatusOr<RegularFile> OpenArrayFile(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(RegularFile file, RegularFile::Open(path));
  if (file.bytes() > limits::kArrayFileBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has more than %d bytes", path, limits::kArrayFileBytesMax));
  }
  return file;
}

}  // namespace consilium
