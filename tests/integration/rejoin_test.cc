// A hospital that was away for longer than its certificate lives: an operator lets it in again, and
// it goes on with the store that it has. The whole agent and the whole aggregator, over mutual TLS.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/clock.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/pki.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/text_format.h"
#include "site_agent/core/trainer.h"
#include "site_agent/runtime/agent.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/runtime/ending.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/fakes/tiny_plan.h"
#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::testing {
namespace {

v1::RunPlan PlanWithoutEnd() {
  v1::RunPlan plan;
  EXPECT_THAT(ParseTextFormat(kTinyPlanText, "plan", plan), IsOk());
  EXPECT_THAT(MergeTextFormat(R"(
    config {
      name: "rejoin"
      data { standardise: NONE split { validation: 0 test: 0 } }
      training { local_steps: 1 }
      aggregation { preset: FEDBUFF trigger { buffer { updates: 1 } } }
      stop { versions_max: 1000000 }
      seed: 1
    })",
                              "plan", plan),
              IsOk());
  *plan.mutable_contract() = site::SmallContract();
  const auto resolved = ResolvePlan(plan);
  EXPECT_THAT(resolved, IsOk());
  return resolved.value_or(plan);
}

// Its updates neither grow nor end.
class SteadyTrainer final : public Trainer {
 public:
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override {
    TrainOutput output;
    output.steps = input.local_steps;
    output.mean_loss = 0.5;
    output.patients = 20;
    output.delta.assign(input.base.size(), 0.001F);
    return output;
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override {
    v1::MetricSums metrics;
    metrics.set_examples(input.examples->count());
    return metrics;
  }
};

class Rejoin : public ::testing::Test {
 protected:
  Rejoin() : place_{.folder = folder_.File("store"), .kek_file = folder_.File("key/kek")} {
    EXPECT_THAT(site::InitStore(place_), IsOk());
  }
  ~Rejoin() override { StopAgent(); }

  absl::StatusOr<v1::JoinFile> AddSite(const v1::AddSiteRequest& request) {
    grpc::ClientContext context;
    v1::AddSiteResponse response;
    const absl::Status status =
        FromGrpcStatus(aggregator_.admin().AddSite(&context, request, &response));
    if (!status.ok()) return status;
    return response.join_file();
  }
  void Enrol(const v1::JoinFile& join) {
    std::string text;
    ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(join, &text));
    ASSERT_THAT(WriteFileDurably(folder_.File("join"), text), IsOk());
    ASSERT_THAT(site::EnrolSite(place_, folder_.File("join")), IsOk());
  }
  void ImportPatients() {
    std::string text;
    ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(site::SmallContract(), &text));
    ASSERT_THAT(WriteFileDurably(folder_.File("contract"), text), IsOk());
    ASSERT_THAT(WriteFileDurably(folder_.File("csv"), site::SmallCsv(40)), IsOk());
    ASSERT_THAT(site::ImportData(place_, {.contract_file = folder_.File("contract"),
                                          .csv_file = folder_.File("csv")}),
                IsOk());
  }
  void StartAgent() {
    auto store = site::OpenStore(place_);
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
    ending_ = std::make_unique<site::Ending>();
    auto agent = site::Agent::Start({store_.get(), &trainer_, ending_.get()}, {});
    ASSERT_THAT(agent, IsOk());
    agent_ = *std::move(agent);
  }
  void StopAgent() {
    agent_ = nullptr;
    store_ = nullptr;
  }
  void InstallEndedCertificate() {
    const auto authority =
        CertificateAuthority::FromPem(*TlsKey::Read(aggregator_.pki() + "/intermediate.key"),
                                      *ReadFile(aggregator_.pki() + "/intermediate.pem", 1 << 16));
    const auto key = TlsKey::Generate();
    const auto chain = authority->IssueSite(*key->MakeRequestPem(), SiteId("north"),
                                            absl::Now() - absl::Hours(24 * 30));
    ASSERT_THAT(chain, IsOk());
    const auto store = site::OpenStore(place_);
    ASSERT_THAT(store, IsOk());
    ASSERT_THAT(InstallCertificate((*store)->tls_folder(), *key, *chain), IsOk());
  }
  uint64_t AwaitVersion(const std::string& run, uint64_t version_min) {
    return aggregator_
        .Await(run,
               [version_min](const v1::RunReport& r) { return r.current_version() >= version_min; })
        .current_version();
  }

  LiveAggregator aggregator_;
  TempFolder folder_;
  site::StorePlace place_;
  SteadyTrainer trainer_;
  std::unique_ptr<site::SiteStore> store_;
  std::unique_ptr<site::Ending> ending_;
  std::unique_ptr<site::Agent> agent_;
};

TEST_F(Rejoin, ASiteWhoseCertificateEndedGoesOnWithItsStore) {
  v1::AddSiteRequest request;
  request.set_site_id("north");
  const auto first = AddSite(request);
  ASSERT_THAT(first, IsOk());
  Enrol(*first);
  ImportPatients();
  ASSERT_THAT(site::Approve(place_, std::nullopt), IsOk());
  const std::string run = aggregator_.Submit(PlanWithoutEnd());
  StartAgent();
  AwaitVersion(run, 3);
  StopAgent();
  const uint64_t before = aggregator_.Report(run).current_version();

  InstallEndedCertificate();
  EXPECT_THAT(AddSite(request), IsError(absl::StatusCode::kAlreadyExists, "--again"));
  request.set_again(true);
  absl::StatusOr<v1::JoinFile> again = AddSite(request);
  ASSERT_THAT(again, IsOk());
  Enrol(*again);
  StartAgent();
  // The run is the same, with the data set, the approval and the tasks that the site had.
  AwaitVersion(run, before + 3);
  const v1::RunReport report = aggregator_.Report(run);
  ASSERT_EQ(report.participants_size(), 1);
  EXPECT_EQ(report.participants(0).updates_refused(), 0);
  StopAgent();

  // What the engine decided is in the journal: a restart, at another port here, finds it.
  aggregator_.Restart();
  again = AddSite(request);
  ASSERT_THAT(again, IsOk());
  Enrol(*again);
  StartAgent();
  AwaitVersion(run, report.current_version() + 2);
}

// From the moment on that the operator has said so, and whether the new file is used or not.
TEST_F(Rejoin, TheCertificatesThatTheSiteHadAreRevoked) {
  FakeSite site(aggregator_, "north");
  ASSERT_THAT(site.Attach(), IsOk());
  site.Detach();
  v1::AddSiteRequest request;
  request.set_site_id("north");
  request.set_again(true);
  ASSERT_THAT(AddSite(request), IsOk());
  EXPECT_FALSE(site.Attach().ok());
  aggregator_.Restart();
  EXPECT_FALSE(site.Attach().ok());
}

}  // namespace
}  // namespace consilium::testing
