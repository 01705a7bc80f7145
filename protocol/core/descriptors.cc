#include "protocol/core/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

namespace consilium {

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  // What can not be raised stays as it was.
  setrlimit(RLIMIT_NOFILE, &limit);
}

absl::Status CheckDescriptorsLeft(int reserve) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return absl::OkStatus();
  // The system gives the lowest number that is free.
  const int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (lowest >= 0) close(lowest);
  if (lowest >= 0 && static_cast<rlim_t>(lowest) + static_cast<rlim_t>(reserve) < limit.rlim_cur) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrFormat("fewer than %d of %d file descriptors are left", reserve,
                      static_cast<int64_t>(limit.rlim_cur)));
}

}  // namespace consilium
