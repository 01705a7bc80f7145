// The site's side of v1.Transfer: blocking calls for a thread that has nothing else to do, over
// gRPC's raw interface, so that the payload is sent from its own memory and received in place.
//
// Threads: a call blocks its own; Cancel() comes from any.

#ifndef CONSILIUM_PROTOCOL_RPC_TRANSFER_CLIENT_H_
#define CONSILIUM_PROTOCOL_RPC_TRANSFER_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/rpc/chunk_codec.h"
#include "protocol/rpc/payload_source.h"
#include "protocol/wire/limits.h"

namespace consilium {

// Ends the transfer that uses it, now or as soon as it begins. For one transfer.
class TransferCancel {
 public:
  void Cancel();

 private:
  friend class CancelScope;
  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
};

struct TransferOptions {
  // Ends the whole transfer.
  absl::Time deadline = absl::InfiniteFuture();
  // Ends it where nothing moved for so long, the server's thinking included.
  absl::Duration idle_max = limits::kUploadIdleMax;
  TransferCancel* cancel = nullptr;  // Null: it can not be cancelled.
};

// Sends one update. `header` declares payload_bytes; `payload` gives exactly these. The receipt, or
// the server's refusal with its detail; UNAVAILABLE where there is no connection (the message says
// why, a refused certificate included); CANCELLED; DEADLINE_EXCEEDED.
absl::StatusOr<v1::Receipt> UploadUpdate(const std::shared_ptr<grpc::Channel>& channel,
                                         const v1::UpdateHeader& header, PayloadSource& payload,
                                         const TransferOptions& options = {});

// Where a model goes, in the thread that fetches.
class ModelSink {
 public:
  virtual ~ModelSink() = default;
  // First, once; has passed CheckModelHeader and is of the run and version that were asked for. An
  // error ends the transfer with it.
  virtual absl::Status OnHeader(const v1::ModelHeader& header) = 0;
  // The payload in order; the spans die with the call. An error ends the transfer with it.
  virtual absl::Status OnData(ByteSpans data) = 0;
};

// Fetches one model version into `sink`. Returns the header; no data came where the request's
// have_model_id is the header's. Errors as above; MALFORMED, OVERSIZE and TRUNCATED where the
// server sends something else than it should.
absl::StatusOr<v1::ModelHeader> FetchModel(const std::shared_ptr<grpc::Channel>& channel,
                                           const v1::FetchRequest& request, ModelSink& sink,
                                           const TransferOptions& options = {});

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_TRANSFER_CLIENT_H_
