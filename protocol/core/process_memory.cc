#include "protocol/core/process_memory.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace consilium {

// Neither call can fail with these arguments (getrlimit(2), prctl(2)).
void KeepMemoryToItself() {
  const rlimit none = {.rlim_cur = 0, .rlim_max = 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace consilium
