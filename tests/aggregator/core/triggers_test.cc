// When a version is made, and who may train: the stale-synchronous bound, the interval and
// buckets.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SiteId kA("a");
const SiteId kB("b");
const SiteId kC("c");

std::vector<SiteId> Offered(const std::vector<Action>& actions) {
  std::vector<SiteId> sites;
  for (const OfferTask& offer : Of<OfferTask>(actions)) sites.push_back(offer.site);
  return sites;
}

// ---- Bounded

class Bounded : public ::testing::Test {
 protected:
  Bounded() {
    f.StartRun(MakePlan(
        {.aggregation = "preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 2 } }",
         .versions_max = 100}));
  }

  std::vector<SiteId> DeliverAndOffer(const SiteId& site) {
    const std::vector<SiteId> offered = Offered(f.Deliver(site));
    f.Answer();
    return offered;
  }

  TestFederation f{{10, 20, 30}};
};

TEST_F(Bounded, NobodyTrainsFurtherAheadThanTheBound) {
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));
  EXPECT_THAT(DeliverAndOffer(kA), IsEmpty());  // One more would be the third.
  EXPECT_EQ(f.run().current(), Version(1));     // Every update makes a version.
  EXPECT_THAT(DeliverAndOffer(kA), IsEmpty());
  EXPECT_THAT(f.participant(kA).open, IsEmpty());
  EXPECT_THAT(DeliverAndOffer(kB), IsEmpty());  // C has not delivered yet.
  // C was the slowest: each may go one further.
  EXPECT_THAT(DeliverAndOffer(kC), ElementsAre(kA, kB, kC));
  EXPECT_THAT(f.participant(kA).open, SizeIs(1));
}

TEST_F(Bounded, ARefusedUpdateIsAnAnswerToo) {
  for (const SiteId& site : {kA, kB}) DeliverAndOffer(site);
  UpdateStaged update = f.Update(kC);
  update.values = UpdateStaged::Values::kNotFinite;
  const std::vector<Action> actions = f.Step(update);
  EXPECT_THAT(Of<RefuseUpdate>(actions), SizeIs(1));
  EXPECT_THAT(Offered(actions), ElementsAre(kA, kB, kC));
}

TEST_F(Bounded, WhoLeavesHoldsUpNobodyAndComesBackLevel) {
  for (int i = 0; i < 2; ++i) {
    DeliverAndOffer(kA);
    DeliverAndOffer(kB);
  }
  EXPECT_THAT(f.participant(kA).open, IsEmpty());
  EXPECT_THAT(Offered(f.Decide(kC, RunDecided::Answer::kRefused)), ElementsAre(kA, kA, kB, kB));
  DeliverAndOffer(kA);
  DeliverAndOffer(kB);
  EXPECT_THAT(Offered(f.Decide(kC, RunDecided::Answer::kApproved)), ElementsAre(kC, kC));
  EXPECT_EQ(f.participant(kC).answered, 3u);
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));
}

// ---- Interval

class Interval : public ::testing::Test {
 protected:
  Interval() {
    f.StartRun(MakePlan({.aggregation = "preset: FEDAVG trigger { interval { interval_ms: 500 } }",
                         .versions_max = 100}));
  }

  Timer Current() const {
    return {.run = f.run_id, .kind = Timer::Kind::kInterval, .number = f.run().current().value()};
  }

  TestFederation f{{10, 30}};
};

TEST_F(Interval, FoldsWhatHasComeWhenItIsOver) {
  EXPECT_EQ(f.run().timers.at(Current()), f.now + absl::Milliseconds(500));
  f.Deliver(kA);
  f.Deliver(kB);
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), IsEmpty());
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));  // Nobody waits.
  EXPECT_THAT(Of<Compute>(f.Step(TimerFired{Current()})), SizeIs(1));
  f.Deliver(kB);  // Too late for it.
  f.Answer();
  ASSERT_THAT(f.run().versions.back().contributions, SizeIs(3));
  EXPECT_DOUBLE_EQ(f.run().versions.back().contributions[1].coefficient, 0.6);  // 30/50
  EXPECT_THAT(f.run().buffer, SizeIs(1));
  EXPECT_EQ(f.run().timers.at(Current()), f.now + absl::Milliseconds(500));
  EXPECT_THAT(Of<Compute>(f.Step(TimerFired{Current()})), SizeIs(1));
}

TEST_F(Interval, NobodyFillsAVersionAlone) {
  for (int i = 0; i < 10; ++i) f.Deliver(kA);
  EXPECT_THAT(f.participant(kA).open, IsEmpty());
  EXPECT_THAT(f.participant(kB).open, SizeIs(2));
  EXPECT_THAT(Offered(f.Step(TimerFired{Current()})), ElementsAre(kA, kA));
}

TEST_F(Interval, TakesTheNextWhereNothingHasCome) {
  EXPECT_THAT(f.Step(TimerFired{Current()}), IsEmpty());
  EXPECT_THAT(f.run().timers, IsEmpty());  // No timer fires for nothing.
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), SizeIs(1));
  f.Answer();
  EXPECT_THAT(f.run().timers, SizeIs(1));
  EXPECT_THAT(Of<Compute>(f.Deliver(kA)), IsEmpty());
}

// ---- Buckets

class Buckets : public ::testing::Test {
 protected:
  Buckets() {
    f.StartRun(MakePlan(
        {.aggregation = "preset: BASGD combine { buckets { buckets: 3 } }", .versions_max = 100}));
  }

  TestFederation f{{10, 20, 30}};
};

TEST_F(Buckets, OneSiteAloneFillsNoDisk) {
  int delivered = 0;
  while (delivered < 1000 && !f.participant(kA).open.empty()) {
    f.Deliver(kA);
    ++delivered;
  }
  EXPECT_EQ(delivered, 10);
  EXPECT_THAT(f.run().buffer, SizeIs(10));
  EXPECT_THAT(f.participant(kB).open, SizeIs(2));  // Who is waited for is not held up.
}

TEST_F(Buckets, WhoHadEnoughGoesOnWithTheNextVersion) {
  while (!f.participant(kA).open.empty()) f.Deliver(kA);
  EXPECT_THAT(Of<Compute>(f.Deliver(kB)), IsEmpty());
  const std::vector<Action> actions = f.Deliver(kC);
  EXPECT_THAT(Of<Compute>(actions), SizeIs(1));
  EXPECT_THAT(Offered(actions), ElementsAre(kC, kA, kA));
  f.Answer();
  EXPECT_THAT(f.run().versions.back().contributions, SizeIs(12));
}

}  // namespace
}  // namespace consilium::federation
