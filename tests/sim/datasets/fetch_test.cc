// Servers are in tests/cli/simulator_data.py; here are folders.

#include "sim/datasets/fetch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "protocol/core/files.h"
#include "sim/datasets/part_file.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"

namespace consilium {
namespace {

using absl::StatusCode;

class FetchTest : public ::testing::Test {
 protected:
  FetchTest() {
    std::filesystem::create_directories(folder_.File("from"));
    Write(folder_.File("from/table.csv"), kSmallContent);
  }

  absl::StatusOr<FetchReport> Fetch() {
    FetchOptions options;
    options.from = folder_.File("from");
    options.into = folder_.File("into");
    return FetchDataset(manifest_, options);
  }
  std::string Into(const std::string& name) { return folder_.File("into/small/" + name); }

  const TempFolder folder_;
  v1::DatasetManifest manifest_ = SmallManifest();
};

TEST_F(FetchTest, BringsWhatIsNotThereYet) {
  auto report = Fetch();
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->fetched, 1u);
  EXPECT_EQ(*ReadFile(Into("table.csv"), 1000), kSmallContent);
  EXPECT_FALSE(std::filesystem::exists(Into("table.csv.part")));
  std::filesystem::remove(folder_.File("from/table.csv"));
  report = Fetch();
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->there_already, 1u);
}

TEST_F(FetchTest, FilesInFoldersAndFilesOfFiles) {
  AddFile(manifest_, "deep/er/raw", "x");
  std::filesystem::create_directories(folder_.File("from/deep/er"));
  Write(folder_.File("from/deep/er/raw"), "x");
  v1::DatasetFile& made = AddFile(manifest_, "made.csv", "p,q,r\n1,2,yes\n3,4,no\n");
  made.mutable_table_lines()->set_file("table.csv");
  made.mutable_table_lines()->set_lines_left_out(1);
  made.mutable_table_lines()->set_header("p,q,r");
  (*made.mutable_table_lines()->mutable_last_field())["a"] = "yes";
  (*made.mutable_table_lines()->mutable_last_field())["b"] = "no";
  const auto report = Fetch();
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->fetched, 2u);
  EXPECT_EQ(report->made, 1u);
  EXPECT_EQ(*ReadFile(Into("deep/er/raw"), 1000), "x");
  EXPECT_EQ(*ReadFile(Into("made.csv"), 1000), "p,q,r\n1,2,yes\n3,4,no\n");
  std::filesystem::remove(Into("made.csv"));
  made.set_sha256(std::string(64, '0'));
  EXPECT_THAT(Fetch(), IsError(StatusCode::kDataLoss, "made.csv"));
  EXPECT_FALSE(std::filesystem::exists(Into("made.csv")));
}

TEST_F(FetchTest, AnotherFileGetsNoName) {
  Write(folder_.File("from/table.csv"), "first line\n1,2,a\n3,4,c\n");
  EXPECT_THAT(Fetch(), IsError(StatusCode::kDataLoss, "SHA-256"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.File("into/small")));
  Write(folder_.File("from/table.csv"), "longer than it may be, by a few bytes");
  EXPECT_THAT(Fetch(), IsError(StatusCode::kDataLoss, "37"));
}

TEST_F(FetchTest, OnlyRegularFilesAreReadAndWritten) {
  std::filesystem::remove(folder_.File("from/table.csv"));
  ASSERT_EQ(mkfifo(folder_.File("from/table.csv").c_str(), 0600), 0);
  EXPECT_THAT(Fetch(), IsError(StatusCode::kDataLoss, "table.csv"));
  std::filesystem::remove(folder_.File("from/table.csv"));
  Write(folder_.File("from/table.csv"), kSmallContent);
  // Someone's link at the name of the part.
  Write(folder_.File("precious"), "precious");
  std::filesystem::create_symlink(folder_.File("precious"), Into("table.csv.part"));
  EXPECT_FALSE(Fetch().ok());
  EXPECT_EQ(*ReadFile(folder_.File("precious"), 100), "precious");
}

TEST_F(FetchTest, OneProcessAtATime) {
  const auto other = PartFile::Open(Into("table.csv"));
  ASSERT_THAT(other, IsOk());
  EXPECT_THAT(Fetch(), IsError(StatusCode::kFailedPrecondition, "another process"));
}

TEST_F(FetchTest, WithoutAnAddressItSaysWhereFrom) {
  FetchOptions options;
  options.into = folder_.File("into");
  EXPECT_THAT(FetchDataset(manifest_, options), IsError(StatusCode::kNotFound, "a test"));
  options.from = "gopher://example.org";
  EXPECT_THAT(FetchDataset(manifest_, options),
              IsError(StatusCode::kInvalidArgument, "https, http or file"));
}

TEST(PartFileTest, KeepsWhatIsThereAndLeavesNothingEmpty) {
  const TempFolder folder;
  const std::string path = folder.File("a/b");
  {
    auto part = PartFile::Open(path);
    ASSERT_THAT(part, IsOk());
    ASSERT_THAT(part->Append("ab"), IsOk());
  }
  {
    auto part = PartFile::Open(path);
    ASSERT_THAT(part, IsOk());
    EXPECT_EQ(part->bytes(), 2u);
    ASSERT_THAT(part->Append("c"), IsOk());
    EXPECT_THAT(part->Finish(ToHex(Sha256Of(absl::string_view("abd")))),
                IsError(StatusCode::kDataLoss, "SHA-256"));
    EXPECT_EQ(part->bytes(), 0u);
  }
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  auto part = PartFile::Open(path);
  ASSERT_THAT(part, IsOk());
  ASSERT_THAT(part->Append("abd"), IsOk());
  ASSERT_THAT(part->Finish(ToHex(Sha256Of(absl::string_view("abd")))), IsOk());
  EXPECT_EQ(*ReadFile(path, 100), "abd");
}

}  // namespace
}  // namespace consilium
