// Whether a certificate that a peer shows makes it a member of this federation, and if not, exactly
// why not. TLS libraries answer that with one 'certificate verify failed' for everything; a person
// who has to mend it needs to know whether the certificate ended, is another federation's, or was
// made by a proxy that looks into the connection.
//
// Ownership: a value that shares OpenSSL's immutable store. Threads: any.

#ifndef CONSILIUM_PROTOCOL_RPC_PEER_CHECK_H_
#define CONSILIUM_PROTOCOL_RPC_PEER_CHECK_H_

#include <openssl/x509.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/pki.h"

namespace consilium {

// Who a peer is, by its certificate alone.
struct PeerIdentity {
  PeerName name;
  Digest fingerprint = {};
  absl::Time not_after;

  // Empty for a peer that is not a site.
  SiteId site() const { return name.kind == PeerKind::kSite ? SiteId(name.id) : SiteId(); }
};

// What a peer showed in its handshake, in PEM form.
struct ShownCertificates {
  absl::string_view leaf;
  // Whatever else came: only material for building the chain, never trusted.
  absl::string_view chain;
};

class TrustAnchors {
 public:
  // The federation's root, or while it is exchanged both roots, of one federation.
  // INVALID_ARGUMENT where there is none, or one is not a root of the same federation.
  static absl::StatusOr<TrustAnchors> FromPem(absl::string_view roots_pem);

  const std::string& federation() const { return federation_; }

  // A client of one of `kinds`. Refusals: NO_CERTIFICATE; CERTIFICATE_EXPIRED; FOREIGN_CERTIFICATE
  // for one of another authority, for another purpose, or that names no such peer.
  absl::StatusOr<PeerIdentity> CheckClient(const ShownCertificates& shown,
                                           const std::vector<PeerKind>& kinds,
                                           absl::Time now) const;
  // The federation's aggregator, reached as `host` (a name or an address). Refusals as above.
  absl::StatusOr<PeerIdentity> CheckServer(const ShownCertificates& shown, const std::string& host,
                                           absl::Time now) const;

 private:
  struct Demand;
  absl::StatusOr<PeerIdentity> Check(const ShownCertificates& shown, const Demand& demand) const;

  std::shared_ptr<X509_STORE> store_;
  std::string federation_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_PEER_CHECK_H_
