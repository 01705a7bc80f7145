// The manifests against the files that they are of. What lies in $CONSILIUM_DATASETS, the wheel of
// scripts/setup and Debian's package are tested; a set that is not here is skipped.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "protocol/wire/text_format.h"
#include "sim/datasets/fetch.h"
#include "sim/datasets/locate.h"
#include "sim/datasets/manifests.h"
#include "sim/engine/table_files.h"
#include "site_agent/ingest/row_budget.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

// A folder of the files; nothing where they are not on this machine.
std::optional<std::string> FolderHere(const v1::DatasetManifest& manifest) {
  const char* datasets = getenv("CONSILIUM_DATASETS");
  std::string folder = InstalledFolder(manifest);
  if (folder.empty() && datasets != nullptr) folder = absl::StrCat(datasets, "/", manifest.name());
  if (folder.empty() || !std::filesystem::is_directory(folder)) return std::nullopt;
  return folder;
}

struct Counted {
  size_t rows = 0;
  size_t sites = 0;
};

template <typename Source>
TableSource SourceIn(const std::string& folder, const Source& source) {
  return {folder, source.file(), source.arrays()};
}

Counted Count(const v1::DatasetManifest& manifest, const std::string& folder) {
  v1::DataContract contract;
  EXPECT_THAT(ReadTextFormatFile(CONSILIUM_SOURCE_DIR "/" + manifest.contract_file(), contract),
              IsOk());
  const v1::Dataset& table = manifest.table();
  Counted counted;
  RowBudget budget;
  const auto add = [&](const TableSource& source) {
    const auto rows = ReadTable(source, contract, budget);
    ASSERT_THAT(rows, IsOk());
    counted.rows += rows->size();
  };
  if (table.has_partitioned()) add(SourceIn(folder, table.partitioned()));
  for (const v1::SiteFile& site : table.natural().sites()) {
    add(SourceIn(folder, site));
    ++counted.sites;
  }
  if (table.has_together() && table.together().site_column().empty()) {
    add(SourceIn(folder, table.together()));
  } else if (table.has_together()) {
    const auto by_site = ReadTableBySite(SourceIn(folder, table.together()),
                                         table.together().site_column(), contract, budget);
    EXPECT_THAT(by_site, IsOk());
    if (!by_site.ok()) return counted;
    counted.sites = by_site->size();
    for (const auto& entry : *by_site) counted.rows += entry.second.size();
  }
  return counted;
}

class RealDataTest : public ::testing::TestWithParam<std::string> {};

TEST_P(RealDataTest, TheFilesAreWhatTheManifestSays) {
  const auto manifest = FindManifest(GetParam());
  ASSERT_THAT(manifest, IsOk());
  const std::optional<std::string> here = FolderHere(**manifest);
  if (!here.has_value()) {
    GTEST_SKIP() << GetParam() << " is not here: " << (*manifest)->source()
                 << (getenv("CONSILIUM_DATASETS") == nullptr ? "; CONSILIUM_DATASETS is not set"
                                                             : "");
  }
  const TempFolder folder;
  FetchOptions options;
  options.from = *here;
  options.into = folder.path();
  const auto report = FetchDataset(**manifest, options);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(StateOf(**manifest, folder.path()).kind, DatasetState::Kind::kPresent);
  if ((*manifest)->contract_file().empty()) return;
  const Counted counted = Count(**manifest, report->folder);
  EXPECT_EQ(counted.rows, (*manifest)->rows());
  // Where a split file tells the hospitals, the table does not.
  if (counted.sites > 0) {
    EXPECT_EQ(counted.sites, (*manifest)->sites());
  }
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const v1::DatasetManifest& manifest : AllManifests()) names.push_back(manifest.name());
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, RealDataTest, ::testing::ValuesIn(Names()),
                         [](const ::testing::TestParamInfo<std::string>& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace consilium
