#include "site_agent/runtime/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "protocol/core/files.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/refused_calls.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::site {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NewFileTest : public ::testing::TestWithParam<NewFile::UntilWhole> {
 protected:
  absl::StatusOr<NewFile> Make(const std::string& content) {
    absl::StatusOr<NewFile> file = NewFile::Create(path_, GetParam());
    if (file.ok()) {
      EXPECT_EQ(write(file->descriptor(), content.data(), content.size()),
                static_cast<ssize_t>(content.size()));
    }
    return file;
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  TempFolder folder_;
  std::string path_ = folder_.File("own");
};

TEST_P(NewFileTest, HasItsNameWhenItIsWhole) {
  absl::StatusOr<NewFile> file = Make("whole");
  ASSERT_THAT(file, IsOk());
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(file->Commit().value(), 5U);
  const NewFile last = *std::move(file);
  EXPECT_EQ(ReadFile(path_, 100).value(), "whole");
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST_P(NewFileTest, NothingIsLeftBesideIt) {
  {
    absl::StatusOr<NewFile> file = Make("whole");
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Commit(), IsOk());
  }
  EXPECT_THAT(Names(), ElementsAre("own"));
}

TEST_P(NewFileTest, NothingIsLeftOfOneThatWasGivenUp) {
  { ASSERT_THAT(Make("half"), IsOk()); }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_P(NewFileTest, WhatIsThereStays) {
  ASSERT_THAT(WriteFileDurably(path_, "another's"), IsOk());
  EXPECT_THAT(Make("own"), IsError(absl::StatusCode::kAlreadyExists, "exists: choose"));
  EXPECT_EQ(ReadFile(path_, 100).value(), "another's");
}

TEST_P(NewFileTest, WhatComesThereMeanwhileStays) {
  {
    absl::StatusOr<NewFile> file = Make("own");
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(WriteFileDurably(path_, "another's"), IsOk());
    EXPECT_THAT(file->Commit(), IsError(absl::StatusCode::kAlreadyExists, "exists: choose"));
  }
  EXPECT_EQ(ReadFile(path_, 100).value(), "another's");
  EXPECT_THAT(Names(), ElementsAre("own"));
}

TEST_P(NewFileTest, ALinkIsNotFollowed) {
  ASSERT_EQ(symlink(folder_.File("elsewhere").c_str(), path_.c_str()), 0);
  EXPECT_THAT(Make("own"), IsError(absl::StatusCode::kAlreadyExists, "exists: choose"));
  ASSERT_EQ(unlink(path_.c_str()), 0);
  absl::StatusOr<NewFile> file = Make("own");
  ASSERT_THAT(file, IsOk());
  ASSERT_EQ(symlink(folder_.File("elsewhere").c_str(), path_.c_str()), 0);
  EXPECT_THAT(file->Commit(), IsError(absl::StatusCode::kAlreadyExists, "exists: choose"));
  EXPECT_FALSE(std::filesystem::exists(folder_.File("elsewhere")));
}

INSTANTIATE_TEST_SUITE_P(Both, NewFileTest,
                         ::testing::Values(NewFile::UntilWhole::kNameless,
                                           NewFile::UntilWhole::kTemporaryName),
                         [](const auto& tested) {
                           return tested.param == NewFile::UntilWhole::kNameless ? "Nameless"
                                                                                 : "TemporaryName";
                         });

TEST(NewFile, WhereNoneCanBeIsSaid) {
  const TempFolder folder;
  EXPECT_THAT(NewFile::Create(folder.File("nowhere/own")),
              IsError(absl::StatusCode::kNotFound, "can not create"));
  EXPECT_THAT(NewFile::Create(folder.File(std::string(300, 'x'))),
              IsError(absl::StatusCode::kUnavailable, "can not look at"));
}

// As a child that may not do so sees it; its exit status says what went wrong.
int WriteWhereRefused(const TempFolder& folder, const std::function<bool()>& refuse) {
  ChildProcess child([&](const std::function<void()>&) {
    if (!refuse()) return 1;
    const std::string path = folder.File("own");
    {
      absl::StatusOr<NewFile> file = NewFile::Create(path);
      if (!file.ok()) return 2;
      if (std::filesystem::is_empty(folder.path())) return 3;  // It has a name of its own.
      if (write(file->descriptor(), "whole", 5) != 5) return 4;
      const absl::StatusOr<uint64_t> bytes = file->Commit();
      if (!bytes.ok() || *bytes != 5) return 5;
    }
    if (ReadFile(path, 100).value() != "whole") return 6;
    absl::StatusOr<NewFile> again = NewFile::Create(folder.File("other"));
    if (!again.ok()) return 7;
    if (!WriteFileDurably(folder.File("other"), "another's").ok()) return 8;
    if (!absl::IsAlreadyExists(again->Commit().status())) return 9;
    return ReadFile(folder.File("other"), 100).value() == "another's" ? 0 : 10;
  });
  return child.Wait();
}

TEST(NewFile, IsWrittenWhereTheFileSystemHasNoNamelessFiles) {
  for (const uint32_t error : {EOPNOTSUPP, EISDIR}) {
    const TempFolder folder;
    EXPECT_EQ(WriteWhereRefused(folder, [error] { return RefuseNamelessFiles(error); }), 0);
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      names.insert(entry.path().filename().string());
    }
    EXPECT_THAT(names, ElementsAre("other", "own"));
  }
}

// NFS.
TEST(NewFile, NorRenamesWithoutReplacement) {
  const TempFolder folder;
  EXPECT_EQ(WriteWhereRefused(
                folder, [] { return RefuseNamelessFiles(EOPNOTSUPP) && RefuseFlagsOfRename(); }),
            0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

// So that a process that is killed leaves nothing.
TEST(NewFile, HasNoNameBeforeWhereTheFileSystemCan) {
  const TempFolder folder;
  const FileDescriptor probe(open(folder.path().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (probe.get() < 0) GTEST_SKIP() << "the file system has no files without a name";
  const absl::StatusOr<NewFile> file = NewFile::Create(folder.File("own"));
  ASSERT_THAT(file, IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace consilium::site
