// How sites come in (Enrolment, a listener of its own without client certificates) and stay in
// (Renewal, on the main listener). Tokens are spent once; the site's key never leaves it.
//
// The order of an enrolment: token and the request's signature checked → SiteAdded is durable in
// the journal, and the engine took it → token spent, key and certificate kept (one transaction) →
// answered. A crash in between leaves the token good.
//
// Whoever reaches the port may ask, so a caller without a token costs a look into a table in
// memory: neither the disk, nor the engine, nor a lock that they hold, nor a line of the log beyond
// kRefusalsPerWindow. The listener's threads, connections and memory are limited (aggregator.cc).
//
// Ownership: borrow the parts of the server. Threads: any (gRPC's).

#ifndef CONSILIUM_AGGREGATOR_SERVER_ENROLMENT_SERVICE_H_
#define CONSILIUM_AGGREGATOR_SERVER_ENROLMENT_SERVICE_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/server_identity.h"
#include "aggregator/server/site_directory.h"
#include "consilium/v1/enrolment.grpc.pb.h"
#include "protocol/core/clock.h"
#include "protocol/core/line_rate.h"
#include "protocol/rpc/connection_log.h"

namespace consilium {

struct EnrolmentParts {
  EngineLoop& engine;
  SiteDirectory& directory;
  const ServerIdentity& identity;
  const Clock& clock;
};

class EnrolmentService final : public v1::Enrolment::Service {
 public:
  explicit EnrolmentService(const EnrolmentParts& parts) : parts_(parts) {}
  grpc::Status Enrol(grpc::ServerContext* context, const v1::EnrolRequest* request,
                     v1::EnrolResponse* response) override;

 private:
  absl::StatusOr<v1::EnrolResponse> Enrol(const v1::EnrolRequest& request);
  // A site that has attached comes back with its own store alone, known by its signing key: another
  // one would know nothing of the tasks that were granted. Refusals TOKEN_REFUSED, SITE_REVOKED.
  absl::Status CheckStore(const v1::EnrolRequest& request) const;
  absl::Status CheckMayAttach(const SiteId& site, const Digest& lease);
  void LogRefused(const std::string& peer, const absl::Status& why);

  const EnrolmentParts parts_;
  absl::Mutex one_at_a_time_;
  LineRate refusals_{{kRefusalsPerWindow, kRefusalWindow}};
};

class RenewalService final : public v1::Renewal::Service {
 public:
  explicit RenewalService(const EnrolmentParts& parts) : parts_(parts) {}
  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                     v1::RenewResponse* response) override;

 private:
  absl::Status Renew(const grpc::ServerContext& context, const v1::RenewRequest& request,
                     v1::RenewResponse& response);
  absl::Status RenewFor(const PeerIdentity& peer, const v1::RenewRequest& request,
                        v1::RenewResponse& response);

  const EnrolmentParts parts_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_ENROLMENT_SERVICE_H_
