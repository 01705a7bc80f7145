// On a wall clock updates are folded as they come, slow sites hold nobody up where the rule does
// not wait for them, every task ends once, and the journal gives the same models again.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "sim/engine/replay.h"
#include "sim/engine/wall_workers.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

using absl::StatusCode;
using federation::Contribution;
using federation::TaskPhase;

constexpr char kAtOnce[] = "training { task_duration_min_ms: 0 } ";
constexpr char kFedAvg[] = "aggregation { preset: FEDAVG trigger { barrier {} } }";
constexpr char kFedBuff[] = "aggregation { preset: FEDBUFF trigger { buffer { updates: 2 } } }";
constexpr char kFedAsync[] = "aggregation { preset: FEDASYNC trigger { buffer { updates: 1 } } }";

SmallWorldOptions Options(const std::string& aggregation, size_t sites = 6) {
  SmallWorldOptions options;
  options.sites = sites;
  options.config = std::string(kAtOnce) + aggregation;
  return options;
}

// Asks `hold` before each training.
class Worker final : public TaskWorker {
 public:
  using Hold = std::function<absl::Status(const SiteId& site, TaskId task)>;
  explicit Worker(Hold hold) : hold_(std::move(hold)) {}
  absl::StatusOr<SiteWork::Trained> Train(const SiteWork& work,
                                          const SiteWork::TrainingTask& task) override {
    if (hold_) {
      if (absl::Status held = hold_(work.id(), task.id); !held.ok()) return held;
    }
    return work.ComputeTraining(task, trainer_);
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork& work,
                                          const SiteWork::EvaluationTask& task) override {
    return work.ComputeEvaluation(task, trainer_);
  }

 private:
  CpuTrainer trainer_;
  const Hold hold_;
};

std::vector<std::vector<std::unique_ptr<TaskWorker>>> Workers(size_t count,
                                                              const Worker::Hold& hold = nullptr) {
  std::vector<std::vector<std::unique_ptr<TaskWorker>>> places(count);
  for (auto& place : places) place.push_back(std::make_unique<Worker>(hold));
  return places;
}

SimulationInput InputOf(SmallWorld& world, WallWorkers& workers) {
  SimulationInput input;
  input.plan = world.plan;
  input.scenario = world.scenario;
  input.data = &world.data;
  input.trainer = &world.trainer;
  input.workers = &workers;
  return input;
}

std::unique_ptr<Simulation> Ran(SimulationInput input) {
  auto simulation = Simulation::Create(std::move(input));
  EXPECT_THAT(simulation, IsOk());
  if (!simulation.ok()) return nullptr;
  EXPECT_THAT((*simulation)->Run(), IsOk());
  return *std::move(simulation);
}

// Every granted task is in one version, or says why it is in none.
void ExpectEveryTaskEndedOnce(const federation::RunState& run) {
  std::set<std::pair<SiteId, TaskId>> folded;
  for (const auto& version : run.versions) {
    for (const Contribution& part : version.contributions) {
      if (part.role != Contribution::Role::kNew) continue;
      EXPECT_TRUE(folded.emplace(part.site, part.task).second) << part.site.value();
    }
  }
  size_t included = 0;
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [task, state] : participant.tasks) {
      EXPECT_NE(state.phase, TaskPhase::kGranted) << site.value();
      EXPECT_NE(state.phase, TaskPhase::kAccepted) << site.value();
      EXPECT_NE(state.phase, TaskPhase::kRefused) << site.value();
      EXPECT_EQ(folded.contains({site, task}), state.phase == TaskPhase::kIncluded);
      included += state.phase == TaskPhase::kIncluded ? 1 : 0;
    }
  }
  EXPECT_EQ(included, folded.size());
}

class OnAWallClock : public testing::TestWithParam<std::string> {};

TEST_P(OnAWallClock, EveryTaskEndsOnceAndTheJournalGivesTheSameModels) {
  for (const size_t places : {1, 3}) {
    SmallWorld world(Options(GetParam()));
    WallWorkers workers(Workers(places));
    Recording recording;
    SimulationInput input = InputOf(world, workers);
    input.recording = &recording;
    const auto simulation = Ran(std::move(input));
    ASSERT_NE(simulation, nullptr);
    const federation::RunState& run = simulation->run();
    ASSERT_EQ(run.versions.size(), 7u);
    EXPECT_EQ(run.phase, federation::RunPhase::kEnded);
    EXPECT_TRUE(run.result.has_value());
    ExpectEveryTaskEndedOnce(run);
    for (const auto& version : run.versions) {
      EXPECT_EQ(version.validation.size(), world.data.size());
    }

    const auto replayed = Replay(recording, {});
    ASSERT_THAT(replayed, IsOk());
    EXPECT_TRUE(replayed->mismatches.empty()) << replayed->mismatches.front();
    EXPECT_EQ(replayed->run(recording.run).result, run.result);
    recording.updates.clear();
    ReplayOptions retrain;
    retrain.data = &world.data;
    retrain.trainer = &world.trainer;
    const auto retrained = Replay(recording, retrain);
    ASSERT_THAT(retrained, IsOk());
    EXPECT_TRUE(retrained->mismatches.empty()) << retrained->mismatches.front();
    for (const federation::VersionState& version : run.versions) {
      EXPECT_EQ(replayed->payload_roots.at(version.version), version.payload_root);
      EXPECT_EQ(retrained->payload_roots.at(version.version), version.payload_root);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, OnAWallClock,
                         testing::Values(kFedAvg, kFedBuff, kFedAsync,
                                         "aggregation { preset: SCAFFOLD trigger { barrier {} } }",
                                         "aggregation { preset: CA2FL }"));

// One worker does what it is asked in the order in which virtual time has it.
TEST(WallClock, FedAvgOfOneWorkerIsThatOfVirtualTime) {
  SmallWorld world(Options(kFedAvg));
  WallWorkers workers(Workers(1));
  const auto simulation = Ran(InputOf(world, workers));
  ASSERT_NE(simulation, nullptr);
  EXPECT_EQ(ModelIds(*simulation), ModelIds(*world.Run()));
}

// Of each round the last site first: what came before it is held up until it has come.
struct LastFirst {
  explicit LastFirst(size_t sites) : sites(sites) {}
  absl::Status operator()(const SiteId& site, TaskId task) {
    const size_t index = static_cast<size_t>(site.value().back() - '0');
    absl::MutexLock lock(&mu);
    const auto is_turn = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu) {
      return trained[task].size() == sites - 1 - index;
    };
    mu.Await(absl::Condition(&is_turn));
    return absl::OkStatus();
  }
  void Trained(TaskId task, size_t index) {
    absl::MutexLock lock(&mu);
    trained[task].insert(index);
  }
  const size_t sites;
  absl::Mutex mu;
  std::map<TaskId, std::set<size_t>> trained ABSL_GUARDED_BY(mu);
};

// Runs with a worker a site; each round's updates come from the last site to the first.
struct LastFirstRun {
  explicit LastFirstRun(SmallWorld& world)
      : order(world.data.size()),
        workers(Workers(world.data.size(),
                        [this](const SiteId& site, TaskId task) { return order(site, task); })) {
    SimulationInput input = InputOf(world, workers);
    // Accepted before the next one may be trained.
    input.between = [this](Simulation& simulation) {
      if (!simulation.has_run()) return absl::OkStatus();
      for (const auto& [site, participant] : simulation.run().participants) {
        for (const auto& [task, state] : participant.tasks) {
          if (state.phase == TaskPhase::kGranted) continue;
          order.Trained(task, static_cast<size_t>(site.value().back() - '0'));
        }
      }
      return absl::OkStatus();
    };
    simulation = Ran(std::move(input));
  }

  LastFirst order;
  WallWorkers workers;
  std::unique_ptr<Simulation> simulation;
};

// 0 + a + b is the same either way, so that with two sites no order shows.
TEST(WallClock, FedAvgOfTwoSitesIsThatOfVirtualTimeInWhateverOrderTheyCome) {
  SmallWorld world(Options(kFedAvg, 2));
  const LastFirstRun run(world);
  ASSERT_NE(run.simulation, nullptr);
  EXPECT_EQ(ModelIds(*run.simulation), ModelIds(*world.Run()));
}

TEST(WallClock, FoldsUpdatesInTheOrderInWhichTheyCome) {
  SmallWorld world(Options(kFedAvg, 4));
  const LastFirstRun run(world);
  ASSERT_NE(run.simulation, nullptr);
  const auto& versions = run.simulation->run().versions;
  ASSERT_EQ(versions.size(), 7u);
  for (size_t i = 1; i < versions.size(); ++i) {
    std::vector<std::string> sites;
    for (const Contribution& part : versions[i].contributions) {
      sites.push_back(part.site.value());
    }
    EXPECT_EQ(sites, (std::vector<std::string>{"s3", "s2", "s1", "s0"}));
  }
}

// Its worker rests until the others have made four versions without it; they rest before the eighth
// until it has come.
TEST(WallClock, ASlowSiteHoldsNobodyUpWhereTheRuleDoesNotWaitForIt) {
  SmallWorld world(Options(kFedAsync, 3));
  absl::Notification may_train;
  absl::Notification came;
  std::atomic<uint64_t> version = 0;
  WallWorkers workers(Workers(3, [&](const SiteId& site, TaskId) {
    if (site == SiteId("s0")) {
      may_train.WaitForNotification();
    } else if (version >= 7) {
      came.WaitForNotification();
    }
    return absl::OkStatus();
  }));
  SimulationInput input = InputOf(world, workers);
  input.plan.mutable_config()->mutable_stop()->set_versions_max(20);
  input.on_version = [&](const federation::RunState& run, absl::Time) {
    version = run.current().value();
    if (run.current() == Version(4)) may_train.Notify();
    for (const Contribution& part : run.versions.back().contributions) {
      if (part.site != SiteId("s0") || came.HasBeenNotified()) continue;
      EXPECT_GE(run.current(), Version(5));
      EXPECT_GE(part.staleness, 4u);
      came.Notify();
    }
  };
  const auto simulation = Ran(std::move(input));
  ASSERT_NE(simulation, nullptr);
  EXPECT_EQ(simulation->run().versions.size(), 21u);
  EXPECT_TRUE(came.HasBeenNotified());
}

TEST(WallClock, TimersFireInRealTime) {
  SmallWorld world(Options("training { task_duration_min_ms: 40 } " + std::string(kFedAvg), 2));
  WallWorkers workers(Workers(2));
  const auto simulation = Ran(InputOf(world, workers));
  ASSERT_NE(simulation, nullptr);
  const federation::RunState& run = simulation->run();
  EXPECT_GE(run.ended_at - run.submitted_at, 6 * absl::Milliseconds(40));
  EXPECT_LE(run.ended_at, workers.Now());
}

// --- What the scenario says ----------------------------------------------------------------------

TEST(WallClock, SitesTakeNoVirtualTime) {
  SmallWorldOptions options = Options(kFedBuff);
  options.scenario = R"(sites {
      task_ms: 3600000 latency_ms: 3600000 speed { constant: 1000 } task_speed { constant: 1000 }
      links { upload_bytes_per_s: 0.001 } overrides { site_id: "s0" slowdown: 1000 }
      minimum_count: 6
    })";
  SmallWorld world(options);
  WallWorkers workers(Workers(2));
  const auto simulation = Ran(InputOf(world, workers));
  ASSERT_NE(simulation, nullptr);
  EXPECT_LT(simulation->now(), absl::UnixEpoch() + absl::Hours(1));
}

TEST(WallClock, RefusesWhatNeedsVirtualTimeByName) {
  const std::pair<std::string, std::string> cases[] = {
      {"sites { faults { crash_rate: 0.1 } }", "sites.faults"},
      {"sites { faults { upload_loss_rate: 0.1 } }", "sites.faults"},
      {"sites { availability { period_ms: 1000 open_share: 0.5 } }", "sites.availability"},
      {"sites { trace { site_id: 's0' time_s: 1 slowdown: 2 } }", "sites.trace"},
      {"stopped_after_ms: 1000", "stopped_after_ms"}};
  for (const auto& [scenario, field] : cases) {
    SmallWorldOptions options = Options(kFedBuff);
    options.scenario = scenario;
    SmallWorld world(options);
    WallWorkers workers(Workers(1));
    EXPECT_THAT(Simulation::Create(InputOf(world, workers)),
                IsError(StatusCode::kInvalidArgument, field));
  }
}

TEST(WallClock, HostileSitesAreHostile) {
  SmallWorldOptions options = Options(kFedAvg, 2);
  SmallWorld honest(options);
  options.scenario = "sites { attacks { sites: 's0' sign_flip {} } }";
  SmallWorld world(options);
  WallWorkers workers(Workers(2));
  const auto simulation = Ran(InputOf(world, workers));
  ASSERT_NE(simulation, nullptr);
  EXPECT_EQ(ModelIds(*simulation), ModelIds(*world.Run()));
  EXPECT_NE(ModelIds(*simulation), ModelIds(*honest.Run()));
}

// --- What goes wrong -----------------------------------------------------------------------------

TEST(WallClock, ALostWorkerEndsTheRunAndWhatCameBeforeIsJournalled) {
  SmallWorld world(Options(kFedBuff, 3));
  WallWorkers workers(Workers(3, [&](const SiteId& site, TaskId task) {
    return site == SiteId("s1") && task > TaskId(2) ? absl::UnavailableError("rank 2 has died")
                                                    : absl::OkStatus();
  }));
  Recording recording;
  SimulationInput input = InputOf(world, workers);
  input.plan.mutable_config()->mutable_stop()->set_versions_max(100'000);
  input.recording = &recording;
  auto simulation = Simulation::Create(std::move(input));
  ASSERT_THAT(simulation, IsOk());
  EXPECT_THAT((*simulation)->Run(), IsError(StatusCode::kUnavailable, "rank 2 has died"));
  const auto replayed = Replay(recording, {});
  ASSERT_THAT(replayed, IsOk());
  EXPECT_TRUE(replayed->mismatches.empty()) << replayed->mismatches.front();
  EXPECT_EQ(replayed->run(recording.run).versions.size(), (*simulation)->run().versions.size());
}

TEST(WallClock, WhatIsAskedBetweenEventsEndsItAlsoWhereNothingHappens) {
  SmallWorld world(Options(kFedAvg, 2));
  absl::Notification may_end;
  WallWorkers workers(Workers(2, [&](const SiteId&, TaskId) {
    may_end.WaitForNotification();
    return absl::OkStatus();
  }));
  SimulationInput input = InputOf(world, workers);
  uint64_t same = 0;
  uint64_t steps = 0;
  input.between = [&](Simulation& simulation) {
    same = simulation.steps() == steps ? same + 1 : 0;
    steps = simulation.steps();
    return same == 2 ? absl::AbortedError("the launcher asks") : absl::OkStatus();
  };
  auto simulation = Simulation::Create(std::move(input));
  ASSERT_THAT(simulation, IsOk());
  EXPECT_THAT((*simulation)->Run(), IsError(StatusCode::kAborted, "the launcher asks"));
  may_end.Notify();
}

}  // namespace
}  // namespace consilium
