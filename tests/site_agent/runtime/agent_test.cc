// A whole agent against a scripted aggregator, over mutual TLS on this machine.

#include "site_agent/runtime/agent.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <string.h>

#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "models/spec/run_plan.h"
#include "models/spec/standardisation.h"
#include "protocol/core/files.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/runtime/control_socket.h"
#include "site_agent/runtime/ending.h"
#include "site_agent/runtime/journal_codec.h"
#include "site_agent/runtime/progress_log.h"
#include "site_agent/runtime/request_handler.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/site_agent/runtime/fake_aggregator.h"
#include "tests/site_agent/runtime/fake_trainer.h"
#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::site {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRun[] = "small-1";

v1::RunPlan SmallPlan() {
  v1::RunPlan plan;
  EXPECT_THAT(ReadTextFormatFile(CONSILIUM_ZOO_FOLDER "/logistic_regression.textproto",
                                 *plan.mutable_spec()),
              IsOk());
  *plan.mutable_contract() = SmallContract();
  EXPECT_THAT(ParseTextFormat(R"pb(name: "small"
                                   model { spec_file: "x" }
                                   data { contract_file: "y" }
                                   training {
                                     optimizer { sgd { learning_rate: 0.1 } }
                                     local_steps: 3
                                   }
                                   seed: 1)pb",
                              "config", *plan.mutable_config()),
              IsOk());
  const auto resolved = ResolvePlan(plan);
  EXPECT_THAT(resolved, IsOk());
  return resolved.value_or(plan);
}

// What lies at `pointer`, null where nothing does.
nlohmann::json At(const nlohmann::json& value, const std::string& pointer) {
  const nlohmann::json::json_pointer place(pointer);
  return value.contains(place) ? value.at(place) : nlohmann::json();
}

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

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() : plan_(SmallPlan()), plan_hash_(PlanHash(plan_)) {
    place_ = {.folder = folder_.File("store"), .kek_file = folder_.File("key/site.kek")};
    EXPECT_THAT(InitStore(place_), IsOk());
  }

  ~AgentTest() override { StopAgent(); }

  void Enrol() {
    std::string text;
    EXPECT_TRUE(
        google::protobuf::TextFormat::PrintToString(aggregator_.JoinFileFor("cleveland"), &text));
    EXPECT_THAT(WriteFileDurably(folder_.File("join"), text), IsOk());
    EXPECT_THAT(EnrolSite(place_, folder_.File("join")), IsOk());
  }

  void ImportPatients(int count) { ImportCsvText(SmallCsv(count)); }
  void ImportCsvText(const std::string& csv) {
    std::string text;
    google::protobuf::TextFormat::PrintToString(SmallContract(), &text);
    EXPECT_THAT(WriteFileDurably(folder_.File("contract"), text), IsOk());
    EXPECT_THAT(WriteFileDurably(folder_.File("csv"), csv), IsOk());
    EXPECT_THAT(ImportData(place_, {.contract_file = folder_.File("contract"),
                                    .csv_file = folder_.File("csv")}),
                IsOk());
  }

  absl::StatusOr<nlohmann::json> OpenReportFile(const std::string& dataset) {
    const auto text = ReadFile(place_.folder + "/import-" + dataset + ".json", 1 << 20);
    if (!text.ok()) return text.status();
    return nlohmann::json::parse(*text);
  }

  void StartAgent() { StartAgent(place_); }
  void StartAgent(const StorePlace& place) {
    store_ = Must(OpenStore(place));
    ServeStore();
  }

  void ServeStore() {
    ending_ = std::make_unique<Ending>();
    AgentOptions options;
    options.egress.certificate_reload_interval = absl::Seconds(1);
    agent_ = Must(Agent::Start({store_.get(), &trainer_, ending_.get()}, options));
    control_ = Must(ControlServer::Start(store_->folder(), [this](const nlohmann::json& request) {
      return HandleRequest(*store_, agent_.get(), request);
    }));
  }

  void StopAgent() {
    control_ = nullptr;
    agent_ = nullptr;
    store_ = nullptr;
  }

  // --- what the aggregator says ---

  void OfferRun(const std::string& run = kRun) {
    plan_hash_ = PlanHash(plan_);
    v1::Directive directive;
    v1::RunOffer& offer = *directive.mutable_run_offer();
    offer.set_run_id(run);
    *offer.mutable_plan() = plan_;
    offer.set_plan_hash(ToBytes(plan_hash_));
    aggregator_.Tell(directive);
  }

  void StartRun(const v1::StatisticsReport& statistics) {
    standardisation_ = Must(FoldStatistics(plan_.contract(), {{SiteId("cleveland"), statistics}}));
    v1::Directive directive;
    v1::RunStarted& started = *directive.mutable_run_started();
    started.set_run_id(kRun);
    started.set_layout_hash(ToBytes(Must(GraphOf(plan_)).layout.Hash()));
    *started.mutable_standardisation() = standardisation_;
    aggregator_.Tell(directive);
  }

  // Version 0 with zeros, to be evaluated on validation patients.
  void AnnounceModel() {
    const Layout layout = Must(GraphOf(plan_)).layout;
    const std::string payload(layout.payload_bytes(), '\0');
    v1::ModelHeader header;
    header.set_run_id(kRun);
    header.set_layout_hash(ToBytes(layout.Hash()));
    header.set_encoding(v1::F32);
    header.set_payload_bytes(payload.size());
    const Digest root = MerkleRootOf(
        std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(payload.data()), payload.size()));
    header.set_payload_root(ToBytes(root));
    header.set_model_id(ToBytes(ModelIdOf(
        {RunId(kRun), Version(0), layout.Hash(), root, StandardisationHash(standardisation_)})));
    aggregator_.AddModel(header, payload);
    v1::Directive directive;
    v1::ModelAvailable& available = *directive.mutable_model_available();
    available.set_run_id(kRun);
    available.set_model_id(header.model_id());
    available.set_payload_bytes(payload.size());
    available.set_evaluate(v1::VALIDATION);
    aggregator_.Tell(directive);
  }

  void GrantTask(uint64_t task) {
    v1::Directive directive;
    directive.mutable_task_offer()->set_run_id(kRun);
    directive.mutable_task_offer()->set_task_id(task);
    directive.mutable_task_offer()->set_local_steps(3);
    aggregator_.Tell(directive);
  }

  // From an enrolled site with data to a run with its first model.
  void BringToRunning() {
    Enrol();
    ImportPatients(60);
    EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
    StartAgent();
    OfferRun();
    StartRun(aggregator_.WaitFor(v1::SiteEvent::kStatistics).statistics());
    AnnounceModel();
    aggregator_.WaitFor(v1::SiteEvent::kEvaluation);
  }

  // Asks until the running agent's answer is as wanted: what it was told may still be on its way.
  nlohmann::json WaitForStatus(const std::function<bool(const nlohmann::json&)>& wanted) {
    const absl::Time give_up = absl::Now() + kPatience;
    nlohmann::json status;
    do {
      status = Must(SiteStatus(place_));
      if (wanted(status)) return status;
    } while (absl::Now() < give_up);
    ADD_FAILURE() << status.dump(2);
    return status;
  }

  static int TasksIn(const nlohmann::json& status, const std::string& phase) {
    const nlohmann::json count = At(status, "/runs/0/tasks/" + phase);
    return count.is_null() ? 0 : count.get<int>();
  }

  TempFolder folder_;
  StorePlace place_;
  v1::RunPlan plan_;
  Digest plan_hash_;
  v1::Standardisation standardisation_;
  TestFederation federation_;
  FakeAggregator aggregator_{federation_};
  FakeTrainer trainer_;
  std::unique_ptr<SiteStore> store_;
  std::unique_ptr<Ending> ending_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<ControlServer> control_;
};

TEST_F(AgentTest, OneUpdateGoesTheWholeWay) {
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

TEST_F(AgentTest, ARestartSendsTheOutboxAndTrainsNothingAgain) {
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

TEST_F(AgentTest, AnAnswerThatIsNoTextStopsNeitherTheAgentNorItsNextStart) {
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

TEST_F(AgentTest, WordsOfTheAggregatorAreOneLineOfTheLog) {
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

TEST_F(AgentTest, TheNextHelloNamesWhatIsHeld) {
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

TEST_F(AgentTest, AReceiptThatTheAggregatorDidNotSignIsNone) {
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

TEST_F(AgentTest, AFencedStoreEndsItsAgent) {
  Enrol();
  aggregator_.RefuseAttach(v1::LEASE_FENCED);
  StartAgent();
  const absl::Status why = ending_->Wait();
  EXPECT_EQ(DetailOf(why).reason(), v1::LEASE_FENCED);
  EXPECT_THAT(why.message(), HasSubstr("refused by the test (LEASE_FENCED). Two copies"));
  EXPECT_THAT(why.message(), HasSubstr("consilium site add --again cleveland"));
}

TEST_F(AgentTest, StatusKnowsOfARevocationWhenTheAgentHasEnded) {
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

TEST_F(AgentTest, ABusyLeaseIsTriedAgain) {
  Enrol();
  aggregator_.RefuseAttach(v1::LEASE_IN_USE);
  StartAgent();
  const v1::Hello first = aggregator_.WaitFor(v1::SiteEvent::kHello).hello();
  const v1::Hello second = aggregator_.WaitFor(v1::SiteEvent::kHello).hello();
  EXPECT_EQ(first.lease_presented(), second.lease_presented());
  EXPECT_EQ(first.lease_next(), second.lease_next());
}

TEST_F(AgentTest, RunsThatDoNotFitAreRefusedWithTheReason) {
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

TEST_F(AgentTest, AnApprovedRunWaitsForItsData) {
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
  aggregator_.WaitFor(v1::SiteEvent::kHello);
  WaitForStatus(waits);
  ImportPatients(60);
  EXPECT_TRUE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
}

// The same plan again, over rows that took the others' place while the agent ran.
TEST_F(AgentTest, ARunIsOverTheRowsThatAreInTheStoreNow) {
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

TEST_F(AgentTest, AnApprovalOfARunThatIsOverIsAnError) {
  BringToRunning();
  v1::Directive ended;
  ended.mutable_run_ended()->set_run_id(kRun);
  aggregator_.Tell(ended);
  WaitForStatus([](const nlohmann::json& now) { return At(now, "/runs/0/state") == "ended"; });
  EXPECT_THAT(ApproveRun(place_, kRun, std::nullopt),
              IsError(StatusCode::kFailedPrecondition, "the run small-1 is over"));
}

// An offer is not a way to ask what a hospital has.
TEST_F(AgentTest, NothingIsSaidOfItsDataBeforeAPersonApproved) {
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

TEST_F(AgentTest, AnApprovalIsOfOneRun) {
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
  EXPECT_THAT(shown.at("releases").dump(), HasSubstr("after 3 steps of 32 rows"));
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

TEST_F(AgentTest, AWithdrawnRunGetsNothingMore) {
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

TEST_F(AgentTest, ARunCanBeWithdrawnWhileNoAgentRuns) {
  BringToRunning();
  StopAgent();
  ASSERT_THAT(Withdraw(place_, kRun), IsOk());
  EXPECT_EQ(At(Must(ListRuns(place_)), "/runs/0/state"), "withdrawn");
  StartAgent();
  EXPECT_FALSE(aggregator_.WaitFor(v1::SiteEvent::kRunDecision).run_decision().approved());
}

TEST_F(AgentTest, AllRunsCanBeTakenBack) {
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

TEST_F(AgentTest, TheMinimumCountIsPolicyAndHoldsFromTheNextStart) {
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

// The same patients but one: the difference of the sums would be that patient's value.
TEST_F(AgentTest, SumsThatDifferInOnePatientDoNotLeave) {
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
TEST_F(AgentTest, APlanWhoseUpdatesMayComeFromTooFewPatientsIsRefused) {
  Enrol();
  ImportPatients(60);
  EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
  StartAgent();
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

// Ten rows of three patients, of whom two fall into the training part, say.
TEST_F(AgentTest, RowsOfFewPatientsAreFew) {
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
TEST_F(AgentTest, APlanIsJudgedByThePatientsWithTheMostRows) {
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

TEST_F(AgentTest, AnUpdateOfTooFewPatientsIsNotKept) {
  BringToRunning();
  trainer_.patients_seen = 4;
  GrantTask(1);
  while (trainer_.trainings == 0) WaitForStatus([](const nlohmann::json&) { return true; });
  WaitForStatus([](const nlohmann::json& status) { return TasksIn(status, "granted") == 1; });
  EXPECT_EQ(At(Must(VerifyAudit(place_)), "/releases/update"), nlohmann::json());
}

TEST_F(AgentTest, RenewsItsCertificateWithoutARestart) {
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

TEST_F(AgentTest, AnExpiredCertificateEndsTheAgentAndANewJoinFileBringsTheSiteBack) {
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

TEST_F(AgentTest, AnAggregatorThatIsAwayEndsNothing) {
  Enrol();
  aggregator_.StopServing();
  StartAgent();
  WaitForStatus([](const nlohmann::json& now) {
    return absl::StrContains(now.value("link_error", ""), "can not be reached");
  });
  EXPECT_EQ(At(Must(SiteStatus(place_)), "/running"), true);
}

TEST_F(AgentTest, SaysThatSomebodyElseAnswers) {
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

TEST_F(AgentTest, ARunningAgentImportsData) {
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

TEST_F(AgentTest, AStrictImportIsAllOrNothing) {
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

TEST_F(AgentTest, ARunThatGoesOnKeepsItsRows) {
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

TEST_F(AgentTest, OneAgentPerStore) {
  Enrol();
  StartAgent();
  StorePlace hasty = place_;
  hasty.lock_patience = absl::ZeroDuration();
  EXPECT_THAT(OpenStore(hasty), IsError(StatusCode::kUnavailable, "is open already"));
}

// `status` has the store open while an agent starts, or an agent that starts has it.
TEST_F(AgentTest, ACommandWaitsForTheOneThatHasTheStore) {
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

TEST_F(AgentTest, ACommandIsAnsweredByAnAgentThatWasStarting) {
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
}

TEST_F(AgentTest, EnrolmentRefusesATokenThatTheAggregatorDoesNotKnow) {
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
