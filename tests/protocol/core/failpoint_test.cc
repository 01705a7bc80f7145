#include "protocol/core/failpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <set>
#include <string>

#include "tests/fakes/child_process.h"

namespace consilium {
namespace {

// Passes `name` `passages` times in a child whose environment asks for `target`. Returns how it
// ended: minus the signal, or 0.
int Pass(const std::string& target, absl::string_view name, int passages) {
  ChildProcess child([&](const std::function<void()>&) {
    if (target.empty()) {
      unsetenv("CONSILIUM_FAILPOINT");
    } else {
      setenv("CONSILIUM_FAILPOINT", target.c_str(), 1);
    }
    for (int i = 0; i < passages; ++i) Failpoint(name);
    return 0;
  });
  return child.Wait();
}

TEST(Failpoint, OffWithoutTheVariable) { EXPECT_EQ(Pass("", FailpointNames()[0], 3), 0); }

TEST(Failpoint, EachKillsAtItsNameAlone) {
  for (const absl::string_view name : FailpointNames()) {
    EXPECT_EQ(Pass(std::string(name), name, 1), -SIGKILL) << name;
    const absl::string_view other =
        name == FailpointNames()[0] ? FailpointNames()[1] : FailpointNames()[0];
    EXPECT_EQ(Pass(std::string(name), other, 3), 0) << name;
  }
}

TEST(Failpoint, KillsAtTheCountedPassage) {
  const std::string name(FailpointNames()[2]);
  EXPECT_EQ(Pass(name + ":3", name, 2), 0);
  EXPECT_EQ(Pass(name + ":3", name, 3), -SIGKILL);
}

TEST(Failpoint, UnknownNameInTheProgramAborts) {
  EXPECT_EQ(Pass(std::string(FailpointNames()[0]), "no.such_point", 1), -SIGABRT);
}

TEST(Failpoint, NamesAreDistinctAndAtLeastTwelve) {
  const std::set<absl::string_view> names(FailpointNames().begin(), FailpointNames().end());
  EXPECT_EQ(names.size(), FailpointNames().size());
  EXPECT_GE(names.size(), 12u);
}

}  // namespace
}  // namespace consilium
