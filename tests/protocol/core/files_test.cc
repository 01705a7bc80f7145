#include "protocol/core/files.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

class FilesTest : public testing::Test {
 protected:
  mode_t ModeOf(const std::string& path) {
    struct stat info;
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }

  TempFolder folder_;
  std::string path_ = folder_.File("file");
};

TEST_F(FilesTest, WritesAndReads) {
  for (const std::string& content :
       {std::string(), std::string("a\0b", 3), std::string(100'000, 'x')}) {
    ASSERT_THAT(WriteFileDurably(path_, content), IsOk());
    EXPECT_EQ(*ReadFile(path_, 100'000), content);
  }
  EXPECT_EQ(ModeOf(path_), 0600u);
  ASSERT_THAT(WriteFileDurably(path_, "x", 0644), IsOk());
  EXPECT_EQ(ModeOf(path_), 0644u);
  EXPECT_NE(access((path_ + ".new").c_str(), F_OK), 0);
}

// The umask must not widen or narrow what the caller asked for.
TEST_F(FilesTest, ModeDoesNotDependOnTheUmask) {
  for (const mode_t mask : {0000, 0077, 0777}) {
    const mode_t before = umask(mask);
    const absl::Status status = WriteFileDurably(path_, "x", 0640);
    umask(before);
    ASSERT_THAT(status, IsOk());
    EXPECT_EQ(ModeOf(path_), 0640u);
  }
}

TEST_F(FilesTest, ReadHasALimitAndNamesWhatIsWrong) {
  ASSERT_THAT(WriteFileDurably(path_, "12345"), IsOk());
  EXPECT_THAT(ReadFile(path_, 5), IsOk());
  EXPECT_THAT(ReadFile(path_, 4), IsError(absl::StatusCode::kResourceExhausted, "5 bytes"));
  EXPECT_THAT(ReadFile(folder_.File("none"), 4), IsError(absl::StatusCode::kNotFound, "none"));
  EXPECT_THAT(ReadFile(folder_.path(), 4),
              IsError(absl::StatusCode::kInvalidArgument, "not a regular file"));
}

TEST_F(FilesTest, FailedWriteLeavesTheOldContent) {
  ASSERT_THAT(WriteFileDurably(path_, "old"), IsOk());
  ChildProcess child([&](const std::function<void()>&) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    return absl::IsResourceExhausted(WriteFileDurably(path_, std::string(5000, 'x'))) ? 0 : 2;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_EQ(*ReadFile(path_, 10), "old");
  EXPECT_NE(access((path_ + ".new").c_str(), F_OK), 0);
}

// Killed at whatever point the signal meets it: the old content or the new, whole.
TEST_F(FilesTest, KilledWriterLeavesOldOrNewContent) {
  const std::string first(300'000, 'a');
  const std::string second(200'000, 'b');
  for (int i = 0; i < 20; ++i) {
    ASSERT_THAT(WriteFileDurably(path_, first), IsOk());
    int started[2];
    ASSERT_EQ(pipe(started), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(started[0]);
      for (;;) {
        if (write(started[1], "x", 1) != 1) _exit(1);
        WriteFileDurably(path_, second).IgnoreError();
        WriteFileDurably(path_, first).IgnoreError();
      }
    }
    close(started[1]);
    char byte;
    for (int passes = 0; passes <= i % 4; ++passes) ASSERT_EQ(read(started[0], &byte, 1), 1);
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    close(started[0]);
    const absl::StatusOr<std::string> content = ReadFile(path_, 1 << 20);
    ASSERT_THAT(content, IsOk());
    EXPECT_TRUE(*content == first || *content == second);
  }
}

TEST_F(FilesTest, MakesFolders) {
  ASSERT_THAT(MakeFolders(folder_.File("a/b/c")), IsOk());
  EXPECT_EQ(ModeOf(folder_.File("a")), 0700u);
  EXPECT_EQ(ModeOf(folder_.File("a/b/c")), 0700u);
  EXPECT_THAT(MakeFolders(folder_.File("a/b/c")), IsOk());
  ASSERT_THAT(WriteFileDurably(path_, "x"), IsOk());
  EXPECT_THAT(MakeFolders(path_), IsError(absl::StatusCode::kFailedPrecondition, "not a folder"));
}

TEST_F(FilesTest, PrivateMeansPrivate) {
  EXPECT_THAT(CheckPrivate(path_), IsError(absl::StatusCode::kNotFound, path_));
  ASSERT_THAT(WriteFileDurably(path_, "secret"), IsOk());
  EXPECT_THAT(CheckPrivate(path_), IsOk());
  ASSERT_EQ(chmod(path_.c_str(), 0400), 0);
  EXPECT_THAT(CheckPrivate(path_), IsOk());
  for (const mode_t mode : {0601, 0610, 0602, 0620, 0604, 0640, 0700}) {
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
    EXPECT_THAT(CheckPrivate(path_),
                IsError(absl::StatusCode::kFailedPrecondition, "chmod 600 " + path_));
  }
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  for (const mode_t mode : {0701, 0710, 0755}) {
    ASSERT_EQ(chmod(folder_.path().c_str(), mode), 0);
    EXPECT_THAT(CheckPrivate(path_),
                IsError(absl::StatusCode::kFailedPrecondition, "chmod 700 " + folder_.path()));
  }
  ASSERT_EQ(chmod(folder_.path().c_str(), 0700), 0);
  ASSERT_EQ(symlink(path_.c_str(), folder_.File("link").c_str()), 0);
  EXPECT_THAT(CheckPrivate(folder_.File("link")),
              IsError(absl::StatusCode::kFailedPrecondition, "not a regular file"));
}

TEST_F(FilesTest, FilesOfAnotherUserAreRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_THAT(WriteFileDurably(path_, "secret"), IsOk());
  ASSERT_EQ(chown(path_.c_str(), 12345, 12345), 0);
  EXPECT_THAT(CheckPrivate(path_),
              IsError(absl::StatusCode::kFailedPrecondition, "belongs to user 12345"));
}

TEST(SystemError, TellsFullDisksFromOthers) {
  const struct {
    int error;
    absl::StatusCode code;
  } cases[] = {{ENOENT, absl::StatusCode::kNotFound},
               {ENOSPC, absl::StatusCode::kResourceExhausted},
               {EDQUOT, absl::StatusCode::kResourceExhausted},
               {EFBIG, absl::StatusCode::kResourceExhausted},
               {EACCES, absl::StatusCode::kPermissionDenied},
               {EIO, absl::StatusCode::kUnavailable}};
  for (const auto& c : cases) {
    errno = c.error;
    EXPECT_THAT(SystemError("can not write", "/x/y"), IsError(c.code, "can not write /x/y"));
  }
}

}  // namespace
}  // namespace consilium
