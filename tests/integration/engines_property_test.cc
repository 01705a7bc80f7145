// Both engines together, in random federations under faults (virtual_federation.h).
//
// CONSILIUM_PROPERTY_SEQUENCES sets how many (2,000 unless said otherwise; each has hundreds of
// inputs in several engines); CONSILIUM_PROPERTY_SEED=n runs the n-th alone, as a failure prints
// it.

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/tiny_plan.h"
#include "tests/integration/virtual_federation.h"

namespace consilium::integration {
namespace {

constexpr char kPlan[] =
    "config { training { local_steps: 3 } stop { closing_deadline_ms: 3600000 } }";

constexpr const char* kAggregations[] = {
    "preset: FEDBUFF trigger { buffer { updates: 2 } }",
    "preset: FEDBUFF trigger { buffer { updates: 3 } } server { adam { } }",
    "preset: FEDASYNC",
    "preset: FEDAVG",
    "preset: FEDAVG server { sgd { learning_rate: 1 momentum: 0.5 } }",
    "preset: STALENESS_WEIGHTED_TABLE",
    "preset: STALENESS_WEIGHTED_TABLE limits { staleness_versions_max: 1 }",
    "preset: FEDBUFF trigger { buffer { updates: 2 } } rate_correction { }",
    "preset: CA2FL trigger { buffer { updates: 2 } }",
    "preset: FEDAMSGRAD",
    "preset: FEDNOVA trigger { buffer { updates: 2 } }",
    "preset: ACED entry_age_versions_max: 1",
    "preset: FADAS",
    "preset: DC_ASGD",
    "preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 1 } }",
    "preset: FEDYOGI trigger { interval { interval_ms: 900 } }",
    "preset: FEDBUFF_APPFL trigger { buffer { updates: 2 } }",
    "preset: FEDASYNC concurrency { sites_max: 2 deadline_ms: 3000 }",
};

std::shared_ptr<const v1::RunPlan> PlanFor(uint64_t seed) {
  RandomStream random(SeedPath{.run_seed = seed, .purpose = "plan", .site = "", .task = 0});
  v1::RunPlan plan;
  absl::Status parsed = ParseTextFormat(kTinyPlanText, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed;
  parsed = MergeTextFormat(kPlan, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed;
  parsed = ParseTextFormat(kAggregations[random.NextBelow(std::size(kAggregations))], "aggregation",
                           *plan.mutable_config()->mutable_aggregation());
  EXPECT_TRUE(parsed.ok()) << parsed;
  v1::RunConfig& config = *plan.mutable_config();
  config.set_seed(seed);
  config.mutable_stop()->set_versions_max(static_cast<uint32_t>(1 + random.NextBelow(6)));
  if (random.NextBelow(3) == 0) config.mutable_data()->set_standardise(v1::DataConfig::NONE);
  if (random.NextBelow(3) == 0) config.mutable_training()->set_tasks_in_flight_max(1);
  config.mutable_training()->set_task_duration_min_ms(
      static_cast<uint32_t>(random.NextBelow(2) * 400));
  absl::StatusOr<v1::RunPlan> resolved = ResolvePlan(plan);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return std::make_shared<const v1::RunPlan>(*std::move(resolved));
}

struct Seeds {
  uint64_t first = 1;
  uint64_t count = 0;
};

Seeds SeedsFor(uint64_t otherwise) {
  const char* const only = getenv("CONSILIUM_PROPERTY_SEED");
  if (only != nullptr) return {strtoull(only, nullptr, 10), 1};
  const char* const count = getenv("CONSILIUM_PROPERTY_SEQUENCES");
  return {1, count == nullptr ? otherwise : strtoull(count, nullptr, 10)};
}

void Add(const VirtualFederation::Counts& one, VirtualFederation::Counts& sum) {
  sum.aggregator_crashes += one.aggregator_crashes;
  sum.site_crashes += one.site_crashes;
  sum.broken_streams += one.broken_streams;
  sum.lost_uploads += one.lost_uploads;
  sum.inputs_lost += one.inputs_lost;
  sum.included += one.included;
  sum.not_included += one.not_included;
  sum.refused += one.refused;
}

// The storms were storms.
void ExpectSomethingHappened(const Seeds& seeds, const VirtualFederation::Counts& counts) {
  for (const auto& [what, count] : std::initializer_list<std::pair<const char*, uint64_t>>{
           {"aggregator crashes", counts.aggregator_crashes},
           {"site crashes", counts.site_crashes},
           {"broken streams", counts.broken_streams},
           {"lost uploads", counts.lost_uploads},
           {"lost inputs", counts.inputs_lost},
           {"included", counts.included},
           {"not included", counts.not_included},
           {"refused", counts.refused}}) {
    std::cout << what << ": " << count << "\n";
    if (seeds.count >= 500) {
      EXPECT_GT(count, 0U) << what;
    }
  }
}

TEST(Engines, EveryReceiptEndsAndVersionsNameTheIncludedInAnyWeather) {
  const Seeds seeds = SeedsFor(2000);
  VirtualFederation::Counts counts;
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    VirtualFederation world({.seed = seed, .plan = PlanFor(seed)});
    ASSERT_EQ(world.Run(), "") << "CONSILIUM_PROPERTY_SEED=" << seed;
    Add(world.counts(), counts);
  }
  ExpectSomethingHappened(seeds, counts);
}

TEST(Engines, TheSameArrivalsMakeTheSameModelsWithAndWithoutCrashes) {
  const Seeds seeds = SeedsFor(1000);
  VirtualFederation::Counts counts;
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    const auto plan = PlanFor(seed);
    // With an interval the time decides which arrivals make a version, and storms take time; and
    // slots go to those who are connected.
    const v1::AggregationConfig& aggregation = plan->config().aggregation();
    if (aggregation.trigger().has_interval() || aggregation.has_concurrency()) continue;
    VirtualFederation calm({.seed = seed, .plan = plan, .weather = WorldOptions::Weather::kCalm});
    ASSERT_EQ(calm.Run(), "") << "CONSILIUM_PROPERTY_SEED=" << seed << ", calm";
    VirtualFederation stormy({.seed = seed + 1'000'000,
                              .plan = plan,
                              .weather = WorldOptions::Weather::kStormy,
                              .script = &calm.arrivals()});
    ASSERT_EQ(stormy.Run(), "") << "CONSILIUM_PROPERTY_SEED=" << seed << ", stormy";
    ASSERT_EQ(stormy.Outcome(), calm.Outcome()) << "CONSILIUM_PROPERTY_SEED=" << seed;
    Add(stormy.counts(), counts);
  }
  counts.refused = counts.not_included = 1;  // As the script has it: maybe none.
  ExpectSomethingHappened(seeds, counts);
}

}  // namespace
}  // namespace consilium::integration
