#include "sim/datasets/unpack.h"

#include <gtest/gtest.h>
#include <zip.h>
#include <zlib.h>

#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"

namespace consilium {
namespace {

using absl::StatusCode;

v1::DatasetFile FileOf(uint64_t bytes) {
  v1::DatasetFile file;
  file.set_path("made");
  file.set_bytes(bytes);
  return file;
}

void Gzip(const std::string& path, absl::string_view content) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, content.data(), static_cast<unsigned>(content.size())),
            static_cast<int>(content.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

void Zip(const std::string& path, const std::string& member, const std::string& content) {
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE, nullptr);
  ASSERT_NE(zip, nullptr);
  zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
  ASSERT_GE(zip_file_add(zip, member.c_str(), source, 0), 0);
  ASSERT_EQ(zip_close(zip), 0);
}

TEST(MakeFileTest, UnpacksGzip) {
  const TempFolder folder;
  const std::string content(3'000'000, 'x');
  Gzip(folder.File("a.gz"), content);
  v1::DatasetFile file = FileOf(content.size());
  file.set_unpacked_from("a.gz");
  EXPECT_EQ(*MakeFile(folder.path(), file), content);
  // No more is unpacked than the file has, whatever is packed.
  for (const uint64_t bytes : {content.size() - 1, content.size() + 1, uint64_t{1}}) {
    file.set_bytes(bytes);
    EXPECT_THAT(MakeFile(folder.path(), file), IsError(StatusCode::kDataLoss, "a.gz")) << bytes;
  }
  file.set_unpacked_from("missing.gz");
  EXPECT_THAT(MakeFile(folder.path(), file), IsError(StatusCode::kNotFound, "missing.gz"));
}

TEST(MakeFileTest, UnpacksAMemberOfAnArchive) {
  const TempFolder folder;
  const std::string content(100'000, 'y');
  Zip(folder.File("a.zip"), "in/side.csv", content);
  v1::DatasetFile file = FileOf(content.size());
  file.mutable_zip_member()->set_file("a.zip");
  file.mutable_zip_member()->set_member("in/side.csv");
  EXPECT_EQ(*MakeFile(folder.path(), file), content);
  file.set_bytes(content.size() - 1);
  EXPECT_THAT(MakeFile(folder.path(), file), IsError(StatusCode::kDataLoss, "a.zip"));
  file.mutable_zip_member()->set_member("side.csv");
  EXPECT_THAT(MakeFile(folder.path(), file), IsError(StatusCode::kDataLoss, "side.csv"));
  Write(folder.File("a.zip"), "no archive");
  EXPECT_THAT(MakeFile(folder.path(), file), IsError(StatusCode::kDataLoss, "no ZIP"));
}

TEST(MakeFileTest, MakesOnlyWhatIsMade) {
  EXPECT_THAT(MakeFile("", FileOf(1)), IsError(StatusCode::kInvalidArgument, "made"));
}

TEST(ApplyTableLinesTest, ReplacesHeaderAndLastColumn) {
  v1::TableLines lines;
  lines.set_file("raw");
  lines.set_lines_left_out(1);
  lines.set_header("x,y");
  (*lines.mutable_last_field())["0"] = "1";
  (*lines.mutable_last_field())["1"] = "0";
  EXPECT_EQ(*ApplyTableLines("2,names\n0,1\n1,0\n", lines), "x,y\n0,0\n1,1\n");
  EXPECT_EQ(*ApplyTableLines("2,names\n0,1", lines), "x,y\n0,0\n");
  EXPECT_THAT(ApplyTableLines("2,names\n0,1\n1,2\n", lines),
              IsError(StatusCode::kDataLoss, "line 3"));
  lines.set_lines_left_out(3);
  EXPECT_THAT(ApplyTableLines("2,names\n", lines), IsError(StatusCode::kDataLoss, "too few"));
}

}  // namespace
}  // namespace consilium
