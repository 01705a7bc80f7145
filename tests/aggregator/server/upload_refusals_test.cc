// What an aggregator refuses, with the reason that it names; the run goes on after each.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "consilium/v1/transfer.grpc.pb.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/reasons.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

using federation::MakePlan;

class UploadRefusals : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(site_.Attach(), IsOk());
    run_ = aggregator_.Submit(
        *MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 1 } } "
                                  "limits { staleness_versions_max: 1 update_norm_max: 100 }",
                   .versions_max = 50}));
    site_.Approve(10);
    model_ = site_.AwaitModel(0);
    task_ = site_.AwaitTask();
  }

  FakeSite::Update Good() const { return site_.MakeUpdate(task_, model_); }
  v1::Reason ReasonOf(const FakeSite::Update& update) {
    return DetailOf(site_.Upload(update).status()).reason();
  }
  // The run takes good updates as before, and only those that were accepted lie on disk.
  void ExpectRunGoesOn(const v1::TaskOffer& task) {
    EXPECT_THAT(site_.Upload(site_.MakeUpdate(task, model_)), IsOk());
    // Each accepted update makes a version.
    const v1::RunReport report = aggregator_.Await(
        run_, [](const v1::RunReport& r) { return r.current_version() == Accepted(r); });
    // A blob each for the accepted updates and for the models.
    EXPECT_EQ(aggregator_.BlobFiles(run_), Accepted(report) + report.current_version() + 1);
  }
  static uint64_t Accepted(const v1::RunReport& report) {
    uint64_t accepted = 0;
    for (const auto& participant : report.participants()) {
      accepted += participant.updates_accepted();
    }
    return accepted;
  }

  LiveAggregator aggregator_;
  FakeSite site_{aggregator_, "north"};
  std::string run_;
  v1::ModelAvailable model_;
  v1::TaskOffer task_;
};

TEST_F(UploadRefusals, NotANumberAndInfinity) {
  FakeSite::Update update = Good();
  update.values[2] = std::numeric_limits<float>::quiet_NaN();
  FakeSite::Rehash(update);
  EXPECT_EQ(ReasonOf(update), v1::NOT_FINITE);
  const v1::TaskOffer next = site_.AwaitTask();
  FakeSite::Update infinite = site_.MakeUpdate(next, model_);
  infinite.values[0] = -std::numeric_limits<float>::infinity();
  FakeSite::Rehash(infinite);
  EXPECT_EQ(ReasonOf(infinite), v1::NOT_FINITE);
  ExpectRunGoesOn(site_.AwaitTask());
}

TEST_F(UploadRefusals, TooLargeANorm) {
  FakeSite::Update update = Good();
  update.values[0] = 101;
  FakeSite::Rehash(update);
  EXPECT_EQ(ReasonOf(update), v1::NORM_TOO_LARGE);
  ExpectRunGoesOn(site_.AwaitTask());
}

TEST_F(UploadRefusals, AnotherShape) {
  FakeSite::Update update = Good();
  update.header.set_layout_hash(ToBytes(Sha256Of(absl::string_view("another layout"))));
  EXPECT_EQ(ReasonOf(update), v1::LAYOUT_MISMATCH);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, TooFewBytes) {
  FakeSite::Update update = Good();
  update.values.pop_back();
  FakeSite::Rehash(update);
  EXPECT_EQ(ReasonOf(update), v1::LAYOUT_MISMATCH);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, TooManyBytes) {
  FakeSite::Update update = Good();
  update.values.resize(update.values.size() + 1000);
  FakeSite::Rehash(update);
  EXPECT_EQ(ReasonOf(update), v1::OVERSIZE);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, AnotherHash) {
  FakeSite::Update update = Good();
  update.values[1] += 1;
  EXPECT_EQ(ReasonOf(update), v1::HASH_MISMATCH);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, AnUnknownRun) {
  FakeSite::Update update = Good();
  update.header.set_run_id("no-such-run-1");
  EXPECT_EQ(ReasonOf(update), v1::RUN_UNKNOWN);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, AnUnknownTaskOrBase) {
  FakeSite::Update unknown_task = Good();
  unknown_task.header.set_task_id(77);
  EXPECT_EQ(ReasonOf(unknown_task), v1::TASK_UNKNOWN);
  FakeSite::Update unknown_base = Good();
  unknown_base.header.set_base_version(9);
  EXPECT_EQ(ReasonOf(unknown_base), v1::BASE_UNKNOWN);
  ExpectRunGoesOn(site_.AwaitTask());
}

TEST_F(UploadRefusals, AnotherSitesName) {
  FakeSite other(aggregator_, "south");
  FakeSite::Update update = Good();
  update.header.set_site_id("south");
  EXPECT_EQ(ReasonOf(update), v1::IDENTITY_MISMATCH);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, ATaskWithOtherContent) {
  ASSERT_THAT(site_.Upload(Good()), IsOk());
  FakeSite::Update other = Good();
  other.values[0] = 0.25F;
  FakeSite::Rehash(other);
  EXPECT_EQ(ReasonOf(other), v1::TASK_CONFLICT);
  ExpectRunGoesOn(site_.AwaitTask());
}

TEST_F(UploadRefusals, AnOlderIncarnation) {
  FakeSite::Update update = Good();
  site_.Detach();
  absl::Status attached = site_.Attach();
  while (DetailOf(attached).reason() == v1::LEASE_IN_USE) attached = site_.Attach();
  ASSERT_THAT(attached, IsOk());
  EXPECT_EQ(ReasonOf(update), v1::INCARNATION_FENCED);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, TooStale) {
  // Two versions go by; the first task's base is then two behind.
  ExpectRunGoesOn(site_.AwaitTask());
  model_ = site_.AwaitModel(1);
  ExpectRunGoesOn(site_.AwaitTask());
  FakeSite::Update late = Good();
  const v1::ModelAvailable first = [&] {
    v1::ModelAvailable model = model_;
    model.set_version(0);
    model.set_model_id(aggregator_.Report(run_).versions(0).model_id());
    return model;
  }();
  late = site_.MakeUpdate(task_, first);
  EXPECT_EQ(ReasonOf(late), v1::TOO_STALE);
  model_ = site_.AwaitModel(2);
  ExpectRunGoesOn(site_.AwaitTask());
}

TEST_F(UploadRefusals, AStreamThatBreaksOff) {
  const FakeSite::Update update = Good();
  const auto stub = v1::Transfer::NewStub(site_.bulk());
  grpc::ClientContext context;
  v1::Receipt receipt;
  const auto writer = stub->Submit(&context, &receipt);
  v1::Chunk chunk;
  *chunk.mutable_update() = update.header;
  chunk.set_data(update.values.data(), 4);
  ASSERT_TRUE(writer->Write(chunk));
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::ABORTED);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, ASiteRevokedWhileItIsAttached) {
  FakeSite other(aggregator_, "south");
  ASSERT_THAT(other.Attach(), IsOk());
  const std::string run =
      aggregator_.Submit(*MakePlan({.config = "participation { sites: \"south\" sites_min: 1 }"}));
  other.Approve(10);
  other.AwaitModel(0);
  ASSERT_THAT(other.Fetch(run, 0), IsOk());
  grpc::ClientContext context;
  v1::RevokeSiteRequest request;
  request.set_site_id("south");
  v1::RevokeSiteResponse response;
  ASSERT_TRUE(aggregator_.admin().RevokeSite(&context, request, &response).ok());
  EXPECT_EQ(DetailOf(other.AwaitClosed()).reason(), v1::SITE_REVOKED);
  // On the connection that it has, and on a new one.
  EXPECT_EQ(DetailOf(other.Fetch(run, 0).status()).reason(), v1::SITE_REVOKED);
  EXPECT_FALSE(other.Attach().ok());
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, OfARunThatTheSiteHasNoPartIn) {
  FakeSite other(aggregator_, "south");
  ASSERT_THAT(other.Attach(), IsOk());
  // Not offered to it: as if there was no such run.
  EXPECT_EQ(DetailOf(other.Fetch(run_, 0).status()).reason(), v1::RUN_UNKNOWN);
  // Offered, and refused.
  const std::string run = aggregator_.Submit(*MakePlan({}));
  const v1::RunOffer offer =
      other.AwaitDirective([](const v1::Directive& d) { return d.has_run_offer(); }).run_offer();
  v1::SiteEvent refused;
  refused.mutable_run_decision()->set_run_id(run);
  refused.mutable_run_decision()->set_plan_hash(offer.plan_hash());
  refused.mutable_run_decision()->set_reason(v1::NOT_APPROVED);
  other.Send(refused);
  site_.Approve(10);
  site_.AwaitDirective([&run](const v1::Directive& d) {
    return d.has_model_available() && d.model_available().run_id() == run;
  });
  EXPECT_EQ(DetailOf(other.Fetch(run, 0).status()).reason(), v1::NOT_APPROVED);
}

// Nothing of it is taken: the answer comes to the header alone.
TEST_F(UploadRefusals, ATaskThatWasNotGrantedBeforeItsPayloadComes) {
  FakeSite other(aggregator_, "south");
  ASSERT_THAT(other.Attach(), IsOk());
  FakeSite::Update update = Good();
  update.header.set_site_id("south");
  const auto reason_of_header = [&](FakeSite& sender, const v1::UpdateHeader& header) {
    const auto stub = v1::Transfer::NewStub(sender.bulk());
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    v1::Receipt receipt;
    const auto writer = stub->Submit(&context, &receipt);
    v1::Chunk chunk;
    *chunk.mutable_update() = header;
    writer->Write(chunk);
    // Neither a byte nor the end follows.
    return DetailOf(FromGrpcStatus(writer->Finish())).reason();
  };
  EXPECT_EQ(reason_of_header(other, update.header), v1::TASK_UNKNOWN);
  v1::UpdateHeader ahead = Good().header;
  ahead.set_task_id(77);
  EXPECT_EQ(reason_of_header(site_, ahead), v1::TASK_UNKNOWN);
  ExpectRunGoesOn(task_);
}

TEST_F(UploadRefusals, AModelThatIsNotThere) {
  EXPECT_EQ(DetailOf(site_.Fetch(run_, 33).status()).reason(), v1::VERSION_UNKNOWN);
  EXPECT_EQ(DetailOf(site_.Fetch("no-such-run-1", 0).status()).reason(), v1::RUN_UNKNOWN);
}

}  // namespace
}  // namespace consilium::testing
