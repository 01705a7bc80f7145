#include "site_agent/runtime/egress_gate.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "consilium/v1/site_journal.pb.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/payload_source.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"

namespace consilium::site {
namespace {

// Whoever is slower than this is not there: a call that hangs must end some time.
constexpr absl::Duration kCallTimeMin = absl::Minutes(2);
constexpr uint64_t kBytesPerSecondMin = 64 << 10;
constexpr absl::Duration kReasonTimeMax = absl::Seconds(2);
// gRPC's wait for a connection can not be interrupted.
constexpr absl::Duration kStopCheckInterval = absl::Milliseconds(100);

absl::Time DeadlineFor(uint64_t bytes) {
  return absl::Now() + kCallTimeMin +
         absl::Seconds(static_cast<double>(bytes) / static_cast<double>(kBytesPerSecondMin));
}

std::string RunIdOf(const v1::SiteEvent& event) {
  switch (event.event_case()) {
    case v1::SiteEvent::kRunDecision:
      return event.run_decision().run_id();
    case v1::SiteEvent::kStatistics:
      return event.statistics().run_id();
    case v1::SiteEvent::kEvaluation:
      return event.evaluation().run_id();
    default:
      return "";
  }
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsFor(
    absl::string_view root_pem, const std::string& certificate_folder,
    absl::Duration reload_interval) {
  CONSILIUM_ASSIGN_OR_RETURN(TrustAnchors anchors, TrustAnchors::FromPem(root_pem));
  return TlsChannelCredentials({.anchors = std::move(anchors),
                                .certificate_folder = certificate_folder,
                                .reload_interval = reload_interval});
}

// The text of a sealed blob; its records are as large as chunks.
class BlobSource final : public PayloadSource {
 public:
  explicit BlobSource(SealedBlobReader reader) : reader_(std::move(reader)) {}

  absl::StatusOr<SharedBytes> Read(uint64_t offset) override {
    static_assert(kBlobRecordBytes == limits::kChunkBytes);
    CONSILIUM_ASSIGN_OR_RETURN(const std::span<const uint8_t> record,
                               reader_.ReadRecord(offset / kBlobRecordBytes));
    // The reader's memory is reused before gRPC has sent it.
    const auto copy = std::make_shared<std::vector<uint8_t>>(record.begin(), record.end());
    return SharedBytes{copy, *copy};
  }

 private:
  SealedBlobReader reader_;
};

}  // namespace

class EgressGate::LiveCall {
 public:
  LiveCall(EgressGate* gate, std::function<void()> cancel)
      : gate_(gate), status_(gate->Enter(this, std::move(cancel))) {}
  ~LiveCall() { gate_->Leave(this); }
  LiveCall(const LiveCall&) = delete;
  LiveCall& operator=(const LiveCall&) = delete;
  const absl::Status& status() const { return status_; }

 private:
  EgressGate* gate_;
  absl::Status status_;
};

// --- the gate -----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<EgressGate>> EgressGate::Open(SiteStore* store,
                                                             const SiteIdentity& identity,
                                                             const EgressOptions& options) {
  CONSILIUM_ASSIGN_OR_RETURN(const auto credentials,
                             CredentialsFor(identity.root_certificate_pem, store->tls_folder(),
                                            options.certificate_reload_interval));
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t minimum_count, store->MinimumCount());
  std::unique_ptr<EgressGate> gate(new EgressGate(store, identity.site, minimum_count));
  gate->control_ = MakeChannel(identity.aggregator_address, credentials, ChannelKind::kControl);
  gate->coordination_ = v1::Coordination::NewStub(gate->control_);
  gate->renewal_ = v1::Renewal::NewStub(gate->control_);
  gate->bulk_ = MakeChannel(identity.aggregator_address, credentials, ChannelKind::kBulk);
  return gate;
}

EgressGate::~EgressGate() { Shutdown(); }

absl::Status EgressGate::Record(SiteStore* store, const Release& release) {
  v1::SiteJournalEntry entry;
  entry.set_time_unix_ns(absl::ToUnixNanos(absl::Now()));
  v1::SiteJournalEntry::Release& record = *entry.mutable_release();
  record.set_kind(std::string(NameOf(release.kind)));
  record.set_bytes(release.bytes);
  record.set_sha256(ToBytes(release.digest));
  record.set_run_id(std::string(release.run_id));
  const std::string bytes = entry.SerializeAsString();
  return store->AppendJournal(std::span<const std::string>(&bytes, 1));
}

absl::Status EgressGate::Admit(const Release& release) {
  CONSILIUM_RETURN_IF_ERROR(Record(store_, release));
  absl::MutexLock lock(&mu_);
  ReleaseTotals& totals = totals_[release.kind];
  ++totals.releases;
  totals.bytes += release.bytes;
  return absl::OkStatus();
}

absl::Status EgressGate::Enter(const void* call, std::function<void()> cancel) {
  absl::MutexLock lock(&mu_);
  if (closed_) return absl::CancelledError("the agent is stopping");
  live_[call] = std::move(cancel);
  return absl::OkStatus();
}

void EgressGate::Leave(const void* call) {
  absl::MutexLock lock(&mu_);
  live_.erase(call);
}

void EgressGate::Shutdown() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
  for (const auto& [call, cancel] : live_) cancel();
}

std::map<ReleaseKind, ReleaseTotals> EgressGate::totals() const {
  absl::MutexLock lock(&mu_);
  return totals_;
}

// --- the control stream -------------------------------------------------------------------------

absl::StatusOr<std::shared_ptr<ControlStream>> EgressGate::Attach() {
  std::shared_ptr<ControlStream> stream(new ControlStream(this));
  const bool connected = IsConnected();
  // The call then only fetches the reason, which is there at once.
  if (!connected) stream->context_.set_deadline(absl::ToChronoTime(absl::Now() + kReasonTimeMax));
  CONSILIUM_RETURN_IF_ERROR(
      Enter(stream.get(), [context = &stream->context_] { context->TryCancel(); }));
  stream->stream_ = coordination_->Attach(&stream->context_);
  if (connected) return stream;
  CONSILIUM_RETURN_IF_ERROR(stream->Read().status());
  return absl::UnavailableError("the aggregator speaks before it is spoken to");
}

bool EgressGate::IsConnected() {
  const absl::Time give_up = absl::Now() + limits::kHandshakeTimeout;
  grpc_connectivity_state state = control_->GetState(true);
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE && !IsClosed() &&
         absl::Now() < give_up) {
    control_->WaitForStateChange(state, absl::ToChronoTime(absl::Now() + kStopCheckInterval));
    state = control_->GetState(true);
  }
  return state == GRPC_CHANNEL_READY;
}

bool EgressGate::IsClosed() const {
  absl::MutexLock lock(&mu_);
  return closed_;
}

ControlStream::~ControlStream() {
  Cancel();
  // A call must be finished before its context dies.
  if (stream_ != nullptr && !finished_) stream_->Finish();
  gate_->Leave(this);
}

absl::Status ControlStream::Send(v1::SiteEvent event) {
  CONSILIUM_ASSIGN_OR_RETURN(const ReleaseKind kind, CheckRelease(event, gate_->minimum_count_));
  event.DiscardUnknownFields();
  const std::string bytes = event.SerializeAsString();
  CONSILIUM_RETURN_IF_ERROR(gate_->Admit({.kind = kind,
                                          .bytes = bytes.size(),
                                          .digest = Sha256Of(absl::string_view(bytes)),
                                          .run_id = RunIdOf(event)}));
  absl::MutexLock lock(&write_mu_);
  if (finished_ || !stream_->Write(event))
    return absl::UnavailableError("the control stream has ended");
  return absl::OkStatus();
}

absl::StatusOr<v1::Directive> ControlStream::Read() {
  v1::Directive directive;
  if (stream_->Read(&directive)) return directive;
  // The call has ended, so a write that another thread has begun ends too.
  absl::MutexLock lock(&write_mu_);
  const absl::Status status = FromGrpcStatus(stream_->Finish());
  finished_ = true;
  if (!status.ok()) return status;
  return absl::UnavailableError("the aggregator has ended the control stream");
}

void ControlStream::Cancel() { context_.TryCancel(); }

// --- transfer -----------------------------------------------------------------------------------

absl::StatusOr<v1::Receipt> EgressGate::Submit(const v1::UpdateHeader& header,
                                               SealedBlobReader payload) {
  CONSILIUM_RETURN_IF_ERROR(CheckRelease(header, minimum_count_));
  if (header.site_id() != site_.value() || header.payload_bytes() != payload.size()) {
    return absl::FailedPreconditionError(
        "the egress gate holds back an update whose header is not its payload's");
  }
  CONSILIUM_RETURN_IF_ERROR(Admit({.kind = ReleaseKind::kUpdate,
                                   .bytes = header.ByteSizeLong() + payload.size(),
                                   .digest = UpdateIdOf(header),
                                   .run_id = header.run_id()}));
  Failpoint("agent.before_send");
  TransferCancel cancel;
  const LiveCall live(this, [&cancel] { cancel.Cancel(); });
  CONSILIUM_RETURN_IF_ERROR(live.status());
  BlobSource source(std::move(payload));
  return UploadUpdate(bulk_, header, source,
                      {.deadline = DeadlineFor(header.payload_bytes()), .cancel = &cancel});
}

absl::Status EgressGate::Fetch(const v1::FetchRequest& request, uint64_t payload_bytes,
                               ModelSink& sink) {
  const std::string bytes = request.SerializeAsString();
  CONSILIUM_RETURN_IF_ERROR(Admit({.kind = ReleaseKind::kFetch,
                                   .bytes = bytes.size(),
                                   .digest = Sha256Of(absl::string_view(bytes)),
                                   .run_id = request.run_id()}));
  TransferCancel cancel;
  const LiveCall live(this, [&cancel] { cancel.Cancel(); });
  CONSILIUM_RETURN_IF_ERROR(live.status());
  return FetchModel(bulk_, request, sink,
                    {.deadline = DeadlineFor(payload_bytes), .cancel = &cancel})
      .status();
}

// --- certificates -------------------------------------------------------------------------------

absl::StatusOr<v1::RenewResponse> EgressGate::Renew(const v1::RenewRequest& request) {
  const std::string bytes = request.SerializeAsString();
  CONSILIUM_RETURN_IF_ERROR(Admit({.kind = ReleaseKind::kRenewal,
                                   .bytes = bytes.size(),
                                   .digest = Sha256Of(absl::string_view(bytes)),
                                   .run_id = ""}));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(DeadlineFor(bytes.size())));
  const LiveCall live(this, [&context] { context.TryCancel(); });
  CONSILIUM_RETURN_IF_ERROR(live.status());
  v1::RenewResponse response;
  CONSILIUM_RETURN_IF_ERROR(FromGrpcStatus(renewal_->Renew(&context, request, &response)));
  return response;
}

absl::StatusOr<v1::EnrolResponse> EgressGate::Enrol(SiteStore* store, const v1::JoinFile& join,
                                                    const v1::EnrolRequest& request) {
  CONSILIUM_ASSIGN_OR_RETURN(const auto credentials, CredentialsFor(join.root_certificate_pem(), "",
                                                                    absl::InfiniteDuration()));
  // The token is a secret: what is recorded is the digest of the rest.
  v1::EnrolRequest recorded = request;
  recorded.clear_token();
  CONSILIUM_RETURN_IF_ERROR(
      Record(store, {.kind = ReleaseKind::kEnrolment,
                     .bytes = request.ByteSizeLong(),
                     .digest = Sha256Of(absl::string_view(recorded.SerializeAsString())),
                     .run_id = ""}));
  const auto stub = v1::Enrolment::NewStub(
      MakeChannel(join.enrolment_address(), credentials, ChannelKind::kControl));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(DeadlineFor(0)));
  v1::EnrolResponse response;
  CONSILIUM_RETURN_IF_ERROR(FromGrpcStatus(stub->Enrol(&context, request, &response)));
  return response;
}

}  // namespace consilium::site
