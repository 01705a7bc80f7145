// Whether a process is one of several is read from what launchers set, and from no more.

#include "sim/cluster/launcher.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace consilium {
namespace {

bool IsLaunched(const std::map<std::string, std::string>& variables) {
  return IsLaunchedWithOthers([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(IsLaunchedWithOthers, IsWhatMpirunSays) {
  EXPECT_TRUE(IsLaunched({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "0"}}));
  EXPECT_FALSE(IsLaunched({{"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}}));
  EXPECT_TRUE(IsLaunched({{"OMPI_COMM_WORLD_SIZE", "12"}, {"SLURM_STEP_NUM_TASKS", "1"}}));
}

TEST(IsLaunchedWithOthers, IsWhatSlurmsStepSays) {
  EXPECT_TRUE(IsLaunched({{"PMIX_RANK", "3"}, {"SLURM_STEP_NUM_TASKS", "8"}}));
  EXPECT_TRUE(IsLaunched({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}));
  EXPECT_FALSE(IsLaunched({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}));
  EXPECT_FALSE(IsLaunched({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}));
  EXPECT_TRUE(IsLaunched({{"PMIX_RANK", "0"}}));  // How many, the library knows.
}

TEST(IsLaunchedWithOthers, IsNotWhatABatchScriptHas) {
  EXPECT_FALSE(IsLaunched({}));
  EXPECT_FALSE(IsLaunched({{"SLURM_JOB_ID", "77"}, {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}));
}

bool IsAlone(const std::map<std::string, std::string>& variables) {
  return IsOneOfSeveralAlone([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(IsOneOfSeveralAlone, IsAStepWithoutAProcessManager) {
  EXPECT_TRUE(IsAlone({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}}));
  EXPECT_FALSE(IsAlone({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}}));
  EXPECT_FALSE(IsAlone({{"SLURM_STEP_NUM_TASKS", "2"}, {"PMIX_RANK", "1"}}));
  EXPECT_FALSE(IsAlone({{"SLURM_STEP_NUM_TASKS", "2"}, {"PMI_RANK", "1"}}));
  EXPECT_FALSE(IsAlone({{"SLURM_STEP_NUM_TASKS", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}));
  EXPECT_FALSE(IsAlone({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}));  // A batch script.
}

// A trial of a rank is a process of its own.
TEST(IsOfLauncher, LeavesNothingBehindThatALauncherIsKnownBy) {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE=2", "PMIX_RANK=0", "PMI_RANK=0", "PMI_SIZE=2",
                               "SLURM_STEP_NUM_TASKS=2"}) {
    EXPECT_TRUE(IsOfLauncher(variable)) << variable;
  }
  EXPECT_FALSE(IsOfLauncher("PATH=/bin"));
}

}  // namespace
}  // namespace consilium
