// `consilium-sim run`: rules beside each other, and what it says of a --set or a file that is not
// what one may think.

#include "sim/commands/run_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/text_format.h"
#include "sim/commands/simulate.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;
using Strings = std::vector<std::string>;

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

TEST(RunCommand, SimulatesOtherRulesWithTheirOwnDefaults) {
  const TempFolder folder;
  const std::string table =
      absl::StrCat(CONSILIUM_SOURCE_DIR "/scripts/wdbc_table > ", folder.File("wdbc.csv"));
  ASSERT_EQ(system(table.c_str()), 0);
  RunCommand command = WdbcCommand(folder);
  command.presets = {"FEDAVG", "FEDBUFF"};
  ASSERT_THAT(Execute(command), IsOk());
  const auto text = ReadFile(folder.File("out/summary.json"), limits::kTextFileBytesMax);
  ASSERT_THAT(text, IsOk());
  const auto summary = nlohmann::json::parse(*text);
  // 20 versions of two updates; FEDAVG merges four at a time, FEDBUFF ten.
  EXPECT_EQ(summary.at("versions"), 20);
  std::map<std::string, int> versions;
  for (const auto& run : summary.at("simulated")) {
    EXPECT_EQ(run.at("updates"), 40);
    versions[run.at("title")] = run.at("versions");
  }
  EXPECT_EQ(versions, (std::map<std::string, int>{{"FEDAVG", 10}, {"FEDBUFF", 4}}));
}

TEST(RunCommand, AMissingTableSaysWhereItComesFrom) {
  const TempFolder folder;
  setenv("XDG_DATA_HOME", folder.path().c_str(), 1);
  unsetenv("CONSILIUM_DATASETS");
  const absl::Status status = Execute(WdbcCommand(folder));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "wdbc.csv"));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "--data"));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "data fetch wdbc"));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "scripts/wdbc_table"));
}

TEST(RunCommand, NamesTheRulesThereAre) {
  const auto presets = ParsePresets({"FEDAVG", "CA2FL"});
  ASSERT_THAT(presets, IsOk());
  EXPECT_EQ(presets->back(), v1::AggregationConfig::CA2FL);
  for (const char* name : {"FEDSGD", "", "PRESET_UNSPECIFIED"}) {
    EXPECT_THAT(ParsePresets({name}), IsError(StatusCode::kInvalidArgument, "FEDBUFF")) << name;
  }
}

TEST(StagesKeptFrom, NamesWhatAnotherPresetWouldNotHave) {
  v1::RunConfig file;
  ASSERT_TRUE(ParseTextFormat("aggregation { preset: STALENESS_WEIGHTED_TABLE "
                              "trigger { buffer { updates: 2 } } server { sgd {} } limits {} }",
                              "config", file)
                  .ok());
  EXPECT_EQ(StagesKeptFrom(file, {}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.trigger.buffer.updates=3"}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.preset=STALENESS_WEIGHTED_TABLE"}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.preset=FEDBUFF"}),
            Strings({"aggregation.trigger", "aggregation.server"}));
  EXPECT_EQ(
      StagesKeptFrom(file, {"aggregation.trigger.buffer.updates=10", "aggregation.preset=FEDBUFF"}),
      Strings({"aggregation.server"}));
}

}  // namespace
}  // namespace consilium
