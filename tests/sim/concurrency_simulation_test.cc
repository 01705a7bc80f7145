// Many virtual hospitals of which few train at once (aggregation.concurrency), counted by what the
// hospitals did and not by what the aggregator says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sim/check/fake_trainer.h"
#include "sim/commands/simulate.h"
#include "sim/engine/training_pool.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/same_again.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

// A simulation that has run, and what trained for it.
struct Simulated {
  std::unique_ptr<TrainingPool> trainings;
  std::unique_ptr<Simulation> simulation;
};

Simulated Simulate(const SmallWorld& world, size_t threads) {
  Simulated out;
  out.trainings = std::make_unique<TrainingPool>(
      TrainingPool::Options{.threads = threads, .trainer_name = "fake"},
      [] { return std::make_unique<FakeTrainer>(); });
  SimulationInput input;
  input.plan = world.plan;
  input.scenario = world.scenario;
  input.data = &world.data;
  input.trainer = &out.trainings->own();
  input.trainings = out.trainings.get();
  auto simulation = Simulation::Create(std::move(input));
  EXPECT_THAT(simulation, IsOk());
  if (!simulation.ok()) return out;
  EXPECT_THAT((*simulation)->Run(), IsOk());
  out.simulation = *std::move(simulation);
  return out;
}

// The most sites that computed a training at one moment.
int MostAtOnce(const Simulation& simulation) {
  std::vector<std::pair<absl::Time, int>> changes;
  for (const Activity& activity : simulation.activity().activities()) {
    if (activity.kind != Activity::Kind::kTrain) continue;
    changes.emplace_back(activity.begin, 1);
    changes.emplace_back(activity.end, -1);
  }
  std::sort(changes.begin(), changes.end());  // Who ends does so before who begins.
  int now = 0;
  int most = 0;
  for (const auto& [time, change] : changes) most = std::max(most, now += change);
  return most;
}

std::map<size_t, int> TrainingsBySite(const Simulation& simulation) {
  std::map<size_t, int> trainings;
  for (const Activity& activity : simulation.activity().activities()) {
    if (activity.kind == Activity::Kind::kTrain) ++trainings[activity.site];
  }
  return trainings;
}

TEST(ConcurrencySimulation, FiftyOfFiveHundredTrainAtOnceAndEachHasItsTurn) {
  constexpr size_t kSites = 500;
  const SmallWorld world({.sites = kSites,
                          .rows_per_site = 20,
                          .config = R"(
                            aggregation {
                              trigger { buffer { updates: 50 } }
                              concurrency { sites_max: 50 deadline_ms: 600000 }
                            }
                            data { split { validation: 0 test: 0 } }
                            stop { versions_max: 100 })",
                          .scenario = "seed: 3 sites { task_ms: 1000 "
                                      "task_speed { log_normal_sigma: 0.5 } }"});
  const Simulated alone = Simulate(world, 1);
  const Simulation* const one = alone.simulation.get();
  ASSERT_NE(one, nullptr);
  ASSERT_EQ(one->run().versions.size(), 101u);
  ASSERT_LT(one->activity().activities().size(), kActivitiesMax);  // All are there.
  EXPECT_EQ(MostAtOnce(*one), 50);

  const std::map<size_t, int> trainings = TrainingsBySite(*one);
  EXPECT_EQ(trainings.size(), kSites);
  double total = 0;
  for (const auto& [site, count] : trainings) total += count;
  EXPECT_GE(total, 5000);
  // Of turns that are drawn independently χ² has a mean of 499 and a deviation of 31.6. Who trains
  // is not drawn again meanwhile, so it is a little less; taken in turns, it would be near 0.
  const double expected = total / kSites;
  double chi_square = 0;
  for (const auto& [site, count] : trainings) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 499 + 4 * 31.6);
  EXPECT_GT(chi_square, 250);

  const Simulated beside = Simulate(world, 4);
  const Simulation* const four = beside.simulation.get();
  ASSERT_NE(four, nullptr);
  EXPECT_EQ(ModelIds(*four), ModelIds(*one));
  EXPECT_EQ(four->StateDigest(), one->StateDigest());
}

// Half of the hospitals hold all slots when they go, and never come back.
// Who compares rules compares them with as many at once, as far as that can be.
TEST(UnderPreset, HowManyTrainAtOnceStaysWhereTheRuleHasAPlaceForIt) {
  using Config = v1::AggregationConfig;
  const SmallWorld world(
      {.config = "aggregation { concurrency { sites_max: 2 deadline_ms: 60000 } }"});
  for (const Config::Preset preset : {Config::FEDASYNC, Config::CA2FL, Config::ACE, Config::FADAS,
                                      Config::STALE_SYNCHRONOUS, Config::FEDBUFF_NVFLARE}) {
    const auto plan = ResolvePlan(UnderPreset(world.plan, preset));
    ASSERT_THAT(plan, IsOk());
    EXPECT_EQ(plan->config().aggregation().preset(), preset);
    EXPECT_EQ(plan->config().aggregation().concurrency().sites_max(), 2u);
    EXPECT_EQ(plan->config().aggregation().concurrency().deadline_ms(), 60000u);
  }
  for (const Config::Preset preset :
       {Config::FEDAVG, Config::SCAFFOLD, Config::FEDCOMPASS, Config::ADAPTIVE}) {
    const auto plan = ResolvePlan(UnderPreset(world.plan, preset));
    ASSERT_THAT(plan, IsOk());
    EXPECT_EQ(plan->config().aggregation().preset(), preset);
    EXPECT_FALSE(plan->config().aggregation().has_concurrency());
  }
}

TEST(ConcurrencySimulation, GoesOnWithoutThoseWhoFallSilent) {
  std::string trace;
  for (int i = 0; i < 4; ++i) {
    absl::StrAppend(&trace, " trace { site_id: 's", i, "' time_s: 60 presence: AWAY }");
  }
  const SmallWorld world(
      {.sites = 8,
       .config = R"(
         aggregation {
           trigger { buffer { updates: 3 } } concurrency { sites_max: 4 deadline_ms: 9000 }
         }
         data { split { validation: 0 test: 0 } }
         stop { versions_max: 200 })",
       .scenario = absl::StrCat("seed: 2 sites { task_ms: 3000 latency_ms: 20", trace, " }")});
  const Simulated simulated = Simulate(world, 1);
  const Simulation* const simulation = simulated.simulation.get();
  ASSERT_NE(simulation, nullptr);
  EXPECT_EQ(simulation->run().current(), Version(200));
  EXPECT_LE(MostAtOnce(*simulation), 4);
  // Four are left, who are as fast as four are: 600 updates, one in 750 ms, and what the slots of
  // the silent cost until their deadline.
  EXPECT_LT(simulation->run().versions.back().committed_at - simulation->run().submitted_at,
            absl::Seconds(60 * 8 + 60));
}

TEST(ConcurrencySimulation, ReplayAndRetrainingGiveTheSameBits) {
  SmallWorldOptions options;
  options.sites = 9;
  options.config = R"(
    aggregation { preset: CA2FL concurrency { sites_max: 3 deadline_ms: 4000 } }
    stop { versions_max: 12 })";
  ExpectSameAgain(options, 24);
  options.scenario = kBadLinks;
  ExpectSameAgain(options, 24);
}

}  // namespace
}  // namespace consilium
