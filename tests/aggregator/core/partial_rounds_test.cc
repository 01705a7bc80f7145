// Rounds in which only some of the members train (trigger.barrier.sites_per_round).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/events.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::SizeIs;

constexpr uint32_t kVersionsMax = 500;

std::shared_ptr<const v1::RunPlan> PlanOf(int sites_per_round, uint64_t seed = 1,
                                          const std::string& barrier = "") {
  return MakePlan({.aggregation = absl::StrCat(
                       "preset: FEDAVG trigger { barrier { deadline_ms: 1000 sites_per_round: ",
                       sites_per_round, " ", barrier, " } }"),
                   .config = absl::StrCat("data { split { validation: 0 } } seed: ", seed),
                   .versions_max = kVersionsMax});
}

std::set<SiteId> Training(const TestFederation& f) {
  std::set<SiteId> training;
  for (const SiteId& site : f.run().members) {
    if (!f.participant(site).open.empty()) training.insert(site);
  }
  return training;
}

// Who trained in each round.
std::vector<std::set<SiteId>> Rounds(TestFederation& f, size_t count) {
  std::vector<std::set<SiteId>> rounds;
  for (size_t i = 0; i < count; ++i) {
    rounds.push_back(Training(f));
    for (const SiteId& site : rounds.back()) f.Deliver(site);
    f.Answer();
  }
  return rounds;
}

TEST(PartialRounds, AreOfSoManyDrawnAnewEachAsOftenAsTheOthers) {
  TestFederation f(std::vector<uint64_t>(8, 10));
  f.StartRun(PlanOf(3));
  constexpr size_t kRounds = 400;
  std::map<SiteId, int> trained;
  std::map<std::set<SiteId>, int> together;
  for (const std::set<SiteId>& round : Rounds(f, kRounds)) {
    ASSERT_THAT(round, SizeIs(3));
    for (const SiteId& site : round) ++trained[site];
    ++together[round];
  }
  // Binomial with 400 draws of probability 3/8: deviation 9.7; five of them.
  for (const auto& [site, times] : trained) EXPECT_NEAR(times, 150, 48) << site.value();
  EXPECT_THAT(trained, SizeIs(8));
  EXPECT_THAT(together, SizeIs(56));  // Each of 8 over 3; one is missed with probability 4 %.
}

TEST(PartialRounds, FollowFromTheSeed) {
  const auto rounds = [](uint64_t seed) {
    TestFederation f(std::vector<uint64_t>(8, 10));
    f.StartRun(PlanOf(3, seed));
    return Rounds(f, 20);
  };
  EXPECT_EQ(rounds(1), rounds(1));
  EXPECT_NE(rounds(1), rounds(2));
}

TEST(PartialRounds, WeighThoseWhoTrained) {
  TestFederation f({10, 20, 30, 40});
  f.StartRun(PlanOf(2));
  const std::set<SiteId> round = Rounds(f, 1)[0];
  double examples = 0;
  for (const SiteId& site : round) examples += static_cast<double>(f.examples.at(site));
  const auto& contributions = f.run().versions.at(1).contributions;
  ASSERT_THAT(contributions, SizeIs(2));
  for (const Contribution& entry : contributions) {
    EXPECT_NEAR(entry.coefficient, static_cast<double>(f.examples.at(entry.site)) / examples,
                1e-12);
  }
}

TEST(PartialRounds, AreOfThoseWhoAreConnectedWhereTheyAreEnough) {
  TestFederation f(std::vector<uint64_t>(5, 10));
  f.StartRun(PlanOf(2));
  for (const int away : {0, 2}) {
    const SiteId site = TestFederation::Site(away);
    f.Step(SiteLost{site, Incarnation(1)});
  }
  Rounds(f, 1);  // Was drawn before they went.
  for (const std::set<SiteId>& round : Rounds(f, 30)) {
    EXPECT_FALSE(round.contains(TestFederation::Site(0)));
    EXPECT_FALSE(round.contains(TestFederation::Site(2)));
  }
  f.Step(SiteLost{TestFederation::Site(1), Incarnation(1)});
  f.Step(SiteLost{TestFederation::Site(3), Incarnation(1)});
  Rounds(f, 1);
  for (const std::set<SiteId>& round : Rounds(f, 30)) {
    EXPECT_THAT(round, SizeIs(2));
    EXPECT_TRUE(round.contains(TestFederation::Site(4)));
  }
}

TEST(PartialRounds, ReplaceWhoLeaves) {
  TestFederation f(std::vector<uint64_t>(5, 10));
  f.StartRun(PlanOf(2));
  const std::set<SiteId> round = Training(f);
  ASSERT_THAT(round, SizeIs(2));
  f.Deliver(*round.begin());
  f.Step(SiteRemoved{*round.rbegin()});
  const std::set<SiteId> now = Training(f);
  ASSERT_THAT(now, SizeIs(1));
  EXPECT_FALSE(round.contains(*now.begin()));
  EXPECT_THAT(Of<Compute>(f.Deliver(*now.begin())), SizeIs(1));
}

TEST(PartialRounds, StayAsLargeAsTheyAreWhereASiteJoins) {
  TestFederation late({10, 10, 10});
  late.Step(RunSubmitted{
      late.run_id,
      MakePlan({.aggregation =
                    "preset: FEDAVG trigger { barrier { sites_per_round: 1 deadline_ms: 1000 } }",
                .config = "participation { start_deadline_ms: 50 }"})});
  late.Decide(TestFederation::Site(0), RunDecided::Answer::kApproved);
  late.Step(TimerFired{late.run().timers.begin()->first});
  late.Answer();
  ASSERT_EQ(late.run().phase, RunPhase::kRunning);
  ASSERT_THAT(Training(late), SizeIs(1));
  late.Decide(TestFederation::Site(1), RunDecided::Answer::kApproved);
  EXPECT_THAT(Training(late), SizeIs(1));
}

TEST(PartialRounds, WithMoreThanThereAreAreOfAll) {
  TestFederation f({10, 20, 30});
  f.StartRun(PlanOf(9));
  for (const std::set<SiteId>& round : Rounds(f, 5)) EXPECT_THAT(round, SizeIs(3));
}

void PassDeadline(TestFederation& f) { f.Step(TimerFired{f.run().timers.begin()->first}); }

TEST(PartialRounds, ReplaceWhoIsRefused) {
  TestFederation f(std::vector<uint64_t>(6, 10));
  f.StartRun(PlanOf(2));
  std::set<SiteId> asked;
  for (int i = 0; i < 3; ++i) {
    const std::set<SiteId> round = Training(f);
    ASSERT_THAT(round, SizeIs(2));
    for (const SiteId& site : round) {
      EXPECT_TRUE(asked.insert(site).second) << site.value() << " is asked twice";
      f.Refuse(site);
    }
  }
  // All six were refused, and some of them may try again.
  EXPECT_THAT(Training(f), SizeIs(2));
}

TEST(PartialRounds, AreNoVersionOfFewerThanSitesMin) {
  TestFederation f(std::vector<uint64_t>(3, 10));
  f.StartRun(PlanOf(2, 1, "sites_min: 2"));
  const std::set<SiteId> round = Training(f);
  f.Deliver(*round.begin());
  f.Refuse(*round.rbegin());
  // The third takes its place; and where it is refused, too, both may try again.
  const std::set<SiteId> third = Training(f);
  ASSERT_THAT(third, SizeIs(1));
  EXPECT_FALSE(round.contains(*third.begin()));
  f.Refuse(*third.begin());
  EXPECT_FALSE(f.run().pending.has_value());
  const std::set<SiteId> again = Training(f);
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_FALSE(again.contains(*round.begin()));
  EXPECT_THAT(Of<Compute>(f.Deliver(*again.begin())), SizeIs(1));
}

TEST(PartialRounds, AreOfFewerThanSitesMinWhereThereAreNoMoreMembers) {
  TestFederation f(std::vector<uint64_t>(2, 10));
  f.StartRun(PlanOf(2, 1, "sites_min: 2"));
  f.Deliver(f.sites[0]);
  f.Step(SiteRemoved{f.sites[1]});
  EXPECT_TRUE(f.run().pending.has_value());
}

TEST(PartialRounds, ReplaceWhoIsSilent) {
  for (const int drawn : {1, 2}) {
    TestFederation f(std::vector<uint64_t>(5, 10));
    f.StartRun(PlanOf(drawn, 1, drawn == 2 ? "sites_min: 2" : ""));
    const std::set<SiteId> silent = Training(f);
    const UpdateStaged late = f.Update(*silent.begin());
    if (drawn == 2) f.Deliver(*silent.rbegin());
    EXPECT_THAT(Training(f), SizeIs(1));
    PassDeadline(f);
    std::set<SiteId> others = Training(f);
    ASSERT_THAT(others, SizeIs(2));  // Who is late trains on.
    EXPECT_EQ(others.erase(*silent.begin()), 1u);
    EXPECT_FALSE(silent.contains(*others.begin()));
    EXPECT_THAT(Of<Compute>(f.Deliver(*others.begin())), SizeIs(1));
    const auto refused = Of<RefuseUpdate>(f.Step(late));  // The round has gone on without it.
    ASSERT_THAT(refused, SizeIs(1));
    EXPECT_EQ(refused[0].reason, v1::ROUND_CLOSED);
    EXPECT_THAT(f.run().buffer, SizeIs(0));
  }
}

// A deadline that is shorter than a task: the first that end make the round.
TEST(PartialRounds, AreOfWhoeverAnswersFirst) {
  TestFederation f(std::vector<uint64_t>(5, 10));
  f.StartRun(PlanOf(2, 1, "sites_min: 2"));
  const std::set<SiteId> first = Training(f);
  PassDeadline(f);
  PassDeadline(f);
  EXPECT_THAT(Training(f), SizeIs(5));
  PassDeadline(f);  // There is nobody else.
  EXPECT_THAT(Training(f), SizeIs(5));
  for (const SiteId& site : first) f.Deliver(site);
  ASSERT_TRUE(f.run().pending.has_value());
  EXPECT_THAT(Training(f), SizeIs(0));
  f.Answer();
  const auto& contributions = f.run().versions.at(1).contributions;
  ASSERT_THAT(contributions, SizeIs(2));
  for (const Contribution& part : contributions) EXPECT_TRUE(first.contains(part.site));
  EXPECT_THAT(Training(f), SizeIs(2));
}

TEST(PartialRounds, GoOnWithWhoComesBackAfterTheDeadline) {
  TestFederation f({10, 20});
  f.StartRun(PlanOf(1));
  for (const SiteId& site : f.sites) f.Step(SiteLost{site, Incarnation(1)});
  const SiteId silent = *Training(f).begin();
  const SiteId back = f.sites[silent == f.sites[0] ? 1 : 0];
  PassDeadline(f);
  f.Attach(back);
  PassDeadline(f);
  EXPECT_TRUE(f.run().awaited.contains(back));
  EXPECT_THAT(Of<Compute>(f.Deliver(back)), SizeIs(1));
}

TEST(PartialRounds, WaitForTheSilentWhereThereIsNobodyElse) {
  TestFederation f({10, 20});
  f.StartRun(PlanOf(2));
  for (int i = 0; i < 3; ++i) {
    if (!f.run().timers.empty()) PassDeadline(f);
    EXPECT_THAT(Training(f), SizeIs(2));
  }
  f.Deliver(TestFederation::Site(0));
  PassDeadline(f);
  EXPECT_TRUE(f.run().pending.has_value());
}

// As after a restart, before anybody is back.
TEST(PartialRounds, DrawOthersWhereNobodyWasThereAtFirst) {
  TestFederation f(std::vector<uint64_t>(4, 10));
  f.StartRun(PlanOf(1));
  f.Deliver(*Training(f).begin());
  for (const SiteId& site : f.sites) f.Step(SiteLost{site, Incarnation(1)});
  f.Answer();
  const std::set<SiteId> away = Training(f);
  ASSERT_THAT(away, SizeIs(1));
  for (const SiteId& site : f.sites) {
    if (!away.contains(site)) f.Attach(site);
  }
  PassDeadline(f);
  const std::set<SiteId> others = f.run().awaited;
  ASSERT_THAT(others, SizeIs(1));
  EXPECT_NE(others, away);
  EXPECT_THAT(Of<Compute>(f.Deliver(*others.begin())), SizeIs(1));
}

// What was refused in an earlier round is no reason to train in this one.
TEST(PartialRounds, LetOnlyTheirOwnRefusedTryAgain) {
  TestFederation f(std::vector<uint64_t>(3, 10));
  f.StartRun(PlanOf(2));
  for (int i = 0; i < 20; ++i) {
    const std::set<SiteId> round = Training(f);
    f.Refuse(*round.begin());
    EXPECT_THAT(Training(f), SizeIs(1));
    f.Deliver(*round.rbegin());
    f.Answer();
  }
  const std::set<SiteId> round = Training(f);
  for (const SiteId& site : round) f.Refuse(site);
  // The one who had not been asked.
  EXPECT_THAT(Training(f), SizeIs(1));
  EXPECT_FALSE(round.contains(*Training(f).begin()));
}

}  // namespace
}  // namespace consilium::federation
