// What a hospital's people decide, and what an agent says and does before and after.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "protocol/wire/hash.h"
#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

class AgentApprovalTest : public AgentTest {};

TEST_F(AgentApprovalTest, AnApprovedRunWaitsForItsData) {
  Enrol();
  StartAgent();
  OfferRun();
  WaitForStatus([](const nlohmann::json& status) {
    return At(status, "/runs/0/state") == "waits_for_approval";
  });
  ASSERT_THAT(ApproveRun(place_, kRun, plan_hash_), IsOk());
  const auto waits = [](const nlohmann::json& status) {
    return At(status, "/runs/0/state") == "waits_for_data";
  };
  const nlohmann::json status = WaitForStatus(waits);
  EXPECT_THAT(At(status, "/runs/0/missing_data").dump(), HasSubstr("under contract small yet"));
  // Nothing was said of it, and a restart refuses nothing either.
  EXPECT_EQ(At(Must(VerifyAudit(place_)), "/releases/decision"), nlohmann::json());
  StopAgent();
  StartAgent();
  // What it decides without a stream it does not say before it is offered the run again.
  WaitForStatus(
      [&](const nlohmann::json& now) { return waits(now) && At(now, "/attached") == true; });
  ImportPatients(60);
  EXPECT_TRUE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
}

TEST_F(AgentApprovalTest, AnApprovalOfARunThatIsOverIsAnError) {
  BringToRunning();
  v1::Directive ended;
  ended.mutable_run_ended()->set_run_id(kRun);
  aggregator_.Tell(ended);
  WaitForStatus([](const nlohmann::json& now) { return At(now, "/runs/0/state") == "ended"; });
  EXPECT_THAT(ApproveRun(place_, kRun, std::nullopt),
              IsError(StatusCode::kFailedPrecondition, "the run small-1 is over"));
}

TEST_F(AgentApprovalTest, RunsThatDoNotFitAreRefusedWithTheReason) {
  Enrol();
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  ImportPatients(4);
  OfferRun();
  const v1::RunDecision decision = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
  EXPECT_FALSE(decision.approved());
  EXPECT_EQ(decision.reason(), v1::TOO_FEW_EXAMPLES);
  EXPECT_EQ(decision.train_examples(), 0u);
  // An approval that can change nothing says so, with and without a running agent.
  for (const char* who : {"the agent", "the store"}) {
    const absl::Status late = ApproveRun(place_, kRun, std::nullopt);
    EXPECT_THAT(late, IsError(StatusCode::kFailedPrecondition, "the run small-1 was refused here"))
        << who;
    EXPECT_THAT(late.message(), HasSubstr("minimum of 5"));
    EXPECT_THAT(late.message(), HasSubstr("submit it again"));
    StopAgent();
  }
  EXPECT_EQ(At(Must(VerifyAudit(place_)), "/policy/1"), nlohmann::json());
}

// An offer is not a way to ask what a hospital has.
TEST_F(AgentApprovalTest, NothingIsSaidOfItsDataBeforeAPersonApproved) {
  Enrol();
  ImportPatients(4);
  StartAgent();
  OfferRun();
  WaitForStatus([](const nlohmann::json& status) {
    return At(status, "/runs/0/state") == "waits_for_approval";
  });
  EXPECT_EQ(At(Must(VerifyAudit(place_)), "/releases/decision"), nlohmann::json());
  ASSERT_THAT(Approve(place_, plan_hash_), IsOk());
  const v1::RunDecision decision = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
  EXPECT_EQ(decision.reason(), v1::TOO_FEW_EXAMPLES);
  EXPECT_THAT(decision.message(), Not(HasSubstr("5")));
  const nlohmann::json status = WaitForStatus(
      [](const nlohmann::json& now) { return At(now, "/runs/0/state") == "refused"; });
  EXPECT_THAT(At(status, "/runs/0/refusal").dump(), HasSubstr("minimum of 5"));
}

TEST_F(AgentApprovalTest, AnApprovalIsOfOneRun) {
  Enrol();
  ImportPatients(60);
  StartAgent();
  OfferRun();
  WaitForStatus([](const nlohmann::json& status) {
    return At(status, "/runs/0/state") == "waits_for_approval";
  });
  const nlohmann::json shown = Must(ShowRun(place_, kRun));
  EXPECT_EQ(shown.at("plan_sha256"), ToHex(plan_hash_));
  EXPECT_THAT(shown.at("plan").get<std::string>(), HasSubstr("local_steps: 3"));
  EXPECT_THAT(shown.at("releases").dump(), HasSubstr("after 1 to 3 steps of 32 rows"));
  EXPECT_THAT(ShowRun(place_, "ghost"), IsError(StatusCode::kNotFound, "no such run"));
  EXPECT_THAT(ApproveRun(place_, kRun, Sha256Of("another plan")),
              IsError(StatusCode::kNotFound, "plan"));
  ASSERT_THAT(ApproveRun(place_, kRun, plan_hash_), IsOk());
  EXPECT_TRUE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
  // The same plan again is another question, and its hash alone does not say which one is meant.
  OfferRun("small-2");
  OfferRun("small-3");
  WaitForStatus([](const nlohmann::json& status) {
    return At(status, "/runs/1/state") == "waits_for_approval" &&
           At(status, "/runs/2/state") == "waits_for_approval";
  });
  EXPECT_THAT(Approve(place_, plan_hash_), IsError(StatusCode::kFailedPrecondition, "more than"));
  const nlohmann::json audit = Must(VerifyAudit(place_));
  ASSERT_EQ(audit.at("policy").size(), 1u);
  EXPECT_EQ(At(audit, "/policy/0/change"), "RUN_APPROVED");
  EXPECT_EQ(At(audit, "/policy/0/run"), kRun);
}

TEST_F(AgentApprovalTest, AWithdrawnRunGetsNothingMore) {
  BringToRunning();
  ASSERT_THAT(Withdraw(place_, kRun), IsOk());
  EXPECT_FALSE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
  GrantTask(1);
  AnnounceModel();
  WaitForStatus(
      [](const nlohmann::json& status) { return At(status, "/runs/0/state") == "withdrawn"; });
  EXPECT_THAT(ApproveRun(place_, kRun, std::nullopt),
              IsError(StatusCode::kFailedPrecondition, "has withdrawn from the run"));
  EXPECT_THAT(Must(ShowRun(place_, kRun)).value("refusal", ""), HasSubstr("has withdrawn"));
  // In spite of the approval of all runs, and after a restart.
  StopAgent();
  StartAgent();
  EXPECT_FALSE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
  EXPECT_EQ(trainer_.trainings, 0);
}

TEST_F(AgentApprovalTest, ARunCanBeWithdrawnWhileNoAgentRuns) {
  BringToRunning();
  StopAgent();
  ASSERT_THAT(Withdraw(place_, kRun), IsOk());
  EXPECT_EQ(At(Must(ListRuns(place_)), "/runs/0/state"), "withdrawn");
  StartAgent();
  EXPECT_FALSE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
}

TEST_F(AgentApprovalTest, AllRunsCanBeTakenBack) {
  Enrol();
  ImportPatients(60);
  ASSERT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  ASSERT_THAT(ApproveOneByOne(place_), IsOk());
  OfferRun();
  WaitForStatus([](const nlohmann::json& status) {
    return At(status, "/runs/0/state") == "waits_for_approval";
  });
}

TEST_F(AgentApprovalTest, TheMinimumCountIsPolicyAndHoldsFromTheNextStart) {
  Enrol();
  ImportPatients(60);
  ASSERT_THAT(Approve(place_, std::nullopt), IsOk());
  EXPECT_THAT(SitePolicy(place_, 1), IsError(StatusCode::kInvalidArgument, "at least 2"));
  EXPECT_EQ(Must(SitePolicy(place_, 50)).at("minimum_count"), 50);
  EXPECT_EQ(Must(SitePolicy(place_, std::nullopt)).at("minimum_count"), 50);
  StartAgent();
  OfferRun();
  EXPECT_EQ(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().reason(),
            v1::TOO_FEW_EXAMPLES);
}

}  // namespace
}  // namespace consilium::site
