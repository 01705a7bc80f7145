// `consilium-sim check`: that federations hold, that a planted defect is found and made small, and
// that what is written shows it again.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>

#include "absl/time/clock.h"
#include "models/spec/run_plan.h"
#include "sim/check/fake_trainer.h"
#include "sim/check/invariants.h"
#include "sim/check/shrink.h"
#include "sim/commands/check_command.h"
#include "sim/commands/run_command.h"
#include "sim/engine/site_data.h"
#include "spdlog/spdlog.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

namespace fed = federation;
using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// What a draw is of: its preset, and whether it has a fairness contract or concurrency.
std::string KindOf(const FederationCase& drawn) {
  const v1::AggregationConfig& config = drawn.plan.config().aggregation();
  return v1::AggregationConfig::Preset_Name(config.preset()) +
         (config.has_fairness() ? " with a contract" : "") +
         (config.has_concurrency() ? " with slots" : "");
}

TEST(CheckCommand, RandomFederationsHold) {
  spdlog::set_level(spdlog::level::err);
  const TempFolder folder;
  ASSERT_THAT(WriteCaseTable(folder.path()), IsOk());
  int held = 0;
  uint64_t updates = 0;
  uint64_t versions = 0;
  std::set<std::string> kinds;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const FederationCase drawn = DrawCase(seed);
    const auto verdict = Examine(drawn, folder.path());
    ASSERT_THAT(verdict, IsOk());
    ASSERT_NE(verdict->kind, Verdict::Kind::kBroken) << "seed " << seed << ": " << verdict->what;
    if (verdict->kind == Verdict::Kind::kRefused) continue;
    ++held;
    updates += verdict->updates;
    versions += verdict->versions;
    if (verdict->versions > 0) kinds.insert(KindOf(drawn));
  }
  // The draw reaches what it is for.
  EXPECT_GT(held, 250);
  EXPECT_GT(versions, 900u);
  EXPECT_GT(updates, 3000u);
  for (const char* kind : {"SCAFFOLD", "FEDCOMPASS", "FEDBUFF with a contract",
                           "STALENESS_WEIGHTED_TABLE with a contract", "FEDAVG with a contract",
                           "FEDBUFF with slots", "FEDASYNC with slots", "FEDPER", "FEDBN"}) {
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  }
}

// A site whose link comes and goes: its evaluation begins at the moment at which it hears of the
// end, and its plan is gone when the evaluation is over.
TEST(Examine, HoldsWhereARunEndsBeforeAnEvaluation) {
  const TempFolder folder;
  FederationCase federation;
  for (uint64_t seed = 1; federation.plan.spec().layers_size() != 1; ++seed) {
    federation = DrawCase(seed);
  }
  federation.plan.clear_config();
  federation.scenario.clear_sites();
  ASSERT_TRUE(google::protobuf::TextFormat::MergeFromString(
      R"(name: "checked" model { spec_file: "model.textproto" }
         data { contract_file: "contract.textproto" }
         training { optimizer { sgd { learning_rate: 0.1 } } task_duration_min_ms: 125 }
         aggregation { preset: ASYNCFEDED } stop { versions_max: 11 } seed: 2244)",
      federation.plan.mutable_config()));
  ASSERT_TRUE(google::protobuf::TextFormat::MergeFromString(
      R"(links { download_bytes_per_s: 16 slowdown { uniform_max: 4 } }
         availability { period_ms: 4 open_share: 0.5 })",
      federation.scenario.mutable_sites()));
  federation.scenario.set_seed(2244);
  federation.scenario.mutable_dataset()->mutable_partitioned()->clear_size_power_law();
  federation.scenario.mutable_dataset()->mutable_partitioned()->set_sites(3);
  ASSERT_THAT(WriteCaseTable(folder.path()), IsOk());
  const auto verdict = Examine(federation, folder.path());
  ASSERT_THAT(verdict, IsOk());
  EXPECT_EQ(verdict->kind, Verdict::Kind::kHolds) << verdict->what;
}

// As an engine would be broken that forgets, under duplication and crashes together, what it has
// taken already.
absl::StatusOr<Verdict> WithPlantedDefect(const FederationCase& federation,
                                          const std::string& folder) {
  absl::StatusOr<Verdict> verdict = Examine(federation, folder);
  if (!verdict.ok() || verdict->kind != Verdict::Kind::kHolds) return verdict;
  const v1::Faults& faults = federation.scenario.sites().faults();
  const uint32_t sites = federation.scenario.dataset().partitioned().sites();
  if (faults.duplicate_rate() == 0 || faults.crash_rate() == 0 || sites < 3) return verdict;
  if (verdict->updates < 4) return verdict;
  verdict->kind = Verdict::Kind::kBroken;
  verdict->what = "exactly once: planted";
  return verdict;
}

TEST(CheckCommand, FindsAPlantedDefectAndMakesItSmall) {
  const TempFolder folder;
  CheckCommand command;
  command.examine = WithPlantedDefect;
  command.out = folder.File("found");
  EXPECT_THAT(Execute(command), IsError(StatusCode::kDataLoss, "invariant"));
  const auto found = ReadCase(command.out);
  ASSERT_THAT(found, IsOk());
  // Nothing but what it takes.
  EXPECT_EQ(found->scenario.dataset().partitioned().sites(), 3u);
  v1::SitesConfig sites = found->scenario.sites();
  EXPECT_GT(sites.faults().duplicate_rate(), 0);
  EXPECT_GT(sites.faults().crash_rate(), 0);
  sites.mutable_faults()->clear_duplicate_rate();
  sites.mutable_faults()->clear_crash_rate();
  EXPECT_EQ(sites.faults().ByteSizeLong(), 0u) << sites.DebugString();
  sites.clear_faults();
  EXPECT_EQ(sites.ByteSizeLong(), 0u) << sites.DebugString();
  // Its files show it again, and hold where the defect is not; and they are a simulation's.
  CheckCommand again;
  again.replay = command.out;
  again.examine = WithPlantedDefect;
  EXPECT_THAT(Execute(again), IsError(StatusCode::kDataLoss, "invariant"));
  again.examine = Examine;
  EXPECT_THAT(Execute(again), IsOk());
  RunCommand run;
  run.run_file = command.out + "/run.textproto";
  run.scenario_file = command.out + "/scenario.textproto";
  run.baselines = RunCommand::Baselines::kLeaveOut;
  EXPECT_THAT(Execute(run), IsOk());
}

// Not the function of its input that a trainer must be, in plans of five steps.
class Forgetful final : public Trainer {
 public:
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override {
    absl::StatusOr<TrainOutput> output = trainer_.Train(input);
    const bool is_meant = input.plan->config().training().local_steps() == 5;
    if (output.ok() && is_meant) output->delta[0] += 1e-3F * static_cast<float>(++calls_);
    return output;
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override {
    return trainer_.Evaluate(input);
  }

 private:
  FakeTrainer trainer_;
  int calls_ = 0;
};

TEST(CheckCommand, TellsHowToSeeADefectAgain) {
  const TempFolder folder;
  CheckCommand command;
  command.out = folder.File("found");
  command.output = CheckCommand::Output::kJson;
  command.examine = [](const FederationCase& federation, const std::string& table) {
    Forgetful trainer;
    return ExamineWith(trainer, federation, table);
  };
  testing::internal::CaptureStdout();
  EXPECT_THAT(Execute(command), IsError(StatusCode::kDataLoss, "invariant"));
  const auto told = nlohmann::json::parse(testing::internal::GetCapturedStdout());
  EXPECT_THAT(told.at("program_version").get<std::string>(), Not(IsEmpty()));
  const nlohmann::json& broken = told.at("broken");
  EXPECT_THAT(broken.at("what").get<std::string>(), StartsWith("durability: "));
  EXPECT_THAT(broken.at("found_by").get<std::string>(),
              HasSubstr("--seed " + std::to_string(broken.at("seed").get<uint64_t>())));
  EXPECT_THAT(broken.at("again_smaller").get<std::string>(), HasSubstr(command.out));
  // One hospital, one version, nothing that goes wrong, and what the defect hangs on.
  const auto found = ReadCase(command.out);
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->scenario.dataset().partitioned().sites(), 1u);
  EXPECT_EQ(found->scenario.sites().ByteSizeLong(), 0u) << found->scenario.DebugString();
  EXPECT_EQ(found->plan.config().stop().versions_max(), 1u);
  EXPECT_EQ(found->plan.config().training().local_steps(), 5u);
  // As text, the same.
  command.output = CheckCommand::Output::kText;
  command.seed = broken.at("seed").get<uint64_t>();
  testing::internal::CaptureStdout();
  EXPECT_THAT(Execute(command), IsError(StatusCode::kDataLoss, "invariant"));
  const std::string text = testing::internal::GetCapturedStdout();
  for (const char* key : {"what", "found_by", "again_smaller", "run"}) {
    EXPECT_THAT(text, HasSubstr(broken.at(key).get<std::string>()));
  }
  EXPECT_THAT(text, HasSubstr(told.at("program_version").get<std::string>()));
}

TEST(CheckCommand, TakesWhatIsThrownForADefect) {
  const TempFolder folder;
  CheckCommand command;
  command.out = folder.File("found");
  command.examine = [](const FederationCase& federation,
                       const std::string& table) -> absl::StatusOr<Verdict> {
    if (federation.plan.config().retention() != v1::RETENTION_UNSPECIFIED)
      throw std::out_of_range("map::at");
    return Examine(federation, table);
  };
  testing::internal::CaptureStdout();
  EXPECT_THAT(Execute(command), IsError(StatusCode::kDataLoss, "invariant"));
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("no exception: map::at"));
}

TEST(Shrink, NothingCanGoAnyMore) {
  spdlog::set_level(spdlog::level::err);
  const TempFolder folder;
  ASSERT_THAT(WriteCaseTable(folder.path()), IsOk());
  const auto is_broken = [&](const FederationCase& federation) {
    const auto verdict = WithPlantedDefect(federation, folder.path());
    return verdict.ok() && verdict->kind == Verdict::Kind::kBroken;
  };
  uint64_t seed = 1;
  while (!is_broken(DrawCase(seed))) ++seed;
  const Shrunk shrunk = Shrink(DrawCase(seed), is_broken, 5000);
  EXPECT_LT(shrunk.tried, 5000u);
  EXPECT_TRUE(is_broken(shrunk.federation));
  for (const FederationCase& smaller : Smaller(shrunk.federation)) {
    EXPECT_FALSE(is_broken(smaller)) << smaller.scenario.DebugString();
  }
}

TEST(CheckCommand, RefusesNumbersThatAreNone) {
  CheckCommand command;
  command.runs = 0;
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "--runs"));
  command.runs = 1;
  command.time_s = -1;
  EXPECT_THAT(Execute(command), IsError(StatusCode::kInvalidArgument, "--time"));
}

// Each invariant, broken by hand in what a sound run left.
class InvariantTest : public testing::Test {
 protected:
  void SetUp() override {
    SmallWorld world({.config = "aggregation { preset: FEDBUFF }"});
    simulation_ = world.Run();
    ASSERT_NE(simulation_, nullptr);
    run_ = simulation_->run();
    ASSERT_FALSE(CheckEnd(run_).has_value());
    ASSERT_FALSE(Limits().has_value());
  }
  fed::Contribution& First() { return run_.versions.at(1).contributions.at(0); }
  fed::TaskState& TaskOf(const fed::Contribution& part) {
    return run_.participants[part.site].tasks.at(part.task);
  }
  Broken Limits() const {
    const Broken broken = CheckLimits(run_, simulation_->now());
    return broken.has_value()
               ? broken
               : CheckNobodyIsForgotten(simulation_->aggregator_engine(), run_, simulation_->now());
  }
  static std::string Invariant(const Broken& broken) {
    return broken.has_value() ? broken->substr(0, broken->find(':')) : "none";
  }

  std::unique_ptr<Simulation> simulation_;
  fed::RunState run_;
};

TEST_F(InvariantTest, AnUpdateInTwoVersions) {
  run_.versions.at(2).contributions.push_back(First());
  EXPECT_NE(Invariant(CheckEnd(run_)), "none");
  run_ = simulation_->run();
  TaskOf(First()).phase = fed::TaskPhase::kNotIncluded;
  EXPECT_EQ(Invariant(CheckEnd(run_)), "exactly once");
  run_ = simulation_->run();
  TaskOf(First()).phase = fed::TaskPhase::kAccepted;
  EXPECT_EQ(Invariant(CheckEnd(run_)), "exactly once");
}

TEST_F(InvariantTest, WeightThatComesFromNowhere) {
  First().coefficient *= 1.5;
  EXPECT_EQ(Invariant(CheckEnd(run_)), "conservation");
  run_ = simulation_->run();
  run_.participants.begin()->second.influence += 0.1;
  EXPECT_EQ(Invariant(CheckEnd(run_)), "conservation");
}

TEST_F(InvariantTest, ATaskTooMany) {
  fed::Participant& participant = run_.participants.begin()->second;
  participant.open.assign(20, participant.newest_task);
  EXPECT_EQ(Invariant(Limits()), "budget");
}

TEST_F(InvariantTest, ATaskOfMoreStepsThanThePlanHas) {
  fed::Participant& participant = run_.participants.begin()->second;
  participant.newest_task = participant.newest_task.next();
  participant.tasks[participant.newest_task].local_steps = 5;
  participant.open = {participant.newest_task};
  EXPECT_FALSE(Limits().has_value());
  participant.tasks[participant.newest_task].local_steps = 6;
  EXPECT_EQ(Invariant(Limits()), "budget");
}

TEST_F(InvariantTest, AMemberThatIsForgotten) {
  run_.phase = fed::RunPhase::kRunning;
  EXPECT_EQ(Invariant(Limits()), "no starvation");
  for (auto& [site, participant] : run_.participants) {
    participant.newest_task = participant.newest_task.next();
    participant.tasks[participant.newest_task].local_steps = 5;
    participant.open = {participant.newest_task};
  }
  EXPECT_FALSE(Limits().has_value());
  // A rest that nothing ends.
  fed::Participant& resting = run_.participants.begin()->second;
  resting.open.clear();
  resting.fair.rest = 1;
  EXPECT_EQ(Invariant(Limits()), "no starvation");
  run_.timers[{.run = run_.run, .kind = fed::Timer::Kind::kRest, .number = 1}] = absl::Now();
  EXPECT_FALSE(Limits().has_value());
}

TEST_F(InvariantTest, AReceiptOfWhatWasNotGiven) {
  const SiteId site = First().site;
  const auto& held = simulation_->EngineOf(site).runs().at(run_.run);
  EXPECT_FALSE(CheckReceipts(run_, {site, held}).has_value());
  EXPECT_FALSE(CheckHeardAll(run_, {site, held}).has_value());
  TaskOf(First()).included_in = Version(77);
  EXPECT_EQ(Invariant(CheckReceipts(run_, {site, held})), "receipts");
}

TEST_F(InvariantTest, ASiteThatHasNotHeardOfTheEnd) {
  const SiteId site = First().site;
  site::RunState held = simulation_->EngineOf(site).runs().at(run_.run);
  held.result.reset();
  EXPECT_EQ(Invariant(CheckHeardAll(run_, {site, held})), "receipts");
  EXPECT_FALSE(CheckHeardAll(run_, {site, held, /*has_left=*/true}).has_value());
  held = simulation_->EngineOf(site).runs().at(run_.run);
  held.tasks.at(First().task).phase = site::TaskPhase::kAccepted;
  EXPECT_EQ(Invariant(CheckHeardAll(run_, {site, held})), "receipts");
}

TEST(JournalInvariant, AnInputThatIsNotThere) {
  SmallWorld world({});
  Recording recording;
  SimulationInput input;
  input.plan = world.plan;
  input.scenario = world.scenario;
  input.data = &world.data;
  input.trainer = &world.trainer;
  input.recording = &recording;
  const auto simulation = Simulation::Create(std::move(input));
  ASSERT_THAT(simulation, IsOk());
  ASSERT_THAT((*simulation)->Run(), IsOk());
  ReplayOptions retrain;
  retrain.data = &world.data;
  retrain.trainer = &world.trainer;
  EXPECT_FALSE(FoldJournal(**simulation, recording).broken.has_value());
  EXPECT_FALSE(CheckReplay(recording, {}).has_value());
  EXPECT_FALSE(CheckReplay(recording, retrain).has_value());
  Forgetful trainer;
  retrain.trainer = &trainer;
  EXPECT_TRUE(CheckReplay(recording, retrain).has_value());
  Recording other = recording;
  other.updates.begin()->second[0] += 1;
  EXPECT_TRUE(CheckReplay(other, {}).has_value());
  recording.entries.pop_back();
  EXPECT_TRUE(FoldJournal(**simulation, recording).broken.has_value());
}

}  // namespace
}  // namespace consilium
