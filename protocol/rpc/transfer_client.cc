#include "protocol/rpc/transfer_client.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"

namespace consilium {

void TransferCancel::Cancel() {
  absl::MutexLock lock(&mu_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

// Lends a context to a TransferCancel for as long as the call lives.
class CancelScope {
 public:
  CancelScope(TransferCancel* cancel, grpc::ClientContext* context) : cancel_(cancel) {
    if (cancel_ == nullptr) return;
    absl::MutexLock lock(&cancel_->mu_);
    cancel_->context_ = context;
    if (cancel_->cancelled_) context->TryCancel();
  }
  ~CancelScope() {
    if (cancel_ == nullptr) return;
    absl::MutexLock lock(&cancel_->mu_);
    cancel_->context_ = nullptr;
  }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  TransferCancel* const cancel_;
};

namespace {

// One call with a queue of its own, which this thread drives: each operation is begun and waited
// for. The server may end the call during any of them.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const char* method,
          const TransferOptions& options)
      : idle_max_(options.idle_max), stub_(channel) {
    if (options.deadline != absl::InfiniteFuture()) {
      context_.set_deadline(absl::ToChronoTime(options.deadline));
    }
    scope_ = std::make_unique<CancelScope>(options.cancel, &context_);
    stream_ = stub_.PrepareCall(&context_, method, &queue_);
    stream_->StartCall(&tag_);
    alive_ = Wait();
  }
  ~RawCall() {
    if (!finished_) {
      context_.TryCancel();
      static_cast<void>(Finish());
    }
    scope_.reset();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  // Each is false where the call has ended; Finish() says how then.
  bool Write(const grpc::ByteBuffer& message) {
    if (!alive_) return false;
    stream_->Write(message, &tag_);
    return alive_ = Wait();
  }
  bool WritesDone() {
    if (!alive_) return false;
    stream_->WritesDone(&tag_);
    return alive_ = Wait();
  }
  bool Read(grpc::ByteBuffer& message) {
    if (!alive_) return false;
    stream_->Read(&message, &tag_);
    return alive_ = Wait();
  }
  absl::Status Finish() {
    grpc::Status status;
    stream_->Finish(&status, &tag_);
    Wait();
    finished_ = true;
    if (timed_out_) {
      return absl::DeadlineExceededError(absl::StrCat(
          "nothing moved for ", absl::FormatDuration(idle_max_), ": the transfer was given up"));
    }
    return FromGrpcStatus(status);
  }

 private:
  // Of the one operation that is under way.
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    const auto deadline = absl::ToChronoTime(absl::Now() + idle_max_);
    if (queue_.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::TIMEOUT) {
      timed_out_ = true;
      context_.TryCancel();  // Ends it, with ok false.
      queue_.Next(&tag, &ok);
    }
    return ok;
  }

  const absl::Duration idle_max_;
  grpc::ClientContext context_;
  std::unique_ptr<CancelScope> scope_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  char tag_ = 0;  // Only its address counts.
  bool alive_ = false;
  bool finished_ = false;
  bool timed_out_ = false;
};

// The chunk at `offset`, with `head` before it.
absl::StatusOr<grpc::ByteBuffer> NextChunk(const v1::Chunk& head, PayloadSource& payload,
                                           uint64_t offset, uint64_t payload_bytes,
                                           uint64_t& sent_bytes) {
  CONSILIUM_ASSIGN_OR_RETURN(SharedBytes data, payload.Read(offset));
  if (data.bytes.empty() || data.bytes.size() > limits::kChunkBytes ||
      data.bytes.size() > payload_bytes - offset) {
    return absl::InternalError("the payload's bytes do not fit its header");
  }
  sent_bytes = data.bytes.size();
  return EncodeChunk(head, std::move(data));
}

template <typename T>
bool Parse(const grpc::ByteBuffer& buffer, T& message) {
  grpc::Slice bytes;
  return buffer.Valid() && buffer.DumpToSingleSlice(&bytes).ok() &&
         message.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()));
}

// Checks a download against its header, piece by piece.
class DownloadCheck {
 public:
  explicit DownloadCheck(const v1::FetchRequest& request) : request_(request) {}

  absl::Status Take(const grpc::ByteBuffer& message, ModelSink& sink) {
    CONSILIUM_ASSIGN_OR_RETURN(const ReceivedChunk chunk, DecodeChunk(message));
    if (!has_header_) {
      if (!chunk.head().has_model()) {
        return Refusal(v1::MALFORMED, "the first chunk of a model has no header");
      }
      CONSILIUM_RETURN_IF_ERROR(TakeHeader(chunk.head().model()));
      CONSILIUM_RETURN_IF_ERROR(sink.OnHeader(header_));
    } else if (chunk.head().header_case() != v1::Chunk::HEADER_NOT_SET || chunk.data_bytes() == 0) {
      return Refusal(v1::MALFORMED, "a later chunk of a model has a header, or nothing at all");
    }
    if (chunk.data_bytes() > left_bytes_) {
      return Refusal(v1::OVERSIZE, "the model is longer than its header says");
    }
    left_bytes_ -= chunk.data_bytes();
    return chunk.data_bytes() == 0 ? absl::OkStatus() : sink.OnData(chunk.data());
  }

  absl::StatusOr<v1::ModelHeader> Result() const {
    if (!has_header_ || left_bytes_ != 0) {
      return Refusal(v1::TRUNCATED, absl::StrFormat("the model ended %d bytes early", left_bytes_));
    }
    return header_;
  }

 private:
  absl::Status TakeHeader(const v1::ModelHeader& header) {
    if (const absl::Status status = CheckModelHeader(header); !status.ok()) {
      return Refusal(absl::IsResourceExhausted(status) ? v1::OVERSIZE : v1::MALFORMED,
                     status.message());
    }
    if (header.run_id() != request_.run_id() || header.version() != request_.version()) {
      return Refusal(v1::MALFORMED, "the model is not the one that was asked for");
    }
    has_header_ = true;
    header_ = header;
    const bool have_it =
        !request_.have_model_id().empty() && request_.have_model_id() == header.model_id();
    left_bytes_ = have_it ? 0 : header.payload_bytes();
    return absl::OkStatus();
  }

  const v1::FetchRequest& request_;
  v1::ModelHeader header_;
  bool has_header_ = false;
  uint64_t left_bytes_ = 0;
};

}  // namespace

absl::StatusOr<v1::Receipt> UploadUpdate(const std::shared_ptr<grpc::Channel>& channel,
                                         const v1::UpdateHeader& header, PayloadSource& payload,
                                         const TransferOptions& options) {
  RawCall call(channel, "/consilium.v1.Transfer/Submit", options);
  v1::Chunk head;
  *head.mutable_update() = header;
  bool open = true;
  for (uint64_t offset = 0; open && offset < header.payload_bytes();) {
    uint64_t sent_bytes = 0;
    CONSILIUM_ASSIGN_OR_RETURN(
        const grpc::ByteBuffer message,
        NextChunk(head, payload, offset, header.payload_bytes(), sent_bytes));
    open = call.Write(message);
    Failpoint("agent.mid_send");
    offset += sent_bytes;
    head.Clear();
  }
  grpc::ByteBuffer answer;
  const bool answered = open && call.WritesDone() && call.Read(answer);
  CONSILIUM_RETURN_IF_ERROR(call.Finish());
  v1::Receipt receipt;
  if (!answered || !Parse(answer, receipt)) {
    return Refusal(v1::MALFORMED, "the server's answer is no receipt");
  }
  return receipt;
}

absl::StatusOr<v1::ModelHeader> FetchModel(const std::shared_ptr<grpc::Channel>& channel,
                                           const v1::FetchRequest& request, ModelSink& sink,
                                           const TransferOptions& options) {
  RawCall call(channel, "/consilium.v1.Transfer/Fetch", options);
  const grpc::Slice bytes(request.SerializeAsString());
  if (call.Write(grpc::ByteBuffer(&bytes, 1))) call.WritesDone();
  DownloadCheck check(request);
  grpc::ByteBuffer message;
  while (call.Read(message)) {
    CONSILIUM_RETURN_IF_ERROR(check.Take(message, sink));
    message.Clear();
  }
  CONSILIUM_RETURN_IF_ERROR(call.Finish());
  return check.Result();
}

}  // namespace consilium
