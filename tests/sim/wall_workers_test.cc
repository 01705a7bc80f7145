// Each site has one worker, which does its jobs in their order beside the other workers; what is
// dropped is not waited for.

#include "sim/engine/wall_workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"

namespace consilium {
namespace {

// Never asked: the jobs here compute without one.
class NoWorker final : public TaskWorker {
 public:
  absl::StatusOr<SiteWork::Trained> Train(const SiteWork&, const SiteWork::TrainingTask&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork&,
                                          const SiteWork::EvaluationTask&) override {
    return absl::UnimplementedError("");
  }
};

std::vector<std::vector<std::unique_ptr<TaskWorker>>> Places(size_t count, size_t of_each = 1) {
  std::vector<std::vector<std::unique_ptr<TaskWorker>>> places(count);
  for (auto& place : places) {
    for (size_t i = 0; i < of_each; ++i) place.push_back(std::make_unique<NoWorker>());
  }
  return places;
}

void WaitForAll(WallWorkers& workers) {
  while (workers.open() > 0) {
    for (const auto& then : workers.Wait(absl::InfiniteFuture())) then();
  }
}

TEST(WallWorkers, EachSitesWorkerDoesItsJobsInTheirOrder) {
  WallWorkers workers(Places(3));
  EXPECT_EQ(workers.size(), 3u);
  std::vector<std::vector<std::pair<TaskWorker*, int>>> done(7);  // By site.
  std::vector<std::vector<int>> told(7);
  for (int i = 0; i < 100; ++i) {
    for (size_t site = 0; site < 7; ++site) {
      workers.Begin(
          site, [&done, site, i](TaskWorker& who) { done[site].emplace_back(&who, i); },
          [&told, site, i] { told[site].push_back(i); });
    }
  }
  WaitForAll(workers);
  for (size_t site = 0; site < 7; ++site) {
    ASSERT_EQ(done[site].size(), 100u);
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(done[site][static_cast<size_t>(i)], (std::pair{done[site % 3][0].first, i}));
      EXPECT_EQ(told[site][static_cast<size_t>(i)], i);
    }
  }
  EXPECT_NE(done[0][0].first, done[1][0].first);
  EXPECT_NE(done[1][0].first, done[2][0].first);
}

// Site 0 ends only after site 1 has, and of the two threads of one worker likewise.
TEST(WallWorkers, WorkBesideEachOther) {
  for (const auto& [places, threads] : {std::pair<size_t, size_t>{2, 1}, {1, 2}}) {
    WallWorkers workers(Places(places, threads));
    absl::Notification other_done;
    std::vector<size_t> order;
    workers.Begin(
        0, [&](TaskWorker&) { other_done.WaitForNotification(); }, [&] { order.push_back(0); });
    workers.Begin(
        1, [](TaskWorker&) {},
        [&] {
          order.push_back(1);
          other_done.Notify();
        });
    WaitForAll(workers);
    EXPECT_EQ(order, (std::vector<size_t>{1, 0}));
  }
}

TEST(WallWorkers, WhatIsDroppedIsNotWaitedFor) {
  WallWorkers workers(Places(1));
  absl::Notification began;
  absl::Notification may_end;
  int done = 0;
  int told = 0;
  const uint64_t working = workers.Begin(
      0,
      [&](TaskWorker&) {
        began.Notify();
        may_end.WaitForNotification();
        ++done;
      },
      [&] { ++told; });
  const uint64_t waiting = workers.Begin(
      0, [&](TaskWorker&) { done += 10; }, [&] { told += 10; });
  workers.Begin(
      0, [&](TaskWorker&) { done += 100; }, [&] { told += 100; });
  began.WaitForNotification();
  EXPECT_EQ(workers.open(), 3u);
  workers.Drop(working);
  workers.Drop(waiting);
  workers.Drop(working);  // A second time changes nothing.
  EXPECT_EQ(workers.open(), 1u);
  may_end.Notify();
  WaitForAll(workers);
  EXPECT_EQ(done, 101);
  EXPECT_EQ(told, 100);
}

TEST(WallWorkers, WhatIsDoneCanStillBeDropped) {
  WallWorkers workers(Places(1));
  absl::Notification second_began;
  absl::Notification may_end;
  const uint64_t first = workers.Begin(
      0, [](TaskWorker&) {}, [] { FAIL(); });
  workers.Begin(
      0,
      [&](TaskWorker&) {
        second_began.Notify();
        may_end.WaitForNotification();
      },
      [] {});
  second_began.WaitForNotification();  // The first is done then.
  workers.Drop(first);
  may_end.Notify();
  WaitForAll(workers);
}

TEST(WallWorkers, ClearWaitsForWhatIsAtWorkAndForNothingElse) {
  WallWorkers workers(Places(2));
  absl::Notification began;
  absl::Notification may_end;
  std::atomic<bool> ended = false;
  workers.Begin(
      0,
      [&](TaskWorker&) {
        began.Notify();
        may_end.WaitForNotification();
        ended = true;
      },
      [] { FAIL(); });
  workers.Begin(
      0, [](TaskWorker&) { FAIL(); }, [] { FAIL(); });
  began.WaitForNotification();
  std::thread releaser([&] { may_end.Notify(); });
  workers.Clear();
  EXPECT_TRUE(ended);
  EXPECT_EQ(workers.open(), 0u);
  EXPECT_TRUE(workers.Wait(workers.Now()).empty());
  releaser.join();
}

TEST(WallWorkers, ItsClockBeginsAtTheEpochAndGoesOn) {
  WallWorkers workers(Places(1));
  workers.StartClock();
  const absl::Time first = workers.Now();
  EXPECT_GE(first, absl::UnixEpoch());
  EXPECT_LT(first, absl::UnixEpoch() + absl::Hours(1));
  EXPECT_TRUE(workers.Wait(first + absl::Milliseconds(2)).empty());
  EXPECT_GE(workers.Now(), first + absl::Milliseconds(2));
}

}  // namespace
}  // namespace consilium
