// The server's side of v1.Coordination: one long-lived stream per site, over which events come in
// and directives go out.
//
// What it answers for: who the site is (certificate), that the stream begins with a Hello in time,
// and that a site that does not read its directives is disconnected once
// limits::kDirectiveQueueMax of them wait. What events mean is the handler's business.
//
// Threads: the handler is called by gRPC's threads, one stream's calls one after another;
// SiteStream may be used by any.

#ifndef CONSILIUM_PROTOCOL_RPC_COORDINATION_SERVICE_H_
#define CONSILIUM_PROTOCOL_RPC_COORDINATION_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "consilium/v1/coordination.grpc.pb.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/wire/limits.h"

namespace consilium {

// The aggregator's end of one site's stream. It may outlive the stream; what is sent then is
// dropped.
class SiteStream {
 public:
  virtual ~SiteStream() = default;
  virtual const PeerIdentity& peer() const = 0;
  // Queues it. False where the stream has ended, or ends because of this one: its queue was full.
  virtual bool Send(v1::Directive directive) = 0;
  // Ends the stream with `status`, once what was queued before has been sent, or at once where the
  // status is an error. The handler's OnDetach follows, unless it came already.
  virtual void Close(const absl::Status& status) = 0;
};

class CoordinationHandler {
 public:
  virtual ~CoordinationHandler() = default;
  // Whether this site may attach (SITE_REVOKED ...). Must not block.
  virtual absl::Status Admit(const PeerIdentity& peer) = 0;
  // One event of the site; the stream's first is a Hello. The next is read when this returned. An
  // error (BUSY where a queue is full) ends the stream with it.
  virtual absl::Status OnEvent(const std::shared_ptr<SiteStream>& stream, v1::SiteEvent event) = 0;
  // The stream has ended: `why` is what it was closed with here, or CANCELLED where the site went.
  // Once for every stream that had an event; nothing follows.
  virtual void OnDetach(const std::shared_ptr<SiteStream>& stream, const absl::Status& why) = 0;
};

struct CoordinationLimits {
  int streams_max = static_cast<int>(limits::kSitesMax);
  // A site holds one; while it reconnects, its old one may still be dying.
  int streams_per_site_max = 4;
  size_t directive_queue_max = limits::kDirectiveQueueMax;
  absl::Duration hello_timeout = limits::kHelloTimeout;
};

class CoordinationService final : public v1::Coordination::CallbackService {
 public:
  // `handler` outlives the server that this is registered with.
  explicit CoordinationService(CoordinationHandler* handler, CoordinationLimits limits = {});
  ~CoordinationService() override;

  // Ends every stream of `site` with `why`: its certificate or the site itself was revoked.
  void Disconnect(const SiteId& site, const absl::Status& why);

  // For gRPC.
  grpc::ServerBidiReactor<v1::SiteEvent, v1::Directive>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  struct Shared;
  class AttachCall;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_COORDINATION_SERVICE_H_
