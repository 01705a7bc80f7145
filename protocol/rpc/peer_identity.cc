#include "protocol/rpc/peer_identity.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {

absl::StatusOr<PeerIdentity> IdentifyPeer(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  const std::vector<grpc::string_ref> shown =
      auth == nullptr ? std::vector<grpc::string_ref>()
                      : auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (shown.size() != 1) {
    return Refusal(v1::NO_CERTIFICATE, "this call needs a client certificate");
  }
  const absl::StatusOr<Certificate> certificate =
      Certificate::FromPem(absl::string_view(shown[0].data(), shown[0].size()));
  if (!certificate.ok()) return Refusal(v1::FOREIGN_CERTIFICATE, certificate.status().message());
  PeerIdentity identity;
  CONSILIUM_ASSIGN_OR_RETURN(identity.name, certificate->Name());
  identity.fingerprint = certificate->Fingerprint();
  identity.not_after = certificate->not_after();
  if (absl::Now() >= identity.not_after) {
    return Refusal(v1::CERTIFICATE_EXPIRED,
                   absl::StrCat("the connection's certificate has expired: connect again with the "
                                "renewed one (",
                                certificate->Describe(), ")"));
  }
  return identity;
}

absl::StatusOr<PeerIdentity> IdentifySite(const grpc::ServerContextBase& context) {
  CONSILIUM_ASSIGN_OR_RETURN(PeerIdentity identity, IdentifyPeer(context));
  if (identity.name.kind != PeerKind::kSite) {
    return Refusal(v1::FOREIGN_CERTIFICATE,
                   absl::StrCat("only sites make this call, not ", identity.name.Uri()));
  }
  return identity;
}

absl::Status CheckSender(const PeerIdentity& peer, absl::string_view site_id) {
  if (peer.name.kind == PeerKind::kSite && peer.name.id == site_id) return absl::OkStatus();
  return Refusal(
      v1::IDENTITY_MISMATCH,
      absl::StrCat("the certificate is ", peer.name.Uri(), ", the message is in the name of '",
                   absl::CHexEscape(site_id.substr(0, limits::kSiteIdCharsMax)), "'"));
}

}  // namespace consilium
