// Sites that come, go and are copied: leases, fencing, and what is said again at attach.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aggregator/core/engine.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

const SiteId kA("a");
const SiteId kB("b");

SiteAttached Attach(const SiteId& site, uint64_t incarnation, uint64_t presented, uint64_t next) {
  SiteAttached attach;
  attach.site = site;
  attach.incarnation = Incarnation(incarnation);
  attach.lease_presented_hash = TestFederation::Lease(site, presented);
  attach.lease_next_hash = TestFederation::Lease(site, next);
  return attach;
}

v1::Reason RefusalOf(const std::vector<Action>& actions) {
  EXPECT_THAT(Of<Welcome>(actions), IsEmpty());
  const auto refusals = Of<RefuseAttach>(actions);
  return refusals.size() == 1 ? refusals[0].reason : v1::REASON_UNSPECIFIED;
}

class Lease : public ::testing::Test {
 protected:
  Lease() { f_.Step(SiteAdded{kA, TestFederation::Lease(kA, 0)}); }
  std::vector<Action> Step(const Event& event) { return f_.Step(event); }
  TestFederation f_{{}};
};

TEST_F(Lease, RotatesWithEachAttach) {
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 1, 0, 1))), SizeIs(1));
  Step(LeaseConfirmed{kA, TestFederation::Lease(kA, 1)});
  Step(SiteLost{kA, Incarnation(1)});
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 2, 1, 2))), SizeIs(1));
}

TEST_F(Lease, IsStillGoodWhereTheWelcomeOrTheConfirmationWasLost) {
  Step(Attach(kA, 1, 0, 1));
  Step(SiteLost{kA, Incarnation(1)});
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 2, 0, 2))), SizeIs(1));  // Never heard Welcome.
  Step(SiteLost{kA, Incarnation(2)});
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 3, 2, 3))), SizeIs(1));  // Heard it; we not the rest.
  Step(SiteLost{kA, Incarnation(3)});
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 4, 0, 4))), v1::LEASE_FENCED);  // Dead since.
}

TEST_F(Lease, FencesTheCopyOfAStore) {
  Step(Attach(kA, 1, 0, 1));
  Step(LeaseConfirmed{kA, TestFederation::Lease(kA, 1)});
  // The copy was made before the site attached.
  const auto copy = Step(Attach(kA, 2, 0, 9));
  EXPECT_EQ(RefusalOf(copy), v1::LEASE_FENCED);
  EXPECT_THAT(Of<Alarm>(copy), SizeIs(1));
  // And one that was made now, while the original is there.
  const auto twin = Step(Attach(kA, 2, 1, 9));
  EXPECT_EQ(RefusalOf(twin), v1::LEASE_IN_USE);
  EXPECT_THAT(Of<Alarm>(twin), SizeIs(1));
  EXPECT_EQ(f_.engine.sites().at(kA).link, SiteState::Link::kAttached);
  EXPECT_EQ(f_.engine.sites().at(kA).incarnation, Incarnation(1));
  // The twin takes over when the original is gone; then the original is the copy.
  Step(SiteLost{kA, Incarnation(1)});
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 2, 1, 9))), SizeIs(1));
  Step(LeaseConfirmed{kA, TestFederation::Lease(kA, 9)});
  Step(SiteLost{kA, Incarnation(2)});
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 2, 1, 2))), v1::LEASE_FENCED);
}

TEST_F(Lease, ALateConfirmationChangesNothing) {
  Step(Attach(kA, 1, 0, 1));
  Step(SiteLost{kA, Incarnation(1)});
  Step(Attach(kA, 2, 0, 2));
  Step(LeaseConfirmed{kA, TestFederation::Lease(kA, 1)});
  EXPECT_EQ(f_.engine.sites().at(kA).lease_current, TestFederation::Lease(kA, 0));
}

TEST_F(Lease, AnOlderProcessIsFencedAndAnUnknownSiteRefused) {
  Step(Attach(kA, 5, 0, 1));
  Step(SiteLost{kA, Incarnation(5)});
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 4, 0, 2))), v1::INCARNATION_FENCED);
  EXPECT_EQ(RefusalOf(Step(Attach(kB, 1, 0, 1))), v1::SITE_UNKNOWN);
}

TEST_F(Lease, AStreamOfAnotherIncarnationEndsNothing) {
  Step(Attach(kA, 2, 0, 1));
  Step(SiteLost{kA, Incarnation(1)});
  EXPECT_EQ(f_.engine.sites().at(kA).link, SiteState::Link::kAttached);
}

TEST_F(Lease, AnotherTokenBeforeTheFirstAttachReplacesTheFirst) {
  Step(SiteAdded{kA, TestFederation::Lease(kA, 7)});
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 1, 0, 1))), v1::LEASE_FENCED);
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 1, 7, 8))), SizeIs(1));
}

TEST_F(Lease, ASiteThatJoinsAgainFencesEveryOtherCopy) {
  Step(Attach(kA, 9, 0, 1));
  Step(LeaseConfirmed{kA, TestFederation::Lease(kA, 1)});
  // The live stream is a copy's: it had attached first. The store that joins again was started less
  // often than it.
  const auto joined =
      Step(SiteAdded{kA, TestFederation::Lease(kA, 3), SiteAdded::Occasion::kAgain});
  ASSERT_THAT(Of<Detach>(joined), SizeIs(1));
  EXPECT_EQ(Of<Detach>(joined)[0].reason, v1::LEASE_FENCED);
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 10, 1, 11))), v1::LEASE_FENCED);
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 2, 3, 4))), SizeIs(1));
  // What the shell says of the stream that was ended comes late.
  Step(SiteLost{kA, Incarnation(9)});
  EXPECT_EQ(f_.engine.sites().at(kA).link, SiteState::Link::kAttached);
}

TEST_F(Lease, APendingLeaseDiesToo) {
  Step(Attach(kA, 1, 0, 1));
  Step(SiteLost{kA, Incarnation(1)});
  Step(SiteAdded{kA, TestFederation::Lease(kA, 3), SiteAdded::Occasion::kAgain});
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 2, 1, 2))), v1::LEASE_FENCED);
}

TEST_F(Lease, ARemovedSiteDoesNotJoinAgain) {
  Step(Attach(kA, 1, 0, 1));
  Step(SiteRemoved{kA});
  EXPECT_THAT(Of<Alarm>(Step(SiteAdded{kA, TestFederation::Lease(kA, 3)})), SizeIs(1));
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 2, 3, 4))), v1::SITE_REVOKED);
}

TEST_F(Lease, BeginsAnewWhereAnOperatorSaysSo) {
  const SiteAdded again{kA, TestFederation::Lease(kA, 7), SiteAdded::Occasion::kAgain};
  Step(Attach(kA, 5, 0, 1));
  Step(SiteLost{kA, Incarnation(5)});
  // An operator has to say so.
  EXPECT_THAT(Of<Alarm>(Step(SiteAdded{kA, TestFederation::Lease(kA, 7)})), SizeIs(1));
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 6, 7, 8))), v1::LEASE_FENCED);
  EXPECT_THAT(Of<Alarm>(Step(again)), IsEmpty());
  // Neither of the leases that it had is good any more, and an older store may have the new one.
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 6, 0, 8))), v1::LEASE_FENCED);
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 6, 1, 8))), v1::LEASE_FENCED);
  EXPECT_THAT(Of<Welcome>(Step(Attach(kA, 3, 7, 8))), SizeIs(1));
  Step(SiteLost{kA, Incarnation(3)});
  Step(SiteRemoved{kA});
  EXPECT_THAT(Of<Alarm>(Step(again)), SizeIs(1));
  EXPECT_EQ(RefusalOf(Step(Attach(kA, 9, 7, 9))), v1::SITE_REVOKED);
}

TEST(Attach, SaysEverythingAgain) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  const UpdateStaged update = f.Update(kA);
  f.Step(update);
  f.Step(SiteLost{kA, Incarnation(1)});
  f.Deliver(kB);
  EXPECT_THAT(Of<SendReceipt>(f.Answer()), SizeIs(2));  // The shell drops a's.
  const auto said = f.Attach(kA, {{f.run_id, update.task, update.update}});
  ASSERT_THAT(Of<SendReceipt>(said), SizeIs(1));
  EXPECT_EQ(Of<SendReceipt>(said)[0].kind, v1::Receipt::INCLUDED);
  EXPECT_THAT(Of<StartRun>(said), SizeIs(1));
  EXPECT_THAT(Of<OfferTask>(said), SizeIs(2));
  // Both versions lack its evaluation; the current one comes last.
  const auto models = Of<AnnounceModel>(said);
  ASSERT_THAT(models, SizeIs(2));
  EXPECT_EQ(models[0].version, Version(0));
  EXPECT_EQ(models[1].version, Version(1));
  EXPECT_EQ(models[1].evaluate, v1::VALIDATION);
}

// The acceptance was on its way while the site attached, so that it did not say that it waits for
// an end; the end went to the stream before.
TEST(Attach, SaysTheEndsOfTheNewestTasksThatTheSiteKnows) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDASYNC"}));
  const UpdateStaged update = f.Update(kA);
  f.Step(update);
  f.Step(SiteLost{kA, Incarnation(1)});
  SiteAttached early = Attach(kA, 2, 1, 2);
  early.runs = {{f.run_id, update.task}};
  EXPECT_THAT(Of<SendReceipt>(f.Step(early)), IsEmpty());  // There is no end yet.
  f.Step(SiteLost{kA, Incarnation(2)});
  f.Answer();  // The shell drops its end.
  SiteAttached attach = Attach(kA, 3, 2, 3);
  attach.runs = {{f.run_id, update.task}};
  const auto ends = Of<SendReceipt>(f.Step(attach));
  ASSERT_THAT(ends, SizeIs(1));
  EXPECT_EQ(ends[0].kind, v1::Receipt::INCLUDED);
  EXPECT_EQ(ends[0].task, update.task);
  // It has another store, which knows of no task.
  f.Step(SiteLost{kA, Incarnation(3)});
  SiteAttached anew = Attach(kA, 4, 3, 4);
  anew.runs = {{f.run_id, TaskId()}};
  EXPECT_THAT(Of<SendReceipt>(f.Step(anew)), IsEmpty());
}

TEST(Attach, OffersARunUntilItIsAnswered) {
  TestFederation f({10, 20});
  f.Step(RunSubmitted{f.run_id, MakePlan({.config = "data { standardise: FEDERATED }"})});
  f.Step(SiteLost{kA, Incarnation(1)});
  EXPECT_THAT(Of<OfferRun>(f.Attach(kA)), SizeIs(1));
  f.Decide(kA, RunDecided::Answer::kApproved);
  f.Step(SiteLost{kA, Incarnation(2)});
  EXPECT_THAT(Of<OfferRun>(f.Attach(kA)), SizeIs(1));  // Its statistics are missing.
  f.Decide(kB, RunDecided::Answer::kRefused);
  f.Step(SiteLost{kB, Incarnation(1)});
  EXPECT_THAT(Of<OfferRun>(f.Attach(kB)), IsEmpty());
}

TEST(Attach, RaisesAnAlarmWhereTheSiteKnowsMoreThanTheAggregator) {
  TestFederation f({10});
  f.StartRun(MakePlan({}));
  f.Step(SiteLost{kA, Incarnation(1)});
  const auto alarmed = f.Attach(kA, {{f.run_id, TaskId(1), Sha256Of("never seen")}});
  ASSERT_THAT(Of<Alarm>(alarmed), SizeIs(1));
  EXPECT_EQ(Of<Alarm>(alarmed)[0].reason, v1::TASK_CONFLICT);
  f.Step(SiteLost{kA, Incarnation(2)});
  SiteAttached attach = Attach(kA, 3, 2, 3);
  attach.runs = {{f.run_id, TaskId(77)}, {RunId("unknown"), TaskId(1)}};
  // One, however much it claims.
  const auto claimed = Of<Alarm>(f.Step(attach));
  ASSERT_THAT(claimed, SizeIs(1));
  EXPECT_EQ(claimed[0].reason, v1::TASK_UNKNOWN);
  EXPECT_THAT(claimed[0].message, ::testing::HasSubstr("and 1 such"));
}

TEST(Attach, TellsOfARunThatHasEnded) {
  TestFederation f({10});
  f.StartRun(MakePlan({.config = "data { split { validation: 0 test: 0 } }"}));
  f.Step(SiteLost{kA, Incarnation(1)});
  f.Step(StopRequested{f.run_id, "op"});
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  SiteAttached attach = Attach(kA, 2, 1, 2);
  attach.runs = {{f.run_id, TaskId(1)}};
  EXPECT_THAT(Of<EndRun>(f.Step(attach)), SizeIs(1));
}

TEST(Removal, TakesASiteOutOfItsRuns) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 3 } }"}));
  const UpdateStaged update = f.Update(kA);
  f.Step(update);
  const auto removed = f.Step(SiteRemoved{kA});
  EXPECT_THAT(Of<Detach>(removed), SizeIs(1));
  ASSERT_THAT(Of<SendReceipt>(removed), SizeIs(1));
  EXPECT_EQ(Of<SendReceipt>(removed)[0].kind, v1::Receipt::NOT_INCLUDED);
  EXPECT_THAT(f.participant(kA).open, IsEmpty());
  EXPECT_THAT(f.run().buffer, IsEmpty());
  EXPECT_EQ(RefusalOf(f.Step(Attach(kA, 2, 1, 2))), v1::SITE_REVOKED);
  const auto refused = Of<RefuseUpdate>(f.Step(update));
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].reason, v1::SITE_REVOKED);
  // The last one leaves.
  f.Step(SiteRemoved{kB});
  EXPECT_EQ(f.run().why_ended, "every site has left");
}

}  // namespace
}  // namespace consilium::federation
