// `consilium-sim run`: rules beside each other, and what it says of a --set or a file that is not
// what one may think.

#include "sim/commands/run_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/text_format.h"
#include "sim/commands/replay_command.h"
#include "sim/commands/simulate.h"
#include "sim/engine/checkpoint.h"
#include "sim/engine/replay.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;

const char kScenarioFolder[] = CONSILIUM_SOURCE_DIR "/sim/scenarios/wdbc-four-hospitals";

RunCommand WdbcCommand(const TempFolder& folder) {
  RunCommand command;
  command.run_file = absl::StrCat(kScenarioFolder, "/run.textproto");
  command.scenario_file = absl::StrCat(kScenarioFolder, "/scenario.textproto");
  command.data_folder = folder.path();
  command.overrides = {"stop.versions_max=20"};
  command.baselines = RunCommand::Baselines::kLeaveOut;
  command.out = folder.File("out");
  return command;
}

RunCommand WdbcCommandWithTable(const TempFolder& folder) {
  const std::string table =
      absl::StrCat(CONSILIUM_SOURCE_DIR "/scripts/wdbc_table > ", folder.File("wdbc.csv"));
  EXPECT_EQ(system(table.c_str()), 0);
  return WdbcCommand(folder);
}

nlohmann::json SummaryIn(const TempFolder& folder) {
  const auto text = ReadFile(folder.File("out/summary.json"), limits::kTextFileBytesMax);
  EXPECT_THAT(text, IsOk());
  return text.ok() ? nlohmann::json::parse(*text) : nlohmann::json();
}

TEST(RunCommand, SimulatesOtherRulesWithTheirOwnDefaults) {
  const TempFolder folder;
  RunCommand command = WdbcCommandWithTable(folder);
  command.presets = {"FEDAVG", "FEDBUFF"};
  ASSERT_THAT(Execute(command), IsOk());
  const auto summary = SummaryIn(folder);
  EXPECT_EQ(summary.at("clock"), "virtual");
  // 20 versions of two updates; FEDAVG merges four at a time, FEDBUFF ten.
  EXPECT_EQ(summary.at("versions"), 20);
  std::map<std::string, int> versions;
  for (const auto& run : summary.at("simulated")) {
    EXPECT_EQ(run.at("updates"), 40);
    versions[run.at("title")] = run.at("versions");
  }
  EXPECT_EQ(versions, (std::map<std::string, int>{{"FEDAVG", 10}, {"FEDBUFF", 4}}));
}

// Without --out it lies where $TMPDIR says.
TEST(RunCommand, WhatIdleSitesHoldLiesInAFileWhereMemoryHasNoRoomForIt) {
  const TempFolder folder;
  RunCommand command = WdbcCommandWithTable(folder);
  ASSERT_THAT(Execute(command), IsOk());
  const auto expected = SummaryIn(folder);
  setenv("TMPDIR", folder.File("is-not-there").c_str(), 1);
  command.idle_mib = 0;
  command.begin = SavedRunsOptions::Begin::kRestart;
  ASSERT_THAT(Execute(command), IsOk());
  EXPECT_EQ(SummaryIn(folder).at("model_sha256"), expected.at("model_sha256"));
  command.overrides.emplace_back("training.task_duration_min_ms=0");
  command.clock = RunCommand::Clock::kWall;
  EXPECT_THAT(Execute(command), IsOk());
  command.clock = RunCommand::Clock::kVirtual;
  command.out.clear();
  command.begin = SavedRunsOptions::Begin::kEither;
  const absl::Status refused = Execute(command);
  unsetenv("TMPDIR");
  EXPECT_THAT(refused, IsError(StatusCode::kFailedPrecondition, "is-not-there"));
  command.idle_mib = uint64_t{1} << 21;
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "--idle-mib"));
}

// Builds before its arithmetic changed had the same name for it.
TEST(RunCommand, GoesOnWithTheSameArithmeticAloneWhateverItsNameIs) {
  const TempFolder folder;
  RunCommand command = WdbcCommandWithTable(folder);
  command.trainers.kind = TrainerKind::kFused;
  ASSERT_THAT(Execute(command), IsOk());
  EXPECT_EQ(SummaryIn(folder).at("trainer"), "fused");
  int heads = 0;
  for (const char* name : {"out/checkpoint/run.0", "out/checkpoint/run.1"}) {
    const auto head = ReadCheckpointHead(folder.File(name));
    if (!head.ok()) continue;
    ++heads;
    EXPECT_EQ(head->identity.at("trainer"), "fused-2");
  }
  EXPECT_EQ(heads, 1);
  EXPECT_THAT(Execute(command), IsOk());
  const std::string path = folder.File("out/checkpoint/experiment.json");
  auto experiment = nlohmann::json::parse(*ReadFile(path, limits::kTextFileBytesMax));
  EXPECT_EQ(std::exchange(experiment["trainer"], "fused"), "fused-2");
  ASSERT_THAT(WriteFileDurably(path, experiment.dump()), IsOk());
  EXPECT_THAT(Execute(command), IsError(StatusCode::kFailedPrecondition, "another trainer"));
}

TEST(RunCommand, OnAWallClockThreadsAreTheWorkersAndTheJournalTellsAll) {
  const TempFolder folder;
  RunCommand command = WdbcCommandWithTable(folder);
  command.overrides.emplace_back("training.task_duration_min_ms=0");
  command.clock = RunCommand::Clock::kWall;
  command.trainers.threads = 3;
  command.presets = {"FEDASYNC"};
  ASSERT_THAT(Execute(command), IsOk());
  const auto summary = SummaryIn(folder);
  EXPECT_EQ(summary.at("clock"), "wall");
  EXPECT_EQ(summary.at("workers"), 3);
  EXPECT_EQ(summary.at("versions"), 20);
  EXPECT_GT(summary.at("seconds"), 0);
  EXPECT_GE(summary.at("wall_seconds"), summary.at("seconds"));
  EXPECT_EQ(summary.at("sites").size(), 4u);
  for (const auto& [name, told] :
       {std::pair{"run", summary}, {"fedasync", summary.at("simulated").at(0)}}) {
    RecordingSource source;
    source.export_file = folder.File(absl::StrCat("out/journal/", name, ".export"));
    source.key_file = folder.File("out/journal/recipient.key");
    const auto recording = OpenRecording(source);
    ASSERT_THAT(recording, IsOk()) << name;
    const auto replayed = Replay(*recording, {});
    ASSERT_THAT(replayed, IsOk());
    EXPECT_TRUE(replayed->mismatches.empty()) << replayed->mismatches.front();
    const federation::RunState& run = replayed->run(recording->run);
    ASSERT_TRUE(run.result.has_value());
    EXPECT_EQ(ToHex(run.versions[run.result->value()].model_id), told.at("model_sha256"));
  }

  // Nothing goes on from it, on either clock.
  EXPECT_THAT(Execute(command), IsError(StatusCode::kFailedPrecondition, "none goes on"));
  command.begin = SavedRunsOptions::Begin::kGoOn;
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "--resume"));
  command.begin = SavedRunsOptions::Begin::kEither;
  command.clock = RunCommand::Clock::kVirtual;
  EXPECT_THAT(Execute(command), IsError(StatusCode::kFailedPrecondition, "another clock"));
  command.begin = SavedRunsOptions::Begin::kRestart;
  command.presets.clear();
  ASSERT_THAT(Execute(command), IsOk());
  EXPECT_EQ(SummaryIn(folder).at("clock"), "virtual");
  EXPECT_FALSE(SummaryIn(folder).contains("workers"));
  command.clock = RunCommand::Clock::kWall;
  command.begin = SavedRunsOptions::Begin::kEither;
  EXPECT_THAT(Execute(command), IsError(StatusCode::kFailedPrecondition, "none goes on"));
}

TEST(RunCommand, OnAWallClockFaultsAreRefusedBeforeAnyFileIsMade) {
  const TempFolder folder;
  RunCommand command = WdbcCommand(folder);
  command.clock = RunCommand::Clock::kWall;
  command.overrides.emplace_back("scenario.sites.faults.crash_rate=0.1");
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "sites.faults"));
  EXPECT_FALSE(std::filesystem::exists(command.out));
}

TEST(RunCommand, AMissingTableSaysWhereItComesFrom) {
  const TempFolder folder;
  setenv("XDG_DATA_HOME", folder.path().c_str(), 1);
  unsetenv("CONSILIUM_DATASETS");
  const RunCommand command = WdbcCommand(folder);
  const absl::Status status = Execute(command);
  EXPECT_FALSE(std::filesystem::exists(command.out));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "wdbc.csv"));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "--data"));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "data fetch wdbc"));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "scripts/wdbc_table"));
}

// Of a folder that is there already, too.
TEST(RunCommand, WhatItRefusesLeavesNothingBehind) {
  const TempFolder folder;
  RunCommand command = WdbcCommandWithTable(folder);
  command.overrides.emplace_back("scenario.sites.overrides={ site_id: 'nobody' slowdown: 2 }");
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "nobody"));
  EXPECT_FALSE(std::filesystem::exists(command.out));
  ASSERT_THAT(MakeFolders(command.out, 0755), IsOk());
  command.seeds = "1..2";
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "nobody"));
  EXPECT_TRUE(std::filesystem::is_empty(command.out));
}

TEST(RunCommand, NamesTheRulesThereAre) {
  const auto presets = ParsePresets({"FEDAVG", "CA2FL"});
  ASSERT_THAT(presets, IsOk());
  EXPECT_EQ(presets->back(), v1::AggregationConfig::CA2FL);
  for (const char* name : {"FEDSGD", "", "PRESET_UNSPECIFIED"}) {
    EXPECT_THAT(ParsePresets({name}), IsError(StatusCode::kInvalidArgument, "FEDBUFF")) << name;
  }
}

}  // namespace
}  // namespace consilium
