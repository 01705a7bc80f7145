// Vectors of idle sites come back from the file with the bits that they had, and what the disk does
// not take or gives back otherwise is an error with a name.

#include "sim/engine/idle_vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/refused_calls.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;
using Held = IdleVectors::Held;

constexpr size_t kElements = 100;
constexpr uint64_t kBytes = kElements * sizeof(float);

IdleVectors::Values Made(size_t number, size_t elements = kElements) {
  auto values = std::make_shared<std::vector<float>>(elements);
  for (size_t i = 0; i < elements; ++i) (*values)[i] = static_cast<float>(1000 * number + i);
  return values;
}

class IdleVectorsTest : public testing::Test {
 protected:
  std::shared_ptr<IdleVectors> Make(uint64_t bytes_max) {
    return IdleVectors::Create({.bytes_max = bytes_max, .folder = folder_.path()});
  }
  std::vector<Held> KeepMany(IdleVectors& idle, size_t count) {
    std::vector<Held> all;
    for (size_t i = 0; i < count; ++i) {
      absl::StatusOr<Held> held = idle.Keep(Made(i));
      EXPECT_THAT(held, IsOk());
      if (held.ok()) all.push_back(*std::move(held));
    }
    return all;
  }
  // Of the file without a name; -1 where there is none.
  int File() { return FileIn(folder_.path()); }
  static int FileIn(absl::string_view folder) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (absl::StrContains(target, folder)) return std::stoi(entry.path().filename());
    }
    return -1;
  }

  TempFolder folder_;
};

TEST_F(IdleVectorsTest, WhatThereIsNoRoomForComesBackWithItsBits) {
  const auto idle = Make(3 * kBytes);
  const std::vector<Held> all = KeepMany(*idle, 10);
  ASSERT_EQ(all.size(), 10u);
  EXPECT_EQ(idle->bytes_in_memory(), 3 * kBytes);
  EXPECT_EQ(idle->file_bytes(), 7 * kBytes);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));  // It has no name.
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (size_t i = 0; i < all.size(); ++i) {
      const auto values = repeat == 0 ? all[i]->Read() : all[i]->Peek();
      ASSERT_THAT(values, IsOk());
      EXPECT_EQ(**values, *Made(i)) << i;
      EXPECT_LE(idle->bytes_in_memory(), 3 * kBytes);
    }
  }
}

TEST_F(IdleVectorsTest, BitsThatAreNoNumberComeBackToo) {
  const auto idle = Make(0);
  const std::vector<float> odd = {std::numeric_limits<float>::quiet_NaN(), -0.0F,
                                  std::numeric_limits<float>::denorm_min(),
                                  -std::numeric_limits<float>::infinity()};
  const auto held = idle->Keep(std::make_shared<const std::vector<float>>(odd));
  ASSERT_THAT(held, IsOk());
  ASSERT_EQ((*held)->InMemory(), nullptr);
  const auto values = (*held)->Read();
  ASSERT_THAT(values, IsOk());
  EXPECT_EQ(memcmp((*values)->data(), odd.data(), odd.size() * sizeof(float)), 0);
  const auto none = idle->Keep(std::make_shared<const std::vector<float>>());
  ASSERT_THAT(none, IsOk());
  EXPECT_TRUE((*(*none)->Read())->empty());
}

TEST_F(IdleVectorsTest, WhatWasUsedLastStaysInMemory) {
  const auto idle = Make(2 * kBytes);
  std::vector<Held> all = KeepMany(*idle, 2);
  ASSERT_THAT(all[0]->Read(), IsOk());
  all.push_back(*idle->Keep(Made(2)));
  EXPECT_NE(all[0]->InMemory(), nullptr);
  EXPECT_EQ(all[1]->InMemory(), nullptr);
  // Looking at one of the others changes nothing.
  ASSERT_THAT(all[1]->Peek(), IsOk());
  EXPECT_NE(all[0]->InMemory(), nullptr);
  EXPECT_EQ(all[1]->InMemory(), nullptr);
}

TEST_F(IdleVectorsTest, WithRoomTheDiskIsNotTouched) {
  const auto idle =
      IdleVectors::Create({.bytes_max = 10 * kBytes, .folder = folder_.File("is-not-there")});
  const std::vector<Held> all = KeepMany(*idle, 10);
  EXPECT_EQ(idle->file_bytes(), 0u);
  // One more finds no folder; what was held is not lost.
  EXPECT_THAT(idle->Keep(Made(10)), IsError(StatusCode::kFailedPrecondition, "is-not-there"));
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(**all[i]->Read(), *Made(i));
}

TEST_F(IdleVectorsTest, PlacesOfWhatHasGoneAreTakenAgain) {
  const auto idle = Make(kBytes);
  for (int round = 0; round < 50; ++round) {
    const std::vector<Held> all = KeepMany(*idle, 4);
    EXPECT_EQ(**all[0]->Read(), *Made(0));
  }
  EXPECT_LE(idle->file_bytes(), 4 * kBytes);
  EXPECT_EQ(idle->bytes_in_memory(), 0u);
}

TEST_F(IdleVectorsTest, AllWhoReadItAtOnceShareIt) {
  const auto idle = Make(0);
  const auto held = idle->Keep(Made(1));
  ASSERT_THAT(held, IsOk());
  const auto first = (*held)->Read();
  const auto second = (*held)->Read();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
}

TEST_F(IdleVectorsTest, AnyThreadReads) {
  const auto idle = Make(3 * kBytes);
  const std::vector<Held> all = KeepMany(*idle, 16);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 400; ++i) {
        const size_t which = (i * (t + 3)) % all.size();
        const auto values = all[which]->Read();
        if (!values.ok() || **values != *Made(which)) ++wrong[t];
        const auto mine = idle->Keep(Made(100 + i, 50));
        if (!mine.ok() || **(*mine)->Read() != *Made(100 + i, 50)) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST_F(IdleVectorsTest, AFullDiskIsNamedAndNothingIsLost) {
  ChildProcess child([&](const std::function<void()>&) {
    signal(SIGXFSZ, SIG_IGN);
    // Room for two and a half.
    const rlimit limit{5 * kBytes / 2, 5 * kBytes / 2};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const auto idle = Make(kBytes);
    const std::vector<Held> all = KeepMany(*idle, 3);
    if (all.size() != 3) return 2;
    for (int again = 0; again < 2; ++again) {
      const auto refused = idle->Keep(Made(3));
      if (!absl::IsResourceExhausted(refused.status())) return 3;
      if (!absl::StrContains(refused.status().message(), folder_.path())) return 4;
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const auto values = all[i]->Peek();
      if (!values.ok() || **values != *Made(i)) return 5;
    }
    return 0;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(IdleVectorsTest, WhatTheDiskGivesBackOtherwiseIsAnError) {
  const auto idle = Make(0);
  const std::vector<Held> all = KeepMany(*idle, 2);
  const int file = File();
  ASSERT_GE(file, 0);
  const char byte = 1;
  ASSERT_EQ(pwrite(file, &byte, 1, kBytes / 2), 1);
  EXPECT_THAT(all[0]->Read(), IsError(StatusCode::kDataLoss, "is damaged"));
  EXPECT_THAT(all[1]->Read(), IsOk());
  ASSERT_EQ(ftruncate(file, 2 * kBytes - 1), 0);
  EXPECT_THAT(all[1]->Read(), IsError(StatusCode::kDataLoss, folder_.path()));
}

// A training pool would take the worker that meets it for lost, and another one after it.
TEST_F(IdleVectorsTest, ADiskThatFailsIsNotUnavailable) {
  const auto idle = Make(0);
  const std::vector<Held> all = KeepMany(*idle, 1);
  const int file = File();
  ASSERT_GE(file, 0);
  const int whole = dup(file);
  const int fails = open("/dev/full", O_WRONLY | O_CLOEXEC);  // What is read is EBADF.
  ASSERT_EQ(dup3(fails, file, O_CLOEXEC), file);
  EXPECT_THAT(all[0]->Read(), IsError(StatusCode::kInternal, folder_.path()));
  close(fails);
  const int only_read = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(dup3(only_read, file, O_CLOEXEC), file);
  const uint64_t before = idle->file_bytes();
  EXPECT_THAT(idle->Keep(Made(1)), IsError(StatusCode::kInternal, folder_.path()));
  close(only_read);
  // What could not be written there leaves its place to others.
  ASSERT_EQ(dup3(whole, file, O_CLOEXEC), file);
  close(whole);
  EXPECT_THAT(idle->Keep(Made(1)), IsOk());
  EXPECT_EQ(idle->file_bytes(), before + kBytes);
}

TEST_F(IdleVectorsTest, NorIsAFolderThatIsNone) {
  const std::string path = folder_.File("file");
  ASSERT_GE(close(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
  const auto idle = IdleVectors::Create({.bytes_max = 0, .folder = path});
  EXPECT_THAT(idle->Keep(Made(1)), IsError(StatusCode::kInternal, path));
}

// A process that is killed then leaves nothing.
TEST_F(IdleVectorsTest, TheFileNeverHasANameWhereTheFileSystemCan) {
  const int probe = open(folder_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (probe < 0) GTEST_SKIP() << "the file system has no files without a name";
  close(probe);
  const int names = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  ASSERT_GE(inotify_add_watch(names, folder_.path().c_str(), IN_CREATE), 0);
  EXPECT_EQ(KeepMany(*Make(0), 1).size(), 1u);
  char event[4096];
  EXPECT_LT(read(names, event, sizeof(event)), 0);
  close(names);
}

TEST_F(IdleVectorsTest, WhereItCanNotTheNameIsGoneAtOnce) {
  for (const uint32_t error : {EOPNOTSUPP, EISDIR}) {
    ChildProcess child([&](const std::function<void()>&) {
      if (!RefuseNamelessFiles(error)) return 1;
      const auto idle = Make(0);
      const std::vector<Held> all = KeepMany(*idle, 2);
      if (all.size() != 2 || File() < 0) return 2;
      if (!std::filesystem::is_empty(folder_.path())) return 3;
      const auto values = all[1]->Read();
      return values.ok() && **values == *Made(1) ? 0 : 4;
    });
    EXPECT_EQ(child.Wait(), 0);
  }
}

// What else fails is told, and not tried in another way.
TEST_F(IdleVectorsTest, AFolderThatMayNotBeWrittenIsSaid) {
  ChildProcess child([&](const std::function<void()>&) {
    if (!RefuseNamelessFiles(EACCES)) return 1;
    return absl::IsPermissionDenied(Make(0)->Keep(Made(1)).status()) ? 0 : 2;
  });
  EXPECT_EQ(child.Wait(), 0);
}

// /tmp may be memory.
TEST_F(IdleVectorsTest, WithoutAFolderItLiesOnTheDisk) {
  ChildProcess child([&](const std::function<void()>&) {
    unsetenv("TMPDIR");
    const auto idle = IdleVectors::Create({.bytes_max = 0, .folder = ""});
    if (KeepMany(*idle, 1).size() != 1) return 1;
    return FileIn("/var/tmp/") >= 0 ? 0 : 2;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(IdleVectorsTest, OrWhereTheEnvironmentSays) {
  for (const std::string& folder : {folder_.path(), std::string()}) {
    ChildProcess child([&](const std::function<void()>&) {
      setenv("TMPDIR", folder.c_str(), 1);
      const auto idle = IdleVectors::Create({.bytes_max = 0, .folder = ""});
      if (KeepMany(*idle, 1).size() != 1) return 1;
      return FileIn(folder.empty() ? "/var/tmp/" : folder) >= 0 ? 0 : 2;
    });
    EXPECT_EQ(child.Wait(), 0) << folder;
  }
}

}  // namespace
}  // namespace consilium
