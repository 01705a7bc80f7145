#include "sim/search/trial_process.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "protocol/core/files.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

struct ProcessTest : testing::Test {
  TempFolder folder;

  ProcessOptions Shell(const std::string& script) const {
    return {"/bin/sh", {"-c", script}, folder.File("out"), folder.File("err")};
  }
  std::string Read(const std::string& name) const {
    return ReadFile(folder.File(name), 1 << 20).value_or("");
  }
};

TEST_F(ProcessTest, KeepsOutputsAndExitStatus) {
  ASSERT_THAT(WriteFileDurably(folder.File("out"), "of an earlier trial"), IsOk());
  const auto status = RunProcess(Shell("echo result; echo reason >&2; read x; exit 3"));
  ASSERT_THAT(status, IsOk());
  EXPECT_EQ(*status, 3);
  EXPECT_EQ(Read("out"), "result\n");
  EXPECT_EQ(Read("err"), "reason\n");
}

TEST_F(ProcessTest, ArgumentsAreNoShellsWords) {
  ProcessOptions options = Shell("printf '%s|' \"$@\"");
  options.arguments.insert(options.arguments.end(), {"sh", "a b", "$HOME", "'", ""});
  ASSERT_THAT(RunProcess(options), IsOk());
  EXPECT_EQ(Read("out"), "a b|$HOME|'||");
}

TEST_F(ProcessTest, TellsASignalFromAStatus) {
  EXPECT_EQ(*RunProcess(Shell("kill -KILL $$")), -SIGKILL);
  EXPECT_EQ(*RunProcess(Shell("kill -TERM $$")), -SIGTERM);
}

TEST_F(ProcessTest, WhatCanNotBeRunIsAnError) {
  ProcessOptions options = Shell("");
  options.program = folder.File("none");
  EXPECT_EQ(*RunProcess(options), 127);
  options = Shell("");
  options.stdout_file = folder.File("none/out");
  EXPECT_THAT(RunProcess(options), IsError(absl::StatusCode::kNotFound, "none/out"));
}

bool IsGone(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string number;
  std::string name;
  std::string state;
  stat >> number >> name >> state;
  return !stat || state == "Z" || state == "X";
}

// The trial's own children may outlive it; itself it does not outlive the search.
TEST_F(ProcessTest, DiesWithItsParent) {
  const std::string fifo = folder.File("fifo");
  ASSERT_EQ(system(("mkfifo " + fifo).c_str()), 0);
  ChildProcess parent([&](const std::function<void()>& reach) {
    std::thread([&] {
      static_cast<void>(RunProcess(Shell("echo $$ > " + fifo + "; while :; do sleep 1; done")));
    }).detach();
    reach();
    return 0;
  });
  std::ifstream from(fifo);  // Waits for the trial's process.
  pid_t trial = 0;
  from >> trial;
  ASSERT_GT(trial, 0);
  EXPECT_FALSE(IsGone(trial));
  parent.Kill();
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!IsGone(trial) && absl::Now() < deadline) sched_yield();
  EXPECT_TRUE(IsGone(trial));
}

}  // namespace
}  // namespace consilium
