// Small files, read and written so that a crash leaves the old content or the new, never a mix.
//
// Threads: any; two writers of one path are the caller's fault.

#ifndef CONSILIUM_PROTOCOL_CORE_FILES_H_
#define CONSILIUM_PROTOCOL_CORE_FILES_H_

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

// What errno says, as a Status whose text is `what`, the path and the system's words: NOT_FOUND;
// RESOURCE_EXHAUSTED for a full disk, quota or file size; PERMISSION_DENIED; UNAVAILABLE otherwise.
absl::Status SystemError(absl::string_view what, const std::string& path);

// The whole file. NOT_FOUND; RESOURCE_EXHAUSTED where it has more than `bytes_max` (nothing is
// allocated then); UNAVAILABLE for other errors of the system, with its words.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t bytes_max);

// write to a temporary name, fsync, rename, fsync of the folder. `mode` is set before any byte is
// written. RESOURCE_EXHAUSTED for a full disk, UNAVAILABLE otherwise.
absl::Status WriteFileDurably(const std::string& path, absl::string_view content,
                              mode_t mode = 0600);

// fsync of a folder, so that names made or renamed in it are durable.
absl::Status SyncFolder(const std::string& path);

// mkdir -p with `mode` for what is new.
absl::Status MakeFolders(const std::string& path, mode_t mode = 0700);

// A secret may lie at `path`: a regular file of this user, no more than 0600, in a folder of at
// most 0700. FAILED_PRECONDITION names the command that mends it.
absl::Status CheckPrivate(const std::string& path);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_FILES_H_
