#include "protocol/core/process_memory.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace consilium {
namespace {

// In a child, since it can not be undone.
TEST(ProcessMemory, IsNeitherDumpedNorReadByOthers) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    KeepMemoryToItself();
    rlimit core = {.rlim_cur = 1, .rlim_max = 1};
    getrlimit(RLIMIT_CORE, &core);
    const bool kept =
        prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && core.rlim_cur == 0 && core.rlim_max == 0;
    _exit(kept ? 42 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

}  // namespace
}  // namespace consilium
