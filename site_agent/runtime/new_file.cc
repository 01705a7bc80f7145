#include "site_agent/runtime/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium::site {
namespace {

constexpr mode_t kMode = 0600;

std::string FolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

absl::Status Exists(const std::string& path) {
  return absl::AlreadyExistsError(absl::StrCat(path, " exists: choose another name or remove it"));
}

}  // namespace

NewFile::NewFile(std::string path, std::string temporary, FileDescriptor descriptor)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      descriptor_(std::move(descriptor)) {}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, "")),
      descriptor_(std::move(other.descriptor_)) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::StatusOr<NewFile> NewFile::Create(const std::string& path, UntilWhole until) {
  struct stat info;
  if (lstat(path.c_str(), &info) == 0) return Exists(path);
  if (errno != ENOENT) return SystemError("can not look at", path);
  if (until == UntilWhole::kNameless) {
    FileDescriptor made(open(FolderOf(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kMode));
    if (made.get() >= 0) return NewFile(path, "", std::move(made));
  }
  const std::string temporary = absl::StrCat(path, ".writing-", getpid());
  FileDescriptor made(
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kMode));
  if (made.get() < 0) return SystemError("can not create", temporary);
  return NewFile(path, temporary, std::move(made));
}

// As link(2) does.
int NewFile::TakeName() const {
  if (temporary_.empty()) {
    const std::string own = absl::StrCat("/proc/self/fd/", descriptor_.get());
    return linkat(AT_FDCWD, own.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW);
  }
  // FAT has no links, and NFS does not rename without replacement.
  const int renamed =
      renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
  if (renamed == 0 || errno != EINVAL) return renamed;
  return link(temporary_.c_str(), path_.c_str());
}

absl::StatusOr<uint64_t> NewFile::Commit() {
  struct stat info;
  if (fsync(descriptor_.get()) != 0 || fstat(descriptor_.get(), &info) != 0) {
    return SystemError("can not write", path_);
  }
  if (TakeName() != 0) return errno == EEXIST ? Exists(path_) : SystemError("can not name", path_);
  CONSILIUM_RETURN_IF_ERROR(SyncFolder(FolderOf(path_)));
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace consilium::site
