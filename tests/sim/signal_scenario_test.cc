// Convolutions along one dimension, on the arrays that `data fetch` would make: the committed
// scenario of electrocardiograms, skipped where PTB-XL is not in $CONSILIUM_DATASETS, and some of
// the drawn sequences of DNA.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/limits.h"
#include "sim/commands/run_command.h"
#include "sim/datasets/drawn_sequences.h"
#include "sim/datasets/manifests.h"
#include "sim/datasets/unpack.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"
#include "tests/sim/datasets/tal1_motif.h"

namespace consilium {
namespace {

// Those of the table of the data set `name`, out of what lies in `from`.
void MakeTable(const std::string& name, const std::string& from, const std::string& into) {
  const auto manifest = FindManifest(name);
  ASSERT_THAT(manifest, IsOk());
  for (const std::string& path : FilesOf((*manifest)->table())) {
    const auto content = MakeFile(from, *FindFile(**manifest, path));
    ASSERT_THAT(content, IsOk());
    Write((std::filesystem::path(into) / path).string(), *content);
  }
}

void RunIn(const TempFolder& folder, RunCommand& command, nlohmann::json& summary) {
  command.data_folder = folder.path();
  command.baselines = RunCommand::Baselines::kLeaveOut;
  command.out = folder.File("out");
  ASSERT_THAT(Execute(command), IsOk());
  const auto text = ReadFile(folder.File("out/summary.json"), limits::kTextFileBytesMax);
  ASSERT_THAT(text, IsOk());
  summary = nlohmann::json::parse(*text);
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
  nlohmann::json summary;
  RunIn(folder, command, summary);
  EXPECT_EQ(summary.at("sites").size(), 4u);
  // By chance 47 of 100 are wrong.
  EXPECT_LT(summary.at("federated").at("errors_per_100"), 35) << summary.at("federated");
}

constexpr char kDnaScenario[] = R"(
  name: "dna"
  dataset {
    partitioned {
      shares: [4, 3, 2, 1]
      arrays { column: "bases" parts { file: "bases.idx" } }
      arrays { column: "bound" parts { file: "bound.idx" } }
    }
  }
  sites { task_ms: 1000 }
  seed: 1
)";

// A fifth of the data set, since all of it would take most of a minute.
TEST(SignalScenarioTest, FourLaboratoriesLearnAMotif) {
  const TempFolder folder;
  Write(folder.File("tal1_encode_motifs.txt"), kTal1Motif);
  const auto manifest = FindManifest("dna-tal1");
  ASSERT_THAT(manifest, IsOk());
  constexpr uint64_t kSequences = 3200;
  for (const auto& [path, bytes] :
       {std::pair{"bases.idx", 16 + kSequences * 2000}, {"bound.idx", 8 + kSequences}}) {
    v1::DrawnSequences drawn = FindFile(**manifest, path)->drawn_sequences();
    drawn.set_sequences(kSequences);
    const auto content = MakeDrawnSequences(folder.path(), drawn, bytes);
    ASSERT_THAT(content, IsOk());
    Write(folder.File(path), *content);
  }
  Write(folder.File("scenario.textproto"), kDnaScenario);
  RunCommand command;
  command.run_file = CONSILIUM_SOURCE_DIR "/sim/scenarios/dna-tal1-four-sites/run.textproto";
  command.scenario_file = folder.File("scenario.textproto");
  command.overrides = {"stop.versions_max=12"};
  nlohmann::json summary;
  RunIn(folder, command, summary);
  EXPECT_EQ(summary.at("versions"), 12);
  // By chance 50 of 100 are wrong.
  EXPECT_LT(summary.at("federated").at("errors_per_100"), 25) << summary.at("federated");
}

}  // namespace
}  // namespace consilium
