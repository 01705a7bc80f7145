#include "protocol/core/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/regular_file.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

std::string FolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

absl::Status WriteAll(int fd, absl::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("can not write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SystemError(absl::string_view what, const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(what, " ", path, ": ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(absl::StrCat(text, " (free some space and try again)"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t bytes_max) {
  CONSILIUM_ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  if (file.bytes() > bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has %d bytes; at most %d are read", path, file.bytes(), bytes_max));
  }
  std::string content(static_cast<size_t>(file.bytes()), '\0');
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = read(file.descriptor(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("can not read", path);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  content.resize(done);
  return content;
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view content, mode_t mode) {
  const std::string temporary = absl::StrCat(path, ".new");
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return SystemError("can not create", temporary);
  absl::Cleanup remover = [&temporary] { unlink(temporary.c_str()); };
  {
    const absl::Cleanup closer = [fd] { close(fd); };
    if (fchmod(fd, mode) != 0) return SystemError("can not set the mode of", temporary);
    CONSILIUM_RETURN_IF_ERROR(WriteAll(fd, content, temporary));
    if (fsync(fd) != 0) return SystemError("can not sync", temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return SystemError("can not rename to", path);
  std::move(remover).Cancel();
  return SyncFolder(FolderOf(path));
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError("can not open the folder", path);
  const absl::Cleanup closer = [fd] { close(fd); };
  if (fsync(fd) != 0) return SystemError("can not sync the folder", path);
  return absl::OkStatus();
}

absl::Status MakeFolders(const std::string& path, mode_t mode) {
  if (path.empty()) return absl::OkStatus();
  if (mkdir(path.c_str(), mode) == 0) return absl::OkStatus();
  if (errno == EEXIST) {
    struct stat info;
    if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(path, " exists and is not a folder"));
  }
  if (errno != ENOENT) return SystemError("can not make the folder", path);
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(FolderOf(path), mode));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return SystemError("can not make the folder", path);
  }
  return absl::OkStatus();
}

absl::Status CheckPrivate(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return SystemError("can not look at", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a regular file"));
  }
  if (info.st_uid != geteuid()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s belongs to user %d, not to the user %d that runs this program", path,
                        info.st_uid, geteuid()));
  }
  if ((info.st_mode & 0177) != 0) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s can be read by others (mode %04o): chmod 600 %s", path, info.st_mode & 07777, path));
  }
  const std::string folder = FolderOf(path);
  if (stat(folder.c_str(), &info) != 0) return SystemError("can not look at", folder);
  if ((info.st_mode & 0077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the folder %s can be entered by others (mode %04o): chmod 700 %s", folder,
                        info.st_mode & 07777, folder));
  }
  return absl::OkStatus();
}

}  // namespace consilium
