// An agent and its aggregator: the way of an update, receipts, leases, certificates, refusals for
// good.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/reasons.h"
#include "site_agent/runtime/journal_codec.h"
#include "site_agent/runtime/progress_log.h"
#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;

class AgentLinkTest : public AgentTest {};

TEST_F(AgentLinkTest, OneUpdateGoesTheWholeWay) {
  Enrol();
  ImportPatients(60);
  StartAgent();
  const v1::Hello hello = aggregator_.WaitFor(v1::SiteEvent::kHello).hello();
  EXPECT_EQ(hello.incarnation(), 1u);
  EXPECT_EQ(hello.lease_presented(), std::string(32, 'l'));
  EXPECT_EQ(aggregator_.WaitFor(v1::SiteEvent::kLeaseConfirm).lease_confirm().lease(),
            hello.lease_next());

  // Nothing is approved until a person does, and then without a restart.
  OfferRun();
  WaitForStatus([](const nlohmann::json& status) {
    return At(status, "/runs/0/state") == "waits_for_approval";
  });
  ASSERT_THAT(Approve(place_, plan_hash_), IsOk());
  const v1::RunDecision decision = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
  EXPECT_TRUE(decision.approved()) << decision.message();
  EXPECT_EQ(decision.plan_hash(), ToBytes(plan_hash_));
  const v1::StatisticsReport statistics =
      aggregator_.WaitFor(v1::SiteEvent::kStatistics).statistics();
  ASSERT_EQ(statistics.counts_size(), 1);
  EXPECT_EQ(statistics.counts(0), decision.train_examples());

  StartRun(statistics);
  AnnounceModel();
  const v1::EvaluationReport evaluation =
      aggregator_.WaitFor(v1::SiteEvent::kEvaluation).evaluation();
  EXPECT_EQ(evaluation.split(), v1::VALIDATION);
  EXPECT_GT(evaluation.metrics().examples(), 0u);
  EXPECT_LT(evaluation.metrics().examples() + decision.train_examples(), 60u);

  GrantTask(1);
  const HeardUpload upload = aggregator_.WaitForUpload();
  EXPECT_EQ(upload.header.site_id(), "cleveland");
  EXPECT_EQ(upload.header.steps(), 3u);
  EXPECT_EQ(upload.header.examples(), decision.train_examples());
  ASSERT_EQ(upload.payload.size(), upload.header.payload_bytes());
  float first = 0;
  memcpy(&first, upload.payload.data(), sizeof(first));
  EXPECT_EQ(first, 1.0F);

  v1::Directive included;
  *included.mutable_receipt() = aggregator_.ReceiptFor(upload.header, v1::Receipt::INCLUDED);
  aggregator_.Tell(included);
  v1::Directive ended;
  ended.mutable_run_ended()->set_run_id(kRun);
  ended.mutable_run_ended()->set_result_version(0);
  aggregator_.Tell(ended);
  const nlohmann::json status = WaitForStatus([](const nlohmann::json& now) {
    return At(now, "/runs/0/state") == "ended" && TasksIn(now, "included") == 1;
  });
  EXPECT_EQ(At(status, "/runs/0/receipts/0/ending"), "INCLUDED");
  EXPECT_EQ(At(status, "/runs/0/receipts/0/version"), 1);
  EXPECT_EQ(trainer_.trainings, 1);

  // What left is on record, and nothing else left.
  const nlohmann::json audit = Must(VerifyAudit(place_));
  for (const char* kind :
       {"enrolment", "hello", "lease_confirm", "statistics", "update", "fetch"}) {
    EXPECT_EQ(At(audit, absl::StrCat("/releases/", kind, "/count")), 1) << kind;
  }
  EXPECT_GT(At(audit, "/releases/update/bytes"), upload.payload.size());
}

TEST_F(AgentLinkTest, ARestartSendsTheOutboxAndTrainsNothingAgain) {
  BringToRunning();
  aggregator_.RefuseUploads(Refusal(v1::BUSY, "full"));
  GrantTask(1);
  const HeardUpload refused = aggregator_.WaitForUpload();
  StopAgent();
  ASSERT_EQ(trainer_.trainings, 1);
  aggregator_.RefuseUploads(absl::OkStatus());
  StartAgent();
  // The retry of the first process may have come before it stopped; what counts is the last one.
  HeardUpload upload = aggregator_.WaitForUpload();
  while (upload.header.incarnation() == 1) upload = aggregator_.WaitForUpload();
  EXPECT_EQ(UpdateIdOf(upload.header), UpdateIdOf(refused.header));
  EXPECT_EQ(upload.payload, refused.payload);
  EXPECT_EQ(upload.header.incarnation(), 2u);
  WaitForStatus([](const nlohmann::json& status) { return TasksIn(status, "accepted") == 1; });
  EXPECT_EQ(trainer_.trainings, 1);
}

TEST_F(AgentLinkTest, AnAnswerThatIsNoTextStopsNeitherTheAgentNorItsNextStart) {
  BringToRunning();
  const grpc::Status rubbish(grpc::StatusCode::UNAVAILABLE, "\xff\x1b[2J\nALARM: not ours");
  aggregator_.AnswerUploads(rubbish);
  GrantTask(1);
  aggregator_.WaitForUpload();
  aggregator_.WaitForUpload();  // It is tried again: the failure before it was taken in.
  StopAgent();
  aggregator_.RefuseUploads(absl::OkStatus());
  StartAgent();
  WaitForStatus([](const nlohmann::json& status) { return TasksIn(status, "accepted") == 1; });
  StopAgent();

  aggregator_.AnswerAttach(rubbish);
  StartAgent();
  const nlohmann::json status =
      WaitForStatus([](const nlohmann::json& now) { return !now.value("link_error", "").empty(); });
  EXPECT_THAT(status.value("link_error", ""), HasSubstr("\\xff\\x1b[2J\\x0aALARM"));
}

TEST_F(AgentLinkTest, WordsOfTheAggregatorAreOneLineOfTheLog) {
  BringToRunning();
  v1::Directive ended;
  ended.mutable_run_ended()->set_run_id(kRun);
  ended.mutable_run_ended()->set_why("done\nALARM: \x1b[2J" + std::string(100000, 'x'));
  const auto event = EventOf(ended);
  ASSERT_THAT(event, IsOk());
  const std::string line = DescribeEvent(*event);
  EXPECT_THAT(line, HasSubstr("done\\x0aALARM: \\x1b[2J"));
  EXPECT_LT(line.size(), 3000u);
}

TEST_F(AgentLinkTest, TheNextHelloNamesWhatIsHeld) {
  BringToRunning();
  GrantTask(1);
  const HeardUpload upload = aggregator_.WaitForUpload();
  WaitForStatus([](const nlohmann::json& status) { return TasksIn(status, "accepted") == 1; });
  StopAgent();
  StartAgent();
  const v1::Hello hello = aggregator_.WaitFor(v1::SiteEvent::kHello).hello();
  EXPECT_EQ(hello.incarnation(), 2u);
  ASSERT_EQ(hello.held_receipts_size(), 1);
  EXPECT_EQ(hello.held_receipts(0).update_id(), ToBytes(UpdateIdOf(upload.header)));
}

TEST_F(AgentLinkTest, AReceiptThatTheAggregatorDidNotSignIsNone) {
  BringToRunning();
  GrantTask(1);
  const HeardUpload upload = aggregator_.WaitForUpload();
  v1::Directive forged;
  *forged.mutable_receipt() = aggregator_.ReceiptFor(upload.header, v1::Receipt::INCLUDED);
  forged.mutable_receipt()->set_version(2);
  aggregator_.Tell(forged);
  v1::Directive good;
  *good.mutable_receipt() = aggregator_.ReceiptFor(upload.header, v1::Receipt::NOT_INCLUDED);
  aggregator_.Tell(good);
  const nlohmann::json status = WaitForStatus([](const nlohmann::json& now) {
    return TasksIn(now, "included") + TasksIn(now, "not_included") == 1;
  });
  EXPECT_EQ(At(status, "/runs/0/receipts/0/ending"), "NOT_INCLUDED");
}

TEST_F(AgentLinkTest, AFencedStoreEndsItsAgent) {
  Enrol();
  aggregator_.RefuseAttach(v1::LEASE_FENCED);
  StartAgent();
  const absl::Status why = ending_->Wait();
  EXPECT_EQ(DetailOf(why).reason(), v1::LEASE_FENCED);
  EXPECT_THAT(why.message(), HasSubstr("refused by the test (LEASE_FENCED). Two copies"));
  EXPECT_THAT(why.message(), HasSubstr("consilium site add --again cleveland"));
}

TEST_F(AgentLinkTest, StatusKnowsOfARevocationWhenTheAgentHasEnded) {
  Enrol();
  EXPECT_FALSE(Must(SiteStatus(place_)).contains("refused_for_good"));
  aggregator_.RefuseAttach(v1::SITE_REVOKED);
  StartAgent();
  EXPECT_EQ(DetailOf(ending_->Wait()).reason(), v1::SITE_REVOKED);
  StopAgent();
  const nlohmann::json status = Must(SiteStatus(place_));
  EXPECT_EQ(At(status, "/refused_for_good"), "SITE_REVOKED");
  EXPECT_THAT(status.value("refused_for_good_why", ""),
              HasSubstr("revoked by the aggregator; joins only under a new name"));
  // It is the aggregator's word: when that takes the site after all, it is forgotten.
  aggregator_.AcceptAttach();
  StartAgent();
  WaitForStatus([](const nlohmann::json& now) {
    return At(now, "/attached") == true && !now.contains("refused_for_good");
  });
}

TEST_F(AgentLinkTest, ABusyLeaseIsTriedAgain) {
  Enrol();
  aggregator_.RefuseAttach(v1::LEASE_IN_USE);
  StartAgent();
  const v1::Hello first = aggregator_.WaitFor(v1::SiteEvent::kHello).hello();
  const v1::Hello second = aggregator_.WaitFor(v1::SiteEvent::kHello).hello();
  EXPECT_EQ(first.lease_presented(), second.lease_presented());
  EXPECT_EQ(first.lease_next(), second.lease_next());
}

TEST_F(AgentLinkTest, RenewsItsCertificateWithoutARestart) {
  aggregator_.IssueAsOf(absl::Now() - absl::Hours(24 * 4));
  Enrol();
  const Digest before =
      Must(ReadInstalledCertificate(place_.folder + "/tls")).certificate.Fingerprint();
  StartAgent();
  aggregator_.WaitForRenewal();
  WaitForStatus([&](const nlohmann::json& status) {
    return status.at("certificate_sha256") != ToHex(before) && status.at("attached") == true;
  });
}

TEST_F(AgentLinkTest, AnExpiredCertificateEndsTheAgentAndANewJoinFileBringsTheSiteBack) {
  Enrol();
  const Digest signing_key =
      Sha256Of(Must(OpenStore(place_))->OwnSigningKey().value()->public_key());
  // The site was off for twelve days; a certificate is for seven.
  const TlsKey key = Must(TlsKey::Generate());
  const std::string chain = Must(federation_.intermediate().IssueSite(
      Must(key.MakeRequestPem()), SiteId("cleveland"), absl::Now() - absl::Hours(24 * 12)));
  ASSERT_THAT(InstallCertificate(place_.folder + "/tls", key, chain), IsOk());
  const nlohmann::json at_rest = Must(SiteStatus(place_));
  EXPECT_EQ(At(at_rest, "/certificate_expired"), true);
  for (const char* part : {"expired on 2", "5 days ago", "consilium site add --again cleveland",
                           "consilium-agent enrol --store "}) {
    EXPECT_THAT(at_rest.value("certificate_error", ""), HasSubstr(part));
  }
  StartAgent();
  const absl::Status why = ending_->Wait();
  EXPECT_EQ(DetailOf(why).reason(), v1::CERTIFICATE_EXPIRED);
  EXPECT_THAT(why.message(), HasSubstr("consilium site add --again cleveland"));
  StopAgent();

  Enrol();
  // The aggregator lets only this store come back.
  EXPECT_EQ(Sha256Of(Must(OpenStore(place_))->OwnSigningKey().value()->public_key()), signing_key);
  StartAgent();
  const nlohmann::json status =
      WaitForStatus([](const nlohmann::json& now) { return At(now, "/attached") == true; });
  EXPECT_EQ(At(status, "/certificate_expired"), false);
  EXPECT_FALSE(status.contains("certificate_error"));
}

TEST_F(AgentLinkTest, AnAggregatorThatIsAwayEndsNothing) {
  Enrol();
  aggregator_.StopServing();
  StartAgent();
  WaitForStatus([](const nlohmann::json& now) {
    return absl::StrContains(now.value("link_error", ""), "can not be reached");
  });
  EXPECT_EQ(At(Must(SiteStatus(place_)), "/running"), true);
}

TEST_F(AgentLinkTest, SaysThatSomebodyElseAnswers) {
  Enrol();
  const TestFederation other("other");
  FakeAggregator impostor(other);
  // The site's own records point at the impostor's address.
  {
    auto store = Must(OpenStore(place_));
    SiteIdentity identity = Must(store->Identity());
    identity.aggregator_address = impostor.address();
    LeasePair leases = Must(store->Leases());
    ASSERT_THAT(store->PutEnrolment({identity, *SigningKey::Generate(), std::move(leases.current)}),
                IsOk());
  }
  StartAgent();
  const nlohmann::json status =
      WaitForStatus([](const nlohmann::json& now) { return !now.value("link_error", "").empty(); });
  EXPECT_THAT(status.value("link_error", ""), HasSubstr("is not this federation's aggregator"));
}

TEST_F(AgentLinkTest, EnrolmentRefusesATokenThatTheAggregatorDoesNotKnow) {
  v1::JoinFile join = aggregator_.JoinFileFor("cleveland");
  join.set_token(std::string(32, 'x'));
  std::string text;
  google::protobuf::TextFormat::PrintToString(join, &text);
  ASSERT_THAT(WriteFileDurably(folder_.File("join"), text), IsOk());
  EXPECT_THAT(EnrolSite(place_, folder_.File("join")),
              IsError(StatusCode::kPermissionDenied, "TOKEN_REFUSED"));
  EXPECT_FALSE(Must(OpenStore(place_))->is_enrolled());
}

}  // namespace
}  // namespace consilium::site
