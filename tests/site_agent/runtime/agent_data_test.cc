// A hospital's rows under a running agent: imports, whose rows an update may be of, and the store
// that only one program has open.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

// Whoever has to wait for a line of the log; nothing of it is shown meanwhile.
class LogWatch {
 public:
  LogWatch() { spdlog::set_default_logger(std::make_shared<spdlog::logger>("watch", sink_)); }
  ~LogWatch() { spdlog::set_default_logger(before_); }
  void WaitForLine() const { sink_->line.WaitForNotification(); }

 private:
  struct Sink final : spdlog::sinks::base_sink<std::mutex> {
    void sink_it_(const spdlog::details::log_msg&) override {
      if (!line.HasBeenNotified()) line.Notify();
    }
    void flush_() override {}
    absl::Notification line;
  };
  const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
  const std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
};

class AgentDataTest : public AgentTest {};

// The same plan again, over rows that took the others' place while the agent ran.
TEST_F(AgentDataTest, ARunIsOverTheRowsThatAreInTheStoreNow) {
  Enrol();
  ImportPatients(60);
  ASSERT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  OfferRun("small-0");
  const uint64_t before =
      aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().train_examples();
  v1::Directive ended;
  ended.mutable_run_ended()->set_run_id("small-0");
  aggregator_.Tell(ended);
  WaitForStatus([](const nlohmann::json& now) { return At(now, "/runs/0/state") == "ended"; });
  ImportPatients(200);
  OfferRun("small-2");
  EXPECT_GT(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().train_examples(),
            2 * before);
}

// The same patients but one: the difference of the sums would be that patient's value.
TEST_F(AgentDataTest, SumsThatDifferInOnePatientDoNotLeave) {
  BringToRunning();
  StopAgent();
  const auto offer_over = [this](int patients, const std::string& run) {
    ImportPatients(patients);
    StartAgent();
    OfferRun(run);
    v1::RunDecision decision;
    do {
      decision = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
    } while (decision.run_id() != run);
    StopAgent();
    return decision;
  };
  EXPECT_TRUE(offer_over(60, "same").approved());
  int refused = 0;
  int approved = 0;
  for (int patients = 61; patients <= 64; ++patients) {
    const v1::RunDecision decision = offer_over(patients, absl::StrCat("plus-", patients));
    ++(decision.approved() ? approved : refused);
    if (decision.approved()) continue;
    EXPECT_EQ(decision.reason(), v1::NOT_APPROVED);
    EXPECT_THAT(decision.message(), Not(HasSubstr("x")));
  }
  // One that falls into another part of the split changes nothing about the sums.
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(offer_over(90, "plus-many").approved());
}

// One row of logistic regression can be read off its update.
TEST_F(AgentDataTest, APlanWhoseUpdatesMayComeFromTooFewPatientsIsRefused) {
  Enrol();
  ImportPatients(60);
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  // Whose tasks have all of the plan's steps.
  plan_.mutable_config()->mutable_aggregation()->Clear();
  plan_.mutable_config()->mutable_aggregation()->set_preset(v1::AggregationConfig::FEDBUFF);
  plan_ = *ResolvePlan(plan_);
  for (const auto& [batch, steps] : {std::pair{1, 4}, std::pair{2, 2}, std::pair{4, 1}}) {
    plan_.mutable_config()->mutable_training()->set_batch_examples(batch);
    plan_.mutable_config()->mutable_training()->set_local_steps(steps);
    OfferRun(absl::StrCat("few-", batch));
    const v1::RunDecision decision =
        aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
    EXPECT_FALSE(decision.approved()) << batch;
    EXPECT_EQ(decision.reason(), v1::TOO_FEW_EXAMPLES);
  }
  plan_.mutable_config()->mutable_training()->set_batch_examples(1);
  plan_.mutable_config()->mutable_training()->set_local_steps(5);
  OfferRun("enough");
  EXPECT_TRUE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
}

// The plan's 8 steps would do; the 2 that a fairness contract may ask for do not.
TEST_F(AgentDataTest, APlanIsJudgedByTheShortestTaskThatItAllows) {
  Enrol();
  ImportPatients(60);
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  plan_.mutable_config()->mutable_training()->set_batch_examples(1);
  plan_.mutable_config()->mutable_training()->set_local_steps(8);
  v1::AggregationConfig& aggregation = *plan_.mutable_config()->mutable_aggregation();
  aggregation.Clear();
  aggregation.mutable_fairness()->set_local_steps_share_min(0.25);
  plan_ = *ResolvePlan(plan_);
  OfferRun("few");
  EXPECT_EQ(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().reason(),
            v1::TOO_FEW_EXAMPLES);
  plan_.mutable_config()->mutable_aggregation()->mutable_fairness()->set_local_steps_share_min(1);
  OfferRun("enough");
  EXPECT_TRUE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
}

// Ten rows of three patients, of whom two fall into the training part, say.
TEST_F(AgentDataTest, RowsOfFewPatientsAreFew) {
  Enrol();
  std::string csv = "id,x,y\n";
  for (int i = 0; i < 200; ++i) absl::StrAppend(&csv, "p", i % 4, ",", i, ",", i % 2, "\n");
  ImportCsvText(csv);
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  OfferRun();
  const v1::RunDecision decision = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
  EXPECT_FALSE(decision.approved());
  EXPECT_EQ(decision.reason(), v1::TOO_FEW_EXAMPLES);
}

// Three patients have nearly all rows, so that most updates are of them alone.
TEST_F(AgentDataTest, APlanIsJudgedByThePatientsWithTheMostRows) {
  Enrol();
  std::string csv = "id,x,y\n";
  for (int i = 0; i < 300; ++i) {
    absl::StrAppend(&csv, "p", i < 280 ? i % 4 : i, ",", i, ",", i % 2, "\n");
  }
  ImportCsvText(csv);
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
  plan_.mutable_config()->mutable_training()->set_batch_examples(8);
  OfferRun();
  const v1::RunDecision decision = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
  EXPECT_FALSE(decision.approved());
  EXPECT_EQ(decision.reason(), v1::TOO_FEW_EXAMPLES);
}

// Who alone is watched into the last interval is all that its weights learn from.
TEST_F(AgentDataTest, APlanWithAnIntervalOfFewPatientsIsRefused) {
  v1::RunPlan hazard;
  ASSERT_THAT(
      ReadTextFormatFile(CONSILIUM_ZOO_FOLDER "/discrete_hazard.textproto", *hazard.mutable_spec()),
      IsOk());
  *hazard.mutable_contract() = SmallContract();
  ASSERT_THAT(ParseTextFormat(R"pb(column: "days"
                                   survival {
                                     time_max: 1000
                                     event_column: "died"
                                     observed: "1"
                                     censored: "0"
                                     interval_ends: [ 10, 20, 30 ]
                                   })pb",
                              "label", *hazard.mutable_contract()->mutable_label()),
              IsOk());
  *hazard.mutable_config() = plan_.config();
  hazard.mutable_config()->mutable_model()->clear_parameters();
  plan_ = Must(ResolvePlan(hazard));
  const auto table = [](int long_watched) {
    std::string csv = "id,x,days,died\n";
    for (int i = 0; i < 200; ++i) {
      absl::StrAppend(&csv, "p", i, ",", i, ",", i < long_watched ? 500 : 17, ",", i % 2, "\n");
    }
    return csv;
  };
  Enrol();
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  ImportCsvText(table(3));
  StartAgent();
  OfferRun("few");
  const v1::RunDecision few = aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision();
  EXPECT_FALSE(few.approved());
  EXPECT_EQ(few.reason(), v1::TOO_FEW_EXAMPLES);
  EXPECT_EQ(few.message(), "this site's minimum count does not allow the run");
  const nlohmann::json status = WaitForStatus(
      [](const nlohmann::json& now) { return At(now, "/runs/0/state") == "refused"; });
  EXPECT_THAT(At(status, "/runs/0/refusal").dump(),
              HasSubstr("watched into the interval that ends at 30; this site's minimum is 5"));
  ImportCsvText(table(100));
  OfferRun("enough");
  EXPECT_TRUE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
  EXPECT_THAT(Must(ShowRun(place_, "enough")).at("releases").dump(),
              HasSubstr("whether at least 5 of this site's patients die, or leave, in each"));
}

TEST_F(AgentDataTest, AnUpdateOfTooFewPatientsIsNotKept) {
  BringToRunning();
  trainer_.patients_seen = 4;
  GrantTask(1);
  while (trainer_.trainings == 0) WaitForStatus([](const nlohmann::json&) { return true; });
  WaitForStatus([](const nlohmann::json& status) { return TasksIn(status, "granted") == 1; });
  EXPECT_EQ(At(Must(VerifyAudit(place_)), "/releases/update"), nlohmann::json());
}

TEST_F(AgentDataTest, ARunningAgentImportsData) {
  Enrol();
  StartAgent();
  ImportPatients(60);
  EXPECT_EQ(At(Must(ListData(place_)), "/datasets/0/rows"), 60);
  EXPECT_TRUE(Must(OpenReportFile("small")).contains("refusals"));
  // What can not be imported says why, and the agent goes on.
  EXPECT_THAT(ImportData(place_, {.contract_file = folder_.File("contract"),
                                  .csv_file = folder_.File("nowhere.csv")}),
              IsError(StatusCode::kNotFound, "nowhere.csv"));
  EXPECT_EQ(At(Must(ListData(place_)), "/datasets/0/rows"), 60);
}

TEST_F(AgentDataTest, AStrictImportIsAllOrNothing) {
  Enrol();
  ImportPatients(60);
  ASSERT_THAT(WriteFileDurably(folder_.File("bad"), SmallCsv(70) + "p70,much,1\n"), IsOk());
  ImportOptions options = {.contract_file = folder_.File("contract"),
                           .csv_file = folder_.File("bad"),
                           .bad_rows = ImportOptions::BadRows::kImportNothing};
  for (const char* who : {"the store", "the agent"}) {
    const nlohmann::json nothing = Must(ImportData(place_, options));
    EXPECT_EQ(nothing.at("rows_read"), 71) << who;
    EXPECT_EQ(nothing.at("rows_stored"), 0);
    EXPECT_EQ(nothing.at("rows_refused"), 1);
    EXPECT_EQ(At(nothing, "/refusals/0/line"), 72);
    EXPECT_EQ(Must(OpenReportFile("small")).at("refusals").size(), 1u);
    EXPECT_EQ(At(Must(ListData(place_)), "/datasets/0/rows"), 60);
    if (agent_ == nullptr) StartAgent();
  }
  // The rows are those of the good import still, and readable.
  EXPECT_EQ(Must(store_->ReadRows(Must(store_->Datasets())[0])).size(), 60u);
  options.bad_rows = ImportOptions::BadRows::kLeaveOut;
  EXPECT_EQ(Must(ImportData(place_, options)).at("rows_stored"), 70);
}

TEST_F(AgentDataTest, ARunThatGoesOnKeepsItsRows) {
  BringToRunning();
  const ImportOptions options = {.contract_file = folder_.File("contract"),
                                 .csv_file = folder_.File("csv")};
  EXPECT_THAT(ImportData(place_, options), IsError(StatusCode::kFailedPrecondition, kRun));
  // Nor does a second data set under the run's contract come beside it.
  ImportOptions beside = options;
  beside.dataset = "beside";
  EXPECT_THAT(ImportData(place_, beside), IsError(StatusCode::kFailedPrecondition, kRun));
  GrantTask(1);
  aggregator_.WaitForUpload();

  v1::Directive ended;
  ended.mutable_run_ended()->set_run_id(kRun);
  ended.mutable_run_ended()->set_result_version(0);
  aggregator_.Tell(ended);
  WaitForStatus([](const nlohmann::json& now) { return At(now, "/runs/0/state") == "ended"; });
  EXPECT_THAT(ImportData(place_, options), IsOk());
}

TEST_F(AgentDataTest, OneAgentPerStore) {
  Enrol();
  StartAgent();
  StorePlace hasty = place_;
  hasty.lock_patience = absl::ZeroDuration();
  EXPECT_THAT(OpenStore(hasty), IsError(StatusCode::kUnavailable, "is open already"));
}

// `status` has the store open while an agent starts, or an agent that starts has it.
TEST_F(AgentDataTest, ACommandWaitsForTheOneThatHasTheStore) {
  Enrol();
  store_ = Must(OpenStore(place_));
  place_.lock_patience = kPatience;
  const LogWatch log;  // A command that waits says so.
  std::thread other([this, &log] {
    log.WaitForLine();
    store_ = nullptr;
  });
  EXPECT_EQ(At(Must(SiteStatus(place_)), "/running"), false);
  other.join();
}

TEST_F(AgentDataTest, ACommandIsAnsweredByAnAgentThatWasStarting) {
  Enrol();
  store_ = Must(OpenStore(place_));
  place_.lock_patience = kPatience;
  const LogWatch log;
  std::thread starting([this, &log] {
    log.WaitForLine();
    ServeStore();
  });
  EXPECT_EQ(At(Must(SiteStatus(place_)), "/running"), true);
  starting.join();
  StopAgent();  // Its threads log: before the watch goes.
}

}  // namespace
}  // namespace consilium::site
