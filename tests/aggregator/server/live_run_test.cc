// Runs from submission to their end, over real mutual TLS.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

using federation::MakePlan;

// Every acceptance receipt ends in exactly one other receipt, and versions name exactly the
// included updates.
void ExpectReceiptsAgree(const v1::RunReport& report,
                         const std::vector<std::vector<v1::Receipt>>& by_site) {
  std::set<std::string> included_by_versions;
  for (const v1::VersionReport& version : report.versions()) {
    for (const v1::ContributionReport& contribution : version.contributions()) {
      if (!contribution.table_entry()) {
        EXPECT_TRUE(included_by_versions.insert(contribution.update_id()).second);
      }
    }
  }
  std::set<std::string> included_by_receipts;
  for (const std::vector<v1::Receipt>& receipts : by_site) {
    std::map<std::string, int> ends;
    for (const v1::Receipt& receipt : receipts) {
      if (receipt.kind() == v1::Receipt::ACCEPTED) {
        ends.try_emplace(receipt.update_id(), 0);
      } else {
        ++ends[receipt.update_id()];
        if (receipt.kind() == v1::Receipt::INCLUDED) {
          included_by_receipts.insert(receipt.update_id());
        }
      }
    }
    for (const auto& [update, count] : ends)
      EXPECT_EQ(count, 1) << ToHex(
          {reinterpret_cast<const uint8_t*>(update.data()), update.size()});
  }
  EXPECT_EQ(included_by_versions, included_by_receipts);
}

TEST(LiveRun, GoesFromSubmissionToItsEnd) {
  LiveAggregator aggregator;
  FakeSite north(aggregator, "north");
  FakeSite south(aggregator, "south");
  ASSERT_THAT(north.Attach(), IsOk());
  ASSERT_THAT(south.Attach(), IsOk());
  const std::string run = aggregator.Submit(*MakePlan({.versions_max = 6}));

  std::vector<v1::Receipt> of_north, of_south;
  std::thread beside([&] { of_south = south.Participate(40); });
  of_north = north.Participate(60);
  beside.join();

  const v1::RunReport report =
      aggregator.Await(run, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  EXPECT_EQ(report.current_version(), 6);
  EXPECT_EQ(report.versions_size(), 7);
  EXPECT_TRUE(report.has_result_version());
  ExpectReceiptsAgree(report, {of_north, of_south});
  PublicKey key;
  std::copy(north.store().aggregator_key.begin(), north.store().aggregator_key.end(), key.begin());
  for (const v1::Receipt& receipt : of_north) {
    EXPECT_THAT(VerifySignature(key, ReceiptDigest(receipt), receipt.signature()), IsOk());
  }
}

TEST(LiveRun, GoesOnAfterARestartAndAnswersWithTheSameReceipt) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  ASSERT_THAT(site.Attach(), IsOk());
  const std::string run = aggregator.Submit(*MakePlan({.versions_max = 3}));
  site.Approve(10);
  const v1::ModelAvailable model = site.AwaitModel(0);
  const v1::TaskOffer task = site.AwaitTask();
  FakeSite::Update update = site.MakeUpdate(task, model);
  const auto first = site.Upload(update);
  ASSERT_THAT(first, IsOk());
  const auto before = site.Fetch(run, 0);
  ASSERT_THAT(before, IsOk());

  site.Detach();
  aggregator.Restart();
  ASSERT_THAT(site.Attach(), IsOk());
  // By the new process; that is no part of the update's identity.
  update.header.set_incarnation(site.store().incarnation);
  const auto again = site.Upload(update);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(first->SerializeAsString(), again->SerializeAsString());
  const auto after = site.Fetch(run, 0);
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(*before, *after);

  site.Participate(10);
  const v1::RunReport report =
      aggregator.Await(run, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  EXPECT_EQ(report.current_version(), 3);
  EXPECT_EQ(report.duplicates_absorbed(), 1);
}

TEST(LiveRun, FoldsAHundredDuplicatesOnceAndAnswersAllAlike) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  ASSERT_THAT(site.Attach(), IsOk());
  const std::string run = aggregator.Submit(*MakePlan({.versions_max = 5}));
  site.Approve(10);
  const v1::ModelAvailable model = site.AwaitModel(0);
  const FakeSite::Update update = site.MakeUpdate(site.AwaitTask(), model);

  constexpr int kDuplicates = 100;
  std::vector<std::string> receipts(kDuplicates);
  std::vector<std::thread> threads;
  threads.reserve(kDuplicates);
  for (int i = 0; i < kDuplicates; ++i) {
    threads.emplace_back([&, i] {
      absl::StatusOr<v1::Receipt> receipt = site.Upload(update);
      // A site has a limited number of uploads at once; more are to come again.
      while (DetailOf(receipt.status()).reason() == v1::BUSY) receipt = site.Upload(update);
      ASSERT_THAT(receipt, IsOk());
      receipts[i] = receipt->SerializeAsString();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(receipts, ::testing::Each(receipts[0]));

  const FakeSite::Update next = site.MakeUpdate(site.AwaitTask(), model);
  ASSERT_THAT(site.Upload(next), IsOk());
  const v1::RunReport report =
      aggregator.Await(run, [](const v1::RunReport& r) { return r.current_version() >= 1; });
  EXPECT_EQ(report.duplicates_absorbed(), kDuplicates - 1);
  int folded = 0;
  for (const v1::ContributionReport& contribution : report.versions(1).contributions()) {
    folded += contribution.update_id() == ToBytes(UpdateIdOf(update.header)) ? 1 : 0;
  }
  EXPECT_EQ(folded, 1);
}

TEST(LiveRun, FencesAClone) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  ASSERT_THAT(site.Attach(), IsOk());
  FakeSite clone(aggregator, "north", site.store());
  // While the original is there, whoever was first stays.
  EXPECT_EQ(DetailOf(clone.Attach()).reason(), v1::LEASE_IN_USE);
  site.Detach();
  // The original moves on to another lease; the one that the clone has is dead from then on. Twice,
  // because a confirmation may be lost with its stream: presenting the new lease confirms it too.
  for (int i = 0; i < 2; ++i) {
    absl::Status attached = site.Attach();
    while (DetailOf(attached).reason() == v1::LEASE_IN_USE) attached = site.Attach();
    ASSERT_THAT(attached, IsOk());
    site.Detach();
  }
  absl::Status refused = clone.Attach();
  while (DetailOf(refused).reason() == v1::LEASE_IN_USE) refused = clone.Attach();
  EXPECT_EQ(DetailOf(refused).reason(), v1::LEASE_FENCED) << refused;
}

TEST(LiveRun, TakesUpdatesInTheOrderOfTheGate) {
  LiveAggregator aggregator;
  FakeSite north(aggregator, "north");
  FakeSite south(aggregator, "south");
  std::vector<SiteId> order;
  for (int i = 0; i < 4; ++i) {
    order.push_back(SiteId("south"));
    order.push_back(SiteId("south"));
    order.push_back(SiteId("north"));
  }
  Aggregator::ServeOptions options;
  options.gate = ArrivalGate(order);
  aggregator.Restart(std::move(options));
  ASSERT_THAT(north.Attach(), IsOk());
  ASSERT_THAT(south.Attach(), IsOk());
  const std::string run = aggregator.Submit(*MakePlan({.versions_max = 4}));
  std::thread beside([&] { south.Participate(40); });
  north.Participate(60);
  beside.join();
  const v1::RunReport report =
      aggregator.Await(run, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  std::vector<std::string> taken;
  for (const v1::VersionReport& version : report.versions()) {
    for (const v1::ContributionReport& contribution : version.contributions()) {
      taken.push_back(contribution.site_id());
    }
  }
  EXPECT_THAT(taken, ::testing::ElementsAre("south", "south", "north", "south", "south", "north",
                                            "south", "south"));
}

}  // namespace
}  // namespace consilium::testing
