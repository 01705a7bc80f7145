#include "protocol/core/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/synchronization/barrier.h"

namespace consilium {
namespace {

TEST(Executor, DestructorFinishesWhatIsQueued) {
  std::atomic<int> done{0};
  {
    Executor executor(2, 4);
    for (int i = 0; i < 500; ++i) EXPECT_TRUE(executor.Run([&] { ++done; }));
  }
  EXPECT_EQ(done, 500);
}

// Four functions that wait for each other end only if four threads run them.
TEST(Executor, RunsAtTheSameTime) {
  Executor executor(4, 4);
  auto* barrier = new absl::Barrier(5);
  // The last to leave deletes it: the others may still be inside when the first is out.
  const auto meet = [barrier] {
    if (barrier->Block()) delete barrier;
  };
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(executor.Run(meet));
  meet();
}

TEST(ParallelFor, CallsEachIndexOnce) {
  for (int threads : {1, 2, 5}) {
    Executor executor(threads, 8);
    for (size_t count : {size_t{0}, size_t{1}, size_t{2}, size_t{17}, size_t{1000}}) {
      std::vector<int> calls(count);
      ParallelFor(executor, count, [&](size_t i) { ++calls[i]; });
      EXPECT_EQ(calls, std::vector<int>(count, 1)) << threads << " threads";
    }
  }
}

// The pool's only thread may itself spread work: the caller takes part, so nothing waits for ever.
TEST(ParallelFor, NestsInsideABusyPool) {
  std::atomic<int> done{0};
  {
    Executor executor(1, 64);
    ASSERT_TRUE(executor.Run([&] { ParallelFor(executor, 10, [&](size_t) { ++done; }); }));
  }
  EXPECT_EQ(done, 10);
}

TEST(ParallelFor, ManyCallersShareOnePool) {
  Executor executor(3, 8);
  std::atomic<int> done{0};
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        ParallelFor(executor, 20, [&](size_t) { ++done; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(done, 4 * 50 * 20);
}

}  // namespace
}  // namespace consilium
