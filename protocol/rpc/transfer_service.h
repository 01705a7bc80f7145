// The server's side of v1.Transfer: updates come up and models go down in chunks, over gRPC's raw
// callback interface, so that the data is read from the network's own buffers (chunk_codec.h).
//
// What it answers for: who is calling (certificate), the header's form and sender, sizes, the end
// of the stream, how many streams, how long they may be silent, and that one stream holds about one
// chunk of memory: the next one is read when the last one was taken. What the bytes mean is the
// sinks' and sources' business.
//
// Ownership: the service owns each call's sink or source. Threads: gRPC's threads only hand over;
// sinks, sources and the factories are called by `work`, each object by one thread at a time.

#ifndef CONSILIUM_PROTOCOL_RPC_TRANSFER_SERVICE_H_
#define CONSILIUM_PROTOCOL_RPC_TRANSFER_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "consilium/v1/transfer.grpc.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/core/executor.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/chunk_codec.h"
#include "protocol/rpc/payload_source.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/wire/limits.h"

namespace consilium {

// Where one upload goes.
class UploadSink {
 public:
  virtual ~UploadSink() = default;
  // First, once. `header` has passed CheckUpdateHeader and names `peer` as its sender. An error
  // ends the call with it (and OnCancelled does not come).
  virtual absl::Status OnHeader(const PeerIdentity& peer, const v1::UpdateHeader& header) = 0;
  // The payload in order, at most what the header declared; the spans die with the call. An error
  // ends the call with it (and OnCancelled does not come).
  virtual absl::Status OnData(ByteSpans data) = 0;
  // Exactly what was declared has come. `answer` is to be called once, from any thread, now or
  // later; this object may be gone by then.
  virtual void OnComplete(std::function<void(absl::StatusOr<v1::Receipt>)> answer) = 0;
  // The upload ended early, for `why`. Nothing follows.
  virtual void OnCancelled(const absl::Status& why) = 0;
};

// One model version for one caller.
struct Download {
  v1::ModelHeader header;
  std::unique_ptr<PayloadSource> payload;
};

struct TransferLimits {
  int uploads_max = limits::kUploadsInFlightMax;
  int uploads_per_site_max = limits::kUploadsPerSiteMax;
  int downloads_max = limits::kDownloadsInFlightMax;
  int downloads_per_site_max = limits::kDownloadsPerSiteMax;
  absl::Duration idle_max = limits::kUploadIdleMax;
  // The hint that comes with BUSY.
  absl::Duration busy_retry_after = absl::Milliseconds(500);
};

struct TransferHandlers {
  // Whether this site may call now (SITE_REVOKED, SITE_UNKNOWN). Called by gRPC's threads twice for
  // every call, before anything else and once Disconnect() can end it; must not block.
  std::function<absl::Status(const PeerIdentity&)> admit;
  std::function<absl::StatusOr<std::unique_ptr<UploadSink>>(const PeerIdentity&)> upload;
  // `request` is no larger than a control message; its fields are unchecked.
  std::function<absl::StatusOr<Download>(const PeerIdentity&, const v1::FetchRequest& request)>
      download;
};

struct TransferShared;

class TransferService final
    : public v1::Transfer::WithRawCallbackMethod_Submit<
          v1::Transfer::WithRawCallbackMethod_Fetch<v1::Transfer::Service>> {
 public:
  // `work` outlives the server that this is registered with. Each live transfer has at most one
  // task in its queue, which should have room for uploads_max + downloads_max.
  TransferService(TransferHandlers handlers, Executor* work, TransferLimits limits = {});
  ~TransferService() override;

  // Ends every transfer of `site` with `why`: its certificate or the site itself was revoked.
  void Disconnect(const SiteId& site, const absl::Status& why);

  // For gRPC.
  grpc::ServerReadReactor<grpc::ByteBuffer>* Submit(grpc::CallbackServerContext* context,
                                                    grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Fetch(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override;

 private:
  // Shared with the calls: one of their tasks may end after the service did.
  const std::shared_ptr<TransferShared> shared_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_TRANSFER_SERVICE_H_
