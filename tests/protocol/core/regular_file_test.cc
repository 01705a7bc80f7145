// A file that stays the one that was opened.

#include "protocol/core/regular_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;

std::string Content(int descriptor) {
  std::string content(100, '\0');
  const ssize_t n = pread(descriptor, content.data(), content.size(), 0);
  content.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return content;
}

TEST(RegularFileTest, StaysTheOneThatWasOpened) {
  const TempFolder folder;
  ASSERT_THAT(WriteFileDurably(folder.File("a"), "first"), IsOk());
  const auto file = RegularFile::Open(folder.File("a"));
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(WriteFileDurably(folder.File("a"), "another"), IsOk());
  EXPECT_EQ(file->bytes(), 5u);
  EXPECT_EQ(Content(file->descriptor()), "first");
}

TEST(RegularFileTest, IsReachedByALink) {
  const TempFolder folder;
  ASSERT_THAT(WriteFileDurably(folder.File("a"), "content"), IsOk());
  std::filesystem::create_symlink("a", folder.File("link"));
  const auto file = RegularFile::Open(folder.File("link"));
  ASSERT_THAT(file, IsOk());
  EXPECT_EQ(Content(file->descriptor()), "content");
}

// A pipe that nobody writes would let whoever opens it wait.
TEST(RegularFileTest, RefusesWhatIsNone) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo(folder.File("pipe").c_str(), 0600), 0);
  for (const std::string& path : {folder.File("pipe"), folder.path(), std::string("/dev/zero")}) {
    EXPECT_THAT(RegularFile::Open(path).status(),
                IsError(StatusCode::kInvalidArgument, path + " is not a regular file"));
  }
  EXPECT_THAT(ReadFile(folder.File("pipe"), 10),
              IsError(StatusCode::kInvalidArgument, "pipe is not a regular file"));
  EXPECT_THAT(RegularFile::Open(folder.File("none")).status(),
              IsError(StatusCode::kNotFound, "none"));
}

TEST(RegularFileTest, ClosesWhatNobodyTook) {
  const TempFolder folder;
  ASSERT_THAT(WriteFileDurably(folder.File("a"), "content"), IsOk());
  int kept = -1;
  int taken = -1;
  {
    auto file = RegularFile::Open(folder.File("a"));
    ASSERT_THAT(file, IsOk());
    kept = file->descriptor();
    auto other = RegularFile::Open(folder.File("a"));
    ASSERT_THAT(other, IsOk());
    taken = RegularFile(*std::move(other)).Release();
  }
  EXPECT_EQ(fcntl(kept, F_GETFD), -1);
  EXPECT_EQ(fcntl(taken, F_GETFD), FD_CLOEXEC);
  close(taken);
}

}  // namespace
}  // namespace consilium
