#include "privacy/at_rest/store_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"

namespace consilium {
namespace {

// The pid is only for the message: the lock is flock's.
std::string HolderOf(int fd) {
  char text[32];
  const ssize_t n = pread(fd, text, sizeof(text), 0);
  int pid = 0;
  if (n <= 0 || !absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(n)), &pid)) return "";
  return absl::StrCat(" (process ", pid, ")");
}

}  // namespace

absl::StatusOr<std::shared_ptr<StoreLock>> StoreLock::Take(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return SystemError("can not open the lock file", path);
  std::shared_ptr<StoreLock> lock(new StoreLock(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError("can not lock", path);
    return absl::UnavailableError(absl::StrCat("the store ", absl::StripSuffix(path, ".lock"),
                                               " is open already", HolderOf(fd),
                                               ": end that program first"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    return SystemError("can not write", path);
  }
  return lock;
}

StoreLock::~StoreLock() { close(fd_); }

}  // namespace consilium
