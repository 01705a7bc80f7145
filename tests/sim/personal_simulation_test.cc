// FEDPER, FEDBN and DITTO from end to end: what sites have of their own stays at them, serves them,
// and is the same again under broken links and crashes, in a replay and in a retraining.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "models/metrics/metrics.h"
#include "models/spec/personal_layers.h"
#include "sim/engine/open_scores.h"
#include "sim/report/scores.h"
#include "tests/sim/same_again.h"

namespace consilium {
namespace {

constexpr char kFedPer[] = R"(
  aggregation { preset: FEDPER trigger { barrier { deadline_ms: 4000 } } }
  training { personal { layers: 'own' } }
  stop { versions_max: 8 })";
constexpr char kFedBn[] = R"(
  aggregation { preset: FEDBN trigger { barrier { deadline_ms: 4000 } } }
  stop { versions_max: 8 })";
constexpr char kDitto[] = R"(
  aggregation { preset: DITTO trigger { barrier { deadline_ms: 4000 } } }
  training { ditto_lambda: 0.01 }
  stop { versions_max: 8 })";
constexpr char kFedAvg[] = R"(
  aggregation { preset: FEDAVG trigger { barrier { deadline_ms: 4000 } } }
  stop { versions_max: 8 })";
constexpr char kHead[] = "layers { name: 'own' linear { units: '1' } }";
constexpr char kNorm[] = "layers { name: 'norm' batch_norm {} }";

TEST(PersonalSimulation, ReplayAndRetrainingGiveTheSameBits) {
  ExpectSameAgain({.config = kFedPer, .spec = kHead}, 16);
  ExpectSameAgain({.config = kFedBn, .spec = kNorm}, 16);
  ExpectSameAgain({.config = kDitto}, 16);
}

TEST(PersonalSimulation, TheSameBitsUnderFaults) {
  ExpectSameAgain({.config = kFedPer, .scenario = kBadLinks, .spec = kHead}, 16);
  ExpectSameAgain({.config = kDitto, .scenario = kBadLinks}, 16);
}

// Every version of it is FEDAVG's.
TEST(PersonalSimulation, DittoLeavesTheSharedModelAlone) {
  const auto fedavg = SmallWorld({.config = kFedAvg}).Run();
  SmallWorld world({.config = kDitto});
  const auto ditto = world.Run();
  ASSERT_TRUE(fedavg != nullptr && ditto != nullptr);
  ASSERT_EQ(ditto->run().versions.size(), 9U);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(ditto->run().versions[i].payload_root, fedavg->run().versions[i].payload_root);
  }
  for (const auto& entry : world.data) {
    EXPECT_NE(*ditto->KeptOf(entry.first), nullptr);
    EXPECT_EQ(*fedavg->KeptOf(entry.first), nullptr);
  }
}

// No update has anything in their places, and no version anything but what was drawn.
TEST(PersonalSimulation, PersonalTensorsAreInNoUpdateAndNoVersion) {
  for (const SmallWorldOptions& options : {SmallWorldOptions{.config = kFedPer, .spec = kHead},
                                           SmallWorldOptions{.config = kFedBn, .spec = kNorm}}) {
    SmallWorld world(options);
    Recording recording;
    const auto simulation = Record(world, recording);
    ASSERT_NE(simulation, nullptr);
    const absl::StatusOr<ModelGraph> graph = GraphOf(world.plan);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const std::vector<ElementRange> ranges = PersonalRanges(*graph);
    ASSERT_FALSE(ranges.empty());
    EXPECT_GE(recording.updates.size(), 40U);
    for (const auto& [id, delta] : recording.updates) {
      EXPECT_TRUE(CheckNothingPersonal(*graph, delta).ok());
    }
    const auto first = simulation->ModelOf(Version(0));
    const auto last = simulation->ModelOf(simulation->run().current());
    ASSERT_TRUE(first.ok() && last.ok());
    EXPECT_NE(**first, **last);
    for (const ElementRange& range : ranges) {
      for (size_t i = range.begin; i < range.end; ++i) EXPECT_EQ((**last)[i], (**first)[i]);
    }
    // Each site has its own.
    const auto first_kept = simulation->KeptOf(world.data.begin()->first);
    const auto last_kept = simulation->KeptOf(world.data.rbegin()->first);
    ASSERT_TRUE(first_kept.ok() && last_kept.ok());
    EXPECT_NE(**first_kept, **last_kept);
  }
}

// A hospital that codes sick and well the other way round than its neighbours.
void TurnLabelsOver(SmallWorld& world) {
  bool turns = false;
  for (auto& entry : world.data) {
    if (turns) {
      for (RawRow& row : entry.second.rows) row.label = 1 - row.label;
    }
    turns = !turns;
  }
}

double TestLoss(const Simulation& simulation) {
  const federation::RunState& run = simulation.run();
  return MeanLoss(Total(run.versions[run.result->value()].test));
}

// The first layer is each hospital's own, and the last one shared.
constexpr char kOwnBody[] = R"(
  aggregation { preset: FEDPER trigger { barrier { deadline_ms: 4000 } } }
  training { personal { layers: 'logit' } })";

// What no shared model can serve, a layer of one's own can; and it is what sites score.
TEST(PersonalSimulation, ServesSitesThatDisagree) {
  constexpr char kLonger[] = " stop { versions_max: 30 } training { local_steps: 10 }";
  SmallWorld shared({.config = absl::StrCat(kFedAvg, kLonger), .spec = kHead});
  SmallWorld own({.config = absl::StrCat(kOwnBody, kLonger), .spec = kHead});
  SmallWorld beside({.config = absl::StrCat(kDitto, kLonger)});
  TurnLabelsOver(shared);
  TurnLabelsOver(own);
  TurnLabelsOver(beside);
  const auto fedavg = shared.Run();
  const auto fedper = own.Run();
  const auto ditto = beside.Run();
  ASSERT_TRUE(fedavg != nullptr && fedper != nullptr && ditto != nullptr);
  EXPECT_GT(TestLoss(*fedavg), 0.6);  // ln 2 = .693 knows nothing.
  EXPECT_LT(TestLoss(*fedper), 0.5);
  EXPECT_LT(TestLoss(*ditto), 0.5);

  // In the open, with what each site keeps, the same scores as the sites told; without, others.
  const federation::RunState& run = fedper->run();
  const auto weights = fedper->ModelOf(*run.result);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto personal = ScorePersonal(
      own.plan, own.data, **weights, [&](const SiteId& site) { return fedper->KeptOf(site); },
      own.trainer);
  const auto open = ScoreInTheOpen(own.plan, own.data, **weights, own.trainer);
  ASSERT_TRUE(personal.ok() && open.ok());
  int compared = 0;
  for (const auto& [site, told] : run.versions[run.result->value()].test) {
    ++compared;
    EXPECT_NEAR(MeanLoss(personal->centres.at(site)), MeanLoss(*told), 1e-6);
    EXPECT_GT(std::abs(MeanLoss(open->centres.at(site)) - MeanLoss(*told)), 1e-3);
  }
  EXPECT_EQ(compared, 6);
  EXPECT_EQ(personal->all_patients.examples(), 0U);
}

}  // namespace
}  // namespace consilium
