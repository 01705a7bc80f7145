#include "tests/aggregator/server/fake_site.h"

#include <grpcpp/create_channel.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "consilium/v1/enrolment.grpc.pb.h"
#include "privacy/at_rest/key_file.h"
#include "protocol/core/files.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/join_token.h"
#include "protocol/rpc/pki.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"

namespace consilium::testing {
namespace {

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    ADD_FAILURE() << value.status();
    abort();
  }
  return *std::move(value);
}

void MustOk(const absl::Status& status) { ASSERT_TRUE(status.ok()) << status; }

std::string RandomLease() {
  return ToBytes(Sha256Of(Must(SigningKey::Generate()).private_bytes().span()));
}

class VectorSink final : public ModelSink {
 public:
  absl::Status OnHeader(const v1::ModelHeader&) override { return absl::OkStatus(); }
  absl::Status OnData(ByteSpans data) override {
    for (const auto& span : data)
      bytes.append(reinterpret_cast<const char*>(span.data()), span.size());
    return absl::OkStatus();
  }
  std::string bytes;
};

}  // namespace

void MakePki(const std::string& folder, const std::string& federation) {
  const CertificateAuthority root = Must(CertificateAuthority::CreateRoot(federation, absl::Now()));
  const CertificateAuthority intermediate = Must(root.CreateIntermediate(absl::Now()));
  MustOk(MakeFolders(folder));
  MustOk(WriteFileDurably(folder + "/root.pem", root.certificate().ToPem()));
  MustOk(intermediate.key().Write(folder + "/intermediate.key"));
  MustOk(WriteFileDurably(folder + "/intermediate.pem", intermediate.certificate().ToPem()));
}

AggregatorAccess::AggregatorAccess() : pki_(folder_.File("pki")), data_(folder_.File("agg")) {}

void AggregatorAccess::Init(const std::string& federation) const {
  InitRpc();
  MakePki(pki_, federation);
  MustOk(Aggregator::Init({.data = data_,
                           .pki = pki_,
                           .federation = federation,
                           .address = "127.0.0.1:0",
                           .enrolment_address = "127.0.0.1:0"}));
}

void AggregatorAccess::Connect() {
  const std::string addresses =
      Must(ReadFile(data_ + "/addresses.json", limits::kTextFileBytesMax));
  main_address_ = nlohmann::json::parse(addresses).at("main").get<std::string>();
  admin_ = v1::Admin::NewStub(
      grpc::CreateChannel("unix:" + data_ + "/admin.sock", grpc::InsecureChannelCredentials()));
}

LiveAggregator::LiveAggregator(const std::string& federation) {
  Init(federation);
  Restart();
}

void LiveAggregator::Restart(Aggregator::ServeOptions options) {
  aggregator_.reset();
  options.data = data();
  options.software_version = "test";
  aggregator_ = Must(Aggregator::Start(std::move(options)));
  Connect();
}

std::unique_ptr<SqlcipherStore> LiveAggregator::OpenStore() const {
  const Kek kek =
      Must(LoadKek({.file = Aggregator::DefaultKeyFile(data()), .store_folder = data()}));
  return Must(SqlcipherStore::Open(kek, data() + "/store"));
}

std::string AggregatorAccess::root_pem() const {
  return Must(ReadFile(pki_ + "/root.pem", limits::kCertificateBytesMax));
}

v1::JoinFile AggregatorAccess::AddSite(const std::string& site, Occasion occasion) {
  grpc::ClientContext context;
  v1::AddSiteRequest request;
  request.set_site_id(site);
  request.set_again(occasion == Occasion::kAgain);
  v1::AddSiteResponse response;
  MustOk(FromGrpcStatus(admin_->AddSite(&context, request, &response)));
  return response.join_file();
}

std::string AggregatorAccess::Submit(const v1::RunPlan& plan) {
  grpc::ClientContext context;
  v1::SubmitRunRequest request;
  *request.mutable_plan() = plan;
  v1::SubmitRunResponse response;
  MustOk(FromGrpcStatus(admin_->SubmitRun(&context, request, &response)));
  return response.run_id();
}

v1::RunReport AggregatorAccess::Report(const std::string& run) {
  grpc::ClientContext context;
  v1::GetRunRequest request;
  request.set_run_id(run);
  v1::RunReport report;
  MustOk(FromGrpcStatus(admin_->GetRun(&context, request, &report)));
  return report;
}

v1::RunReport AggregatorAccess::Await(const std::string& run,
                                      const std::function<bool(const v1::RunReport&)>& reached) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  v1::GetRunRequest request;
  request.set_run_id(run);
  const auto reader = admin_->WatchRun(&context, request);
  v1::RunReport report;
  while (reader->Read(&report)) {
    if (reached(report)) {
      context.TryCancel();
      return report;
    }
  }
  ADD_FAILURE() << "the run did not come so far: " << report.ShortDebugString();
  return report;
}

size_t AggregatorAccess::BlobFiles(const std::string& run) const {
  size_t files = 0;
  const std::string folder = data_ + "/store/blobs/" + run;
  if (!std::filesystem::exists(folder)) return 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  return files;
}

SigningKey SiteStore::KeyPair() const {
  return Must(SigningKey::FromPrivateBytes(SecretBytes(std::span<const uint8_t>(
      reinterpret_cast<const uint8_t*>(private_signing_key.data()), private_signing_key.size()))));
}

FakeSite::FakeSite(AggregatorAccess& aggregator, const std::string& site)
    : aggregator_(aggregator), name_(site) {
  const v1::JoinFile join = aggregator.AddSite(site);
  store_.root_pem = join.root_certificate_pem();
  store_.certificate_folder = folder_.File("tls");
  const TlsKey key = Must(TlsKey::Generate());
  v1::EnrolRequest request;
  request.set_site_id(site);
  request.set_token(join.token());
  request.set_csr_pem(Must(key.MakeRequestPem()));
  const SigningKey signing = Must(SigningKey::Generate());
  request.set_signing_public_key(signing.public_key().data(), signing.public_key().size());
  request.set_signature(signing.Sign(EnrolmentDigest(request)));
  const auto credentials = Must(TlsChannelCredentials(
      {.anchors = Must(TrustAnchors::FromPem(store_.root_pem)), .certificate_folder = ""}));
  const auto stub = v1::Enrolment::NewStub(
      MakeChannel(join.enrolment_address(), credentials, ChannelKind::kControl));
  grpc::ClientContext context;
  v1::EnrolResponse response;
  MustOk(FromGrpcStatus(stub->Enrol(&context, request, &response)));
  MustOk(InstallCertificate(store_.certificate_folder, key, response.certificate_chain_pem()));
  store_.lease = response.initial_lease();
  store_.aggregator_key = response.aggregator_signing_key();
  store_.private_signing_key.assign(
      signing.private_bytes().data(),
      signing.private_bytes().data() + signing.private_bytes().size());
  Connect();
}

FakeSite::FakeSite(AggregatorAccess& aggregator, const std::string& site, SiteStore store)
    : aggregator_(aggregator), name_(site), store_(std::move(store)) {
  Connect();
}

FakeSite::~FakeSite() { Detach(); }

void FakeSite::Connect() {
  const auto credentials =
      Must(TlsChannelCredentials({.anchors = Must(TrustAnchors::FromPem(store_.root_pem)),
                                  .certificate_folder = store_.certificate_folder}));
  const std::string& address = aggregator_.main_address();
  control_ = MakeChannel(address, credentials, ChannelKind::kControl);
  bulk_ = MakeChannel(address, credentials, ChannelKind::kBulk);
}

absl::Status FakeSite::Attach(const HelloOptions& options) {
  link_.reset();
  Connect();
  {
    absl::MutexLock lock(&mu_);
    directives_.clear();
    closed_.reset();
  }
  v1::Hello hello;
  hello.set_wire_version(limits::kWireVersion);
  hello.set_wire_version_min(limits::kWireVersionMin);
  hello.set_incarnation(++store_.incarnation);
  hello.set_lease_presented(store_.lease);
  hello.set_lease_next(RandomLease());
  hello.set_software_version(options.software_version);
  for (const std::string& run : options.runs) hello.add_runs()->set_run_id(run);
  link_ = std::make_unique<CoordinationLink>(control_, hello, this);
  {
    absl::MutexLock lock(&mu_);
    const auto answered = [this] {
      mu_.AssertReaderHeld();
      return !directives_.empty() || closed_.has_value();
    };
    if (!mu_.AwaitWithTimeout(absl::Condition(&answered), kPatience)) {
      return absl::DeadlineExceededError("no Welcome");
    }
    if (directives_.empty()) return *closed_;
    if (!directives_.front().has_welcome()) return absl::InternalError("no Welcome first");
    directives_.pop_front();
  }
  store_.lease = hello.lease_next();
  v1::SiteEvent confirm;
  confirm.mutable_lease_confirm()->set_lease(store_.lease);
  Send(confirm);
  return absl::OkStatus();
}

bool FakeSite::IsClosed() {
  absl::MutexLock lock(&mu_);
  return closed_.has_value();
}

absl::Status FakeSite::AwaitClosed() {
  absl::MutexLock lock(&mu_);
  const auto closed = [this] {
    mu_.AssertReaderHeld();
    return closed_.has_value();
  };
  if (!mu_.AwaitWithTimeout(absl::Condition(&closed), kPatience)) {
    return absl::DeadlineExceededError("the stream does not end");
  }
  return *closed_;
}

void FakeSite::OnDirective(v1::Directive directive) {
  absl::MutexLock lock(&mu_);
  if (directive.has_run_started()) {
    layouts_[directive.run_started().run_id()] = directive.run_started().layout_hash();
  }
  directives_.push_back(std::move(directive));
}

void FakeSite::OnClosed(const absl::Status& why) {
  absl::MutexLock lock(&mu_);
  closed_ = why;
}

v1::Directive FakeSite::AwaitDirective(const std::function<bool(const v1::Directive&)>& wanted) {
  absl::MutexLock lock(&mu_);
  const auto is_there = [&] {
    mu_.AssertReaderHeld();
    return std::any_of(directives_.begin(), directives_.end(), wanted);
  };
  if (!mu_.AwaitWithTimeout(absl::Condition(&is_there), kPatience)) {
    ADD_FAILURE() << name_ << ": the directive did not come";
    return {};
  }
  const auto it = std::find_if(directives_.begin(), directives_.end(), wanted);
  v1::Directive found = std::move(*it);
  directives_.erase(it);
  return found;
}

v1::TaskOffer FakeSite::AwaitTask() {
  return AwaitDirective([](const v1::Directive& d) { return d.has_task_offer(); }).task_offer();
}

v1::ModelAvailable FakeSite::AwaitModel(uint64_t version_min) {
  return AwaitDirective([version_min](const v1::Directive& d) {
           return d.has_model_available() && d.model_available().version() >= version_min;
         })
      .model_available();
}

v1::Receipt FakeSite::AwaitReceipt(v1::Receipt::Kind kind, uint64_t task) {
  return AwaitDirective([kind, task](const v1::Directive& d) {
           return d.has_receipt() && d.receipt().kind() == kind && d.receipt().task_id() == task;
         })
      .receipt();
}

void FakeSite::Approve(uint64_t train_examples) {
  const v1::RunOffer offer =
      AwaitDirective([](const v1::Directive& d) { return d.has_run_offer(); }).run_offer();
  v1::SiteEvent event;
  v1::RunDecision& decision = *event.mutable_run_decision();
  decision.set_run_id(offer.run_id());
  decision.set_plan_hash(offer.plan_hash());
  decision.set_approved(true);
  decision.set_train_examples(train_examples);
  Send(event);
}

v1::UpdateHeader FakeSite::MakeHeader(const v1::TaskOffer& task,
                                      const v1::ModelAvailable& base) const {
  v1::UpdateHeader header;
  header.set_wire_version(limits::kWireVersion);
  header.set_run_id(task.run_id());
  header.set_site_id(name_);
  header.set_task_id(task.task_id());
  header.set_incarnation(store_.incarnation);
  header.set_base_version(base.version());
  header.set_base_model_id(base.model_id());
  header.set_encoding(v1::F32);
  header.set_steps(task.local_steps());
  header.set_examples(100);
  header.set_training_loss(0.5);
  {
    absl::MutexLock lock(&mu_);
    header.set_layout_hash(layouts_.at(task.run_id()));
  }
  return header;
}

FakeSite::Update FakeSite::MakeUpdate(const v1::TaskOffer& task,
                                      const v1::ModelAvailable& base) const {
  Update update;
  update.header = MakeHeader(task, base);
  RandomStream stream(
      SeedPath{.run_seed = 7, .purpose = "fake", .site = name_, .task = task.task_id()});
  for (uint64_t i = 0; i < base.payload_bytes() / sizeof(float); ++i) {
    update.values.push_back(static_cast<float>(stream.NextUnit() - 0.5));
  }
  Rehash(update);
  return update;
}

void FakeSite::Rehash(Update& update) {
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(update.values.data()),
                                       update.values.size() * sizeof(float));
  update.header.set_payload_bytes(bytes.size());
  update.header.set_payload_root(ToBytes(MerkleRootOf(bytes)));
}

absl::StatusOr<v1::Receipt> FakeSite::Upload(const Update& update) {
  auto values = std::make_shared<const std::vector<float>>(update.values);
  BufferSource source(
      {values, {reinterpret_cast<const uint8_t*>(values->data()), values->size() * sizeof(float)}});
  TransferOptions options;
  options.deadline = absl::Now() + kPatience;
  return UploadUpdate(bulk_, update.header, source, options);
}

absl::StatusOr<std::vector<float>> FakeSite::Fetch(const std::string& run, uint64_t version) {
  v1::FetchRequest request;
  request.set_run_id(run);
  request.set_version(version);
  VectorSink sink;
  if (auto header = FetchModel(bulk_, request, sink); !header.ok()) return header.status();
  std::vector<float> values(sink.bytes.size() / sizeof(float));
  memcpy(values.data(), sink.bytes.data(), sink.bytes.size());
  return values;
}

void FakeSite::Evaluate(const v1::ModelAvailable& model) {
  v1::SiteEvent event;
  v1::EvaluationReport& report = *event.mutable_evaluation();
  report.set_run_id(model.run_id());
  report.set_version(model.version());
  report.set_split(model.evaluate());
  report.mutable_metrics()->set_examples(10);
  report.mutable_metrics()->set_log_loss_sum(5.0 / static_cast<double>(model.version() + 1));
  report.mutable_metrics()->set_correct(7);
  Send(event);
}

std::vector<v1::Receipt> FakeSite::Participate(uint64_t train_examples) {
  std::vector<v1::Receipt> receipts;
  std::deque<v1::TaskOffer> tasks;
  std::optional<v1::ModelAvailable> model;
  for (;;) {
    const v1::Directive next = AwaitDirective([](const v1::Directive&) { return true; });
    if (next.directive_case() == v1::Directive::DIRECTIVE_NOT_SET) return receipts;
    if (next.has_run_offer()) {
      v1::SiteEvent event;
      event.mutable_run_decision()->set_run_id(next.run_offer().run_id());
      event.mutable_run_decision()->set_plan_hash(next.run_offer().plan_hash());
      event.mutable_run_decision()->set_approved(true);
      event.mutable_run_decision()->set_train_examples(train_examples);
      Send(event);
    }
    if (next.has_receipt()) receipts.push_back(next.receipt());
    if (next.has_run_ended()) return receipts;
    if (next.has_task_offer()) tasks.push_back(next.task_offer());
    if (next.has_model_available()) {
      const v1::ModelAvailable& announced = next.model_available();
      if (!model.has_value() || announced.version() >= model->version()) model = announced;
      if (announced.evaluate() != v1::SPLIT_UNSPECIFIED) Evaluate(announced);
    }
    while (!tasks.empty() && model.has_value() &&
           model->version() >= tasks.front().base_version_min()) {
      absl::StatusOr<v1::Receipt> receipt = Upload(MakeUpdate(tasks.front(), *model));
      tasks.pop_front();
      if (receipt.ok()) receipts.push_back(*std::move(receipt));
    }
  }
}

}  // namespace consilium::testing
