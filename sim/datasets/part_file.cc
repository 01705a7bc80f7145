#include "sim/datasets/part_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/datasets/locate.h"

namespace consilium {

absl::StatusOr<PartFile> PartFile::Open(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0755));
  const std::string part = path + ".part";
  // Not blocked by a FIFO, and not led elsewhere by a link.
  const int fd = open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
  if (fd < 0) return SystemError("can not open", part);
  absl::Cleanup closer = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return SystemError("can not look at", part);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(part, " is not a regular file"));
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(part, " is in use by another process"));
  }
  // Another process may have finished, and renamed, what was opened; and have grown it.
  struct stat named;
  if (fstat(fd, &info) != 0 || stat(part.c_str(), &named) != 0 || named.st_ino != info.st_ino) {
    return absl::FailedPreconditionError(
        absl::StrCat(part, " has just been finished by another process; try again"));
  }
  if (lseek(fd, 0, SEEK_END) < 0) return SystemError("can not go on with", part);
  std::move(closer).Cancel();
  return PartFile(path, fd, static_cast<uint64_t>(info.st_size));
}

PartFile::PartFile(PartFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}

PartFile::~PartFile() {
  if (fd_ < 0) return;
  if (bytes_ == 0) unlink(part().c_str());
  close(fd_);
}

absl::Status PartFile::Append(absl::string_view piece) {
  while (!piece.empty()) {
    const ssize_t n = write(fd_, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("can not write", part());
    piece.remove_prefix(static_cast<size_t>(n));
    bytes_ += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status PartFile::Clear() {
  if (ftruncate(fd_, 0) != 0 || lseek(fd_, 0, SEEK_SET) < 0) {
    return SystemError("can not empty", part());
  }
  bytes_ = 0;
  return absl::OkStatus();
}

absl::Status PartFile::Finish(const std::string& sha256) {
  CONSILIUM_ASSIGN_OR_RETURN(const Digest digest, HashOfFile(part()));
  if (ToHex(digest) != sha256) {
    CONSILIUM_RETURN_IF_ERROR(Clear());
    return absl::DataLossError(
        absl::StrCat("has SHA-256 ", ToHex(digest), ", not ", sha256, ": it is another file"));
  }
  if (fsync(fd_) != 0) return SystemError("can not write", part());
  if (rename(part().c_str(), path_.c_str()) != 0) return SystemError("can not make", path_);
  return SyncFolder(std::filesystem::path(path_).parent_path().string());
}

}  // namespace consilium
