// What one enrolled site can do to the rest of the federation with its control stream: nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "aggregator/server/input_budget.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/reasons.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

using federation::MakePlan;

class HostileSite : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(site_.Attach(), IsOk()); }

  uint64_t JournalEntries() {
    grpc::ClientContext context;
    v1::AggregatorStatus status;
    EXPECT_THAT(FromGrpcStatus(aggregator_.admin().GetStatus(&context, {}, &status)), IsOk());
    return status.journal_entries();
  }
  uint64_t StoreBytes() const {
    uint64_t bytes = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(aggregator_.data() + "/store")) {
      if (entry.is_regular_file()) bytes += entry.file_size();
    }
    return bytes;
  }

  LiveAggregator aggregator_;
  FakeSite site_{aggregator_, "north"};
};

// A report with a megabyte in a field that no build knows.
v1::SiteEvent PaddedStatistics(const std::string& run) {
  v1::StatisticsReport report;
  report.set_run_id(run);
  for (int i = 0; i < 3; ++i) {
    report.add_counts(10);
    report.add_sums(1);
    report.add_sums_of_squares(1);
  }
  report.GetReflection()->MutableUnknownFields(&report)->AddLengthDelimited(
      999, std::string(1 << 20, 'x'));
  v1::SiteEvent event;
  *event.mutable_statistics() = report;
  return event;
}

TEST_F(HostileSite, WhatItSaysOfRunsThatItHasNoPartInIsNotKept) {
  const uint64_t before = JournalEntries();
  for (int i = 0; i < 50; ++i) site_.Send(PaddedStatistics("no-such-run-1"));
  v1::SiteEvent evaluation;
  evaluation.mutable_evaluation()->set_run_id("no-such-run-1");
  evaluation.mutable_evaluation()->set_split(v1::VALIDATION);
  for (int i = 0; i < 50; ++i) site_.Send(evaluation);
  // The stream lives, and what comes behind all that is heard: the submission and the decision.
  const std::string run = aggregator_.Submit(*MakePlan({}));
  site_.Approve(10);
  site_.AwaitTask();
  // With the result of drawing version 0.
  EXPECT_LE(JournalEntries(), before + 4);
}

TEST_F(HostileSite, FieldsThatNoBuildKnowsAreNotKept) {
  const std::string run =
      aggregator_.Submit(*MakePlan({.config = "data { standardise: FEDERATED }"}));
  site_.Approve(10);
  const uint64_t before = StoreBytes();
  site_.Send(PaddedStatistics(run));
  site_.AwaitTask();
  EXPECT_LT(StoreBytes(), before + (1 << 19));
}

TEST_F(HostileSite, AReportAboutAnotherNumberOfFeaturesIsRefusedAndNotKept) {
  const std::string run =
      aggregator_.Submit(*MakePlan({.config = "data { standardise: FEDERATED }"}));
  site_.Approve(10);
  const uint64_t before = StoreBytes();
  v1::SiteEvent event;
  v1::StatisticsReport& report = *event.mutable_statistics();
  report.set_run_id(run);
  for (int i = 0; i < 60000; ++i) {
    report.add_counts(10);
    report.add_sums(1);
    report.add_sums_of_squares(1);
  }
  site_.Send(event);
  aggregator_.Await(run, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  EXPECT_LT(StoreBytes(), before + (1 << 19));
}

TEST_F(HostileSite, AVersionThatIsNoneIsNotShown) {
  FakeSite::HelloOptions strange;
  strange.software_version = "1.0\x1B[2J\nNORTH revoked \xC3\xA4";
  site_.Detach();
  absl::Status attached = site_.Attach(strange);
  while (DetailOf(attached).reason() == v1::LEASE_IN_USE) attached = site_.Attach(strange);
  ASSERT_THAT(attached, IsOk());
  std::string shown = "fake";
  for (int i = 0; i < 1000 && shown == "fake"; ++i) {
    grpc::ClientContext context;
    v1::ListSitesResponse sites;
    ASSERT_THAT(FromGrpcStatus(aggregator_.admin().ListSites(&context, {}, &sites)), IsOk());
    shown = sites.sites(0).software_version();
  }
  EXPECT_EQ(shown, "unknown");
}

TEST_F(HostileSite, WhatItSaysAgainAndAgainIsNotKept) {
  const std::string run = aggregator_.Submit(*MakePlan({}));
  const v1::RunOffer offer =
      site_.AwaitDirective([](const v1::Directive& d) { return d.has_run_offer(); }).run_offer();
  v1::SiteEvent approval;
  approval.mutable_run_decision()->set_run_id(run);
  approval.mutable_run_decision()->set_plan_hash(offer.plan_hash());
  approval.mutable_run_decision()->set_approved(true);
  approval.mutable_run_decision()->set_train_examples(10);
  site_.Send(approval);
  site_.AwaitTask();
  const uint64_t before = JournalEntries();
  v1::SiteEvent other_plan = approval;
  other_plan.mutable_run_decision()->set_plan_hash(std::string(32, 'x'));
  v1::SiteEvent evaluation;
  evaluation.mutable_evaluation()->set_run_id(run);
  evaluation.mutable_evaluation()->set_split(v1::VALIDATION);
  v1::SiteEvent of_no_version = evaluation;
  of_no_version.mutable_evaluation()->set_version(7);
  v1::SiteEvent unasked = evaluation;
  unasked.mutable_evaluation()->set_split(v1::TEST);
  for (int i = 0; i < 1000; ++i) {
    for (const v1::SiteEvent& event : {other_plan, evaluation, of_no_version, unasked}) {
      while (!site_.Send(event)) ASSERT_FALSE(site_.IsClosed());
    }
  }
  // The stream lives, and what comes behind all that is heard.
  v1::SiteEvent withdrawal = approval;
  withdrawal.mutable_run_decision()->clear_approved();
  withdrawal.mutable_run_decision()->set_reason(v1::NOT_APPROVED);
  while (!site_.Send(withdrawal)) ASSERT_FALSE(site_.IsClosed());
  aggregator_.Await(run, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  // One evaluation and the withdrawal.
  EXPECT_LE(JournalEntries(), before + 2);
}

TEST_F(HostileSite, ALeaseThatIsNotItsOwnEndsTheStream) {
  v1::SiteEvent event;
  event.mutable_lease_confirm()->set_lease(std::string(32, 'x'));
  site_.Send(event);
  EXPECT_EQ(DetailOf(site_.AwaitClosed()).reason(), v1::MALFORMED);
}

// Each mention of a run is answered with receipts, and each of them is signed.
TEST_F(HostileSite, ThatTellsOfARunManyTimesIsRefused) {
  const auto attach = [this](const std::vector<std::string>& runs) {
    FakeSite::HelloOptions options;
    options.runs = runs;
    site_.Detach();
    absl::Status attached = site_.Attach(options);
    while (DetailOf(attached).reason() == v1::LEASE_IN_USE) attached = site_.Attach(options);
    return attached;
  };
  EXPECT_THAT(attach({"one", "other"}), IsOk());
  EXPECT_EQ(DetailOf(attach({"one", "other", "one"})).reason(), v1::MALFORMED);
}

TEST_F(HostileSite, ThatAttachesAgainAndAgainHearsBusy) {
  absl::Status attached;
  int times = 0;
  while (times < 3 * static_cast<int>(kSiteInputsAtOnceMax)) {
    site_.Detach();
    attached = site_.Attach();
    ++times;
    if (DetailOf(attached).reason() == v1::BUSY && DetailOf(attached).retry_after_ms() > 0) break;
  }
  EXPECT_EQ(DetailOf(attached).reason(), v1::BUSY);
  EXPECT_THAT(attached.message(), ::testing::HasSubstr("more than the aggregator keeps of one"));
}

TEST_F(HostileSite, ALongRefusalOutsideAsciiIsCutBetweenCharacters) {
  const std::string run = aggregator_.Submit(*MakePlan({}));
  const v1::RunOffer offer =
      site_.AwaitDirective([](const v1::Directive& d) { return d.has_run_offer(); }).run_offer();
  v1::SiteEvent event;
  v1::RunDecision& decision = *event.mutable_run_decision();
  decision.set_run_id(run);
  decision.set_plan_hash(offer.plan_hash());
  decision.set_reason(v1::NOT_APPROVED);
  // The cut, after 400 bytes, is inside one of these.
  std::string message;
  while (message.size() < 2000) message += "\xE2\x82\xAC";
  decision.set_message(message);
  site_.Send(event);
  aggregator_.Await(run, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  // The journal can be read: else this fails the test.
  aggregator_.Restart();
  EXPECT_EQ(aggregator_.Report(run).phase(), "ended");
}

}  // namespace
}  // namespace consilium::testing
