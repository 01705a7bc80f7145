// The committed scenario of electrocardiograms, on the arrays that `data fetch` would make. Skipped
// where PTB-XL is not in $CONSILIUM_DATASETS.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/limits.h"
#include "sim/commands/run_command.h"
#include "sim/datasets/manifests.h"
#include "sim/datasets/unpack.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

// Those of the table of the data set `name`, out of what lies in `from`.
void MakeTable(const std::string& name, const std::string& from, const std::string& into) {
  const auto manifest = FindManifest(name);
  ASSERT_THAT(manifest, IsOk());
  for (const std::string& path : FilesOf((*manifest)->table())) {
    const auto content = MakeFile(from, *FindFile(**manifest, path));
    ASSERT_THAT(content, IsOk());
    std::ofstream((std::filesystem::path(into) / path), std::ios::binary) << *content;
  }
}

TEST(SignalScenarioTest, FourPlacesLearnWhatAnAbnormalElectrocardiogramIs) {
  const char* datasets = getenv("CONSILIUM_DATASETS");
  const std::string from = absl::StrCat(datasets == nullptr ? "" : datasets, "/ecg-ptbxl");
  if (!std::filesystem::is_directory(from)) GTEST_SKIP() << "PTB-XL is not here";
  const TempFolder folder;
  MakeTable("ecg-ptbxl", from, folder.path());
  const std::string scenario = CONSILIUM_SOURCE_DIR "/sim/scenarios/ecg-ptbxl-four-sites";
  RunCommand command;
  command.run_file = absl::StrCat(scenario, "/run.textproto");
  command.scenario_file = absl::StrCat(scenario, "/scenario.textproto");
  command.data_folder = folder.path();
  command.baselines = RunCommand::Baselines::kLeaveOut;
  command.out = folder.File("out");
  ASSERT_THAT(Execute(command), IsOk());
  const auto text = ReadFile(folder.File("out/summary.json"), limits::kTextFileBytesMax);
  ASSERT_THAT(text, IsOk());
  const auto summary = nlohmann::json::parse(*text);
  EXPECT_EQ(summary.at("sites").size(), 4u);
  // By chance 47 of 100 are wrong.
  EXPECT_LT(summary.at("federated").at("errors_per_100"), 35) << summary.at("federated");
}

}  // namespace
}  // namespace consilium
