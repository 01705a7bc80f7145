// Rounds of all members, and the tries of those whose updates are refused. Rounds of some:
// partial_rounds_test.cc.

#include "aggregator/core/rounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/task_grants.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SiteId kA("a");
const SiteId kB("b");
const SiteId kC("c");

Timer RetryWait(const TestFederation& f) {
  return {.run = f.run_id, .kind = Timer::Kind::kRetryWait, .number = f.run().current().value()};
}

TEST(Barrier, WaitsForAllAndThenForTheDeadline) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { deadline_ms: 50 "
                                      "sites_min: 2 } }"}));
  EXPECT_THAT(Of<OfferTask>(f.Deliver(kA)), IsEmpty());  // One grant for each round.
  const Timer deadline = f.run().timers.begin()->first;
  f.Step(TimerFired{deadline});
  EXPECT_FALSE(f.run().pending.has_value());  // One is fewer than two.
  const UpdateStaged late = f.Update(kC);
  EXPECT_THAT(Of<Compute>(f.Deliver(kB)), SizeIs(1));
  const auto refused = Of<RefuseUpdate>(f.Step(late));
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].reason, v1::ROUND_CLOSED);
  const auto next = f.Answer();
  EXPECT_THAT(Of<OfferTask>(next), SizeIs(3));
  EXPECT_EQ(Of<OfferTask>(next)[0].base_min, Version(1));
}

TEST(Barrier, TriesARoundAgainOfWhichNothingCameThrough) {
  TestFederation f({10});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG"}));
  EXPECT_THAT(Of<OfferTask>(f.Refuse(kA)), SizeIs(1));
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), SizeIs(1));
}

TEST(Barrier, LetsARefusedSiteTryAgainWhereTheRestIsLate) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { deadline_ms: 50 } }"}));
  EXPECT_THAT(Of<OfferTask>(f.Refuse(kA)), IsEmpty());  // b may still come.
  EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{f.run().timers.begin()->first})), SizeIs(1));
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), SizeIs(1));
}

TEST(Barrier, MakesNoVersionOfFewerThanSitesMin) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 2 } }"}));
  f.Deliver(kB);
  EXPECT_THAT(Of<OfferTask>(f.Refuse(kA)), SizeIs(1));
  EXPECT_FALSE(f.run().pending.has_value());
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), SizeIs(1));
}

// ---- Tries of who is refused

// A run in which a round waits for a site whose updates are refused, as often as it is without a
// wait; what came of the last.
std::vector<Action> RefuseAtOnce(TestFederation& f, const SiteId& site) {
  for (size_t i = 1; i < kTriesAtOnceMax; ++i) {
    const auto actions = f.Refuse(site);
    EXPECT_THAT(Of<OfferTask>(actions), SizeIs(1)) << i;
    EXPECT_THAT(Of<Alarm>(actions), IsEmpty()) << i;
  }
  return f.Refuse(site);
}

TEST(Retries, AreFewAtOnceAndThenWait) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 2 } }"}));
  f.Deliver(kB);
  auto refused = RefuseAtOnce(f, kA);
  absl::Duration wait = kRetryWaitMin;
  for (int i = 0; i < 10; ++i, wait = std::min(2 * wait, kRetryWaitMax)) {
    EXPECT_THAT(Of<OfferTask>(refused), IsEmpty());
    const auto alarms = Of<Alarm>(refused);
    ASSERT_THAT(alarms, SizeIs(1));
    EXPECT_EQ(alarms[0].site, kA);
    EXPECT_EQ(alarms[0].reason, v1::NOT_FINITE);
    EXPECT_THAT(alarms[0].message, HasSubstr("asked again in " + absl::FormatDuration(wait)));
    const auto timers = Of<SetTimer>(refused);
    ASSERT_THAT(timers, SizeIs(1));
    EXPECT_EQ(timers[0].timer, RetryWait(f));
    EXPECT_EQ(timers[0].at, f.now + wait);
    // What else comes gives it no other try.
    EXPECT_THAT(Of<OfferTask>(f.Attach(kB)), IsEmpty());
    EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{RetryWait(f)})), SizeIs(1));
    if (i < 9) refused = f.Refuse(kA);
  }
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), SizeIs(1));
  EXPECT_THAT(f.run().timers, IsEmpty());
}

TEST(Retries, WaitForARoundsDeadlineWhereItIsLonger) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 2 "
                                      "deadline_ms: 3600000 } }"}));
  f.Deliver(kB);
  const auto timers = Of<SetTimer>(RefuseAtOnce(f, kA));
  ASSERT_THAT(timers, SizeIs(1));
  EXPECT_EQ(timers[0].at, f.now + absl::Hours(1));
}

TEST(Retries, AreCountedAnewInEachRound) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan(
      {.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 2 deadline_ms: 50 } }"}));
  for (int round = 0; round < 3; ++round) {
    f.Deliver(kB);
    f.Step(TimerFired{f.run().timers.begin()->first});
    for (size_t i = 1; i < kTriesAtOnceMax; ++i) {
      EXPECT_THAT(Of<Alarm>(f.Refuse(kA)), IsEmpty()) << round;
    }
    EXPECT_THAT(Of<Alarm>(f.Refuse(kA)), SizeIs(1)) << round;
    EXPECT_THAT(Of<Compute>(f.Deliver(kC)), SizeIs(1));  // The round is over without a.
    f.Answer();
  }
}

// Whatever happens meanwhile.
TEST(Retries, WaitOnce) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 3 } }"}));
  f.Deliver(kB);
  f.Deliver(kC);
  RefuseAtOnce(f, kA);
  const auto actions = f.Decide(kC, RunDecided::Answer::kRefused);
  EXPECT_THAT(Of<Alarm>(actions), IsEmpty());
  EXPECT_THAT(Of<SetTimer>(actions), IsEmpty());
  f.Step(StopRequested{f.run_id, "an operator"});
  const auto late = f.Step(TimerFired{RetryWait(f)});
  EXPECT_THAT(Of<Alarm>(late), IsEmpty());
  EXPECT_THAT(Of<SetTimer>(late), IsEmpty());
}

TEST(Retries, WaitNoLongerThanTheRound) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan(
      {.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 2 deadline_ms: 50 } }"}));
  f.Deliver(kB);
  EXPECT_THAT(Of<OfferTask>(f.Refuse(kA)), IsEmpty());  // c may still come.
  f.Step(TimerFired{f.run().timers.begin()->first});
  for (size_t i = 1; i < kTriesAtOnceMax; ++i) f.Refuse(kA);
  const Timer wait = RetryWait(f);
  EXPECT_TRUE(f.run().timers.contains(wait));
  EXPECT_THAT(Of<Compute>(f.Deliver(kC)), SizeIs(1));
  EXPECT_THAT(f.run().timers, IsEmpty());
  EXPECT_THAT(f.Step(TimerFired{wait}), IsEmpty());
}

// Where members are drawn, and all of them are refused.
TEST(Retries, OfADrawnRoundAreAsFew) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_per_round: 1 "
                                      "deadline_ms: 50 } }"}));
  size_t refused = 0;
  std::vector<Action> last;
  for (bool asked = true; asked && refused < 100;) {
    asked = false;
    for (const SiteId& site : f.sites) {
      if (f.participant(site).open.empty()) continue;
      last = f.Refuse(site);
      ++refused;
      asked = true;
    }
  }
  EXPECT_EQ(refused, 3 * kTriesAtOnceMax);
  EXPECT_THAT(Of<Alarm>(last), SizeIs(1));
  // The deadline brings nobody another try; the wait does.
  EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{f.run().timers.begin()->first})), IsEmpty());
  const auto again = Of<OfferTask>(f.Step(TimerFired{RetryWait(f)}));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_THAT(Of<Compute>(f.Deliver(again[0].site)), SizeIs(1));
}

// Who is drawn and silent keeps nobody else from another try.
TEST(Retries, OfADrawnRoundWaitForNobodyWhoIsLate) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_per_round: 2 "
                                      "sites_min: 2 deadline_ms: 50 } }"}));
  // One delivers, one is refused, and the third is silent.
  const std::vector<SiteId> drawn(f.run().awaited.begin(), f.run().awaited.end());
  ASSERT_THAT(drawn, SizeIs(2));
  const SiteId silent = *std::find_if(f.sites.begin(), f.sites.end(), [&](const SiteId& site) {
    return site != drawn[0] && site != drawn[1];
  });
  const SiteId refused = drawn[0];
  f.Deliver(drawn[1]);
  f.Refuse(refused);
  const Timer deadline = f.run().timers.begin()->first;
  ASSERT_FALSE(f.participant(silent).open.empty());
  f.Step(TimerFired{deadline});
  for (size_t i = 1; i < kTriesAtOnceMax; ++i) f.Refuse(refused);
  for (int wait = 0; wait < 3; ++wait) {
    f.Step(TimerFired{deadline});
    ASSERT_TRUE(f.run().timers.contains(RetryWait(f))) << wait;
    f.Step(TimerFired{RetryWait(f)});
    ASSERT_FALSE(f.participant(refused).open.empty()) << wait;
    if (wait < 2) f.Refuse(refused);
  }
  EXPECT_THAT(Of<Compute>(f.Deliver(refused)), SizeIs(1));
}

// Nor does one who joins and is slow, in a round of all.
TEST(Retries, WaitForNobodyWhoHasJoined) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 3 } }"}));
  f.Deliver(kB);
  f.Deliver(kC);
  RefuseAtOnce(f, kA);
  f.Decide(kB, RunDecided::Answer::kRefused);
  EXPECT_THAT(Of<OfferTask>(f.Decide(kB, RunDecided::Answer::kApproved)), SizeIs(1));
  const auto again = Of<OfferTask>(f.Step(TimerFired{RetryWait(f)}));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].site, kA);
}

// Each who is refused too often is named, whoever else waits already; and none comes back sooner by
// leaving.
TEST(Retries, NameEachSiteAndAreNotHadByLeaving) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { barrier { sites_min: 3 } }"}));
  f.Deliver(kC);
  std::map<SiteId, size_t> alarms;
  for (size_t i = 0; i < kTriesAtOnceMax; ++i) {
    for (const SiteId& site : {kA, kB}) {
      for (const Alarm& alarm : Of<Alarm>(f.Refuse(site))) ++alarms[alarm.site];
    }
  }
  EXPECT_EQ(alarms, (std::map<SiteId, size_t>{{kA, 1}, {kB, 1}}));
  f.Decide(kA, RunDecided::Answer::kRefused);
  EXPECT_THAT(Of<OfferTask>(f.Decide(kA, RunDecided::Answer::kApproved)), IsEmpty());
  EXPECT_THAT(Of<OfferTask>(f.Step(TimerFired{RetryWait(f)})), SizeIs(2));
  // Nor with a task in hand.
  f.Decide(kA, RunDecided::Answer::kRefused);
  EXPECT_THAT(Of<OfferTask>(f.Decide(kA, RunDecided::Answer::kApproved)), IsEmpty());
}

}  // namespace
}  // namespace consilium::federation
