#include "sim/datasets/named.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "consilium/v1/scenario.pb.h"
#include "protocol/wire/text_format.h"
#include "sim/datasets/locate.h"
#include "sim/datasets/manifests.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"

namespace consilium {
namespace {

using absl::StatusCode;

v1::Dataset Parse(const std::string& text) {
  v1::Dataset dataset;
  EXPECT_THAT(ParseTextFormat(text, "dataset", dataset), IsOk());
  return dataset;
}

// What becomes of `text`, without its name.
v1::Dataset Completed(const std::string& text) {
  v1::Dataset dataset = Parse(text);
  EXPECT_THAT(CompleteFromManifest(dataset), IsOk()) << text;
  dataset.clear_name();
  return dataset;
}

TEST(CompleteFromManifestTest, TakesTheHospitalsThatThereWere) {
  EXPECT_EQ(Completed("name: 'heart-disease-uci'").natural().sites_size(), 4);
  EXPECT_EQ(Completed("name: 'eicu-demo'").DebugString(),
            Parse("together { file: 'eicu_demo_apache_mortality.csv' site_column: 'hospitalid' }")
                .DebugString());
  EXPECT_EQ(Completed("name: 'fed-tcga-brca' split_file: 's'").together().file(), "brca.csv");
  EXPECT_EQ(Completed("name: 'ecg-ptbxl'").together().arrays_size(), 4);
}

TEST(CompleteFromManifestTest, TakesTheFilesAlone) {
  EXPECT_EQ(Completed("name: 'wdbc' partitioned { sites: 3 dirichlet: 1 }").DebugString(),
            Parse("partitioned { file: 'wdbc.csv' sites: 3 dirichlet: 1 }").DebugString());
  EXPECT_EQ(Completed("name: 'fashion-mnist' partitioned { sites: 3 }").partitioned().arrays_size(),
            2);
  EXPECT_EQ(Completed("name: 'dna-tal1' partitioned { sites: 3 }").partitioned().arrays_size(), 2);
  EXPECT_EQ(Completed("name: 'eicu-demo' partitioned { sites: 3 }").partitioned().file(),
            "eicu_demo_apache_mortality.csv");
  EXPECT_EQ(
      Completed("name: 'eicu-demo' together { site_column: 'region' }").together().site_column(),
      "region");
}

TEST(CompleteFromManifestTest, LeavesWhatIsSaid) {
  const std::string natural =
      "natural { sites { site_id: 'x' file: 'processed.va.data' } } site_tables: STANDARDISED";
  EXPECT_EQ(Completed("name: 'heart-disease-uci' " + natural).DebugString(),
            Parse(natural).DebugString());
  EXPECT_EQ(Completed("partitioned { sites: 2 file: 'own.csv' }").DebugString(),
            Parse("partitioned { sites: 2 file: 'own.csv' }").DebugString());
}

TEST(CompleteFromManifestTest, RefusesWhatCanNotBe) {
  const auto refuses = [](const std::string& text, const char* words) {
    v1::Dataset dataset = Parse(text);
    EXPECT_THAT(CompleteFromManifest(dataset), IsError(StatusCode::kInvalidArgument, words))
        << text;
  };
  refuses("name: 'wdbc'", "no hospitals");
  refuses("name: 'other'", "no data set");
  refuses("name: 'wdbc' partitioned { sites: 2 file: '../wdbc.csv' }", "../wdbc.csv");
  refuses("name: 'heart-disease-uci' together {}", "a file a site");
  refuses("name: 'dna-tal1'", "no hospitals");
  refuses("name: 'dna-tal1' partitioned { sites: 2 file: 'tal1.txt' }", "tal1.txt");
}

TEST(LocateDatasetTest, TakesTheFirstFolderThatHasAllAndChecksIt) {
  const TempFolder folder;
  v1::DatasetManifest manifest = SmallManifest();
  manifest.set_installed_in(folder.File("installed"));
  const std::set<std::string> files = FilesOf(manifest.table());
  EXPECT_THAT(LocateDataset(manifest, files, folder.File("data")),
              IsError(StatusCode::kNotFound, "consilium-sim data fetch small"));
  const auto expect_in = [&](const std::string& where) {
    std::filesystem::create_directories(folder.File(where));
    Write(folder.File(where + "/table.csv"), kSmallContent);
    const auto found = LocateDataset(manifest, files, folder.File("data"));
    ASSERT_THAT(found, IsOk());
    EXPECT_EQ(*found, folder.File(where));
  };
  expect_in("installed");
  expect_in("data");
  expect_in("data/small");
  EXPECT_EQ(StateOf(manifest, folder.File("data")).kind, DatasetState::Kind::kPresent);
  Write(folder.File("data/small/table.csv"), "first line\n1,2,a\n3,4,c\n");
  EXPECT_THAT(LocateDataset(manifest, files, folder.File("data")),
              IsError(StatusCode::kDataLoss, "SHA-256"));
  EXPECT_EQ(StateOf(manifest, folder.File("data")).kind, DatasetState::Kind::kDamaged);
  Write(folder.File("data/small/table.csv"), "short");
  EXPECT_THAT(LocateDataset(manifest, files, folder.File("data")),
              IsError(StatusCode::kDataLoss, "5 bytes"));
}

// So that `data fetch` and `run` are enough, without --data.
TEST(CompleteFromManifestTest, TheScenariosHereNameTheirData) {
  size_t named = 0;
  const std::filesystem::path folder = CONSILIUM_SOURCE_DIR "/sim/scenarios";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    v1::Scenario scenario;
    // Run configs, models and spaces lie beside them. Growth's table is drawn by its study.
    const bool is_scenario = entry.path().extension() == ".textproto" &&
                             ReadTextFormatFile(path, scenario).ok() && scenario.has_dataset();
    if (!is_scenario || entry.path().parent_path().filename() == "growth") continue;
    EXPECT_FALSE(scenario.dataset().name().empty()) << path;
    EXPECT_THAT(CompleteFromManifest(*scenario.mutable_dataset()), IsOk()) << path;
    ++named;
  }
  EXPECT_GE(named, 14u);
}

}  // namespace
}  // namespace consilium
