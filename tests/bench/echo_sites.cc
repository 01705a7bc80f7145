#include "tests/bench/echo_sites.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "models/spec/run_plan.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/transfer_client.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "tests/bench/by_turns.h"
#include "tests/fakes/tiny_plan.h"

namespace consilium::bench {
namespace {

constexpr char kBenchPlan[] = R"(
  config {
    name: "bench"
    data { standardise: NONE }
    training { local_steps: 1 }
    stop { versions_max: 1000000 }
    seed: 1
  })";

void AddLinear(v1::ModelSpec& spec, uint64_t units) {
  v1::Layer& layer = *spec.add_layers();
  layer.set_name(absl::StrCat("linear", spec.layers_size()));
  layer.mutable_linear()->set_units(absl::StrCat(units));
}

class BufferSink final : public ModelSink {
 public:
  explicit BufferSink(std::vector<uint8_t>& buffer) : buffer_(buffer) {}
  absl::Status OnHeader(const v1::ModelHeader&) override { return absl::OkStatus(); }
  absl::Status OnData(ByteSpans data) override {
    for (const std::span<const uint8_t> bytes : data) {
      if (bytes.size() > buffer_.size() - filled_) return absl::OutOfRangeError("a longer model");
      memcpy(buffer_.data() + filled_, bytes.data(), bytes.size());
      filled_ += bytes.size();
    }
    return absl::OkStatus();
  }

 private:
  std::vector<uint8_t>& buffer_;
  size_t filled_ = 0;
};

}  // namespace

v1::RunPlan EchoPlan(const EchoPlanOptions& options) {
  v1::RunPlan plan;
  Must(ParseTextFormat(kTinyPlanText, "plan", plan), "reading the plan");
  Must(MergeTextFormat(kBenchPlan, "plan", plan), "reading the plan");
  plan.mutable_spec()->clear_layers();
  Must(ParseTextFormat(options.aggregation, "aggregation",
                       *plan.mutable_config()->mutable_aggregation()),
       "reading the plan");
  // Two features and h hidden units, twice: h² + 5h + 1 parameters.
  const auto units = static_cast<uint64_t>(sqrt(static_cast<double>(options.parameters)));
  if (units > 0) {
    AddLinear(*plan.mutable_spec(), units);
    AddLinear(*plan.mutable_spec(), units);
  }
  AddLinear(*plan.mutable_spec(), 1);
  return Must(ResolvePlan(plan), "resolving the plan");
}

EchoSites::EchoSites(testing::AggregatorAccess& aggregator, int sites, const v1::RunPlan& plan)
    : aggregator_(aggregator) {
  for (int i = 0; i < sites; ++i) {
    Site& site = sites_.emplace_back();
    site.link = std::make_unique<testing::FakeSite>(aggregator, absl::StrCat("site-", i));
    Must(site.link->Attach(), "attaching a site");
  }
  aggregator.Submit(plan);
  for (Site& site : sites_) site.link->Approve(100);
  for (Site& site : sites_) {
    AwaitModel(site, 0);
    AwaitTask(site);
  }
  payload_bytes_ = sites_.front().model.payload_bytes();
  auto values = std::make_shared<std::vector<float>>(payload_bytes_ / sizeof(float));
  for (size_t i = 0; i < values->size(); ++i) (*values)[i] = 1e-6F * static_cast<float>(i % 1021);
  update_.bytes = {reinterpret_cast<const uint8_t*>(values->data()), payload_bytes_};
  update_.owner = values;
  update_root_ = ToBytes(MerkleRootOf(update_.bytes));
  for (Site& site : sites_) site.fetched.resize(payload_bytes_);
}

void EchoSites::AwaitModel(Site& site, uint64_t version) {
  site.model = site.link->AwaitModel(version);
  Must(site.model.run_id().empty() ? absl::DeadlineExceededError("") : absl::OkStatus(),
       "waiting for a version");
}

void EchoSites::AwaitTask(Site& site) {
  site.task = site.link->AwaitTask();
  Must(site.task.run_id().empty() ? absl::DeadlineExceededError("") : absl::OkStatus(),
       "waiting for a task");
}

void EchoSites::Fetch(Site& site, const std::shared_ptr<grpc::Channel>& channel) const {
  v1::FetchRequest request;
  request.set_run_id(site.model.run_id());
  request.set_version(site.model.version());
  BufferSink sink(site.fetched);
  Must(FetchModel(channel, request, sink), "fetching");
}

void EchoSites::Upload(const Site& site, const std::shared_ptr<grpc::Channel>& channel) const {
  v1::UpdateHeader header = site.link->MakeHeader(site.task, site.model);
  header.set_payload_bytes(payload_bytes_);
  header.set_payload_root(update_root_);
  BufferSource source(update_);
  Must(UploadUpdate(channel, header, source), "uploading");
}

absl::Duration EchoSites::AtOnce(const std::function<void(Site&)>& work) {
  const absl::Time start = absl::Now();
  std::vector<std::thread> threads;
  for (Site& site : sites_) threads.emplace_back([&work, &site] { work(site); });
  for (std::thread& thread : threads) thread.join();
  return absl::Now() - start;
}

EchoSites::Times EchoSites::Run(const Exchange& exchange) {
  const absl::Time start = absl::Now();
  std::vector<absl::Duration> accepted(sites_.size());
  Times times;
  times.made = AtOnce([&](Site& site) {
    if (site.model.evaluate() != v1::SPLIT_UNSPECIFIED) site.link->Evaluate(site.model);
    if (exchange.fetching == Exchange::Fetching::kWithFetch) Fetch(site, site.link->bulk());
    const uint64_t base = site.model.version();
    std::vector<uint64_t> tasks;
    for (int i = 0; i < exchange.updates; ++i) {
      if (i > 0) AwaitTask(site);
      tasks.push_back(site.task.task_id());
      Upload(site, site.link->bulk());
    }
    accepted[static_cast<size_t>(&site - sites_.data())] = absl::Now() - start;
    AwaitModel(site, base + static_cast<uint64_t>(exchange.updates));
    AwaitTask(site);
    for (const uint64_t task : tasks) site.link->AwaitReceipt(v1::Receipt::INCLUDED, task);
  });
  times.accepted = *std::max_element(accepted.begin(), accepted.end());
  return times;
}

absl::Duration EchoSites::RunControl(const Exchange& exchange, const std::string& address) {
  for (Site& site : sites_) {
    if (site.control != nullptr) continue;
    const testing::SiteStore& store = site.link->store();
    site.control = MakeChannel(
        address,
        Must(TlsChannelCredentials({Must(TrustAnchors::FromPem(store.root_pem), "reading the root"),
                                    store.certificate_folder}),
             "using a site's certificate"),
        ChannelKind::kBulk);
  }
  return AtOnce([&](Site& site) {
    if (exchange.fetching == Exchange::Fetching::kWithFetch) Fetch(site, site.control);
    for (int i = 0; i < exchange.updates; ++i) Upload(site, site.control);
  });
}

}  // namespace consilium::bench
