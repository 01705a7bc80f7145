// Asynchronous runs in which only some of the members train at once (aggregation.concurrency).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/events.h"
#include "aggregator/core/site_links.h"
#include "aggregator/core/task_grants.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr uint32_t kVersionsMax = 100'000;

std::shared_ptr<const v1::RunPlan> PlanOf(int sites_max, uint64_t seed = 1,
                                          const std::string& rule =
                                              "FEDBUFF trigger { buffer { "
                                              "updates: 3 } }") {
  return MakePlan({.aggregation = absl::StrCat("preset: ", rule, " concurrency { sites_max: ",
                                               sites_max, " deadline_ms: 1000 }"),
                   .config = absl::StrCat("data { split { validation: 0 } } seed: ", seed),
                   .versions_max = kVersionsMax});
}

// Who has a task, in the order of the names.
std::vector<SiteId> Training(const TestFederation& f) {
  std::vector<SiteId> training;
  for (const SiteId& site : f.run().members) {
    if (!f.participant(site).open.empty()) training.push_back(site);
  }
  return training;
}

// Who holds a slot, the oldest first.
std::vector<SiteId> Holders(const TestFederation& f) {
  std::vector<SiteId> holders;
  for (const auto& [number, site] : f.run().slots) holders.push_back(site);
  return holders;
}

// Delivers, and answers for the version where there is one; whom the freed slots were drawn for.
std::vector<SiteId> DeliverAndDraw(TestFederation& f, const SiteId& site) {
  std::vector<SiteId> drawn;
  for (const OfferTask& offer : Of<OfferTask>(f.Deliver(site))) drawn.push_back(offer.site);
  if (f.run().pending.has_value()) {
    EXPECT_THAT(Of<OfferTask>(f.Answer()), IsEmpty());
  }
  return drawn;
}

// Whose turn came, `count` times; who has held a slot for longest delivers.
std::vector<SiteId> Turns(TestFederation& f, size_t count) {
  std::vector<SiteId> turns;
  while (turns.size() < count && !Holders(f).empty()) {
    for (const SiteId& site : DeliverAndDraw(f, Holders(f)[0])) turns.push_back(site);
  }
  EXPECT_EQ(turns.size(), count);
  return turns;
}

std::vector<Timer> SlotTimers(const TestFederation& f) {
  std::vector<Timer> timers;
  for (const auto& [timer, at] : f.run().timers) {
    if (timer.kind == Timer::Kind::kSlot) timers.push_back(timer);
  }
  return timers;
}

// When it comes.
std::vector<Action> PassDeadline(TestFederation& f) {
  const Timer timer = SlotTimers(f).at(0);
  f.now = f.run().timers.at(timer);
  return f.Step(TimerFired{timer});
}

void Lose(TestFederation& f, const SiteId& site) {
  f.Step(SiteLost{site, Incarnation(f.attaches.at(site))});
}

TEST(TrainingSlots, AreHeldBySoManyAtOnce) {
  for (const char* rule :
       {"FEDBUFF trigger { buffer { updates: 3 } }", "FEDASYNC", "CA2FL",
        "STALENESS_WEIGHTED_TABLE", "FEDYOGI trigger { interval { interval_ms: 5 } }",
        // More than may train at once.
        "FEDBUFF trigger { buffer { updates: 20 } }"}) {
    TestFederation f(std::vector<uint64_t>(8, 10));
    f.StartRun(PlanOf(3, 1, rule));
    // Offered, and not answered.
    const std::vector<SiteId> first = Training(f);
    std::multiset<SiteId> offered(first.begin(), first.end());
    for (int i = 0; i < 100; ++i) {
      ASSERT_THAT(offered, SizeIs(3)) << rule;
      EXPECT_THAT(std::set<SiteId>(offered.begin(), offered.end()), SizeIs(3)) << rule;
      const SiteId site = *std::next(offered.begin(), i % 3);
      offered.erase(site);
      for (const SiteId& drawn : DeliverAndDraw(f, site)) offered.insert(drawn);
      if (!f.run().timers.empty() && i % 10 == 9) {
        const Timer timer = f.run().timers.begin()->first;
        if (timer.kind == Timer::Kind::kInterval) f.Step(TimerFired{timer});
        if (f.run().pending.has_value()) f.Answer();
      }
    }
    EXPECT_GT(f.run().versions.size(), 4U) << rule;
  }
}

// Else a site would be told of a task of a run that it takes for one that has not begun.
TEST(TrainingSlots, AreDrawnWhenAllHaveHeardOfTheStart) {
  TestFederation f(std::vector<uint64_t>(8, 10));
  f.Step(RunSubmitted{f.run_id, PlanOf(3)});
  for (const SiteId& site : f.sites) f.Decide(site, RunDecided::Answer::kApproved);
  size_t started = 0;
  size_t offered = 0;
  for (const Action& action : f.Answer()) {
    if (std::holds_alternative<StartRun>(action)) ++started;
    if (!std::holds_alternative<OfferTask>(action)) continue;
    EXPECT_EQ(started, 8U);
    ++offered;
  }
  EXPECT_EQ(offered, 3U);
}

TEST(TrainingSlots, GoToEachAsOftenAsToTheOthers) {
  TestFederation f(std::vector<uint64_t>(8, 10));
  f.StartRun(PlanOf(3));
  constexpr size_t kTurns = 4800;
  std::map<SiteId, int> turns;
  std::map<std::pair<SiteId, SiteId>, int> follows;
  SiteId last;
  for (const SiteId& site : Turns(f, kTurns)) {
    ++turns[site];
    if (!last.empty()) ++follows[{last, site}];
    last = site;
  }
  EXPECT_THAT(turns, SizeIs(8));
  // Binomial with 4800 draws of probability 1/8 has a deviation of 23; who trains is not drawn, and
  // so the turns vary less.
  for (const auto& [site, times] : turns) EXPECT_NEAR(times, 600, 115) << site.value();
  // After one of eight each of the seven others, as likely as each other.
  EXPECT_THAT(follows, SizeIs(8 * 7));
  for (const auto& [pair, times] : follows) EXPECT_NEAR(times, 600.0 / 7, 46);
}

TEST(TrainingSlots, FollowFromTheSeed) {
  const auto turns = [](uint64_t seed) {
    TestFederation f(std::vector<uint64_t>(8, 10));
    f.StartRun(PlanOf(3, seed));
    return Turns(f, 40);
  };
  EXPECT_EQ(turns(1), turns(1));
  EXPECT_NE(turns(1), turns(2));
}

// Most of many are away, so that most draws miss, and some come to nobody.
TEST(TrainingSlots, AreDrawnAlikeWhereFewAreThere) {
  TestFederation f(std::vector<uint64_t>(26, 10));
  f.StartRun(PlanOf(1));
  for (int i = 2; i < 26; ++i) Lose(f, TestFederation::Site(i));
  if (Holders(f)[0] > TestFederation::Site(1)) f.Deliver(Holders(f)[0]);
  std::map<SiteId, int> turns;
  for (const SiteId& site : Turns(f, 6000)) ++turns[site];
  EXPECT_THAT(turns, SizeIs(2));
  // Binomial with a deviation of 39; three of them.
  for (const auto& [site, times] : turns) EXPECT_NEAR(times, 3000, 117) << site.value();
}

TEST(TrainingSlots, AreFreeWhenAnUpdateIsRefused) {
  TestFederation f(std::vector<uint64_t>(6, 10));
  f.StartRun(PlanOf(2));
  for (int i = 0; i < 20; ++i) {
    UpdateStaged bad = f.Update(Training(f).at(static_cast<size_t>(i % 2)));
    bad.norm = INFINITY;
    EXPECT_THAT(Of<OfferTask>(f.Step(bad)), SizeIs(1));
    EXPECT_THAT(Training(f), SizeIs(2));
  }
}

TEST(TrainingSlots, AreFreeWhenTheirHolderLeaves) {
  TestFederation f(std::vector<uint64_t>(5, 10));
  f.StartRun(PlanOf(2));
  const SiteId removed = Training(f).at(0);
  EXPECT_THAT(Of<OfferTask>(f.Step(SiteRemoved{removed})), SizeIs(1));
  EXPECT_THAT(Training(f), SizeIs(2));
  const SiteId withdrawn = Training(f).at(1);
  f.Decide(withdrawn, RunDecided::Answer::kRefused);
  EXPECT_THAT(Training(f), SizeIs(2));
  EXPECT_THAT(Training(f), Not(Contains(withdrawn)));
  // Who comes back waits as the others do.
  f.Decide(withdrawn, RunDecided::Answer::kApproved);
  EXPECT_THAT(Training(f), SizeIs(2));
}

TEST(TrainingSlots, AreLostByTheSilentAtTheirDeadline) {
  TestFederation f({10, 20, 30});
  f.StartRun(PlanOf(1));
  const SiteId silent = Training(f).at(0);
  const UpdateStaged late = f.Update(silent);
  const std::vector<OfferTask> offers = Of<OfferTask>(PassDeadline(f));
  ASSERT_THAT(offers, SizeIs(1));
  EXPECT_NE(offers[0].site, silent);
  // It has its task still, and no other; whoever else is there goes on.
  for (const SiteId& site : Turns(f, 30)) {
    EXPECT_NE(site, silent);
    EXPECT_THAT(f.participant(silent).open, SizeIs(1));
  }
  EXPECT_GT(f.run().current(), Version(5));
  // What it was late with counts, and takes nobody's slot away; then it is drawn as the others are.
  const SiteId holder = Holders(f).at(0);
  const std::vector<SendReceipt> receipts = Of<SendReceipt>(f.Step(late));
  ASSERT_FALSE(receipts.empty());
  EXPECT_EQ(receipts[0].kind, v1::Receipt::ACCEPTED);
  if (f.run().pending.has_value()) f.Answer();
  EXPECT_THAT(Training(f), ElementsAre(holder));
  EXPECT_THAT(Turns(f, 30), Contains(silent));
}

// Nobody answers, until one does.
TEST(TrainingSlots, WaitForWhoIsLeft) {
  TestFederation f({10, 20, 30});
  f.StartRun(PlanOf(1));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Training(f), SizeIs(i + 1));
    PassDeadline(f);
  }
  // All have a task, and time for it; there is no slot that a deadline could end.
  EXPECT_THAT(f.run().slots, IsEmpty());
  EXPECT_THAT(SlotTimers(f), IsEmpty());
  EXPECT_THAT(DeliverAndDraw(f, TestFederation::Site(1)), ElementsAre(TestFederation::Site(1)));
  EXPECT_THAT(f.run().slots, SizeIs(1));
}

TEST(TrainingSlots, HaveADeadlineEachAndOneTimer) {
  TestFederation f(std::vector<uint64_t>(6, 10));
  f.StartRun(PlanOf(2));
  const std::vector<SiteId> first = Training(f);
  ASSERT_THAT(SlotTimers(f), SizeIs(1));
  const absl::Time begin = f.participant(first[0]).granted_at;
  EXPECT_EQ(f.run().timers.at(SlotTimers(f)[0]), begin + absl::Seconds(1));
  // One of them delivers half a second later, and who follows is given a whole second.
  f.now = begin + absl::Milliseconds(499);
  const SiteId next = DeliverAndDraw(f, first[0]).at(0);
  ASSERT_THAT(SlotTimers(f), SizeIs(1));
  const std::vector<SetTimer> again = Of<SetTimer>(PassDeadline(f));
  const SiteId& silent = first[1];
  EXPECT_THAT(Holders(f), Not(Contains(silent)));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].at, f.participant(next).granted_at + absl::Seconds(1));
  EXPECT_EQ(Holders(f).at(0), next);
  PassDeadline(f);
  EXPECT_THAT(Holders(f), Not(Contains(next)));
  EXPECT_THAT(Holders(f), SizeIs(2));
  // One that comes again, or is no timer, ends nothing.
  const auto slots = f.run().slots;
  f.Step(TimerFired{{.run = f.run_id, .kind = Timer::Kind::kSlot, .number = 1}});
  f.Step(TimerFired{{.run = f.run_id, .kind = Timer::Kind::kSlot, .number = 99}});
  EXPECT_EQ(f.run().slots, slots);
}

TEST(TrainingSlots, AreForThoseWhoAreConnected) {
  TestFederation f(std::vector<uint64_t>(5, 10));
  f.StartRun(PlanOf(2));
  const SiteId a = TestFederation::Site(0);
  const SiteId c = TestFederation::Site(2);
  for (const SiteId& site : {a, c}) Lose(f, site);
  Turns(f, 4);  // Who had a slot before has delivered.
  for (const SiteId& site : Turns(f, 60)) {
    EXPECT_NE(site, a);
    EXPECT_NE(site, c);
  }
  // A slot that nobody can take waits for who comes.
  for (const SiteId& site : f.sites) Lose(f, site);
  const std::vector<SiteId> holders = Training(f);
  for (const SiteId& site : holders) EXPECT_THAT(DeliverAndDraw(f, site), IsEmpty());
  EXPECT_THAT(Training(f), IsEmpty());
  const std::vector<OfferTask> offers = Of<OfferTask>(f.Attach(c));
  ASSERT_THAT(offers, SizeIs(1));
  EXPECT_EQ(offers[0].site, c);
  // Who holds one and comes back is told of it again, and holds one.
  Lose(f, c);
  EXPECT_THAT(Of<OfferTask>(f.Attach(c)), SizeIs(1));
  f.Attach(a);
  EXPECT_THAT(Training(f), ElementsAre(a, c));
  f.Attach(TestFederation::Site(1));
  EXPECT_THAT(Training(f), ElementsAre(a, c));
}

// Whoever looks finds a member for a slot here: no events come to that, but so it is seen who
// looks.
TEST(TrainingSlots, AreLookedAtWhenAMemberAttaches) {
  TestFederation f(std::vector<uint64_t>(3, 10));
  f.StartRun(PlanOf(2));
  const SiteId stranger("stranger");
  Federation federation;
  federation.runs[f.run_id] = f.run();
  for (const SiteId& site : f.sites) federation.sites[site].link = SiteState::Link::kAttached;
  federation.sites[stranger].lease_current = TestFederation::Lease(stranger, 0);
  std::vector<Action> actions;
  StepContext step{federation, actions};
  const SiteId holder = Holders(f)[0];
  WithdrawTasks(step, federation.runs[f.run_id], holder, v1::RUN_ENDED);
  SiteAttached attached;
  attached.site = stranger;
  attached.lease_presented_hash = TestFederation::Lease(stranger, 0);
  OnSiteAttached(step, attached);
  ASSERT_THAT(Of<Welcome>(actions), SizeIs(1));
  EXPECT_THAT(Of<OfferTask>(actions), IsEmpty());
  attached.site = holder;
  federation.sites[holder].link = SiteState::Link::kLost;
  federation.sites[holder].lease_current = TestFederation::Lease(stranger, 0);
  OnSiteAttached(step, attached);
  ASSERT_THAT(Of<Welcome>(actions), SizeIs(2));
  EXPECT_THAT(Of<OfferTask>(actions), SizeIs(1));
}

TEST(TrainingSlots, AreOfAllWhereThereAreMoreThanMembers) {
  TestFederation f({10, 20, 30});
  f.StartRun(PlanOf(9));
  for (int i = 0; i < 12; ++i) {
    EXPECT_THAT(Training(f), SizeIs(3));
    const SiteId site = TestFederation::Site(i % 3);
    EXPECT_THAT(DeliverAndDraw(f, site), ElementsAre(site));
  }
}

// A site whose updates all wait for the interval's end is given no more of them, by a slot either.
TEST(TrainingSlots, AreNotForThoseWhoMayHaveNoTask) {
  TestFederation f({10, 20});
  f.StartRun(PlanOf(1, 1, "FEDYOGI trigger { interval { interval_ms: 100000 } }"));
  int delivered = 0;
  while (!Training(f).empty() && delivered < 100) {
    f.Deliver(Training(f).at(0));
    if (f.run().pending.has_value()) f.Answer();
    ++delivered;
  }
  EXPECT_EQ(delivered, 20);
  f.Step(TimerFired{{.run = f.run_id, .kind = Timer::Kind::kInterval, .number = 0}});
  EXPECT_THAT(Training(f), SizeIs(1));
}

// With a bound on who is ahead slots stay free until the slowest have come.
TEST(TrainingSlots, AreNotForThoseWhoAreAhead) {
  TestFederation f(std::vector<uint64_t>(5, 10));
  f.StartRun(PlanOf(2, 1, "STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 1 } }"));
  std::map<SiteId, int> delivered;
  for (int i = 1; i <= 60; ++i) {
    ASSERT_THAT(Holders(f), Not(IsEmpty()));
    EXPECT_LE(Holders(f).size(), 2U);
    const SiteId site = Holders(f)[0];
    ++delivered[site];
    DeliverAndDraw(f, site);
    for (const auto& [other, times] : delivered) EXPECT_LE(times, (i + 4) / 5) << other.value();
  }
  for (const auto& [site, times] : delivered) EXPECT_EQ(times, 12) << site.value();
}

TEST(TrainingSlots, AreTheSameAfterARestart) {
  TestFederation f(std::vector<uint64_t>(8, 10));
  f.StartRun(PlanOf(3));
  Turns(f, 17);
  PassDeadline(f);
  Turns(f, 5);
  FederationEngine again;
  for (const JournalledEvent& input : f.journal) {
    const auto bytes = SerializeJournalEntry(input);
    v1::JournalEntry entry;
    ASSERT_TRUE(bytes.ok() && entry.ParseFromString(*bytes));
    const auto read = DecodeJournalEntry(std::move(entry));
    ASSERT_TRUE(read.ok()) << read.status();
    again.Step(read->now, read->event);
  }
  EXPECT_EQ(again.runs().at(f.run_id).slots, f.run().slots);
  EXPECT_EQ(again.StateDigest(), f.engine.StateDigest());
  // The deadline is set again; nobody is drawn before somebody is there.
  const std::vector<Action> started = again.Step(f.now, Started{});
  ASSERT_THAT(Of<SetTimer>(started), SizeIs(1));
  EXPECT_EQ(Of<SetTimer>(started)[0].timer.kind, Timer::Kind::kSlot);
  EXPECT_THAT(Of<OfferTask>(started), IsEmpty());
  EXPECT_EQ(again.runs().at(f.run_id).slots, f.run().slots);
}

TEST(TrainingSlots, EndWithTheRun) {
  TestFederation f({10, 20, 30});
  f.StartRun(PlanOf(2));
  f.Step(StopRequested{f.run_id, "somebody"});
  EXPECT_THAT(f.run().slots, IsEmpty());
  EXPECT_THAT(Training(f), IsEmpty());
  EXPECT_THAT(SlotTimers(f), IsEmpty());
}

}  // namespace
}  // namespace consilium::federation
