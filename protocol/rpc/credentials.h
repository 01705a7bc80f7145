// TLS for the servers and channels: 1.3 only, both sides with certificates of the federation, the
// enrolment listener excepted, where the site has none yet.
//
// The peer's certificate is checked by TrustAnchors (peer_check.h) right after the handshake and
// before a byte of HTTP/2 is read, in place of the TLS library's own check: the library would say
// 'certificate verify failed' for everything, and could not ask about revocation. A refused
// connection is closed, and the reason logged (connection_log.h).
//
// Ownership: as gRPC's credentials; they share what they were made from. Threads: any; the
// revocation check is called by gRPC's threads.

#ifndef CONSILIUM_PROTOCOL_RPC_CREDENTIALS_H_
#define CONSILIUM_PROTOCOL_RPC_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/rpc/pki.h"

namespace consilium {

// To be called first thing in main(), before threads: sets what gRPC reads once, at its own start
// (the cipher list that leaves TLS 1.3 alone, the log function). The functions below call it too.
void InitRpc();

struct ServerTls {
  // Holds the server's own pair (certificate_folder.h). A new one is taken into use within
  // `reload_interval` (at least 1 s), for new connections.
  std::string certificate_folder;
  absl::Duration reload_interval = absl::Seconds(30);
};

struct ClientCheck {
  TrustAnchors anchors;
  std::vector<PeerKind> kinds;
  // OK, or why this peer may not connect although its certificate is good (SITE_REVOKED). It must
  // not block. Calls on open connections are to be checked again, one by one. Null: not asked.
  std::function<absl::Status(const PeerIdentity&)> admit;
};

// Requires a client certificate that passes `check`. FAILED_PRECONDITION where the folder's pair
// can not be used, with the reason.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MutualTlsServerCredentials(
    const ServerTls& tls, ClientCheck check);

// Asks for no client certificate: only for the listener at which sites enrol.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> EnrolmentServerCredentials(
    const ServerTls& tls);

struct ClientTls {
  TrustAnchors anchors;
  // The client's own pair; empty: shows none (enrolment).
  std::string certificate_folder;
  absl::Duration reload_interval = absl::Seconds(30);
};

// The server must be the federation's aggregator, with a certificate for the channel's host. Where
// it is not, calls fail with UNAVAILABLE and the reason is in their message.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsChannelCredentials(
    const ClientTls& tls);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_CREDENTIALS_H_
