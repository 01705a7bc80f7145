#include "sim/commands/saved_runs.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

namespace fs = std::filesystem;

constexpr fs::perms kOthers = fs::perms::group_all | fs::perms::others_all;

// Simulates into `out`, from beginning to end.
void SimulateInto(const std::string& out) {
  SmallWorld world({});
  SavedRunsOptions options;
  options.out = out;
  options.interval = absl::ZeroDuration();
  const auto runs = SavedRuns::Open(options, {world.plan, world.scenario, "libtorch", {}});
  ASSERT_THAT(runs, IsOk());
  SimulationInput input;
  input.plan = world.plan;
  input.scenario = world.scenario;
  input.data = &world.data;
  input.trainer = &world.trainer;
  const auto saved = (*runs)->OpenRun("run", input);
  ASSERT_THAT(saved, IsOk());
  (*saved)->Attach(input);
  const auto simulation = Simulation::Create(input);
  ASSERT_THAT(simulation, IsOk());
  ASSERT_THAT((*simulation)->Run(), IsOk());
  ASSERT_THAT((*runs)->FinishRun("run", **simulation, **saved), IsOk());
}

// Where others may enter neither, it does not matter what they may do with the files.
void ExpectNobodyElseEnters(const std::string& out) {
  for (const char* name : {"checkpoint", "journal"}) {
    const fs::path folder = fs::path(out) / name;
    ASSERT_FALSE(fs::is_empty(folder)) << folder;
    EXPECT_EQ(fs::status(folder).permissions() & kOthers, fs::perms::none) << folder;
  }
}

TEST(SavedRunsTest, WhatSitesSentIsForThisUserAlone) {
  const TempFolder folder;
  const std::string out = folder.File("new/out");
  SimulateInto(out);
  ExpectNobodyElseEnters(out);
  // The results themselves are for whoever may see that folder.
  EXPECT_NE(fs::status(out).permissions() & kOthers, fs::perms::none);
}

TEST(SavedRunsTest, AFolderThatWasOpenToOthersIsClosed) {
  const TempFolder folder;
  for (const char* name : {"checkpoint", "journal"}) {
    fs::create_directory(folder.File(name));
    fs::permissions(folder.File(name), fs::perms::all);
  }
  SimulateInto(folder.path());
  ExpectNobodyElseEnters(folder.path());
}

void Write(const std::string& path) {
  ASSERT_THAT(MakeFolders(fs::path(path).parent_path().string()), IsOk());
  ASSERT_THAT(WriteFileDurably(path, "-"), IsOk());
}

// Else a hospital's model of another experiment would lie among those of this one.
TEST(SavedRunsTest, ARestartTakesTheModelsOfHospitalsAway) {
  const TempFolder folder;
  SimulateInto(folder.path());
  for (const char* file : {"run/s0.safetensors", "run-seed-3/s9.safetensors", "run/notes.txt"}) {
    Write(folder.File(absl::StrCat("personal/", file)));
  }
  SmallWorld world({.config = "seed: 4"});
  SavedRunsOptions options;
  options.out = folder.path();
  ASSERT_THAT(SavedRuns::Open(options, {world.plan, world.scenario, "libtorch", {}}),
              IsError(absl::StatusCode::kFailedPrecondition, "another seed"));
  EXPECT_TRUE(fs::exists(folder.File("personal/run/s0.safetensors")));
  options.begin = SavedRunsOptions::Begin::kRestart;
  ASSERT_THAT(SavedRuns::Open(options, {world.plan, world.scenario, "libtorch", {}}), IsOk());
  EXPECT_FALSE(fs::exists(folder.File("personal/run/s0.safetensors")));
  EXPECT_FALSE(fs::exists(folder.File("personal/run-seed-3")));
  EXPECT_TRUE(fs::exists(folder.File("personal/run/notes.txt")));
}

// A link may lead to what a person keeps elsewhere.
TEST(SavedRunsTest, ARestartFollowsNoLinkAndSaysWhatItCanNotTakeAway) {
  const TempFolder elsewhere;
  const TempFolder folder;
  Write(elsewhere.File("s0.safetensors"));
  Write(folder.File("personal/run/s0.safetensors"));
  fs::create_directory_symlink(elsewhere.path(), folder.File("personal/linked"));
  SmallWorld world({});
  SavedRunsOptions options;
  options.out = folder.path();
  options.begin = SavedRunsOptions::Begin::kRestart;
  const auto open = [&] {
    return SavedRuns::Open(options, {world.plan, world.scenario, "libtorch", {}}).status();
  };
  ASSERT_THAT(open(), IsOk());
  EXPECT_FALSE(fs::exists(folder.File("personal/run")));
  EXPECT_TRUE(fs::exists(elsewhere.File("s0.safetensors")));
  Write(folder.File("personal/run/s1.safetensors/held"));
  EXPECT_THAT(open(), IsError(absl::StatusCode::kUnavailable, folder.File("personal/run")));
}

TEST(SavedRunsTest, ThereAreModelsOfTheRunsOwnHospitalsAlone) {
  const TempFolder folder;
  SmallWorld world({.config = "aggregation { preset: DITTO trigger { barrier {} } }"});
  SavedRunsOptions options;
  options.out = folder.path();
  const auto runs = SavedRuns::Open(options, {world.plan, world.scenario, "libtorch", {}});
  ASSERT_THAT(runs, IsOk());
  const auto simulation = world.Run();
  ASSERT_NE(simulation, nullptr);
  const auto result = simulation->ModelOf(*simulation->run().result);
  ASSERT_THAT(result, IsOk());
  Write(folder.File("personal/run/elsewhere.safetensors"));
  ASSERT_THAT((*runs)->WritePersonalModels("run", world.plan, **result, *simulation), IsOk());
  EXPECT_FALSE(fs::exists(folder.File("personal/run/elsewhere.safetensors")));
  EXPECT_TRUE(fs::exists(folder.File("personal/run/s0.safetensors")));
}

}  // namespace
}  // namespace consilium
