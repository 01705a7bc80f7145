// Who is calling: the one place where a server learns it, from the certificate of the connection
// and never from a message.
//
// Threads: any, while the call lives.

#ifndef CONSILIUM_PROTOCOL_RPC_PEER_IDENTITY_H_
#define CONSILIUM_PROTOCOL_RPC_PEER_IDENTITY_H_

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/peer_check.h"

namespace consilium {

// The peer of a call on a listener with MutualTlsServerCredentials, which has checked the
// certificate when the connection began; whether it still holds is looked at again here, since
// connections outlive certificates. Refusals: NO_CERTIFICATE, FOREIGN_CERTIFICATE,
// CERTIFICATE_EXPIRED.
absl::StatusOr<PeerIdentity> IdentifyPeer(const grpc::ServerContextBase& context);

// As above, for calls that only sites may make: FOREIGN_CERTIFICATE for anyone else.
absl::StatusOr<PeerIdentity> IdentifySite(const grpc::ServerContextBase& context);

// A message of `peer` names `site_id` as its sender: IDENTITY_MISMATCH where that is someone else.
absl::Status CheckSender(const PeerIdentity& peer, absl::string_view site_id);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_PEER_IDENTITY_H_
