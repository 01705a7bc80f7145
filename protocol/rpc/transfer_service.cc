#include "protocol/rpc/transfer_service.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/peer_identity.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/rpc/stream_registry.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"

namespace consilium {

struct TransferShared {
  TransferShared(TransferHandlers handlers_in, Executor* work_in, TransferLimits limits_in)
      : handlers(std::move(handlers_in)),
        limits(limits_in),
        work(work_in),
        uploads(
            {limits_in.uploads_max, limits_in.uploads_per_site_max, limits_in.busy_retry_after}),
        downloads({limits_in.downloads_max, limits_in.downloads_per_site_max,
                   limits_in.busy_retry_after}) {}

  const TransferHandlers handlers;
  const TransferLimits limits;
  Executor* const work;
  StreamRegistry uploads;
  StreamRegistry downloads;
};

namespace {

constexpr size_t kFetchRequestBytesMax = 4096;

absl::Status Silent(absl::Duration idle_max) {
  return Refusal(v1::TRUNCATED, absl::StrCat("nothing moved for ", absl::FormatDuration(idle_max),
                                             ": the transfer was given up"));
}

// Who calls, and whether it may.
absl::StatusOr<PeerIdentity> Admit(const TransferShared& shared,
                                   const grpc::CallbackServerContext& context) {
  CONSILIUM_ASSIGN_OR_RETURN(PeerIdentity peer, IdentifySite(context));
  if (shared.handlers.admit) CONSILIUM_RETURN_IF_ERROR(shared.handlers.admit(peer));
  return peer;
}

// Enters the call among those that a revocation ends, and looks again: one that came between the
// first look and this would have missed it.
template <typename Call>
absl::Status Enter(const TransferShared& shared, StreamRegistry& registry, Call* call,
                   const PeerIdentity& peer) {
  CONSILIUM_RETURN_IF_ERROR(registry.Enter(call, peer.site()));
  return shared.handlers.admit ? shared.handlers.admit(peer) : absl::OkStatus();
}

absl::Status CheckHeader(const PeerIdentity& peer, const v1::UpdateHeader& header) {
  CONSILIUM_RETURN_IF_ERROR(CheckSender(peer, header.site_id()));
  const absl::Status status = CheckUpdateHeader(header);
  if (status.ok()) return status;
  if (header.wire_version() < limits::kWireVersionMin ||
      header.wire_version() > limits::kWireVersion) {
    return Refusal(v1::WIRE_VERSION, status.message());
  }
  return Refusal(absl::IsResourceExhausted(status) ? v1::OVERSIZE : v1::MALFORMED,
                 status.message());
}

// One Submit. Lives by shared pointers: gRPC's (self_, until OnDone), those of tasks, and that of
// the answer that a sink owes.
class UploadCall final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                         public StreamRegistry::Stream,
                         public std::enable_shared_from_this<UploadCall> {
 public:
  UploadCall(std::shared_ptr<TransferShared> shared, grpc::CallbackServerContext* context,
             grpc::ByteBuffer* response)
      : shared_(std::move(shared)), context_(context), response_(response) {}

  void Begin() {
    self_ = shared_from_this();
    absl::StatusOr<PeerIdentity> peer = Admit(*shared_, *context_);
    absl::Status status = peer.status();
    if (peer.ok()) {
      peer_ = *std::move(peer);
      status = Enter(*shared_, shared_->uploads, this, peer_);
    }
    if (!status.ok()) return FinishWith(status);
    ReadNext();
  }

  // Of gRPC.
  void OnReadDone(bool ok) override {
    shared_->uploads.ClearDeadline(this);
    if (!shared_->work->Run([self = self_, ok] { self->Take(ok); })) {
      FinishWith(absl::UnavailableError("the server is closing"));
    }
  }
  // Without this, a call whose answer is still owed would keep the server from closing.
  void OnCancel() override { FinishWith(Refusal(v1::TRUNCATED, "the peer is gone")); }
  void OnDone() override {
    const std::shared_ptr<UploadCall> self = TakeSelf();
    shared_->uploads.Leave(this);
  }

  // Of StreamRegistry. A read that is under way ends without a message then, and Take cleans up.
  void End(const absl::Status& why) override { FinishWith(why); }

 private:
  void ReadNext() ABSL_LOCKS_EXCLUDED(mu_) {
    shared_->uploads.SetDeadline(this, absl::Now() + shared_->limits.idle_max,
                                 Silent(shared_->limits.idle_max));
    {
      absl::MutexLock lock(&mu_);
      if (!finished_.has_value()) return StartRead(&message_);
    }
    DropSinkIfFinished();
  }

  // On a thread of `work`.
  void Take(bool ok) {
    if (DropSinkIfFinished()) return;
    if (!ok) return TakeEnd();
    const absl::Status status = TakeMessage();
    message_.Clear();
    if (!status.ok()) {
      DropSink(status);
      return FinishWith(status);
    }
    ReadNext();
  }

  absl::Status TakeMessage() {
    CONSILIUM_ASSIGN_OR_RETURN(const ReceivedChunk chunk, DecodeChunk(message_));
    if (sink_ == nullptr) {
      if (!chunk.head().has_update()) {
        return Refusal(v1::MALFORMED, "the first chunk of an upload has no update header");
      }
      const v1::UpdateHeader& header = chunk.head().update();
      CONSILIUM_RETURN_IF_ERROR(CheckHeader(peer_, header));
      declared_bytes_ = header.payload_bytes();
      CONSILIUM_ASSIGN_OR_RETURN(sink_, shared_->handlers.upload(peer_));
      CONSILIUM_RETURN_IF_ERROR(OfSink(sink_->OnHeader(peer_, header)));
    } else if (chunk.head().header_case() != v1::Chunk::HEADER_NOT_SET) {
      return Refusal(v1::MALFORMED, "a later chunk of an upload has a header");
    } else if (chunk.data_bytes() == 0) {
      return Refusal(v1::MALFORMED, "a chunk without header and data");
    }
    if (chunk.data_bytes() > declared_bytes_ - received_bytes_) {
      return Refusal(
          v1::OVERSIZE,
          absl::StrFormat("more than the %d bytes that the header declared", declared_bytes_));
    }
    received_bytes_ += chunk.data_bytes();
    return chunk.data_bytes() == 0 ? absl::OkStatus() : OfSink(sink_->OnData(chunk.data()));
  }

  // The peer has said all it will.
  void TakeEnd() {
    if (sink_ == nullptr || received_bytes_ != declared_bytes_) {
      const absl::Status status =
          Refusal(v1::TRUNCATED, absl::StrFormat("the upload ended after %d of %d bytes",
                                                 received_bytes_, declared_bytes_));
      DropSink(status);
      return FinishWith(status);
    }
    const std::unique_ptr<UploadSink> sink = std::move(sink_);
    sink->OnComplete([self = shared_from_this()](absl::StatusOr<v1::Receipt> receipt) {
      self->Answer(std::move(receipt));
    });
  }

  void Answer(absl::StatusOr<v1::Receipt> receipt) ABSL_LOCKS_EXCLUDED(mu_) {
    if (!receipt.ok()) return FinishWith(receipt.status());
    const grpc::Slice slice(receipt->SerializeAsString());
    absl::MutexLock lock(&mu_);
    if (finished_.has_value()) return;  // response_ may be gone.
    *response_ = grpc::ByteBuffer(&slice, 1);
    finished_ = absl::OkStatus();
    Finish(grpc::Status::OK);
  }

  void FinishWith(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (finished_.has_value()) return;
    finished_ = status;
    Finish(ToGrpcStatus(status));
  }

  // An error that the sink itself gave is not told to it again.
  absl::Status OfSink(absl::Status status) {
    if (!status.ok()) sink_.reset();
    return status;
  }
  bool DropSinkIfFinished() ABSL_LOCKS_EXCLUDED(mu_) {
    std::optional<absl::Status> finished;
    {
      absl::MutexLock lock(&mu_);
      finished = finished_;
    }
    if (finished.has_value()) DropSink(*finished);
    return finished.has_value();
  }
  void DropSink(const absl::Status& why) {
    if (sink_ != nullptr) sink_->OnCancelled(why);
    sink_.reset();
  }

  std::shared_ptr<UploadCall> TakeSelf() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return std::move(self_);
  }

  const std::shared_ptr<TransferShared> shared_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  std::shared_ptr<UploadCall> self_;
  PeerIdentity peer_;

  // One thread at a time: gRPC fills message_, then a task takes it, then the next read begins.
  grpc::ByteBuffer message_;
  std::unique_ptr<UploadSink> sink_;
  uint64_t declared_bytes_ = 0;
  uint64_t received_bytes_ = 0;

  absl::Mutex mu_;
  // What the call was finished with, once it was.
  std::optional<absl::Status> finished_ ABSL_GUARDED_BY(mu_);
};

// One Fetch. Lifetime as UploadCall.
class DownloadCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public StreamRegistry::Stream,
                           public std::enable_shared_from_this<DownloadCall> {
 public:
  DownloadCall(std::shared_ptr<TransferShared> shared, grpc::CallbackServerContext* context)
      : shared_(std::move(shared)), context_(context) {}

  void Begin(const grpc::ByteBuffer& request) {
    self_ = shared_from_this();
    if (const absl::Status status = Accept(request); !status.ok()) return FinishWith(status);
    Schedule([](DownloadCall* call) { call->Open(); });
  }

  // Of gRPC.
  void OnWriteDone(bool ok) override {
    shared_->downloads.ClearDeadline(this);
    if (!ok) return FinishWith(absl::CancelledError("the peer is gone"));
    Schedule([](DownloadCall* call) { call->SendNext(); });
  }
  void OnDone() override {
    const std::shared_ptr<DownloadCall> self = TakeSelf();
    shared_->downloads.Leave(this);
  }

  // Of StreamRegistry. Without the cancellation, a status waits behind data that the peer does not
  // read.
  void End(const absl::Status& why) override {
    absl::MutexLock lock(&mu_);
    if (finished_) return;
    finished_ = true;
    Finish(ToGrpcStatus(why));
    context_->TryCancel();
  }

 private:
  absl::Status Accept(const grpc::ByteBuffer& request) {
    CONSILIUM_ASSIGN_OR_RETURN(peer_, Admit(*shared_, *context_));
    CONSILIUM_RETURN_IF_ERROR(Enter(*shared_, shared_->downloads, this, peer_));
    grpc::Slice bytes;
    if (!request.Valid() || request.Length() > kFetchRequestBytesMax ||
        !request.DumpToSingleSlice(&bytes).ok() ||
        !request_.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
      return Refusal(v1::MALFORMED, "the request is no FetchRequest");
    }
    return absl::OkStatus();
  }

  void Schedule(void (*step)(DownloadCall*)) {
    if (!shared_->work->Run([self = self_, step] { step(self.get()); })) {
      FinishWith(absl::UnavailableError("the server is closing"));
    }
  }

  void Open() {
    absl::StatusOr<Download> download = shared_->handlers.download(peer_, request_);
    if (!download.ok()) return FinishWith(download.status());
    payload_ = std::move(download->payload);
    const v1::ModelHeader& header = download->header;
    const bool peer_has_it =
        !request_.have_model_id().empty() && request_.have_model_id() == header.model_id();
    left_bytes_ = peer_has_it ? 0 : header.payload_bytes();
    v1::Chunk head;
    *head.mutable_model() = header;
    Send(head);
  }

  void SendNext() {
    if (left_bytes_ == 0) return FinishWith(absl::OkStatus());
    Send({});
  }

  void Send(const v1::Chunk& head) ABSL_LOCKS_EXCLUDED(mu_) {
    SharedBytes data;
    if (left_bytes_ > 0) {
      absl::StatusOr<SharedBytes> read = payload_->Read(sent_bytes_);
      if (!read.ok()) return FinishWith(read.status());
      data = *std::move(read);
      if (data.bytes.empty() || data.bytes.size() > limits::kChunkBytes ||
          data.bytes.size() > left_bytes_) {
        return FinishWith(absl::InternalError("the model's bytes do not fit its header"));
      }
    }
    sent_bytes_ += data.bytes.size();
    left_bytes_ -= data.bytes.size();
    message_ = EncodeChunk(head, std::move(data));
    shared_->downloads.SetDeadline(this, absl::Now() + shared_->limits.idle_max,
                                   Silent(shared_->limits.idle_max));
    absl::MutexLock lock(&mu_);
    if (!finished_) StartWrite(&message_);
  }

  void FinishWith(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (finished_) return;
    finished_ = true;
    Finish(ToGrpcStatus(status));
  }

  std::shared_ptr<DownloadCall> TakeSelf() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return std::move(self_);
  }

  const std::shared_ptr<TransferShared> shared_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<DownloadCall> self_;
  PeerIdentity peer_;
  v1::FetchRequest request_;

  // One thread at a time: a task makes message_, gRPC sends it, then the next task.
  grpc::ByteBuffer message_;
  std::unique_ptr<PayloadSource> payload_;
  uint64_t sent_bytes_ = 0;
  uint64_t left_bytes_ = 0;

  absl::Mutex mu_;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

TransferService::TransferService(TransferHandlers handlers, Executor* work, TransferLimits limits)
    : shared_(std::make_shared<TransferShared>(std::move(handlers), work, limits)) {}

TransferService::~TransferService() = default;

void TransferService::Disconnect(const SiteId& site, const absl::Status& why) {
  shared_->uploads.EndAllOf(site, why);
  shared_->downloads.EndAllOf(site, why);
}

grpc::ServerReadReactor<grpc::ByteBuffer>* TransferService::Submit(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  const auto call = std::make_shared<UploadCall>(shared_, context, response);
  call->Begin();
  return call.get();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* TransferService::Fetch(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  const auto call = std::make_shared<DownloadCall>(shared_, context);
  call->Begin(*request);
  return call.get();
}

}  // namespace consilium
