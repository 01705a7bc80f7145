// The control streams of all sites, as protocol/rpc/coordination_service.h hands them over: one
// SiteSession for each.
//
// Ownership: holds a session until its stream has ended. Threads: gRPC's.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SITE_SESSIONS_H_
#define CONSILIUM_AGGREGATOR_SERVER_SITE_SESSIONS_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/site_session.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/rpc/coordination_service.h"

namespace consilium {

class SiteSessions final : public CoordinationHandler {
 public:
  explicit SiteSessions(const SiteSession::Parts& parts) : parts_(parts) {}

  absl::Status Admit(const PeerIdentity& peer) override { return parts_.directory.Admit(peer); }
  absl::Status OnEvent(const std::shared_ptr<SiteStream>& stream, v1::SiteEvent event) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnDetach(const std::shared_ptr<SiteStream>& stream, const absl::Status& why) override
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const SiteSession::Parts parts_;
  absl::Mutex mu_;
  absl::flat_hash_map<const SiteStream*, std::shared_ptr<SiteSession>> sessions_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SITE_SESSIONS_H_
