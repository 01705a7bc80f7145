// Trainings that fail end a simulation where nobody else makes a version, and only there.

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sim/engine/simulation.h"
#include "site_agent/core/not_finite.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

using absl::StatusCode;

// Always fails for some sites.
class FailingTrainer final : public Trainer {
 public:
  FailingTrainer(std::set<SiteId> sites, absl::Status failure)
      : sites_(std::move(sites)), failure_(std::move(failure)) {}

  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override {
    if (!sites_.contains(input.site)) return trainer_.Train(input);
    if (succeeds_after > 0 && failed_in_a_row_ == succeeds_after) {
      failed_in_a_row_ = 0;
      return trainer_.Train(input);
    }
    ++failed_in_a_row_;
    ++failed;
    return failure_;
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override {
    return trainer_.Evaluate(input);
  }

  int succeeds_after = 0;  // So many failures; 0: never.
  int failed = 0;

 private:
  int failed_in_a_row_ = 0;
  std::set<SiteId> sites_;
  absl::Status failure_;
  CpuTrainer trainer_;
};

absl::Status Simulate(const SmallWorldOptions& options, Trainer& trainer,
                      const std::string& without_rows = "") {
  SmallWorld world(options);
  if (!without_rows.empty()) world.data.at(SiteId(without_rows)) = SiteData();
  SimulationInput input;
  input.plan = world.plan;
  input.scenario = world.scenario;
  input.data = &world.data;
  input.trainer = &trainer;
  const auto simulation = Simulation::Create(std::move(input));
  return simulation.ok() ? (*simulation)->Run() : simulation.status();
}

constexpr char kThreeVersions[] = "training { task_duration_min_ms: 1 } stop { versions_max: 3 } ";
// s0 takes a second, the others two hours.
constexpr char kSlowOthers[] =
    "sites { task_ms: 1000 overrides { site_id: 's1' slowdown: 7200 } "
    "overrides { site_id: 's2' slowdown: 7200 } overrides { site_id: 's3' slowdown: 7200 } "
    "overrides { site_id: 's4' slowdown: 7200 } }";

TEST(FailingTrainings, OneSiteEndsNoRunThatOthersGoOnWithHoweverSlowTheyAre) {
  for (const char* trigger : {"buffer { updates: 1 }", "buffer { updates: 3 }"}) {
    FailingTrainer trainer({SiteId("s0")}, NotFinite("loss", 1));
    const SmallWorldOptions options = {
        .sites = 5,
        .config = absl::StrCat(kThreeVersions, "aggregation { preset: FEDBUFF trigger { ", trigger,
                               " } }"),
        .scenario = kSlowOthers};
    EXPECT_THAT(Simulate(options, trainer), IsOk()) << trigger;
    // As many as would have ended it if they were all that counts.
    EXPECT_GT(trainer.failed, 100) << trigger;
  }
}

// They come back in the morning, and may not have heard of the run before.
TEST(FailingTrainings, NorOneThatOthersAreAwayFrom) {
  for (const int away_s : {0, 1}) {
    FailingTrainer trainer({SiteId("s0")}, NotFinite("loss", 1));
    std::string trace;
    for (const char* site : {"s1", "s2"}) {
      absl::StrAppend(&trace, "trace { site_id: '", site, "' time_s: ", away_s,
                      " presence: AWAY } ", "trace { site_id: '", site,
                      "' time_s: 30000 presence: PRESENT } ");
    }
    const SmallWorldOptions options = {
        .sites = 3,
        .config = absl::StrCat(kThreeVersions,
                               "participation { start_deadline_ms: 1000 } aggregation { preset: "
                               "FEDBUFF trigger { buffer { updates: 1 } } }"),
        .scenario = absl::StrCat("sites { task_ms: 20000 ", trace, "}")};
    EXPECT_THAT(Simulate(options, trainer), IsOk()) << away_s;
    EXPECT_GT(trainer.failed, 60) << away_s;
  }
}

// Each version begins with hope anew.
TEST(FailingTrainings, NorOneWhoseFailuresEndBeforeEachVersion) {
  FailingTrainer trainer({SiteId("s0")}, NotFinite("loss", 1));
  trainer.succeeds_after = 25;  // Beyond hope from the eleventh on, and so 15 in vain of 20.
  const SmallWorldOptions options = {
      .sites = 2,
      .config =
          absl::StrCat(kThreeVersions, "aggregation { preset: FEDAVG trigger { barrier {} } }"),
      .scenario = "sites { task_ms: 1000 }"};
  EXPECT_THAT(Simulate(options, trainer), IsOk());
  EXPECT_EQ(trainer.failed, 75);
}

// Who is drawn for a round fails on; who is not may still come, whenever that one is away.
TEST(FailingTrainings, NorOneInWhichOthersMayComeNowAndThen) {
  FailingTrainer trainer({SiteId("s0")}, NotFinite("loss", 1));
  std::string trace;
  for (int time_s = 10; time_s < 2000; time_s += 20) {
    absl::StrAppend(&trace, "trace { site_id: 's1' time_s: ", time_s, " presence: AWAY } ",
                    "trace { site_id: 's1' time_s: ", time_s + 10, " presence: PRESENT } ");
  }
  const SmallWorldOptions options = {
      .sites = 2,
      .config = absl::StrCat("seed: 9 ", kThreeVersions,
                             "aggregation { preset: FEDAVG trigger { barrier { sites_per_round: 1 "
                             "deadline_ms: 1000000 } } }"),
      .scenario = absl::StrCat("sites { task_ms: 1000 ", trace, "}")};
  EXPECT_THAT(Simulate(options, trainer), IsOk());
  EXPECT_GT(trainer.failed, 50);
}

TEST(FailingTrainings, ARoundThatWaitsForThemAloneEnds) {
  for (const char* scenario :
       {"sites { task_ms: 1000 }",
        "seed: 3 sites { task_ms: 1000 availability { period_ms: 50000 open_share: 0.7 } }"}) {
    FailingTrainer trainer({SiteId("s0")}, NotFinite("loss", 1));
    const SmallWorldOptions options = {
        .sites = 5,
        .config =
            absl::StrCat(kThreeVersions, "aggregation { preset: FEDAVG trigger { barrier {} } }"),
        .scenario = scenario};
    EXPECT_THAT(Simulate(options, trainer), IsError(StatusCode::kFailedPrecondition, "NOT_FINITE"));
    EXPECT_LT(trainer.failed, 100) << scenario;
  }
}

// Who has refused the run, or left for good, is not hoped of, wherever it is.
TEST(FailingTrainings, WhereTheOthersHaveNoPartItEndsSoon) {
  FailingTrainer refused({SiteId("s0")}, NotFinite("loss", 1));
  SmallWorldOptions options = {
      .sites = 2,
      .config = absl::StrCat(kThreeVersions,
                             "aggregation { preset: FEDBUFF trigger { buffer { updates: 1 } } }"),
      .scenario =
          "sites { task_ms: 1000 trace { site_id: 's1' time_s: 5 presence: AWAY } trace { "
          "site_id: 's1' time_s: 30000 presence: PRESENT } }"};
  EXPECT_THAT(Simulate(options, refused, /*without_rows=*/"s1"),
              IsError(StatusCode::kFailedPrecondition, "NOT_FINITE"));
  EXPECT_LT(refused.failed, 100);

  FailingTrainer left({SiteId("s0")}, NotFinite("loss", 1));
  // By this seed s1 leaves in its first task, and s0 in none.
  options.scenario = "seed: 2 sites { task_ms: 1000 faults { leave_rate: 0.5 } }";
  EXPECT_THAT(Simulate(options, left), IsError(StatusCode::kFailedPrecondition, "NOT_FINITE"));
  EXPECT_GT(left.failed, 10);
  EXPECT_LT(left.failed, 100);
}

TEST(FailingTrainings, WhereAllDivergeItEndsSoon) {
  FailingTrainer trainer({SiteId("s0"), SiteId("s1"), SiteId("s2")}, NotFinite("gradient", 2));
  EXPECT_THAT(Simulate({.sites = 3}, trainer),
              IsError(StatusCode::kFailedPrecondition, "the gradient of step 2"));
  EXPECT_LT(trainer.failed, 100);
}

// They hold all slots; at the deadline others are drawn.
TEST(FailingTrainings, NorOneInWhichOthersWaitToBeDrawn) {
  FailingTrainer trainer({SiteId("s0"), SiteId("s1")}, NotFinite("loss", 1));
  const SmallWorldOptions options = {
      .sites = 6,
      .config =
          "training { task_duration_min_ms: 1 } stop { versions_max: 40 } aggregation { "
          "preset: FEDASYNC trigger { buffer { updates: 1 } } concurrency { sites_max: 2 "
          "deadline_ms: 86400000 } }",
      .scenario = "sites { task_ms: 1000 }"};
  EXPECT_THAT(Simulate(options, trainer), IsOk());
  EXPECT_GT(trainer.failed, 100);
}

// What else may fail is told in its own words.
TEST(FailingTrainings, OnlyNumbersThatAreNotFiniteAreCalledSo) {
  FailingTrainer trainer({SiteId("s0"), SiteId("s1")},
                         absl::FailedPreconditionError("the folder is not there"));
  const absl::Status ended =
      Simulate({.sites = 2, .config = "aggregation { preset: FEDAVG }"}, trainer);
  EXPECT_THAT(ended, IsError(StatusCode::kFailedPrecondition, "the folder is not there"));
  EXPECT_THAT(ended, IsError(StatusCode::kFailedPrecondition, "training fails"));
  EXPECT_EQ(ended.message().find("NOT_FINITE"), std::string::npos);
}

}  // namespace
}  // namespace consilium
