// A whole agent, its store and a scripted aggregator, over mutual TLS on this machine.
//
// Ownership: owns all of them. Threads: the test's.

#ifndef CONSILIUM_TESTS_SITE_AGENT_RUNTIME_AGENT_FIXTURE_H_
#define CONSILIUM_TESTS_SITE_AGENT_RUNTIME_AGENT_FIXTURE_H_

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "models/spec/standardisation.h"
#include "protocol/core/files.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "site_agent/runtime/agent.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/runtime/control_socket.h"
#include "site_agent/runtime/ending.h"
#include "site_agent/runtime/request_handler.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/site_agent/runtime/fake_aggregator.h"
#include "tests/site_agent/runtime/fake_trainer.h"
#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::site {

inline constexpr char kRun[] = "small-1";

inline v1::RunPlan SmallPlan() {
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
inline nlohmann::json At(const nlohmann::json& value, const std::string& pointer) {
  const nlohmann::json::json_pointer place(pointer);
  return value.contains(place) ? value.at(place) : nlohmann::json();
}

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
    google::protobuf::TextFormat::PrintToString(plan_.contract(), &text);
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
    control_ =
        Must(ControlServer::Start(store_->folder(), [this](const nlohmann::json& request, int file,
                                                           const ControlServer::Tell& tell) {
          return HandleRequest(*store_, agent_.get(), request, file, tell);
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

  // Zeros; with SCAFFOLD as many ones after them from version 1 on. To be evaluated on validation
  // patients.
  void AnnounceModel(uint64_t version = 0) {
    const Layout layout = Must(GraphOf(plan_)).layout;
    std::vector<float> values(layout.elements());
    Digest root = RootOf(values);
    if (version > 0 && KeptBySites(plan_.config()) == SiteKeeps::kControlVariate) {
      const std::vector<float> control(layout.elements(), 1);
      root = MerkleRootOfTwo(root, RootOf(control));
      values.insert(values.end(), control.begin(), control.end());
    }
    const std::string payload(reinterpret_cast<const char*>(values.data()),
                              values.size() * sizeof(float));
    v1::ModelHeader header;
    header.set_run_id(kRun);
    header.set_version(version);
    header.set_layout_hash(ToBytes(layout.Hash()));
    header.set_encoding(v1::F32);
    header.set_payload_bytes(payload.size());
    header.set_payload_root(ToBytes(root));
    header.set_model_id(ToBytes(ModelIdOf({RunId(kRun), Version(version), layout.Hash(), root,
                                           StandardisationHash(standardisation_)})));
    aggregator_.AddModel(header, payload);
    v1::Directive directive;
    v1::ModelAvailable& available = *directive.mutable_model_available();
    available.set_run_id(kRun);
    available.set_version(version);
    available.set_model_id(header.model_id());
    available.set_payload_bytes(payload.size());
    available.set_evaluate(v1::VALIDATION);
    aggregator_.Tell(directive);
  }

  void GrantTask(uint64_t task, uint64_t base_version_min = 0) {
    v1::Directive directive;
    directive.mutable_task_offer()->set_run_id(kRun);
    directive.mutable_task_offer()->set_base_version_min(base_version_min);
    directive.mutable_task_offer()->set_task_id(task);
    directive.mutable_task_offer()->set_local_steps(3);
    aggregator_.Tell(directive);
  }

  static Digest RootOf(const std::vector<float>& values) {
    return MerkleRootOf(
        {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
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

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_RUNTIME_AGENT_FIXTURE_H_
