#include "protocol/rpc/peer_check.h"

#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/openssl_ptr.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

// leaf, intermediate, root.
constexpr int kIntermediatesMax = 1;

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", time, absl::UTCTimeZone());
}

// The peer's own name may stand in the text even where it is not proved: it is what a person needs
// to know whom to call, and says 'claims'.
std::string Claim(const Certificate& leaf) {
  const absl::StatusOr<PeerName> name = leaf.Name();
  return name.ok() ? absl::StrCat("claims to be ", name->Uri(), "; ", leaf.Describe())
                   : leaf.Describe();
}

absl::Status ExplainTime(X509* culprit, const Certificate& leaf, int error) {
  const bool is_leaf = culprit == nullptr || culprit == leaf.get();
  const auto time_of = [](const ASN1_TIME* time) {
    const openssl::BioPtr out = openssl::MemoryBio();
    ASN1_TIME_print(out.get(), time);
    return openssl::TextOf(out.get());
  };
  const char* const whose = is_leaf ? "the certificate" : "the certificate of its authority";
  if (error == X509_V_ERR_CERT_NOT_YET_VALID) {
    const std::string from =
        is_leaf ? TimeText(leaf.not_before()) : time_of(X509_get0_notBefore(culprit));
    return Refusal(v1::CERTIFICATE_EXPIRED, absl::StrCat(whose, " does not hold before ", from,
                                                         ": check the clocks (", Claim(leaf), ")"));
  }
  const std::string end =
      is_leaf ? TimeText(leaf.not_after()) : time_of(X509_get0_notAfter(culprit));
  return Refusal(v1::CERTIFICATE_EXPIRED,
                 absl::StrCat(whose, " expired at ", end, " (", Claim(leaf), ")"));
}

}  // namespace

struct TrustAnchors::Demand {
  int purpose = 0;
  // The certificate must be for it; empty: not asked.
  std::string host;
  std::vector<PeerKind> kinds;
  absl::Time now;
};

absl::StatusOr<TrustAnchors> TrustAnchors::FromPem(absl::string_view roots_pem) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Certificate> roots,
                             Certificate::ChainFromPem(roots_pem));
  TrustAnchors anchors;
  anchors.federation_ = roots.front().Federation();
  CONSILIUM_RETURN_IF_ERROR(CheckFederationName(anchors.federation_));
  anchors.store_.reset(X509_STORE_new(), X509_STORE_free);
  for (const Certificate& root : roots) {
    if (X509_check_ca(root.get()) != 1 || X509_check_issued(root.get(), root.get()) != X509_V_OK ||
        root.Federation() != anchors.federation_) {
      return absl::InvalidArgumentError(absl::StrCat("not a root of the federation ",
                                                     anchors.federation_, ": ", root.Describe()));
    }
    if (X509_STORE_add_cert(anchors.store_.get(), root.get()) != 1) {
      return absl::InternalError(absl::StrCat("a root was refused: ", openssl::TakeError()));
    }
  }
  return anchors;
}

absl::StatusOr<PeerIdentity> TrustAnchors::CheckClient(const ShownCertificates& shown,
                                                       const std::vector<PeerKind>& kinds,
                                                       absl::Time now) const {
  return Check(shown, {X509_PURPOSE_SSL_CLIENT, "", kinds, now});
}

absl::StatusOr<PeerIdentity> TrustAnchors::CheckServer(const ShownCertificates& shown,
                                                       const std::string& host,
                                                       absl::Time now) const {
  if (host.empty()) return absl::InvalidArgumentError("no host to check the certificate against");
  return Check(shown, {X509_PURPOSE_SSL_SERVER, host, {PeerKind::kAggregator}, now});
}

absl::StatusOr<PeerIdentity> TrustAnchors::Check(const ShownCertificates& shown,
                                                 const Demand& demand) const {
  if (shown.leaf.empty()) {
    return Refusal(v1::NO_CERTIFICATE, "the peer showed no certificate");
  }
  const absl::StatusOr<Certificate> leaf = Certificate::FromPem(shown.leaf);
  if (!leaf.ok()) return Refusal(v1::FOREIGN_CERTIFICATE, leaf.status().message());
  std::vector<Certificate> others;
  if (!shown.chain.empty()) {
    absl::StatusOr<std::vector<Certificate>> chain = Certificate::ChainFromPem(shown.chain);
    if (!chain.ok()) return Refusal(v1::FOREIGN_CERTIFICATE, chain.status().message());
    others = *std::move(chain);
  }
  const openssl::ChainRefsPtr untrusted(sk_X509_new_null());
  for (const Certificate& other : others) sk_X509_push(untrusted.get(), other.get());

  const openssl::X509StoreCtxPtr context(X509_STORE_CTX_new());
  if (context == nullptr ||
      X509_STORE_CTX_init(context.get(), store_.get(), leaf->get(), untrusted.get()) != 1) {
    return absl::InternalError(absl::StrCat("certificate check: ", openssl::TakeError()));
  }
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(parameters, demand.purpose);
  X509_VERIFY_PARAM_set_depth(parameters, kIntermediatesMax);
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(demand.now));
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  if (!demand.host.empty()) {
    // An address is never looked for among the names of hosts, nor the other way round.
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, demand.host.c_str()) != 1) {
      X509_VERIFY_PARAM_set1_host(parameters, demand.host.data(), demand.host.size());
    }
  }
  const bool good = X509_verify_cert(context.get()) == 1;
  const int error = X509_STORE_CTX_get_error(context.get());
  openssl::TakeError();
  if (!good) {
    switch (error) {
      case X509_V_ERR_CERT_HAS_EXPIRED:
      case X509_V_ERR_CERT_NOT_YET_VALID:
        return ExplainTime(X509_STORE_CTX_get_current_cert(context.get()), *leaf, error);
      case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
      case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
      case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return Refusal(
            v1::FOREIGN_CERTIFICATE,
            absl::StrCat("the certificate was not signed by the federation ", federation_,
                         demand.host.empty()
                             ? ""
                             : ": does a proxy on the way look into TLS connections, or is this "
                               "another federation's aggregator?",
                         " (", Claim(*leaf), ")"));
      case X509_V_ERR_HOSTNAME_MISMATCH:
      case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return Refusal(v1::FOREIGN_CERTIFICATE, absl::StrCat("the certificate is not for the host ",
                                                             demand.host, " (", Claim(*leaf), ")"));
      default:
        return Refusal(v1::FOREIGN_CERTIFICATE,
                       absl::StrCat("the certificate was refused: ",
                                    X509_verify_cert_error_string(error), " (", Claim(*leaf), ")"));
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(PeerName name, leaf->Name());
  if (name.federation != federation_) {
    return Refusal(v1::FOREIGN_CERTIFICATE,
                   absl::StrCat(name.Uri(), " is not of the federation ", federation_));
  }
  if (std::find(demand.kinds.begin(), demand.kinds.end(), name.kind) == demand.kinds.end()) {
    return Refusal(v1::FOREIGN_CERTIFICATE,
                   absl::StrCat(name.Uri(), " has no business here: this is not a place for the ",
                                NameOf(name.kind), "'s certificate"));
  }
  PeerIdentity identity;
  identity.name = std::move(name);
  identity.fingerprint = leaf->Fingerprint();
  identity.not_after = leaf->not_after();
  return identity;
}

}  // namespace consilium
