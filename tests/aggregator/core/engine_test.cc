// The lifecycle, one rule of docs/adr/0001-lifecycle.md at a time.

#include "aggregator/core/engine.h"

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

std::vector<SendReceipt> Receipts(const std::vector<Action>& actions, v1::Receipt::Kind kind) {
  std::vector<SendReceipt> out;
  for (const SendReceipt& receipt : Of<SendReceipt>(actions)) {
    if (receipt.kind == kind) out.push_back(receipt);
  }
  return out;
}

TEST(Engine, RunsFromTheOfferToItsEnd) {
  TestFederation f({10, 20});
  const auto offered = f.Step(RunSubmitted{f.run_id, MakePlan({.versions_max = 1})});
  ASSERT_THAT(Of<OfferRun>(offered), SizeIs(2));
  EXPECT_THAT(Of<DrawInitialModel>(f.Decide(kA, RunDecided::Answer::kApproved)), IsEmpty());
  EXPECT_THAT(Of<DrawInitialModel>(f.Decide(kB, RunDecided::Answer::kApproved)), SizeIs(1));
  const auto started = f.Answer();
  EXPECT_THAT(Of<StartRun>(started), SizeIs(2));
  EXPECT_THAT(Of<OfferTask>(started), SizeIs(4));  // Two credits each.
  ASSERT_THAT(Of<AnnounceModel>(started), SizeIs(2));
  EXPECT_EQ(Of<AnnounceModel>(started)[0].evaluate, v1::VALIDATION);

  const auto first = f.Deliver(kA);
  EXPECT_THAT(Receipts(first, v1::Receipt::ACCEPTED), SizeIs(1));
  EXPECT_THAT(Of<OfferTask>(first), SizeIs(1));
  EXPECT_THAT(Of<Compute>(first), IsEmpty());
  EXPECT_THAT(Of<Compute>(f.Deliver(kB)), SizeIs(1));
  // Not folded any more: ends NOT_INCLUDED.
  f.Deliver(kA);
  const auto committed = f.Answer();
  EXPECT_THAT(Receipts(committed, v1::Receipt::INCLUDED), SizeIs(2));
  EXPECT_THAT(Receipts(committed, v1::Receipt::NOT_INCLUDED), SizeIs(1));
  EXPECT_EQ(f.run().phase, RunPhase::kClosingValidation);
  EXPECT_THAT(Of<OfferTask>(committed), IsEmpty());

  for (const SiteId& site : f.sites) f.Evaluate(site, Version(0), v1::VALIDATION, 0.2);
  f.Evaluate(kA, Version(1), v1::VALIDATION, 0.3);
  const auto chosen = f.Evaluate(kB, Version(1), v1::VALIDATION, 0.3);
  EXPECT_EQ(f.run().phase, RunPhase::kClosingTest);
  EXPECT_EQ(f.run().result, Version(0));
  ASSERT_THAT(Of<AnnounceModel>(chosen), SizeIs(2));
  EXPECT_EQ(Of<AnnounceModel>(chosen)[0].evaluate, v1::TEST);
  f.Evaluate(kA, Version(0), v1::TEST, 0.2);
  const auto ended = f.Evaluate(kB, Version(0), v1::TEST, 0.2);
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  ASSERT_THAT(Of<EndRun>(ended), SizeIs(2));
  EXPECT_EQ(Of<EndRun>(ended)[0].result, Version(0));
  EXPECT_EQ(Of<EndRun>(ended)[0].last, Version(1));
}

}  // namespace
}  // namespace consilium::federation
