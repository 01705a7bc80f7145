// The aggregator's side of every service, over mutual TLS on 127.0.0.1, scripted by a test: it says
// what the test tells it to say and keeps what it hears.
//
// Ownership: borrows the federation. Threads: the calls from the test's; gRPC's inside.

#ifndef CONSILIUM_TESTS_SITE_AGENT_RUNTIME_FAKE_AGGREGATOR_H_
#define CONSILIUM_TESTS_SITE_AGENT_RUNTIME_FAKE_AGGREGATOR_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "consilium/v1/coordination.grpc.pb.h"
#include "consilium/v1/enrolment.grpc.pb.h"
#include "consilium/v1/transfer.grpc.pb.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/peer_identity.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"
#include "protocol/wire/signing_key.h"
#include "tests/protocol/rpc/test_federation.h"

namespace consilium::site {

using ::consilium::testing::Must;
using ::consilium::testing::TestFederation;

// How long a test waits for what must come before it gives up.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

struct HeardUpload {
  v1::UpdateHeader header;
  std::string payload;
};

class FakeAggregator final : public v1::Coordination::Service,
                             public v1::Transfer::Service,
                             public v1::Renewal::Service,
                             public v1::Enrolment::Service {
 public:
  explicit FakeAggregator(const TestFederation& federation)
      : federation_(federation), signing_key_(*SigningKey::Generate()) {
    const std::string folder = federation.InstallServer();
    grpc::ServerBuilder main;
    ApplyServerLimits(main);
    main.AddListeningPort("127.0.0.1:0",
                          Must(MutualTlsServerCredentials(
                              {folder}, {federation.anchors(), {PeerKind::kSite}, nullptr})),
                          &port_);
    main.RegisterService(static_cast<v1::Coordination::Service*>(this));
    main.RegisterService(static_cast<v1::Transfer::Service*>(this));
    main.RegisterService(static_cast<v1::Renewal::Service*>(this));
    main_ = main.BuildAndStart();
    grpc::ServerBuilder enrolment;
    enrolment.AddListeningPort("127.0.0.1:0", Must(EnrolmentServerCredentials({folder})),
                               &enrolment_port_);
    enrolment.RegisterService(static_cast<v1::Enrolment::Service*>(this));
    enrolment_ = enrolment.BuildAndStart();
  }
  ~FakeAggregator() override { StopServing(); }

  void StopServing() {
    {
      absl::MutexLock lock(&mu_);
      stopping_ = true;
    }
    main_->Shutdown(absl::ToChronoTime(absl::Now()));
    enrolment_->Shutdown(absl::ToChronoTime(absl::Now()));
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  const SigningKey& signing_key() const { return signing_key_; }

  v1::JoinFile JoinFileFor(const std::string& site) const {
    v1::JoinFile join;
    join.set_federation(federation_.anchors().federation());
    join.set_site_id(site);
    join.set_token(std::string(32, 't'));
    join.set_root_certificate_pem(federation_.root().certificate().ToPem());
    join.set_enrolment_address(absl::StrCat("127.0.0.1:", enrolment_port_));
    join.set_aggregator_address(address());
    join.set_expires_unix_s(absl::ToUnixSeconds(absl::Now() + absl::Hours(1)));
    return join;
  }

  // --- what it says ---

  // Into the live stream, or the next one.
  void Tell(const v1::Directive& directive) {
    absl::MutexLock lock(&mu_);
    directives_.push_back(directive);
  }
  void RefuseAttach(v1::Reason reason) {
    absl::MutexLock lock(&mu_);
    refuse_attach_ = reason;
  }
  void AcceptAttach() {
    absl::MutexLock lock(&mu_);
    refuse_attach_.reset();
  }
  // OK: uploads are accepted with a receipt.
  void RefuseUploads(const absl::Status& status) { AnswerUploads(ToGrpcStatus(status)); }
  // The bytes of a status as a hostile peer writes them.
  void AnswerUploads(const grpc::Status& status) {
    absl::MutexLock lock(&mu_);
    refuse_upload_ = status;
  }
  void AnswerAttach(const grpc::Status& status) {
    absl::MutexLock lock(&mu_);
    answer_attach_ = status;
  }
  void AddModel(const v1::ModelHeader& header, const std::string& payload) {
    absl::MutexLock lock(&mu_);
    models_[header.version()] = {header, payload};
  }
  // Certificates are issued as if it were then.
  void IssueAsOf(absl::Time time) {
    absl::MutexLock lock(&mu_);
    issue_time_ = time;
  }
  v1::Receipt Sign(v1::Receipt receipt) const {
    receipt.set_signature(signing_key_.Sign(ReceiptDigest(receipt)));
    return receipt;
  }
  v1::Receipt ReceiptFor(const v1::UpdateHeader& header, v1::Receipt::Kind kind) const {
    v1::Receipt receipt;
    receipt.set_kind(kind);
    receipt.set_run_id(header.run_id());
    receipt.set_site_id(header.site_id());
    receipt.set_task_id(header.task_id());
    receipt.set_update_id(ToBytes(UpdateIdOf(header)));
    receipt.set_sequence(1);
    if (kind == v1::Receipt::INCLUDED) receipt.set_version(1);
    return Sign(receipt);
  }

  // --- what it hears ---

  // The next event of that kind; events of other kinds before it are dropped.
  v1::SiteEvent WaitFor(v1::SiteEvent::EventCase kind) {
    absl::MutexLock lock(&mu_);
    std::optional<v1::SiteEvent> found;
    const auto has = [this, kind, &found]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      while (!found.has_value() && !events_.empty()) {
        if (events_.front().event_case() == kind) found = events_.front();
        events_.pop_front();
      }
      return found.has_value();
    };
    const bool came = mu_.AwaitWithTimeout(absl::Condition(&has), kPatience);
    EXPECT_TRUE(came) << "no event of kind " << kind;
    return found.value_or(v1::SiteEvent());
  }
  HeardUpload WaitForUpload() {
    absl::MutexLock lock(&mu_);
    const auto has = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !uploads_.empty(); };
    if (!mu_.AwaitWithTimeout(absl::Condition(&has), kPatience)) {
      ADD_FAILURE() << "no upload";
      return {};
    }
    HeardUpload upload = uploads_.front();
    uploads_.pop_front();
    return upload;
  }
  void WaitForRenewal() {
    absl::MutexLock lock(&mu_);
    const auto has = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return renewals_ > 0; };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&has), kPatience)) << "no renewal";
  }

  // --- gRPC ---

  grpc::Status Enrol(grpc::ServerContext*, const v1::EnrolRequest* request,
                     v1::EnrolResponse* response) override {
    if (request->token() != std::string(32, 't')) {
      return ToGrpcStatus(Refusal(v1::TOKEN_REFUSED, "the token is not known"));
    }
    response->set_certificate_chain_pem(Issue(request->csr_pem(), request->site_id()));
    response->set_initial_lease(std::string(32, 'l'));
    response->set_aggregator_signing_key(ToBytes(signing_key_.public_key()));
    return grpc::Status::OK;
  }

  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                     v1::RenewResponse* response) override {
    const auto peer = IdentifySite(*context);
    if (!peer.ok()) return ToGrpcStatus(peer.status());
    IssueAsOf(absl::Now());
    response->set_certificate_chain_pem(Issue(request->csr_pem(), peer->site().value()));
    absl::MutexLock lock(&mu_);
    ++renewals_;
    return grpc::Status::OK;
  }

  grpc::Status Attach(grpc::ServerContext* context,
                      grpc::ServerReaderWriter<v1::Directive, v1::SiteEvent>* stream) override {
    v1::SiteEvent event;
    int number = 0;
    if (!stream->Read(&event) || !event.has_hello()) return {grpc::INVALID_ARGUMENT, "no hello"};
    {
      absl::MutexLock lock(&mu_);
      events_.push_back(event);
      number = ++attached_;
      if (refuse_attach_.has_value()) {
        return ToGrpcStatus(Refusal(*refuse_attach_, "refused by the test"));
      }
      if (answer_attach_.has_value()) return *answer_attach_;
    }
    v1::Directive welcome;
    welcome.mutable_welcome()->set_wire_version(1);
    welcome.mutable_welcome()->set_lease(event.hello().lease_next());
    stream->Write(welcome);
    std::thread writer(
        [this, stream, context, number] { SpeakUntilGone(stream, context, number); });
    while (stream->Read(&event)) {
      absl::MutexLock lock(&mu_);
      events_.push_back(event);
    }
    context->TryCancel();
    writer.join();
    return grpc::Status::OK;
  }

  grpc::Status Submit(grpc::ServerContext*, grpc::ServerReader<v1::Chunk>* reader,
                      v1::Receipt* receipt) override {
    HeardUpload upload;
    v1::Chunk chunk;
    while (reader->Read(&chunk)) {
      if (chunk.has_update()) upload.header = chunk.update();
      upload.payload += chunk.data();
    }
    absl::MutexLock lock(&mu_);
    uploads_.push_back(upload);
    if (!refuse_upload_.ok()) return refuse_upload_;
    *receipt = ReceiptFor(upload.header, v1::Receipt::ACCEPTED);
    return grpc::Status::OK;
  }

  grpc::Status Fetch(grpc::ServerContext*, const v1::FetchRequest* request,
                     grpc::ServerWriter<v1::Chunk>* writer) override {
    absl::MutexLock lock(&mu_);
    const auto model = models_.find(request->version());
    if (model == models_.end()) {
      return ToGrpcStatus(Refusal(v1::VERSION_UNKNOWN, "no such version"));
    }
    v1::Chunk chunk;
    *chunk.mutable_model() = model->second.first;
    chunk.set_data(model->second.second);
    writer->Write(chunk);
    return grpc::Status::OK;
  }

 private:
  std::string Issue(const std::string& csr, const std::string& site) {
    absl::MutexLock lock(&mu_);
    return Must(federation_.intermediate().IssueSite(csr, SiteId(site), issue_time_));
  }

  void SpeakUntilGone(grpc::ServerReaderWriter<v1::Directive, v1::SiteEvent>* stream,
                      grpc::ServerContext* context, int number) {
    for (;;) {
      v1::Directive next;
      {
        absl::MutexLock lock(&mu_);
        const auto ready = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
          return stopping_ || !directives_.empty();
        };
        // Looks every so often whether the peer has gone, which nothing else tells.
        while (!mu_.AwaitWithTimeout(absl::Condition(&ready), absl::Milliseconds(20))) {
          if (context->IsCancelled()) return;
        }
        // What is said is for the newest stream.
        if (stopping_ || number != attached_ || context->IsCancelled()) return;
        next = directives_.front();
        directives_.pop_front();
      }
      if (!stream->Write(next)) return;
    }
  }

  const TestFederation& federation_;
  const SigningKey signing_key_;
  int port_ = 0;
  int enrolment_port_ = 0;

  absl::Mutex mu_;
  bool stopping_ = false;
  std::deque<v1::Directive> directives_;
  std::deque<v1::SiteEvent> events_;
  std::deque<HeardUpload> uploads_;
  std::map<uint64_t, std::pair<v1::ModelHeader, std::string>> models_;
  std::optional<v1::Reason> refuse_attach_;
  std::optional<grpc::Status> answer_attach_;
  grpc::Status refuse_upload_;
  absl::Time issue_time_ = absl::Now();
  int renewals_ = 0;
  int attached_ = 0;

  std::unique_ptr<grpc::Server> main_;
  std::unique_ptr<grpc::Server> enrolment_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_RUNTIME_FAKE_AGGREGATOR_H_
