// A simulation over ranks comes to the models of one process; who is not the same is refused; what
// no rank of this program says ends it with a name; and a lost rank leaves a checkpoint.

#include <gtest/gtest.h>
#include <sched.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "protocol/wire/hash.h"
#include "sim/engine/replay.h"
#include "sim/engine/wall_workers.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/cluster/rank_world.h"

namespace consilium {
namespace {

using absl::StatusCode;

constexpr char kFedAvg[] =
    "aggregation { preset: FEDAVG trigger { barrier { deadline_ms: 4000 } } }";
constexpr char kFedBuff[] = "aggregation { preset: FEDBUFF }";
// What a site keeps is read by its evaluations, too.
constexpr char kDitto[] = R"(
    aggregation { preset: DITTO trigger { barrier { deadline_ms: 4000 } } })";
constexpr char kScaffold[] =
    "aggregation { preset: SCAFFOLD trigger { barrier { deadline_ms: 4000 } } }";
constexpr char kFaults[] =
    "speed { pareto_shape: 1.5 } faults { crash_rate: 0.1 restart_ms: 500 upload_loss_rate: 0.1 }";
constexpr char kAttacks[] = R"(
    attacks { share: 0.34 label_flip {} }
    attacks {
      sites: "site-1"
      backdoor { trigger { column: "mark" value: "1" } target_label: "yes" scale: 2 }
    })";

absl::StatusOr<std::vector<Digest>> Simulated(RankWorld& world, RankLeader& leader,
                                              size_t threads) {
  const auto pool = PoolWith(leader, threads);
  SimulationInput input = world.Input();
  input.trainer = &pool->own();
  input.trainings = pool.get();
  CONSILIUM_RETURN_IF_ERROR(leader.Prepare(input.plan, input.scenario, *input.data));
  CONSILIUM_ASSIGN_OR_RETURN(const auto simulation, Simulation::Create(std::move(input)));
  CONSILIUM_RETURN_IF_ERROR(simulation->Run());
  return EndOf(*simulation);
}

struct Federation {
  std::string config;
  std::string sites;
};

class SameModels : public testing::TestWithParam<Federation> {};

TEST_P(SameModels, WhateverTheRanksAndTheirThreads) {
  RankWorld world(GetParam().config, GetParam().sites);
  const std::vector<Digest> alone = world.OfOneProcess();
  ASSERT_EQ(alone.size(), 8u);
  int trained = 0;
  int probed = 0;
  int evaluated = 0;
  for (const auto& [size, threads] : {std::pair{2, 1}, {3, 2}, {5, 3}}) {
    WorkersAtWork workers(
        {.size = size, .threads = static_cast<size_t>(threads), .folder = world.folder.path()});
    const auto leader = workers.Gather();
    ASSERT_THAT(leader, IsOk());
    for (int again = 0; again < 2; ++again) {  // As of several seeds.
      const auto ids = Simulated(world, **leader, static_cast<size_t>(threads));
      ASSERT_THAT(ids, IsOk());
      EXPECT_EQ(*ids, alone) << size << " ranks";
    }
    workers.Dismiss();
    for (const absl::Status& end : workers.ends) EXPECT_THAT(end, IsOk());
    trained += workers.trained;
    evaluated += workers.evaluated;
    probed += 2 * (size - 1);
  }
  EXPECT_GT(trained, probed);  // More than what Prepare has them train.
  EXPECT_GT(evaluated, 0);
}

INSTANTIATE_TEST_SUITE_P(Rules, SameModels,
                         testing::Values(Federation{kFedAvg, ""}, Federation{kFedBuff, ""},
                                         Federation{kScaffold, ""}, Federation{kFedBuff, kFaults},
                                         Federation{kScaffold, kFaults}, Federation{kDitto, ""},
                                         Federation{kDitto, kFaults},
                                         Federation{kFedBuff, kAttacks}));

// --- Who is refused
// -------------------------------------------------------------------------------

TEST(RankLeader, RefusesARankThatIsSomethingElse) {
  RankIdentity other = SomeIdentity();
  other["run config"] = "another";
  WorkersAtWork workers({.size = 3, .identity = other});
  const auto leader = workers.Gather();
  EXPECT_THAT(leader, IsError(StatusCode::kFailedPrecondition, "has another run config than"));
  EXPECT_THAT(leader, IsError(StatusCode::kFailedPrecondition, "rank "));
}

TEST(RankLeader, TellsWhyARankCanNotSimulate) {
  WorkersAtWork workers({.identity = absl::NotFoundError("run.textproto is not there")});
  EXPECT_THAT(workers.Gather(), IsError(StatusCode::kFailedPrecondition, "run.textproto is not"));
}

TEST(RankLeader, RefusesARankWithOtherData) {
  RankWorld world(kFedAvg);
  const TempFolder other;
  WorkersAtWork workers({.folder = other.path()});
  const auto leader = workers.Gather();
  ASSERT_THAT(leader, IsOk());
  const auto prepare = [&] {
    return (*leader)->Prepare(world.plan(), world.scenario(), world.data);
  };
  EXPECT_THAT(prepare(), IsError(StatusCode::kFailedPrecondition, "small.csv"));
  ASSERT_THAT(WriteFileDurably(other.File("small.csv"), RankWorld::Table(0.500001)), IsOk());
  EXPECT_THAT(prepare(), IsError(StatusCode::kFailedPrecondition, "has other data"));
  ASSERT_THAT(WriteFileDurably(other.File("small.csv"), RankWorld::Table(0.5)), IsOk());
  EXPECT_THAT(prepare(), IsOk());
}

TEST(RankLeader, RefusesARankThatComputesOtherwise) {
  RankWorld world(kFedAvg);
  WorkersAtWork workers({.folder = world.folder.path(), .added = 1e-3F});
  const auto leader = workers.Gather();
  ASSERT_THAT(leader, IsOk());
  EXPECT_THAT((*leader)->Prepare(world.plan(), world.scenario(), world.data),
              IsError(StatusCode::kFailedPrecondition, "computes otherwise"));
}

// --- What no rank of this program says
// ------------------------------------------------------------

// Rank 1 of two, by hand.
struct ByHand {
  ByHand() : world(kFedAvg), ranks(2) {}

  void Say(const v1::RankMessage& message, std::vector<float> values = {}) {
    ranks.at(1).Send(0, message.SerializeAsString(),
                     {std::make_shared<const std::vector<float>>(std::move(values))});
  }
  absl::StatusOr<std::unique_ptr<RankLeader>> Gather(uint32_t threads = 1) {
    v1::RankMessage message;
    for (const auto& [part, digest] : SomeIdentity()) {
      (*message.mutable_hello()->mutable_identity())[part] = digest;
    }
    message.mutable_hello()->set_threads(threads);
    Say(message);
    return RankLeader::Gather(ranks.at(0), SomeIdentity(), std::make_unique<CpuTrainer>());
  }
  v1::RankMessage Prepared() {
    CpuTrainer trainer;
    v1::RankMessage message;
    message.mutable_prepared()->set_data(ToBytes(DigestOf(world.data)));
    message.mutable_prepared()->set_probe(
        ToBytes(ProbeTraining(world.plan(), world.data, trainer)));
    return message;
  }
  // A leader for whom rank 1 is ready to train.
  std::unique_ptr<RankLeader> Ready() {
    auto leader = Gather();
    EXPECT_THAT(leader, IsOk());
    std::thread rank([this] {
      EXPECT_THAT(ranks.at(1).Receive(), IsOk());
      Say(Prepared());
    });
    EXPECT_THAT((*leader)->Prepare(world.plan(), world.scenario(), world.data), IsOk());
    rank.join();
    return *std::move(leader);
  }
  // What the one task that is asked of rank 1 comes to when it answers so.
  absl::StatusOr<SiteWork::Trained> Answered(RankLeader& leader, const v1::RankMessage& answer,
                                             std::vector<float> values) {
    SiteWork::TrainingTask task;
    task.standardisation = std::make_shared<const v1::Standardisation>();
    task.id = TaskId(1);
    task.local_steps = 1;
    task.payload = std::make_shared<const std::vector<float>>(4);
    return Asked<SiteWork::Trained>(
        leader, answer, std::move(values),
        [&task](TaskWorker& worker, const SiteWork& work) { return worker.Train(work, task); });
  }
  absl::StatusOr<v1::MetricSums> Evaluated(RankLeader& leader, const v1::RankMessage& answer,
                                           std::vector<float> values) {
    SiteWork::EvaluationTask task;
    task.standardisation = std::make_shared<const v1::Standardisation>();
    task.split = v1::TEST;
    task.payload = std::make_shared<const std::vector<float>>(4);
    return Asked<v1::MetricSums>(
        leader, answer, std::move(values),
        [&task](TaskWorker& worker, const SiteWork& work) { return worker.Evaluate(work, task); });
  }
  template <typename Output, typename Ask>
  absl::StatusOr<Output> Asked(RankLeader& leader, const v1::RankMessage& answer,
                               std::vector<float> values, Ask ask) {
    const auto workers = leader.Workers();
    EXPECT_EQ(workers.size(), 1u);
    ExamplesCache cache(0);
    CpuTrainer trainer;
    SiteWork::Options options;
    options.id = world.data.begin()->first;
    const SiteWork work(options, world.data.begin()->second, trainer, cache);
    std::thread rank([&] {
      v1::RankMessage asked;
      while (!asked.has_task()) {
        ranks.at(1).SetValuesMax(100);
        const auto frame = ranks.at(1).Receive();
        ASSERT_THAT(frame, IsOk());
        ASSERT_TRUE(asked.ParseFromString(frame->message));
      }
      Say(answer, values);
    });
    absl::StatusOr<Output> came = ask(*workers[0], work);
    rank.join();
    return came;
  }

  RankWorld world;
  MemoryRanks ranks;
};

v1::RankMessage ResultOf(uint64_t number, uint64_t delta, uint64_t kept) {
  v1::RankMessage message;
  message.mutable_result()->set_number(number);
  message.mutable_result()->set_delta_elements(delta);
  message.mutable_result()->set_kept_elements(kept);
  return message;
}

v1::RankMessage MetricsOf(uint64_t examples) {
  v1::RankMessage message;
  message.mutable_result()->set_number(1);
  message.mutable_result()->mutable_metrics()->set_examples(examples);
  return message;
}

TEST(RankLeader, RefusesAHelloThatIsNone) {
  for (const uint32_t threads : {0u, kRankThreadsMax + 1}) {
    EXPECT_THAT(ByHand().Gather(threads), IsError(StatusCode::kInternal, "rank 1 sends what"));
  }
  ByHand hand;
  hand.Say(hand.Prepared());
  EXPECT_THAT(hand.Gather(), IsError(StatusCode::kInternal, "rank 1 sends what"));
}

TEST(RankLeader, RefusesAnAnswerBeforeItsQuestion) {
  ByHand hand;
  const auto leader = hand.Gather();
  ASSERT_THAT(leader, IsOk());
  hand.Say(hand.Prepared());
  while ((*leader)->status().ok()) sched_yield();
  EXPECT_THAT((*leader)->Prepare(hand.world.plan(), hand.world.scenario(), hand.world.data),
              IsError(StatusCode::kInternal, "does not say"));
}

// The model of the small world has 3 weights and a bias.
TEST(RankLeader, TakesAnUpdateOfTheModelsSizeOnly) {
  ByHand hand;
  const auto leader = hand.Ready();
  const auto trained = hand.Answered(*leader, ResultOf(1, 4, 4), {1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_THAT(trained, IsOk());
  EXPECT_EQ(trained->output.delta, (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(trained->output.kept, (std::vector<float>{5, 6, 7, 8}));
  EXPECT_THAT(leader->status(), IsOk());
}

TEST(RankLeader, AnAnswerThatFitsNothingEndsTheSimulation) {
  v1::RankMessage lost = ResultOf(1, 0, 0);
  lost.mutable_result()->set_code(static_cast<uint32_t>(StatusCode::kUnavailable));
  v1::RankMessage unknown = ResultOf(1, 0, 0);
  unknown.mutable_result()->set_code(99);
  ByHand other;
  const struct {
    v1::RankMessage answer;
    size_t values;
    const char* why;
  } cases[] = {{ResultOf(2, 4, 0), 4, "was not asked"},
               {ResultOf(1, 5, 0), 5, "for a model of 4"},
               {ResultOf(1, 4, 1), 5, "for a model of 4"},
               {ResultOf(1, 4, 0), 3, "for a model of 4"},
               {ResultOf(1, 4, std::numeric_limits<uint64_t>::max()), 3, "for a model of 4"},
               {lost, 0, "does not say"},
               {unknown, 0, "does not say"},
               {other.Prepared(), 0, "does not say"},
               {v1::RankMessage(), 0, "does not say"},
               {MetricsOf(0), 0, "for a model of 4"},
               {ResultOf(1, 4, 0), 9, "too many values"}};
  for (const auto& one : cases) {
    ByHand hand;
    const auto leader = hand.Ready();
    EXPECT_THAT(hand.Answered(*leader, one.answer, std::vector<float>(one.values)),
                IsError(StatusCode::kUnavailable, one.why));
    EXPECT_FALSE(leader->status().ok());
  }
}

TEST(RankLeader, TakesAnEvaluationThatIsOneOnly) {
  ByHand hand;
  const auto leader = hand.Ready();
  const auto evaluated = hand.Evaluated(*leader, MetricsOf(0), {});
  ASSERT_THAT(evaluated, IsOk());
  EXPECT_EQ(evaluated->examples(), 0u);
  EXPECT_THAT(leader->status(), IsOk());

  v1::RankMessage bad = MetricsOf(3);
  bad.mutable_result()->mutable_metrics()->set_log_loss_sum(
      std::numeric_limits<double>::infinity());
  const struct {
    v1::RankMessage answer;
    size_t values;
    const char* why;
  } cases[] = {{MetricsOf(0), 4, "does not say"},
               {ResultOf(1, 4, 0), 4, "does not say"},
               {ResultOf(1, 0, 0), 0, "does not say"},
               {bad, 0, "an evaluation that is none"}};
  for (const auto& one : cases) {
    ByHand other;
    const auto lost = other.Ready();
    EXPECT_THAT(other.Evaluated(*lost, one.answer, std::vector<float>(one.values)),
                IsError(StatusCode::kUnavailable, one.why));
  }
}

TEST(RankLeader, AFailedTrainingKeepsItsWords) {
  ByHand hand;
  const auto leader = hand.Ready();
  v1::RankMessage failed = ResultOf(1, 0, 0);
  failed.mutable_result()->set_code(static_cast<uint32_t>(StatusCode::kFailedPrecondition));
  failed.mutable_result()->set_message("the loss is not finite");
  EXPECT_THAT(hand.Answered(*leader, failed, {}),
              IsError(StatusCode::kFailedPrecondition, "the loss is not finite"));
  EXPECT_THAT(leader->status(), IsOk());
}

// What rank 1 ends with after rank 0 has said `messages`, of which the last has `values`.
absl::Status ServedUntil(const RankWorld& world, const std::vector<v1::RankMessage>& messages,
                         size_t values) {
  MemoryRanks ranks(2);
  ranks.at(1).SetValuesMax(1000);
  for (const v1::RankMessage& message : messages) {
    const size_t count = &message == &messages.back() ? values : 0;
    ranks.at(0).Send(1, message.SerializeAsString(),
                     {std::make_shared<const std::vector<float>>(count)});
  }
  std::atomic<int> trained = 0;
  std::atomic<int> evaluated = 0;
  RankWorker worker(ranks.at(1), {SomeIdentity(), world.folder.path(), 1, [&] {
                                    return std::make_unique<OtherTrainer>(trained, evaluated, 0.0F);
                                  }});
  return worker.Serve();
}

TEST(RankWorker, RefusesWhatRank0DoesNotSay) {
  const RankWorld world(kFedAvg);
  v1::RankMessage prepare;
  *prepare.mutable_prepare()->mutable_plan() = world.plan();
  *prepare.mutable_prepare()->mutable_scenario() = world.scenario();
  v1::RankMessage task;
  task.mutable_task()->set_number(1);
  task.mutable_task()->set_site_id(world.data.begin()->first.value());
  task.mutable_task()->set_task_id(1);
  task.mutable_task()->set_local_steps(1);
  task.mutable_task()->set_base_elements(4);
  *task.mutable_task()->mutable_standardisation() = v1::Standardisation();
  const auto with = [&task](const std::function<void(v1::RankTask&)>& change) {
    v1::RankMessage changed = task;
    change(*changed.mutable_task());
    return changed;
  };
  const auto ends = [&](const v1::RankMessage& last, size_t values) {
    return ServedUntil(world, {prepare, last}, values);
  };
  EXPECT_THAT(ServedUntil(world, {task}, 4), IsError(StatusCode::kInternal, "no simulation"));
  EXPECT_THAT(ends(task, 3), IsError(StatusCode::kInternal, "another model"));
  EXPECT_THAT(ends(with([](auto& t) { t.set_base_elements(5); }), 5),
              IsError(StatusCode::kInternal, "another model"));
  EXPECT_THAT(ends(with([](auto& t) { t.set_kept_elements(1); }), 5),
              IsError(StatusCode::kInternal, "another model"));
  EXPECT_THAT(ends(with([](auto& t) { t.set_base_elements(0); }), 0),
              IsError(StatusCode::kInternal, "lacks something"));
  EXPECT_THAT(ends(with([](auto& t) { t.clear_standardisation(); }), 4),
              IsError(StatusCode::kInternal, "lacks something"));
  EXPECT_THAT(ends(with([](auto& t) { t.set_site_id("nobody"); }), 4),
              IsError(StatusCode::kInternal, "lacks something"));
  EXPECT_THAT(ends(with([](auto& t) { t.set_local_steps(0); }), 4),
              IsError(StatusCode::kInternal, "lacks something"));
  for (const v1::Split split : {v1::TRAIN, static_cast<v1::Split>(9)}) {
    EXPECT_THAT(ends(with([split](auto& t) { t.set_evaluate(split); }), 4),
                IsError(StatusCode::kInternal, "lacks something"));
  }
  EXPECT_THAT(ends(with([](auto& t) {
                     t.set_base_elements(8);
                     t.set_kept_elements(8);
                   }),
                   16),
              IsError(StatusCode::kResourceExhausted, "too many values"));
  EXPECT_THAT(ends(v1::RankMessage(), 0), IsError(StatusCode::kInternal, "for rank 0"));
}

// --- On a wall clock
// ------------------------------------------------------------------------------

// Its sites in their order belong to ranks 1, 2, 1, 2, …
TEST(RankLeader, OnAWallClockEachRankTrainsItsOwnSites) {
  for (const char* config : {kFedAvg, kFedBuff, kScaffold}) {
    RankWorld world(absl::StrCat("training { task_duration_min_ms: 0 } ", config), kAttacks);
    WorkersAtWork workers({.size = 3, .threads = 2, .folder = world.folder.path()});
    const auto leader = workers.Gather();
    ASSERT_THAT(leader, IsOk());
    WallWorkers at_work((*leader)->WorkersByRank());
    EXPECT_EQ(at_work.size(), 2u);
    for (int again = 0; again < 2; ++again) {
      SimulationInput input = world.Input();
      Recording recording;
      input.recording = &recording;
      input.workers = &at_work;
      ASSERT_THAT((*leader)->Prepare(input.plan, input.scenario, *input.data), IsOk());
      workers.TakeSeen();  // Of Prepare's probe.
      const auto simulation = Simulation::Create(std::move(input));
      ASSERT_THAT(simulation, IsOk());
      ASSERT_THAT((*simulation)->Run(), IsOk());
      EXPECT_EQ((*simulation)->run().versions.size(), 7u);
      std::map<int, std::set<SiteId>> own;
      for (const auto& [site, rows] : world.data) {
        own[own[1].size() > own[2].size() ? 2 : 1].insert(site);
      }
      EXPECT_EQ(workers.TakeSeen(), own);
      const auto replayed = Replay(recording, {});
      ASSERT_THAT(replayed, IsOk());
      EXPECT_TRUE(replayed->mismatches.empty()) << replayed->mismatches.front();
    }
    workers.Dismiss();
    for (const absl::Status& end : workers.ends) EXPECT_THAT(end, IsOk());
  }
}

TEST(RankLeader, OnAWallClockALostRankEndsTheRun) {
  RankWorld world(absl::StrCat("training { task_duration_min_ms: 0 } ", kFedBuff));
  WorkersAtWork workers({.size = 3, .folder = world.folder.path()});
  const auto leader = workers.Gather();
  ASSERT_THAT(leader, IsOk());
  WallWorkers at_work((*leader)->WorkersByRank());
  SimulationInput input = world.Input();
  input.workers = &at_work;
  input.plan.mutable_config()->mutable_stop()->set_versions_max(100'000);
  input.on_version = [&](const federation::RunState& run, absl::Time) {
    if (run.current() == Version(5)) workers.ranks.Fail(0, absl::AbortedError("SIGTERM"));
  };
  input.between = [&](Simulation&) { return (*leader)->status(); };
  ASSERT_THAT((*leader)->Prepare(input.plan, input.scenario, *input.data), IsOk());
  const auto simulation = Simulation::Create(std::move(input));
  ASSERT_THAT(simulation, IsOk());
  EXPECT_THAT((*simulation)->Run(), IsError(StatusCode::kAborted, "asks this job to end"));
}

// --- A rank that dies
// -----------------------------------------------------------------------------

// The launcher's signal comes to rank 0 after `lost_at` events; what was simulated until then is
// kept, and gone on from.
absl::StatusOr<std::vector<Digest>> SavedRun(RankWorld& world, const std::string& folder,
                                             uint64_t lost_at) {
  WorkersAtWork workers({.size = 3, .folder = world.folder.path()});
  CONSILIUM_ASSIGN_OR_RETURN(const auto leader, workers.Gather());
  const auto pool = PoolWith(*leader);
  SimulationInput input = world.Input();
  input.trainer = &pool->own();
  input.trainings = pool.get();
  SavedSimulationOptions options;
  options.folder = folder;
  options.name = "run";
  options.identity = IdentityOf(input);
  options.interval = absl::Hours(1);  // But for the one at once.
  CONSILIUM_ASSIGN_OR_RETURN(const auto saved, SavedSimulation::Open(std::move(options)));
  saved->Attach(input);
  CONSILIUM_RETURN_IF_ERROR(leader->Prepare(input.plan, input.scenario, *input.data));
  input.between = [&, between = input.between](Simulation& simulation) {
    if (simulation.steps() == lost_at) {
      workers.ranks.Fail(0, absl::AbortedError("SIGTERM"));
      while (leader->status().ok()) sched_yield();
    }
    if (leader->status().ok()) return between(simulation);
    CONSILIUM_RETURN_IF_ERROR(saved->WriteNow(simulation));
    return leader->status();
  };
  CONSILIUM_ASSIGN_OR_RETURN(const auto simulation, Simulation::Create(std::move(input)));
  CONSILIUM_RETURN_IF_ERROR(simulation->Run());
  CONSILIUM_RETURN_IF_ERROR(saved->Finish(*simulation, [](RunLog&) { return absl::OkStatus(); }));
  return EndOf(*simulation);
}

TEST(RankLeader, ALostRankLeavesACheckpointToGoOnFrom) {
  for (const char* config : {kFedAvg, kScaffold}) {
    RankWorld world(config);
    const std::vector<Digest> alone = world.OfOneProcess();
    const TempFolder folder;
    for (const uint64_t lost_at : {40, 90, 150}) {
      EXPECT_THAT(SavedRun(world, folder.path(), lost_at),
                  IsError(StatusCode::kAborted, "asks this job to end"));
    }
    const auto ids = SavedRun(world, folder.path(), std::numeric_limits<uint64_t>::max());
    ASSERT_THAT(ids, IsOk());
    EXPECT_EQ(*ids, alone);
  }
}

}  // namespace
}  // namespace consilium
