#include "aggregator/server/enrolment_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "aggregator/server/site_log.h"
#include "privacy/at_rest/aead.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/join_token.h"
#include "protocol/rpc/peer_identity.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

absl::Status CheckRequest(const v1::EnrolRequest& request) {
  if (absl::Status status = CheckSiteId(request.site_id()); !status.ok()) {
    return Refusal(v1::MALFORMED, status.message());
  }
  if (request.signing_public_key().size() != sizeof(PublicKey)) {
    return Refusal(v1::MALFORMED, "signing_public_key: an Ed25519 key has 32 bytes");
  }
  return absl::OkStatus();
}

PublicKey SigningKeyOf(const v1::EnrolRequest& request) {
  PublicKey key = {};
  std::copy(request.signing_public_key().begin(), request.signing_public_key().end(), key.begin());
  return key;
}

// Whoever has a token could otherwise send another site's public key as its own.
absl::Status CheckHoldsKey(const v1::EnrolRequest& request) {
  if (VerifySignature(SigningKeyOf(request), EnrolmentDigest(request), request.signature()).ok()) {
    return absl::OkStatus();
  }
  return Refusal(v1::MALFORMED,
                 "signature: the request is not signed by the key whose public half it sends; is "
                 "the agent of the aggregator's version?");
}

absl::StatusOr<CertificateRecord> RecordOf(const SiteId& site, const std::string& chain_pem) {
  CONSILIUM_ASSIGN_OR_RETURN(const Certificate certificate, Certificate::FromPem(chain_pem));
  return CertificateRecord{
      .site = site, .fingerprint = certificate.Fingerprint(), .ends = certificate.not_after()};
}

}  // namespace

grpc::Status EnrolmentService::Enrol(grpc::ServerContext* context, const v1::EnrolRequest* request,
                                     v1::EnrolResponse* response) {
  absl::StatusOr<v1::EnrolResponse> answer = Enrol(*request);
  if (!answer.ok()) {
    LogRefused(context->peer(), answer.status());
    return ToGrpcStatus(answer.status());
  }
  spdlog::info("site {} enrolled from {}", request->site_id(), context->peer());
  *response = *std::move(answer);
  return grpc::Status::OK;
}

absl::Status EnrolmentService::CheckStore(const v1::EnrolRequest& request) const {
  const SiteId site(request.site_id());
  auto link = federation::SiteState::Link::kNeverSeen;
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([&](const federation::FederationEngine& engine) {
    const auto found = engine.sites().find(site);
    if (found != engine.sites().end()) link = found->second.link;
  }));
  if (link == federation::SiteState::Link::kNeverSeen) return absl::OkStatus();
  if (link == federation::SiteState::Link::kRemoved) {
    return Refusal(v1::SITE_REVOKED, absl::StrCat("the site ", site.value(), " was revoked"));
  }
  if (parts_.directory.SigningKeyOf(site) == SigningKeyOf(request)) return absl::OkStatus();
  return Refusal(v1::TOKEN_REFUSED,
                 absl::StrCat("the site ", site.value(),
                              " has attached before, from another store: that store may enrol "
                              "again; a new one needs a new site name"));
}

void EnrolmentService::LogRefused(const std::string& peer, const absl::Status& why) {
  int64_t skipped = 0;
  if (!refusals_.Allow(absl::Now(), skipped)) return;
  if (skipped > 0) spdlog::warn("enrolment refused: {} more, not listed one by one", skipped);
  spdlog::warn("enrolment from {} refused: {}", peer, why.ToString());
}

// Whether the engine knows the site by `lease`, and by it alone.
absl::Status EnrolmentService::CheckMayAttach(const SiteId& site, const Digest& lease) {
  bool may = false;
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([&](const federation::FederationEngine& engine) {
    const auto found = engine.sites().find(site);
    may = found != engine.sites().end() && found->second.lease_current == lease &&
          found->second.link != federation::SiteState::Link::kRemoved;
  }));
  if (may) return absl::OkStatus();
  return Refusal(v1::TOKEN_REFUSED,
                 "the site has attached with another join file: if it can not attach any more, the "
                 "operator makes a new one (consilium site add --again)");
}

absl::StatusOr<v1::EnrolResponse> EnrolmentService::Enrol(const v1::EnrolRequest& request) {
  CONSILIUM_RETURN_IF_ERROR(CheckRequest(request));
  const SiteId site(request.site_id());
  const absl::Time now = parts_.clock.Now();
  // Who has no token is sent away here, where nothing waits and nothing is read from the disk.
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.CheckToken(request.token(), site, now).status());
  CONSILIUM_RETURN_IF_ERROR(CheckHoldsKey(request));
  // Two that spend one token meet here.
  absl::MutexLock lock(&one_at_a_time_);
  CONSILIUM_ASSIGN_OR_RETURN(const Invitation::Joining joining,
                             parts_.directory.CheckToken(request.token(), site, now));
  if (joining == Invitation::Joining::kAgain) CONSILIUM_RETURN_IF_ERROR(CheckStore(request));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string chain,
                             parts_.identity.authority().IssueSite(request.csr_pem(), site, now));
  CONSILIUM_ASSIGN_OR_RETURN(const CertificateRecord certificate, RecordOf(site, chain));
  std::string lease(sizeof(Digest), '\0');
  CONSILIUM_RETURN_IF_ERROR(
      RandomFill(std::span<uint8_t>(reinterpret_cast<uint8_t*>(lease.data()), lease.size())));
  const Digest lease_hash = Sha256Of(absl::string_view(lease));
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.PostAndWait(federation::SiteAdded{
      site, lease_hash,
      joining == Invitation::Joining::kAgain ? federation::SiteAdded::Occasion::kAgain
                                             : federation::SiteAdded::Occasion::kFirst}));
  // The engine may know better: then the certificate that the site has stays as good as it was.
  CONSILIUM_RETURN_IF_ERROR(CheckMayAttach(site, lease_hash));
  CONSILIUM_RETURN_IF_ERROR(
      parts_.directory.Enrol({.token_hash = JoinTokenHash(request.token()),
                              .site = site,
                              .signing_key = SigningKeyOf(request),
                              .certificate_fingerprint = certificate.fingerprint,
                              .certificate_ends = certificate.ends}));
  v1::EnrolResponse response;
  response.set_certificate_chain_pem(chain);
  response.set_initial_lease(std::move(lease));
  const PublicKey& key = parts_.identity.signing_key().public_key();
  response.set_aggregator_signing_key(std::string(key.begin(), key.end()));
  return response;
}

grpc::Status RenewalService::Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                                   v1::RenewResponse* response) {
  const absl::Status status = Renew(*context, *request, *response);
  return ToGrpcStatus(status);
}

absl::Status RenewalService::Renew(const grpc::ServerContext& context,
                                   const v1::RenewRequest& request, v1::RenewResponse& response) {
  CONSILIUM_ASSIGN_OR_RETURN(const PeerIdentity peer, IdentifySite(context));
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.Admit(peer));
  const absl::Status status = RenewFor(peer, request, response);
  if (!status.ok()) {
    LogOfSite(SiteLine::kWarning, peer.site(),
              absl::StrCat("its certificate is not renewed: ", status.message()));
  }
  return status;
}

absl::Status RenewalService::RenewFor(const PeerIdentity& peer, const v1::RenewRequest& request,
                                      v1::RenewResponse& response) {
  const absl::Time now = parts_.clock.Now();
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.CheckRenewal(peer, now));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string chain, parts_.identity.authority().IssueSite(
                                                          request.csr_pem(), peer.site(), now));
  CONSILIUM_ASSIGN_OR_RETURN(const CertificateRecord certificate, RecordOf(peer.site(), chain));
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.AddCertificate(certificate, peer, now));
  LogOfSite(
      SiteLine::kInfo, peer.site(),
      absl::StrCat("has a new certificate until ",
                   absl::FormatTime(absl::RFC3339_sec, certificate.ends, absl::UTCTimeZone())));
  response.set_certificate_chain_pem(chain);
  return absl::OkStatus();
}

}  // namespace consilium
