// The fairness contract: its numbers by hand, and what it does to federations of unequal pace.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "aggregator/core/fair_shares.h"
#include "aggregator/core/strategies/contributions.h"
#include "tests/aggregator/core/paced_federation.h"

namespace consilium::federation {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SiteId kA("a");
const SiteId kB("b");

auto Near(double value) { return DoubleNear(value, 1e-9); }

// ---- Numbers

TEST(FairnessRule, ActsFromHalfOfEpsilonOn) {
  const FairnessRule rule = {.epsilon = 0.4, .window_versions = 9, .pace_share_min = 0.2};
  EXPECT_EQ(StepsShare(rule, -0.2), 1);
  EXPECT_THAT(StepsShare(rule, -0.3), Near(0.6));  // Half way: 1 − ½·.8.
  EXPECT_THAT(StepsShare(rule, -0.4), Near(0.2));
  EXPECT_THAT(StepsShare(rule, -1), Near(0.2));
  EXPECT_EQ(StepsShare(rule, 0.4), 1);  // Who is above does not get shorter tasks.
  EXPECT_EQ(RestRatio(rule, 0.2), 0);
  EXPECT_THAT(RestRatio(rule, 0.3), Near(2));  // Half of 1/.2 − 1.
  EXPECT_THAT(RestRatio(rule, 0.9), Near(4));
  EXPECT_EQ(RestRatio(rule, -0.4), 0);
}

TEST(FairCap, IsTheSmallestThatKeepsTheShares) {
  // p = (.5, .5), r̂ = (.9, .1): x = (5/9, 5). With C the second has .1C of .5 + .1C: its share is
  // .75 of its .5 where .1C = .375·(.5 + .1C)/.5, C = 3; and the first has .5/.8 = 1.25·.5 there.
  const RateShare sites[] = {{0.5, 0.9}, {0.5, 0.1}};
  const FairCap cap = FairCapOf({.epsilon = 0.5}, sites);
  EXPECT_THAT(cap.needed, Near(3));
  EXPECT_THAT(cap.bearable, Near(5));  // (.5 + .5)²/(.9·(5/9)² + .1·25) = .36: no need to cap.
  // Equal rates need none.
  const RateShare equal[] = {{0.7, 0.7}, {0.3, 0.3}};
  EXPECT_EQ(FairCapOf({.epsilon = 0.5}, equal).needed, 1);
}

TEST(FairCap, LeavesAnEffectiveSample) {
  // p = (.5, .5), r̂ = (.99, .01): x = (.5/.99, 50). (.5 + .01C)² = ¼·(.25/.99 + .01C²)
  // <=> .0024C² − .01C − (.25 − .0625/.99) = 0.
  const RateShare sites[] = {{0.5, 0.99}, {0.5, 0.01}};
  const FairCap cap = FairCapOf({.epsilon = 0.25}, sites);
  const double c = 0.25 - 0.0625 / 0.99;
  EXPECT_THAT(cap.bearable, Near((0.01 + std::sqrt(0.0001 + 4 * 0.0024 * c)) / 0.0048));
  EXPECT_GT(cap.needed, cap.bearable);
}

TEST(FairWeight, FollowsTheRateAndWhatIsLacking) {
  // 2/2 + (.6/2 + .2/2)/.5 = 1.8
  EXPECT_THAT(FairWeight({.by_rate = 2,
                          .lacking = 0.6,
                          .of_a_version = 0.2,
                          .updates = 2,
                          .per_weight = 0.5,
                          .cap = 9}),
              Near(1.8));
  // At least a quarter of the rate's, and no more than the cap.
  EXPECT_THAT(FairWeight({.by_rate = 2, .lacking = -3, .cap = 9}), Near(0.5));
  EXPECT_THAT(FairWeight({.by_rate = 2, .lacking = 30, .cap = 9}), Near(9));
}

// ---- The engine, step by step

constexpr char kByHand[] =
    "preset: FEDBUFF trigger { buffer { updates: 1 } } staleness { constant {} } "
    "rate_correction { kappa_per_site: 0.5 decay: 1 } "
    "fairness { epsilon: 0.5 window_versions: 4 }";

class Fairness : public ::testing::Test {
 protected:
  explicit Fairness(const std::string& aggregation = kByHand) {
    f.StartRun(MakePlan({.aggregation = aggregation,
                         .config = "training { local_steps: 20 }",
                         .versions_max = 100}));
  }

  std::vector<Action> DeliverAndFold(const SiteId& site) {
    std::vector<Action> actions = f.Deliver(site);
    for (Action& action : f.Answer()) actions.push_back(std::move(action));
    return actions;
  }
  double deviation(const SiteId& site) const { return f.participant(site).fair.deviation; }
  const Contribution& newest() const { return f.run().versions.back().contributions.front(); }

  TestFederation f{{10, 10}};
};

TEST_F(Fairness, CapsWhatARareUpdateWeighsByWhatTheContractNeeds) {
  // p = ½ each, κ = 1. Nothing is known at first: p/r̂ = 1.
  DeliverAndFold(kA);
  EXPECT_THAT(newest().coefficient, Near(1));
  // c_a = 1: x = ½/((1 + ½)/2) = ⅔. Of 1 a was due ½ and had 1: D = −½, and ½ of a version:
  // ⅓ − ½ + ¼ = 1/12; at least a quarter of ⅔.
  DeliverAndFold(kA);
  EXPECT_THAT(newest().coefficient, Near(1.0 / 6));
  // c_a = 2: r̂ = (5/6, 1/6), x_b = 3. Of 7/6 b was due half and had none, and half of 7/24 come on
  // top: 1.5 + .583 + .146 = 2.23. The contract needs C with (C/3)/(½ + C/6) = .75: 1.8.
  DeliverAndFold(kB);
  EXPECT_THAT(newest().coefficient, Near(1.8));
}

TEST_F(Fairness, MeasuresCoefficientsAndCountsWhatIsLackingAsKept) {
  DeliverAndFold(kA);
  // Mass 1; three versions lack, of ½ each: a has 1 + 1.5 where .5 + 1.5 is due.
  EXPECT_THAT(deviation(kA), Near(0.25));
  EXPECT_THAT(deviation(kB), Near(-0.25));
  DeliverAndFold(kA);
  // Mass 7/6, mean 7/12; two lack, 7/24 each: a has 7/6 + 7/12 where 7/12 + 7/12 is due.
  EXPECT_THAT(deviation(kA), Near(0.5));
  EXPECT_THAT(deviation(kB), Near(-0.5));
}

TEST_F(Fairness, AsksForShorterTasksAndCountsThemWhole) {
  for (int i = 0; i < 2; ++i) DeliverAndFold(kA);
  EXPECT_THAT(f.participant(kB).open, SizeIs(2));  // Of 20 steps; granted before.
  const std::vector<OfferTask> offers = Of<OfferTask>(DeliverAndFold(kB));
  ASSERT_THAT(offers, SizeIs(1));
  EXPECT_EQ(offers[0].local_steps, 5u);  // A quarter.
  const uint32_t steps[] = {20, 5};
  for (const uint32_t expected : steps) {
    const TaskId task = f.participant(kB).open.front();
    ASSERT_EQ(f.participant(kB).tasks.at(task).local_steps, expected);
    DeliverAndFold(kB);
    const double whole = InfluenceOf(newest());
    EXPECT_THAT(newest().coefficient, Near(whole * 20 / expected));
  }
  // What the contract counts is the influence.
  double influence = 0;
  for (const VersionState& version : f.run().versions) {
    for (const Contribution& entry : version.contributions) {
      if (entry.site == kB) influence += InfluenceOf(entry);
    }
  }
  EXPECT_THAT(f.participant(kB).influence, Near(influence));
}

TEST_F(Fairness, LetsWhoIsAboveRestForAsLongAsItIs) {
  f.now += absl::Milliseconds(50);
  for (int i = 0; i < 2; ++i) DeliverAndFold(kA);
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));  // Granted before.
  f.now += absl::Milliseconds(99);
  const absl::Time granted = f.participant(kA).granted_at;
  const absl::Duration before = *f.participant(kA).fair.worked;
  ASSERT_LT(before, absl::Milliseconds(99));
  std::vector<Action> actions = f.Deliver(kA);
  EXPECT_GT(f.now - granted, absl::Milliseconds(99));
  ASSERT_THAT(Of<SetTimer>(actions), SizeIs(1));
  // It was away this time, perhaps: three times what the task before took.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(Of<SetTimer>(actions)[0].at - f.now),
              3 * absl::ToDoubleMilliseconds(before), 1e-3);
  EXPECT_THAT(Of<OfferTask>(actions), IsEmpty());
  const Timer rest = Of<SetTimer>(actions)[0].timer;
  EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{rest})), IsEmpty());  // One is open.
  f.Answer();
  actions = f.Deliver(kA);
  EXPECT_THAT(f.participant(kA).open, IsEmpty());
  const Timer next = Of<SetTimer>(actions)[0].timer;
  // Its rest is kept over a restart of the aggregator.
  EXPECT_EQ(Of<SetTimer>(f.Step(Started{})).size(), 1u);
  EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{rest})), IsEmpty());  // It is over already.
  for (const SiteId& site : f.sites) f.Attach(site);
  EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{next})), SizeIs(1));
  EXPECT_THAT(f.participant(kA).open, SizeIs(1));
}

TEST_F(Fairness, EndsARestWhenTheSiteIsNotAboveAnyMore) {
  for (int i = 0; i < 3; ++i) DeliverAndFold(kA);
  ASSERT_TRUE(f.participant(kA).fair.rest.has_value());
  DeliverAndFold(kB);
  EXPECT_LE(deviation(kA), 0.25);
  EXPECT_FALSE(f.participant(kA).fair.rest.has_value());
  EXPECT_THAT(f.run().resting, IsEmpty());
  EXPECT_THAT(f.run().timers, IsEmpty());
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));
}

TEST_F(Fairness, WhoLeavesLeavesNoRestAndComesBackWithoutDebts) {
  for (int i = 0; i < 3; ++i) DeliverAndFold(kA);
  f.Decide(kA, RunDecided::Answer::kRefused);
  EXPECT_THAT(f.run().resting, IsEmpty());
  EXPECT_THAT(f.run().timers, IsEmpty());
  f.Decide(kA, RunDecided::Answer::kApproved);
  EXPECT_EQ(deviation(kA), 0);
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));
  DeliverAndFold(kB);
  // It came after version 3: of the one since, all b's, it is due ½·w; three lack, of ½·w/4 each.
  EXPECT_THAT(deviation(kA), Near(-0.5 / (0.5 + 0.375)));
}

TEST_F(Fairness, SaysWhoHasNoPartAtAll) {
  std::vector<Alarm> alarms;
  for (int i = 0; i < 8; ++i) {
    while (f.participant(kA).open.empty()) f.Step(TimerFired{f.run().timers.begin()->first});
    for (const Alarm& alarm : Of<Alarm>(DeliverAndFold(kA))) alarms.push_back(alarm);
    EXPECT_EQ(alarms.size(), static_cast<size_t>(i + 1) / 4) << i;  // Once a window.
  }
  EXPECT_EQ(alarms[0].site, kB);
  EXPECT_THAT(alarms[0].message, HasSubstr("broken: none of the last 4 versions"));
  EXPECT_THAT(alarms[1].message, HasSubstr("can not be kept: none of the last 4 versions"));
  EXPECT_THAT(deviation(kA), Near(0));  // Among those who are there, it is kept.
}

// ---- Federations of unequal pace; p as Heart's four hospitals

const std::vector<PacedFederation::SiteOptions> kLargestIsSlow = {
    {199, 10}, {172, 1}, {30, 1}, {85, 1}};

std::shared_ptr<const v1::RunPlan> PacedPlan(const std::string& aggregation) {
  return MakePlan({.aggregation = aggregation,
                   .config = "training { local_steps: 20 } data { split { validation: 0 } }",
                   .versions_max = 5000});
}

// The largest of |share/p − 1| over the sites, from the coefficients alone.
double WorstDeviation(const RunState& run, size_t window) {
  std::map<SiteId, double> influence;
  double sum = 0;
  for (const VersionState& version : std::span(run.versions).last(window)) {
    for (const Contribution& entry : version.contributions) {
      double whole = entry.coefficient;
      for (const WeightFactor& factor : entry.factors) {
        if (factor.kind == WeightFactor::Kind::kShorterTask) whole /= factor.value;
      }
      influence[entry.site] += whole;
      sum += whole;
    }
  }
  double examples = 0;
  for (const auto& [site, participant] : run.participants) {
    examples += static_cast<double>(participant.train_examples);
  }
  double worst = 0;
  for (const auto& [site, participant] : run.participants) {
    const double share = static_cast<double>(participant.train_examples) / examples;
    worst = std::max(worst, std::abs(influence[site] / sum / share - 1));
  }
  return worst;
}

TEST(FairnessOverTime, KeepsTheLargestSlowHospitalsShare) {
  const char* const rules[] = {
      "preset: FEDBUFF trigger { buffer { updates: 4 } }",
      "preset: FEDBUFF trigger { buffer { updates: 4 } } server { adam {} }",
      "preset: STALENESS_WEIGHTED_TABLE",
      "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 4 } }",
  };
  for (const std::string rule : rules) {
    PacedFederation fair(PacedPlan(rule + " fairness {}"), kLargestIsSlow);
    ASSERT_TRUE(fair.RunTo(Version(200))) << rule;
    for (uint64_t v = 200; v < 400; ++v) {
      ASSERT_TRUE(fair.RunTo(Version(v)));
      // What is done at the border takes a version to show.
      ASSERT_LE(WorstDeviation(fair.run(), 50), 0.27) << rule << ", version " << v;
    }
    EXPECT_TRUE(fair.ReplaysAlike()) << rule;
  }
}

TEST(FairnessOverTime, WithoutAContractFastHospitalsOwnTheModel) {
  PacedFederation plain(PacedPlan("preset: FEDBUFF trigger { buffer { updates: 2 } }"),
                        kLargestIsSlow);
  ASSERT_TRUE(plain.RunTo(Version(300)));
  EXPECT_GT(WorstDeviation(plain.run(), 50), 0.9);
  EXPECT_THAT(plain.alarms(), IsEmpty());
}

TEST(FairnessOverTime, SaysWhenItCanNotBeKept) {
  // Neither weights nor shorter tasks nor rests: nothing that it could do.
  PacedFederation fair(
      PacedPlan("preset: FEDBUFF trigger { buffer { updates: 2 } } rate_correction { cap: 1 } "
                "fairness { local_steps_share_min: 1 }"),
      kLargestIsSlow);
  ASSERT_TRUE(fair.RunTo(Version(300)));
  std::vector<std::string> of_slow;
  for (const Alarm& alarm : fair.alarms()) {
    EXPECT_EQ(alarm.run, fair.run().run);
    if (alarm.site == kA) of_slow.push_back(alarm.message);
  }
  ASSERT_THAT(of_slow, SizeIs(6));  // One for each window.
  EXPECT_THAT(of_slow[0], AllOf(HasSubstr("the fairness contract is broken"),
                                HasSubstr("tasks of 20 local steps"), HasSubstr("as the plan says"),
                                HasSubstr("would be needed")));
  EXPECT_THAT(of_slow[1], HasSubstr("can not be kept"));
}

TEST(FairnessOverTime, DoesNothingWhereAllAreEquallyFast) {
  PacedFederation fair(PacedPlan("preset: STALENESS_WEIGHTED_TABLE fairness {}"),
                       {{199, 1}, {172, 1}, {30, 1}, {85, 1}});
  ASSERT_TRUE(fair.RunTo(Version(200)));
  EXPECT_EQ(fair.run().rests, 0u);
  EXPECT_THAT(fair.alarms(), IsEmpty());
}

TEST(FairnessOverTime, AFewerStepsLetALateSiteMeetItsRoundsDeadline) {
  // 20 steps of 1 s are late for 10 s; the slow one is asked for 5 then.
  PacedFederation fair(PacedPlan("preset: FEDAVG trigger { barrier { deadline_ms: 10000 } } "
                                 "fairness { window_versions: 10 }"),
                       {{100, 1}, {100, 0.1}});
  ASSERT_TRUE(fair.RunTo(Version(60)));
  EXPECT_LE(WorstDeviation(fair.run(), 10), 0.31);
  EXPECT_EQ(fair.run().rests, 0u);
  EXPECT_TRUE(fair.ReplaysAlike());
}

TEST(FairnessOverTime, NobodyWaitsForWhoIsGone) {
  PacedFederation fair(PacedPlan("preset: FEDBUFF trigger { buffer { updates: 2 } } fairness {}"),
                       {{199, 1}, {172, 1}});
  fair.Silence(0);
  EXPECT_TRUE(fair.RunTo(Version(200)));
  EXPECT_THAT(fair.alarms(), Each(testing::Field(&Alarm::site, kA)));
}

}  // namespace
}  // namespace consilium::federation
