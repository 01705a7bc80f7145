// FedCompass: who joins which group with how many steps, by hand; and that unequal sites arrive
// together.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/aggregator/core/paced_federation.h"

namespace consilium::federation {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SiteId kA("a");
const SiteId kB("b");
const SiteId kC("c");

class Compass : public ::testing::Test {
 protected:
  Compass() {
    f.StartRun(MakePlan({.aggregation = "preset: FEDCOMPASS", .versions_max = 100}));
    began = f.now;
  }

  // Delivers so many seconds after the run began, on the current version; what follows.
  std::vector<Action> DeliverAt(double seconds, const SiteId& site) {
    return StepAt(seconds, f.Update(site));
  }
  std::vector<Action> StepAt(double seconds, const Event& event) {
    f.now = began + absl::Seconds(seconds) - absl::Milliseconds(1);
    std::vector<Action> actions = f.Step(event);
    if (f.run().pending.has_value()) {
      f.now -= absl::Milliseconds(1);
      for (Action& action : f.Answer()) actions.push_back(std::move(action));
    }
    return actions;
  }
  double Seconds(absl::Time time) const { return absl::ToDoubleSeconds(time - began); }
  uint32_t StepsOf(const SiteId& site) const {
    const Participant& participant = f.participant(site);
    return participant.tasks.at(participant.open.front()).local_steps;
  }
  const ArrivalGroup& group(uint64_t number) const { return f.run().groups.at(number); }

  TestFederation f{{50, 30, 20}};
  absl::Time began;
};

auto Near(double value) { return DoubleNear(value, 1e-9); }

TEST_F(Compass, BeginsWithTheFewestSteps) {
  for (const SiteId& site : f.sites) {
    EXPECT_THAT(f.participant(site).open, SizeIs(1));
    EXPECT_EQ(StepsOf(site), 20u);
  }
  EXPECT_THAT(f.run().groups, IsEmpty());
}

TEST_F(Compass, AssignsStepsSoThatGroupsArriveTogether) {
  // a: 20 steps in 20 s, so 1 s a step. Alone: a group of 100 steps, 100 s from now; its latest is
  // 150 s from now.
  DeliverAt(20, kA);
  EXPECT_EQ(StepsOf(kA), 100u);
  EXPECT_THAT(*f.participant(kA).seconds_per_step, Near(1));
  ASSERT_THAT(f.run().groups, SizeIs(1));
  EXPECT_THAT(Seconds(group(1).expected), DoubleNear(120, 0.01));
  EXPECT_THAT(Seconds(group(1).latest), DoubleNear(170, 0.01));
  // What was in no group was folded at once: p·s(0) = .5.
  ASSERT_THAT(f.run().versions, SizeIs(2));
  EXPECT_THAT(f.run().versions[1].contributions[0].coefficient, Near(0.5));
  // b: 20 steps in 40 s, 2 s a step; 80 s are left: 40 steps.
  StepAt(40, f.Update(kB, Version(0)));
  EXPECT_EQ(StepsOf(kB), 40u);
  EXPECT_THAT(group(1).awaited, ElementsAre(kA, kB));
  // Its τ was 1: .3/√2.
  EXPECT_THAT(f.run().versions[2].contributions[0].coefficient, Near(0.3 / std::sqrt(2)));
  // c: 20 steps in 110 s, 5.5 s a step; 10 s are left, too few for 20 steps. A group of its own:
  // at 170 + 100·1 = 270 s the fastest of the first may come again, in 160 s: 29 steps.
  DeliverAt(110, kC);
  EXPECT_EQ(StepsOf(kC), 29u);
  EXPECT_THAT(Seconds(group(2).expected), DoubleNear(110 + 29 * 5.5, 0.01));
  EXPECT_THAT(Seconds(group(2).latest), DoubleNear(110 + 1.5 * 29 * 5.5, 0.01));
  // a arrives and waits for b; both are one version.
  EXPECT_THAT(Of<Compute>(DeliverAt(118, kA)), IsEmpty());
  EXPECT_THAT(f.participant(kA).open, IsEmpty());
  ASSERT_THAT(f.run().versions, SizeIs(4));
  EXPECT_THAT(Of<Compute>(DeliverAt(122, kB)), SizeIs(1));
  ASSERT_THAT(f.run().versions, SizeIs(5));
  EXPECT_THAT(f.run().versions[4].contributions, SizeIs(2));
  // Paces: a .1·1 + .9·.98; b .1·2 + .9·82/40.
  EXPECT_THAT(*f.participant(kA).seconds_per_step, DoubleNear(0.982, 1e-4));
  EXPECT_THAT(*f.participant(kB).seconds_per_step, DoubleNear(2.045, 1e-4));
  // Both have their next grant: until c's expected time, 269.5 s, are 147.5 s: a could make 150
  // steps, too many. It opens a group at c's latest and 100 of its steps more: more than 100 steps
  // again, so 100. b: 72 steps with c, 48 with a: c.
  EXPECT_EQ(StepsOf(kA), 100u);
  EXPECT_EQ(StepsOf(kB), 72u);
  EXPECT_THAT(group(2).awaited, ElementsAre(kB, kC));
  EXPECT_THAT(group(3).awaited, ElementsAre(kA));
}

TEST_F(Compass, GoesOnWithoutWhoIsLate) {
  DeliverAt(20, kA);
  DeliverAt(40, kB);
  DeliverAt(118, kA);
  const Timer latest = {.run = f.run_id, .kind = Timer::Kind::kGroupLatest, .number = 1};
  ASSERT_TRUE(f.run().timers.contains(latest));
  // A restart of the aggregator says the timer again.
  EXPECT_THAT(Of<SetTimer>(f.Step(Started{})), SizeIs(1));
  EXPECT_THAT(Of<Compute>(StepAt(170, TimerFired{latest})), SizeIs(1));
  EXPECT_THAT(f.run().versions.back().contributions, SizeIs(1));
  EXPECT_FALSE(f.run().groups.contains(1));
  EXPECT_FALSE(f.participant(kB).group.has_value());
  for (const SiteId& site : f.sites) f.Attach(site);
  // It is folded as it comes, with its staleness.
  const Version before = f.run().current();
  DeliverAt(200, kB);
  EXPECT_EQ(f.run().current(), before.next());
  EXPECT_TRUE(f.participant(kB).group.has_value());
}

TEST_F(Compass, WaitsForNobodyWhoLeftOrWasRefused) {
  DeliverAt(20, kA);
  DeliverAt(40, kB);
  DeliverAt(118, kA);
  UpdateStaged bad = f.Update(kB);
  bad.values = UpdateStaged::Values::kNotFinite;
  EXPECT_THAT(Of<Compute>(StepAt(119, bad)), SizeIs(1));  // a's.
  EXPECT_THAT(f.participant(kB).open, SizeIs(1));
  DeliverAt(130, kC);
  ASSERT_TRUE(f.participant(kC).group.has_value());
  f.Decide(kC, RunDecided::Answer::kRefused);
  for (const auto& [number, group] : f.run().groups) EXPECT_FALSE(group.awaited.contains(kC));
}

TEST_F(Compass, WhatWaitsInAGroupWhenTheRunStopsIsNotIncluded) {
  DeliverAt(20, kA);
  DeliverAt(40, kB);
  DeliverAt(118, kA);
  const std::vector<SendReceipt> receipts = Of<SendReceipt>(f.Step(StopRequested{f.run_id, "me"}));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].site, kA);
  EXPECT_EQ(receipts[0].kind, v1::Receipt::NOT_INCLUDED);
  EXPECT_THAT(f.run().groups, IsEmpty());
}

TEST(CompassOverTime, SitesOfUnequalPaceArriveTogether) {
  PacedFederation federation(MakePlan({.aggregation = "preset: FEDCOMPASS",
                                       .config = "data { split { validation: 0 } }",
                                       .versions_max = 1000}),
                             {{10, 4}, {10, 1}, {10, 1.3}, {10, 2}});
  ASSERT_TRUE(federation.RunTo(Version(60)));
  // The three fast ones are a group of 100, 76 and 50 steps. Of four versions one has the slow site
  // too, whose 100 steps take four times as long, and the one before it has two sites: the third
  // has gone to meet the slow one.
  size_t three = 0;
  size_t whole = 0;
  for (size_t v = 20; v <= 60; ++v) {
    const auto& contributions = federation.run().versions[v].contributions;
    std::set<SiteId> sites;
    for (const Contribution& entry : contributions) sites.insert(entry.site);
    three += sites.size() >= 3 ? 1 : 0;
    whole += sites.size() == 4 ? 1 : 0;
  }
  EXPECT_EQ(three, 31u);  // Of 41.
  EXPECT_EQ(whole, 10u);
  for (int site = 0; site < 4; ++site) {
    for (const auto& [id, task] : federation.participant(site).tasks) {
      EXPECT_GE(task.local_steps, 20u);
      EXPECT_LE(task.local_steps, 100u);
    }
  }
  EXPECT_TRUE(federation.ReplaysAlike());
  // One that is gone holds up nobody for longer than its group's latest time.
  federation.Silence(0);
  EXPECT_TRUE(federation.RunTo(Version(120)));
}

}  // namespace
}  // namespace consilium::federation
