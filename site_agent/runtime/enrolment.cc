// `consilium-agent enrol`.

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/join_token.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/rpc/pki.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/text_format.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/runtime/egress_gate.h"
#include "site_agent/runtime/link_errors.h"

namespace consilium::site {
namespace {

constexpr size_t kSecretBytes = 32;

std::span<const uint8_t> SpanOf(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

absl::StatusOr<v1::JoinFile> ReadJoinFile(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits::kJoinFileBytesMax));
  v1::JoinFile join;
  CONSILIUM_RETURN_IF_ERROR(ParseTextFormat(text, path, join));
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(join.site_id()));
  if (join.token().size() != kSecretBytes || join.enrolment_address().empty() ||
      join.aggregator_address().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no join file: token or addresses are missing"));
  }
  if (absl::FromUnixSeconds(join.expires_unix_s()) < absl::Now()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has expired; ask for a new one (consilium site add [--again] ",
                     join.site_id(), ")"));
  }
  return join;
}

// Whether what came back is a certificate of this site, for its key, by the join file's root.
absl::Status CheckChain(const v1::JoinFile& join, const TlsKey& key, const std::string& chain_pem) {
  CONSILIUM_ASSIGN_OR_RETURN(const TrustAnchors anchors,
                             TrustAnchors::FromPem(join.root_certificate_pem()));
  CONSILIUM_ASSIGN_OR_RETURN(const Certificate leaf, Certificate::FromPem(chain_pem));
  CONSILIUM_ASSIGN_OR_RETURN(const PeerIdentity self,
                             anchors.CheckClient({.leaf = leaf.ToPem(), .chain = chain_pem},
                                                 {PeerKind::kSite}, absl::Now()));
  if (self.name.id == join.site_id() && leaf.Matches(key)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "the certificate that came back is not for this site and its key");
}

struct NewKeys {
  TlsKey tls;
  SigningKey signing;
};

// All but the aggregator's key, which comes with its answer.
SiteIdentity IdentityOf(const v1::JoinFile& join) {
  SiteIdentity identity;
  identity.site = SiteId(join.site_id());
  identity.federation = join.federation();
  identity.root_certificate_pem = join.root_certificate_pem();
  identity.enrolment_address = join.enrolment_address();
  identity.aggregator_address = join.aggregator_address();
  return identity;
}

// A store that enrols again keeps its signing key: by it the aggregator knows that it is the same.
absl::StatusOr<NewKeys> MakeKeys(SiteStore& store) {
  CONSILIUM_ASSIGN_OR_RETURN(TlsKey tls, TlsKey::Generate());
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<SigningKey> signing, store.OwnSigningKey());
  if (!signing.has_value()) {
    CONSILIUM_ASSIGN_OR_RETURN(signing, SigningKey::Generate());
  }
  return NewKeys{std::move(tls), *std::move(signing)};
}

absl::StatusOr<Enrolment> EnrolmentOf(const v1::JoinFile& join, NewKeys& keys,
                                      const v1::EnrolResponse& response) {
  CONSILIUM_RETURN_IF_ERROR(CheckChain(join, keys.tls, response.certificate_chain_pem()));
  const std::optional<Digest> key = DigestFromBytes(response.aggregator_signing_key());
  if (!key.has_value() || response.initial_lease().size() != kSecretBytes) {
    return absl::InvalidArgumentError("the aggregator's answer lacks its key or the lease");
  }
  SiteIdentity identity = IdentityOf(join);
  identity.aggregator_key = *key;
  return Enrolment{std::move(identity), std::move(keys.signing),
                   SecretBytes(SpanOf(response.initial_lease()))};
}

}  // namespace

absl::StatusOr<nlohmann::json> EnrolSite(const StorePlace& place, const std::string& join_file) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::JoinFile join, ReadJoinFile(join_file));
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<SiteStore> store, OpenStore(place));
  CONSILIUM_RETURN_IF_ERROR(store->CheckMayEnrol(IdentityOf(join)));
  CONSILIUM_ASSIGN_OR_RETURN(NewKeys keys, MakeKeys(*store));
  v1::EnrolRequest request;
  request.set_site_id(join.site_id());
  request.set_token(join.token());
  CONSILIUM_ASSIGN_OR_RETURN(*request.mutable_csr_pem(), keys.tls.MakeRequestPem());
  const PublicKey signing_key = keys.signing.public_key();
  request.set_signing_public_key(ToBytes(signing_key));
  request.set_signature(keys.signing.Sign(EnrolmentDigest(request)));

  const absl::StatusOr<v1::EnrolResponse> response = EgressGate::Enrol(store.get(), join, request);
  if (!response.ok()) {
    return absl::Status(response.status().code(),
                        ExplainLinkError(response.status(), join.enrolment_address()));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Enrolment enrolment, EnrolmentOf(join, keys, *response));
  CONSILIUM_RETURN_IF_ERROR(
      InstallCertificate(store->tls_folder(), keys.tls, response->certificate_chain_pem()));
  CONSILIUM_RETURN_IF_ERROR(store->PutEnrolment(enrolment));
  CONSILIUM_ASSIGN_OR_RETURN(const Certificate leaf,
                             Certificate::FromPem(response->certificate_chain_pem()));
  return nlohmann::json{{"site", join.site_id()},
                        {"federation", join.federation()},
                        {"certificate_sha256", ToHex(leaf.Fingerprint())},
                        {"signing_key_sha256", ToHex(Sha256Of(signing_key))}};
}

}  // namespace consilium::site
