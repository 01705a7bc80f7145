// Tasks are computed once each, by whoever comes first; what is dropped is not begun; and nothing
// borrowed is used after Clear.

#include "sim/engine/training_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "protocol/wire/derived_seed.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

// Never asked: the tasks here compute without one.
class NoTrainer final : public Trainer {
 public:
  absl::StatusOr<TrainOutput> Train(const TrainInput&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput&) override {
    return absl::UnimplementedError("");
  }
};

TrainingPool::TrainerFactory NoTrainers() {
  return [] { return std::make_unique<NoTrainer>(); };
}

absl::Time At(int64_t second) { return absl::FromUnixSeconds(second); }

SiteWork::Trained Numbered(uint64_t number) {
  SiteWork::Trained trained;
  trained.examples = number;
  return trained;
}

TEST(TrainingPool, ComputesEachTaskOnceWhateverIsTakenAndDroppedWhen) {
  for (const size_t threads : {1, 2, 5}) {
    TrainingPool pool({.threads = threads, .trainer_name = ""}, NoTrainers());
    RandomStream random(SeedPath{1, "pool", "", threads});
    constexpr size_t kTasks = 2000;
    std::vector<std::atomic<int>> computed(kTasks);
    std::vector<std::pair<size_t, std::shared_ptr<TrainingPool::Begun>>> open;
    size_t begun = 0;
    while (begun < kTasks || !open.empty()) {
      if (begun < kTasks && (open.empty() || random.NextBelow(2) == 0)) {
        const size_t number = begun++;
        const auto due = At(static_cast<int64_t>(random.NextBelow(1000)));
        open.emplace_back(number, pool.Begin(due, [&computed, number](TaskWorker&) {
          ++computed[number];
          return absl::StatusOr<SiteWork::Trained>(Numbered(number));
        }));
        continue;
      }
      std::swap(open[random.NextBelow(open.size())], open.back());
      const auto [number, task] = std::move(open.back());
      open.pop_back();
      if (random.NextBelow(4) == 0) {
        pool.Drop(task);
        continue;
      }
      const auto trained = pool.Take(task);
      ASSERT_THAT(trained, IsOk());
      EXPECT_EQ(trained->examples, number);
      EXPECT_EQ(computed[number], 1);
    }
    for (const std::atomic<int>& times : computed) EXPECT_LE(times, 1);
  }
}

TEST(TrainingPool, WithOneThreadWhatIsDroppedIsNeverComputed) {
  TrainingPool pool({.threads = 1, .trainer_name = ""}, NoTrainers());
  int computed = 0;
  const auto task = [&computed](TaskWorker&) {
    ++computed;
    return absl::StatusOr<SiteWork::Trained>(Numbered(1));
  };
  const auto dropped = pool.Begin(At(1), task);
  const auto taken = pool.Begin(At(2), task);
  pool.Drop(dropped);
  ASSERT_THAT(pool.Take(taken), IsOk());
  EXPECT_EQ(computed, 1);
  pool.Begin(At(3), task);
  pool.Clear();
  EXPECT_EQ(computed, 1);
}

TEST(TrainingPool, AFailureIsItsOwnTasksOnly) {
  TrainingPool pool({.threads = 3, .trainer_name = ""}, NoTrainers());
  const auto bad = pool.Begin(At(1), [](TaskWorker&) {
    return absl::StatusOr<SiteWork::Trained>(absl::FailedPreconditionError("not finite"));
  });
  const auto good =
      pool.Begin(At(2), [](TaskWorker&) { return absl::StatusOr<SiteWork::Trained>(Numbered(7)); });
  EXPECT_THAT(pool.Take(bad), IsError(absl::StatusCode::kFailedPrecondition, "not finite"));
  EXPECT_THAT(pool.Take(good), IsOk());
}

// What is due first begins first, and whoever waits for a worker does other work meanwhile.
TEST(TrainingPool, WhoWaitsWorksAtWhatIsDueNext) {
  TrainingPool pool({.threads = 2, .trainer_name = ""}, NoTrainers());
  absl::Notification worker_began;
  absl::Notification other_done;
  const auto first = pool.Begin(At(1), [&](TaskWorker&) {
    worker_began.Notify();
    other_done.WaitForNotification();  // Done by the waiting thread, or this never ends.
    return absl::StatusOr<SiteWork::Trained>(Numbered(1));
  });
  worker_began.WaitForNotification();
  std::vector<int> order;
  const auto late = pool.Begin(At(9), [&](TaskWorker&) {
    order.push_back(9);
    other_done.Notify();
    return absl::StatusOr<SiteWork::Trained>(Numbered(9));
  });
  const auto soon = pool.Begin(At(5), [&](TaskWorker&) {
    order.push_back(5);
    return absl::StatusOr<SiteWork::Trained>(Numbered(5));
  });
  ASSERT_THAT(pool.Take(first), IsOk());
  EXPECT_EQ(order, (std::vector<int>{5, 9}));
  EXPECT_EQ(pool.Take(soon)->examples, 5u);
  EXPECT_EQ(pool.Take(late)->examples, 9u);
}

// Of another process: tells its tasks from others by what it says, and is lost when told to be.
class Elsewhere final : public RemoteTrainers {
 public:
  std::vector<std::unique_ptr<TaskWorker>> Workers() override {
    std::vector<std::unique_ptr<TaskWorker>> workers;
    workers.push_back(std::make_unique<Worker>(*this));
    return workers;
  }
  absl::Status Prepare(const v1::RunPlan&, const v1::Scenario&, const FederationData&) override {
    return absl::OkStatus();
  }
  absl::Status status() override { return absl::OkStatus(); }

  absl::Notification began;
  absl::Notification lost;

 private:
  class Worker final : public TaskWorker {
   public:
    explicit Worker(Elsewhere& elsewhere) : elsewhere_(elsewhere) {}
    absl::StatusOr<SiteWork::Trained> Train(const SiteWork&,
                                            const SiteWork::TrainingTask&) override {
      return absl::UnimplementedError("");
    }
    absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork&,
                                            const SiteWork::EvaluationTask&) override {
      return absl::UnimplementedError("");
    }
    Elsewhere& elsewhere_;
  };
};

TEST(TrainingPool, WhatALostWorkerHadIsComputedByAnotherOne) {
  Elsewhere elsewhere;
  TrainingPool pool({.threads = 1, .trainer_name = "", .remote = &elsewhere}, NoTrainers());
  std::atomic<int> tries = 0;
  std::thread::id at;
  const auto task = pool.Begin(At(1), [&](TaskWorker&) -> absl::StatusOr<SiteWork::Trained> {
    at = std::this_thread::get_id();
    if (++tries > 1) return Numbered(3);
    elsewhere.began.Notify();
    elsewhere.lost.WaitForNotification();
    return absl::UnavailableError("it has died");
  });
  elsewhere.began.WaitForNotification();
  std::thread killer([&] { elsewhere.lost.Notify(); });
  const auto trained = pool.Take(task);
  killer.join();
  ASSERT_THAT(trained, IsOk());
  EXPECT_EQ(trained->examples, 3u);
  EXPECT_EQ(at, std::this_thread::get_id());
  EXPECT_EQ(tries, 2);

  // It takes no more: what begins now waits for this thread.
  at = {};
  const auto next = pool.Begin(At(2), [&](TaskWorker&) {
    at = std::this_thread::get_id();
    return absl::StatusOr<SiteWork::Trained>(Numbered(4));
  });
  ASSERT_THAT(pool.Take(next), IsOk());
  EXPECT_EQ(at, std::this_thread::get_id());
}

TEST(TrainingPool, WhatWasDroppedDoesNotComeBackFromALostWorker) {
  Elsewhere elsewhere;
  TrainingPool pool({.threads = 1, .trainer_name = "", .remote = &elsewhere}, NoTrainers());
  std::atomic<int> tries = 0;
  const auto dropped = pool.Begin(At(1), [&](TaskWorker&) -> absl::StatusOr<SiteWork::Trained> {
    if (++tries > 1) return Numbered(3);
    elsewhere.began.Notify();
    elsewhere.lost.WaitForNotification();
    return absl::UnavailableError("it has died");
  });
  elsewhere.began.WaitForNotification();
  pool.Drop(dropped);
  elsewhere.lost.Notify();
  pool.Clear();
  EXPECT_EQ(tries, 1);
}

// Dropped while a worker has it that is then lost: the others do not begin it again.
TEST(TrainingPool, NorDoAnyOthersBeginIt) {
  TrainingPool pool({.threads = 3, .trainer_name = ""}, NoTrainers());
  absl::Notification began;
  absl::Notification lost;
  absl::Notification forgotten;
  std::atomic<int> tries = 0;
  std::shared_ptr<void> whoever_has_it(nullptr, [&](void*) { forgotten.Notify(); });
  auto dropped = pool.Begin(
      At(1), [&, held = whoever_has_it](TaskWorker&) -> absl::StatusOr<SiteWork::Trained> {
        if (++tries > 1) return Numbered(3);
        began.Notify();
        lost.WaitForNotification();
        return absl::UnavailableError("it has died");
      });
  whoever_has_it.reset();
  began.WaitForNotification();
  pool.Drop(dropped);
  dropped.reset();
  lost.Notify();
  forgotten.WaitForNotification();
  EXPECT_EQ(tries, 1);
}

// Only who can not be reached is lost; what fails otherwise would fail anywhere.
TEST(TrainingPool, WhoseTaskFailsIsNotLost) {
  Elsewhere elsewhere;
  TrainingPool pool({.threads = 1, .trainer_name = "", .remote = &elsewhere}, NoTrainers());
  std::atomic<int> tries = 0;
  const auto task = pool.Begin(At(1), [&](TaskWorker&) -> absl::StatusOr<SiteWork::Trained> {
    ++tries;
    elsewhere.began.Notify();
    return absl::InternalError("its disk");
  });
  elsewhere.began.WaitForNotification();
  EXPECT_THAT(pool.Take(task), IsError(absl::StatusCode::kInternal, "its disk"));
  EXPECT_EQ(tries, 1);
}

// Nobody is left who could do better.
TEST(TrainingPool, NorIsWhoTakes) {
  TrainingPool pool({.threads = 1, .trainer_name = ""}, NoTrainers());
  int tries = 0;
  const auto task = pool.Begin(At(1), [&](TaskWorker&) -> absl::StatusOr<SiteWork::Trained> {
    if (++tries > 1) return Numbered(1);
    return absl::UnavailableError("it has died");
  });
  EXPECT_THAT(pool.Take(task), IsError(absl::StatusCode::kUnavailable, "it has died"));
}

TEST(TrainingPool, ClearWaitsForWhatIsAtWork) {
  TrainingPool pool({.threads = 2, .trainer_name = ""}, NoTrainers());
  absl::Notification began;
  absl::Notification may_end;
  bool ended = false;
  pool.Begin(At(1), [&](TaskWorker&) {
    began.Notify();
    may_end.WaitForNotification();
    ended = true;
    return absl::StatusOr<SiteWork::Trained>(Numbered(1));
  });
  began.WaitForNotification();
  std::thread releaser([&] { may_end.Notify(); });
  pool.Clear();
  EXPECT_TRUE(ended);
  releaser.join();
}

}  // namespace
}  // namespace consilium
