#include "sim/datasets/manifests.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/datasets/small_manifest.h"

namespace consilium {
namespace {

using absl::StatusCode;

TEST(ManifestsTest, EveryCommittedOneIsPartOfTheProgram) {
  std::set<std::string> committed;
  for (const auto& entry :
       std::filesystem::directory_iterator(CONSILIUM_SOURCE_DIR "/sim/datasets")) {
    if (entry.path().extension() == ".textproto") committed.insert(entry.path().stem().string());
  }
  std::set<std::string> embedded;
  for (const v1::DatasetManifest& manifest : AllManifests()) embedded.insert(manifest.name());
  EXPECT_EQ(embedded, committed);
  EXPECT_GE(embedded.size(), 11u);
}

TEST(ManifestsTest, EachSaysItsSourceLicenceSitesAndContract) {
  for (const v1::DatasetManifest& manifest : AllManifests()) {
    SCOPED_TRACE(manifest.name());
    EXPECT_THAT(CheckManifest(manifest), IsOk());
    EXPECT_FALSE(manifest.title().empty());
    EXPECT_FALSE(manifest.sites_told_by().empty());
    if (manifest.contract_file().empty()) continue;
    EXPECT_GT(manifest.rows(), 0u);
    v1::DataContract contract;
    EXPECT_THAT(ReadTextFormatFile(CONSILIUM_SOURCE_DIR "/" + manifest.contract_file(), contract),
                IsOk());
    EXPECT_FALSE(contract.name().empty());
  }
}

TEST(ManifestsTest, AnUnknownNameIsToldTheOthers) {
  EXPECT_THAT(FindManifest("wdbc"), IsOk());
  EXPECT_THAT(FindManifest("WDBC"), IsError(StatusCode::kInvalidArgument, "heart-disease-uci"));
}

TEST(CheckManifestTest, TakesOnlyWhatStaysInItsFolder) {
  EXPECT_THAT(CheckManifest(SmallManifest()), IsOk());
  for (const char* path : {"", "/etc/passwd", "../x", "a/../../x", "./x", "a/"}) {
    v1::DatasetManifest manifest = SmallManifest();
    AddFile(manifest, path, "x");
    EXPECT_THAT(CheckManifest(manifest), IsError(StatusCode::kInvalidArgument, "folder")) << path;
  }
  for (const char* name : {"", "a/b", "..", "A", "a b"}) {
    v1::DatasetManifest manifest = SmallManifest();
    manifest.set_name(name);
    EXPECT_THAT(CheckManifest(manifest), IsError(StatusCode::kInvalidArgument, "a-z")) << name;
  }
}

TEST(CheckManifestTest, RefusesWhatCanNotBeChecked) {
  const auto refuses = [](const char* words, const auto& change) {
    v1::DatasetManifest manifest = SmallManifest();
    change(manifest);
    EXPECT_THAT(CheckManifest(manifest), IsError(StatusCode::kInvalidArgument, words));
  };
  refuses("SHA-256", [](auto& m) { m.mutable_files(0)->set_sha256("00"); });
  refuses("size", [](auto& m) { m.mutable_files(0)->set_bytes(0); });
  refuses("size", [](auto& m) { m.mutable_files(0)->set_bytes(kDatasetFileBytesMax + 1); });
  refuses("licence", [](auto& m) { m.clear_licence(); });
  refuses("https", [](auto& m) { m.set_base_url("http://example.org"); });
  refuses("twice", [](auto& m) { AddFile(m, "table.csv", "x"); });
  refuses("before it", [](auto& m) { m.mutable_files(0)->set_unpacked_from("later.gz"); });
  refuses("made of statements.csv", [](auto& m) {
    v1::EcgArray& array = *AddFile(m, "signal.idx", "x").mutable_ecg_array();
    array.set_database("table.csv");
    array.set_statements("statements.csv");
  });
  refuses("none of its files",
          [](auto& m) { m.mutable_table()->mutable_partitioned()->set_file("other.csv"); });
  refuses("no_table", [](auto& m) { m.clear_contract_file(); });
  refuses("no files", [](auto& m) { m.clear_files(); });
}

}  // namespace
}  // namespace consilium
