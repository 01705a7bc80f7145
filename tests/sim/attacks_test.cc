#include "sim/engine/attacks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sim/commands/simulate.h"
#include "sim/commands/trainers.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

constexpr char kOneRound[] =
    "aggregation { preset: FEDAVG trigger { barrier {} } } "
    "training { tasks_in_flight_max: 1 } stop { versions_max: 1 }";

v1::Attack AttackOf(const std::string& text) {
  v1::Attack attack;
  EXPECT_TRUE(ParseTextFormat(text, "attack", attack).ok());
  return attack;
}

// w1 − w0 of one round of FedAvg.
std::vector<double> MoveUnder(const std::string& attacks) {
  SmallWorld world(
      {.config = kOneRound, .scenario = absl::StrCat("seed: 1 sites { ", attacks, " }")});
  const auto simulation = world.Run();
  const auto before = simulation->ModelOf(Version(0));
  const auto after = simulation->ModelOf(Version(1));
  EXPECT_TRUE(before.ok() && after.ok());
  std::vector<double> move;
  for (size_t i = 0; i < (*before)->size(); ++i) {
    move.push_back(static_cast<double>((**after)[i]) - (**before)[i]);
  }
  return move;
}

TEST(AttacksTest, SignFlipOfAllMovesTheModelTheOtherWay) {
  const std::vector<double> honest = MoveUnder("");
  const std::vector<double> flipped = MoveUnder("attacks { share: 1 sign_flip {} }");
  const std::vector<double> stronger = MoveUnder("attacks { share: 1 sign_flip { scale: 4 } }");
  for (size_t i = 0; i < honest.size(); ++i) {
    if (i != 2) {  // The third feature never varies.
      EXPECT_GT(std::abs(honest[i]), 1e-3);
    }
    EXPECT_NEAR(flipped[i], -honest[i], 1e-6);
    EXPECT_NEAR(stronger[i], -4 * honest[i], 1e-5);
  }
}

// The validator's update scores the versions after its own, too.
TEST(AttacksTest, NobodyWhoGoesAgainstTheValidatorIsHeard) {
  constexpr char kScored[] =
      "aggregation { preset: ZENO trigger { buffer { updates: 1 } } "
      "transform { zeno { validator: 's0' } } } "
      "training { local_steps: 20 } stop { versions_max: 8 }";
  for (const char* attacks :
       {"", "sites { attacks { sites: ['s1', 's2', 's3', 's4', 's5'] sign_flip { scale: 9 } } }"}) {
    SmallWorld world({.config = kScored, .scenario = absl::StrCat("seed: 1 ", attacks)});
    const auto simulation = world.Run();
    const auto before = simulation->ModelOf(Version(0));
    const auto after = simulation->ModelOf(Version(8));
    ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
    EXPECT_EQ(**before == **after, *attacks != '\0');
  }
}

TEST(AttacksTest, FlippedLabelsTeachTheOpposite) {
  const std::vector<double> honest = MoveUnder("");
  const std::vector<double> flipped = MoveUnder("attacks { share: 1 label_flip {} }");
  double product = 0;
  for (size_t i = 0; i < honest.size(); ++i) product += honest[i] * flipped[i];
  EXPECT_LT(product, 0);
}

TEST(AttacksTest, FreeRidersMoveNothing) {
  for (const double moved : MoveUnder("attacks { share: 1 free_rider {} }")) {
    EXPECT_EQ(moved, 0);
  }
}

TEST(AttacksTest, StaleCopiesAreTheFirstUpdate) {
  Attacker rider(AttackOf("free_rider { sends: STALE_COPY }"), 1, SiteId("a"));
  std::vector<float> first = {1, 2};
  std::vector<float> second = {3, 4};
  rider.Distort(TaskId(1), first);
  rider.Distort(TaskId(2), second);
  EXPECT_EQ(first, (std::vector<float>{1, 2}));
  EXPECT_EQ(second, first);
}

TEST(AttacksTest, NoiseHasTheDeviationThatItSays) {
  Attacker noisy(AttackOf("noise { deviation: 3 }"), 1, SiteId("a"));
  std::vector<float> update(40'000, 0.5f);
  noisy.Distort(TaskId(1), update);
  double sum = 0;
  double squares = 0;
  for (const float value : update) {
    sum += value - 0.5;
    squares += (value - 0.5) * (value - 0.5);
  }
  const double n = static_cast<double>(update.size());
  EXPECT_NEAR(sum / n, 0, 5 * 1.5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 2.25, 5 * 2.25 * std::sqrt(2 / n));
  std::vector<float> same(40'000, 0.5f);
  noisy.Distort(TaskId(1), same);
  EXPECT_EQ(same, update);
  noisy.Distort(TaskId(2), same);
  EXPECT_NE(same, update);
}

TEST(AttacksTest, PoisonsTrainingRowsAlone) {
  const SmallWorld world({.sites = 1, .rows_per_site = 400});
  const SiteData& honest = world.data.begin()->second;
  const Attacker flipper(AttackOf("label_flip {}"), 1, SiteId("a"));
  const SiteData flipped = flipper.Poisoned(honest, world.plan.contract());
  const Attacker planter(
      AttackOf("backdoor { trigger { column: 'mark' value: '1' } target_label: 'yes' "
               "poisoned_share: 0.25 }"),
      1, SiteId("a"));
  const SiteData planted = planter.Poisoned(honest, world.plan.contract());
  int marked = 0;
  for (size_t i = 0; i < honest.rows.size(); ++i) {
    const bool train = honest.parts[i] == v1::TRAIN;
    EXPECT_EQ(flipped.rows[i].label, train ? 1 - honest.rows[i].label : honest.rows[i].label);
    EXPECT_EQ(flipped.rows[i].values, honest.rows[i].values);
    if (planted.rows[i].values[2] == 1) {
      EXPECT_TRUE(train);
      EXPECT_EQ(planted.rows[i].label, 1);
      ++marked;
    } else {
      EXPECT_EQ(planted.rows[i].label, honest.rows[i].label);
    }
  }
  const double n = static_cast<double>(CountPart(honest, v1::TRAIN));
  EXPECT_NEAR(marked / n, 0.25, 5 * std::sqrt(0.25 * 0.75 / n));
}

TEST(AttacksTest, SharesAreOfAllSitesAndOfThoseThatAreNotNamed) {
  SmallWorld world({.sites = 50, .rows_per_site = 20});
  EXPECT_TRUE(ParseTextFormat("seed: 4 sites { attacks { sites: ['s3', 's7'] sign_flip {} } "
                              "attacks { share: 0.2 noise {} } attacks { share: 0.1 label_flip {} "
                              "} }",
                              "scenario", world.scenario)
                  .ok());
  std::map<int, int> kinds;
  const auto assigned = AssignAttacks(world.scenario, world.data);
  for (const auto& [site, attack] : assigned) ++kinds[attack.kind_case()];
  EXPECT_EQ(kinds[v1::Attack::kSignFlip], 2);
  EXPECT_EQ(kinds[v1::Attack::kNoise], 10);
  EXPECT_EQ(kinds[v1::Attack::kLabelFlip], 5);
  EXPECT_TRUE(assigned.at(SiteId("s3")).has_sign_flip());
  world.scenario.set_seed(5);
  const auto other = AssignAttacks(world.scenario, world.data);
  bool differs = false;
  for (const auto& [site, attack] : assigned) differs = differs || !other.contains(site);
  EXPECT_TRUE(differs);
}

RunSummary SummaryUnder(const std::string& attacks) {
  SmallWorld world({.config = "stop { versions_max: 30 }",
                    .scenario = absl::StrCat("seed: 1 sites { ", attacks, " }")});
  const auto summary = Simulate(world.plan, world.scenario, world.data, {}, *MakeTrainers({}));
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *summary;
}

TEST(AttacksTest, ABackdoorWorksWhereItIsTriggeredAndItsSuccessIsMeasured) {
  const std::string backdoor =
      "backdoor { trigger { column: 'mark' value: '1' } target_label: 'yes' scale: 6 }";
  const RunSummary open =
      SummaryUnder(absl::StrCat("attacks { sites: ['s1', 's2'] ", backdoor, " }"));
  ASSERT_TRUE(open.backdoor.has_value());
  EXPECT_GT(open.backdoor->rows, 10u);
  EXPECT_GT(open.backdoor->with_trigger, 0.5);
  EXPECT_LT(open.backdoor->without_trigger, 0.2);
  // Nobody plants it: the trigger alone does nothing.
  const RunSummary shut = SummaryUnder(absl::StrCat("attacks { share: 0 ", backdoor, " }"));
  ASSERT_TRUE(shut.backdoor.has_value());
  EXPECT_EQ(shut.backdoor->with_trigger, shut.backdoor->without_trigger);
  EXPECT_FALSE(SummaryUnder("").backdoor.has_value());
}

}  // namespace
}  // namespace consilium
