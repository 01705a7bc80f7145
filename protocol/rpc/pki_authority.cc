#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/openssl_ptr.h"
#include "protocol/rpc/pki.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr size_t kServerNamesMax = 32;
constexpr size_t kDnsNameCharsMax = 253;

absl::Status OpenSslError(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", openssl::TakeError()));
}

// 127 random bits: never predictable, never twice, positive as RFC 5280 asks.
absl::Status SetRandomSerial(X509* certificate) {
  std::array<uint8_t, 16> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return OpenSslError("no random serial number");
  }
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0x7f) | 0x40);
  const openssl::BignumPtr number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  if (number == nullptr ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return OpenSslError("no serial number");
  }
  return absl::OkStatus();
}

absl::Status SetValidity(X509* certificate, absl::Time from, absl::Time to) {
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(from)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(to)) == nullptr) {
    return OpenSslError("the time of a certificate");
  }
  return absl::OkStatus();
}

struct Subject {
  std::string organisation;
  std::string common_name;
};

absl::Status SetSubject(X509* certificate, const Subject& subject) {
  X509_NAME* name = X509_get_subject_name(certificate);
  const auto add = [name](const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                      reinterpret_cast<const uint8_t*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  if (!add("O", subject.organisation) || !add("CN", subject.common_name)) {
    return OpenSslError("the subject of a certificate");
  }
  return absl::OkStatus();
}

// `value` is one of this file's constants, never a peer's text: OpenSSL parses a language in it.
absl::Status AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const openssl::X509ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpenSslError(absl::StrCat("the extension ", OBJ_nid2sn(nid)));
  }
  return absl::OkStatus();
}

absl::Status AddName(GENERAL_NAMES* names, int type, const std::string& value) {
  GENERAL_NAME* name =
      a2i_GENERAL_NAME(nullptr, nullptr, nullptr, type, const_cast<char*>(value.c_str()), 0);
  if (name == nullptr || sk_GENERAL_NAME_push(names, name) == 0) {
    GENERAL_NAME_free(name);
    openssl::TakeError();
    return absl::InvalidArgumentError(absl::StrCat("'", value, "' is no valid name or address"));
  }
  return absl::OkStatus();
}

absl::Status AddAlternativeNames(X509* certificate, const std::string& uri,
                                 const ServerNames& server) {
  const openssl::NamesPtr names(GENERAL_NAMES_new());
  CONSILIUM_RETURN_IF_ERROR(AddName(names.get(), GEN_URI, uri));
  for (const std::string& dns : server.dns) {
    CONSILIUM_RETURN_IF_ERROR(AddName(names.get(), GEN_DNS, dns));
  }
  for (const std::string& ip : server.ip) {
    CONSILIUM_RETURN_IF_ERROR(AddName(names.get(), GEN_IPADD, ip));
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) !=
      1) {
    return OpenSslError("the alternative names of a certificate");
  }
  return absl::OkStatus();
}

absl::Status CheckServerNames(const ServerNames& names) {
  if (names.dns.empty() && names.ip.empty()) {
    return absl::InvalidArgumentError("a server certificate needs a host name or an address");
  }
  if (names.dns.size() + names.ip.size() > kServerNamesMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a server certificate has at most %d names", kServerNamesMax));
  }
  for (const std::string& dns : names.dns) {
    const bool good = !dns.empty() && dns.size() <= kDnsNameCharsMax &&
                      std::all_of(dns.begin(), dns.end(), [](char c) {
                        return absl::ascii_isalnum(c) || c == '-' || c == '.';
                      });
    if (!good) return absl::InvalidArgumentError("a host name is made of a-z, 0-9, '-' and '.'");
  }
  return absl::OkStatus();
}

// The public key of a request, once the request has proved to hold the private one.
absl::StatusOr<openssl::PkeyPtr> KeyOfRequest(absl::string_view request_pem) {
  if (request_pem.size() > limits::kCertificateBytesMax) {
    return absl::ResourceExhaustedError("the certificate request is too long");
  }
  const openssl::X509ReqPtr request(PEM_read_bio_X509_REQ(openssl::ViewOf(request_pem).get(),
                                                          nullptr, openssl::NoPassphrase, nullptr));
  if (request == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a certificate request in PEM form: ", openssl::TakeError()));
  }
  openssl::PkeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (key == nullptr || !IsP256(key.get())) {
    openssl::TakeError();
    return absl::InvalidArgumentError("the certificate request is not for a P-256 key");
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    openssl::TakeError();
    return absl::InvalidArgumentError("the certificate request is not signed by its own key");
  }
  return key;
}

struct AuthorityPlan {
  Subject subject;
  absl::Time from, to;
  const char* basic_constraints = nullptr;
  const char* extended_key_usage = nullptr;  // Null: none.
};

// `issuer` null: signs itself.
absl::StatusOr<openssl::X509Ptr> MakeAuthority(const TlsKey& key, const AuthorityPlan& plan,
                                               const CertificateAuthority* issuer) {
  openssl::X509Ptr certificate(X509_new());
  X509* const x = certificate.get();
  X509* const issuer_x = issuer == nullptr ? x : issuer->certificate().get();
  EVP_PKEY* const signer = issuer == nullptr ? key.get() : issuer->key().get();
  if (x == nullptr || X509_set_version(x, X509_VERSION_3) != 1 ||
      X509_set_pubkey(x, key.get()) != 1) {
    return OpenSslError("no certificate was made");
  }
  CONSILIUM_RETURN_IF_ERROR(SetRandomSerial(x));
  CONSILIUM_RETURN_IF_ERROR(SetValidity(x, plan.from, plan.to));
  CONSILIUM_RETURN_IF_ERROR(SetSubject(x, plan.subject));
  X509_set_issuer_name(x, X509_get_subject_name(issuer_x));
  CONSILIUM_RETURN_IF_ERROR(
      AddExtension(x, issuer_x, NID_basic_constraints, plan.basic_constraints));
  CONSILIUM_RETURN_IF_ERROR(
      AddExtension(x, issuer_x, NID_key_usage, "critical,keyCertSign,cRLSign"));
  if (plan.extended_key_usage != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(
        AddExtension(x, issuer_x, NID_ext_key_usage, plan.extended_key_usage));
  }
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer_x, NID_subject_key_identifier, "hash"));
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer_x, NID_authority_key_identifier, "keyid"));
  if (X509_sign(x, signer, EVP_sha256()) == 0) return OpenSslError("signing a certificate");
  return certificate;
}

}  // namespace

struct CertificateAuthority::LeafPlan {
  PeerName name;
  ServerNames server;
  const char* extended_key_usage = nullptr;
  absl::Time now;
  absl::Duration lifetime;
};

absl::StatusOr<CertificateAuthority> CertificateAuthority::CreateRoot(absl::string_view federation,
                                                                      absl::Time now) {
  CONSILIUM_RETURN_IF_ERROR(CheckFederationName(federation));
  CONSILIUM_ASSIGN_OR_RETURN(TlsKey key, TlsKey::Generate());
  AuthorityPlan plan;
  plan.subject = {std::string(federation), absl::StrCat(federation, " root")};
  plan.from = now - kCertificateBackdate;
  plan.to = now + kRootLifetime;
  plan.basic_constraints = "critical,CA:TRUE,pathlen:1";
  CONSILIUM_ASSIGN_OR_RETURN(openssl::X509Ptr certificate, MakeAuthority(key, plan, nullptr));
  return CertificateAuthority(std::move(key),
                              Certificate(std::shared_ptr<X509>(certificate.release(), X509_free)));
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::FromPem(TlsKey key,
                                                                   absl::string_view chain_pem) {
  CONSILIUM_ASSIGN_OR_RETURN(Certificate certificate, Certificate::FromPem(chain_pem));
  if (!certificate.Matches(key)) {
    return absl::FailedPreconditionError("the authority's key and certificate do not match");
  }
  if (X509_check_ca(certificate.get()) != 1 ||
      !CheckFederationName(certificate.Federation()).ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("not the certificate of an authority: ", certificate.Describe()));
  }
  return CertificateAuthority(std::move(key), std::move(certificate));
}

bool CertificateAuthority::is_root() const {
  return X509_check_issued(certificate_.get(), certificate_.get()) == X509_V_OK;
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::CreateIntermediate(
    absl::Time now) const {
  if (!is_root()) return absl::FailedPreconditionError("only the root signs another authority");
  CONSILIUM_ASSIGN_OR_RETURN(TlsKey key, TlsKey::Generate());
  AuthorityPlan plan;
  plan.subject = {federation(), absl::StrCat(federation(), " aggregator authority")};
  plan.from = now - kCertificateBackdate;
  plan.to = std::min(now + kIntermediateLifetime, certificate_.not_after());
  plan.basic_constraints = "critical,CA:TRUE,pathlen:0";
  plan.extended_key_usage = "serverAuth,clientAuth";
  CONSILIUM_ASSIGN_OR_RETURN(openssl::X509Ptr certificate, MakeAuthority(key, plan, this));
  return CertificateAuthority(std::move(key),
                              Certificate(std::shared_ptr<X509>(certificate.release(), X509_free)));
}

absl::StatusOr<std::string> CertificateAuthority::IssueLeaf(absl::string_view request_pem,
                                                            const LeafPlan& plan) const {
  if (plan.now >= certificate_.not_after()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the authority has ended: ", certificate_.Describe()));
  }
  CONSILIUM_ASSIGN_OR_RETURN(openssl::PkeyPtr key, KeyOfRequest(request_pem));
  const openssl::X509Ptr certificate(X509_new());
  X509* const x = certificate.get();
  X509* const issuer = certificate_.get();
  if (x == nullptr || X509_set_version(x, X509_VERSION_3) != 1 ||
      X509_set_pubkey(x, key.get()) != 1) {
    return OpenSslError("no certificate was made");
  }
  CONSILIUM_RETURN_IF_ERROR(SetRandomSerial(x));
  CONSILIUM_RETURN_IF_ERROR(
      SetValidity(x, plan.now - kCertificateBackdate,
                  std::min(plan.now + plan.lifetime, certificate_.not_after())));
  const std::string& id = plan.name.id;
  CONSILIUM_RETURN_IF_ERROR(
      SetSubject(x, {plan.name.federation, id.empty() ? std::string(NameOf(plan.name.kind)) : id}));
  X509_set_issuer_name(x, X509_get_subject_name(issuer));
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer, NID_key_usage, "critical,digitalSignature"));
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer, NID_ext_key_usage, plan.extended_key_usage));
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer, NID_subject_key_identifier, "hash"));
  CONSILIUM_RETURN_IF_ERROR(AddExtension(x, issuer, NID_authority_key_identifier, "keyid"));
  CONSILIUM_RETURN_IF_ERROR(AddAlternativeNames(x, plan.name.Uri(), plan.server));
  if (X509_sign(x, key_.get(), EVP_sha256()) == 0) return OpenSslError("signing a certificate");
  const openssl::BioPtr out = openssl::MemoryBio();
  if (PEM_write_bio_X509(out.get(), x) != 1) return OpenSslError("writing a certificate");
  return absl::StrCat(openssl::TextOf(out.get()), is_root() ? "" : certificate_.ToPem());
}

absl::StatusOr<std::string> CertificateAuthority::IssueServer(absl::string_view request_pem,
                                                              const ServerNames& names,
                                                              absl::Time now) const {
  CONSILIUM_RETURN_IF_ERROR(CheckServerNames(names));
  LeafPlan plan;
  plan.name = {federation(), PeerKind::kAggregator, ""};
  plan.server = names;
  plan.extended_key_usage = "serverAuth";
  plan.now = now;
  plan.lifetime = kServerCertificateLifetime;
  return IssueLeaf(request_pem, plan);
}

absl::StatusOr<std::string> CertificateAuthority::IssueSite(absl::string_view request_pem,
                                                            const SiteId& site,
                                                            absl::Time now) const {
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(site.value()));
  LeafPlan plan;
  plan.name = {federation(), PeerKind::kSite, site.value()};
  plan.extended_key_usage = "clientAuth";
  plan.now = now;
  plan.lifetime = limits::kSiteCertificateLifetime;
  return IssueLeaf(request_pem, plan);
}

absl::StatusOr<std::string> CertificateAuthority::IssueOperator(absl::string_view request_pem,
                                                                absl::string_view name,
                                                                absl::Time now) const {
  if (!CheckSiteId(name).ok()) {
    return absl::InvalidArgumentError(
        "an operator's name has 1 to 63 characters of a-z, 0-9 and '-'");
  }
  LeafPlan plan;
  plan.name = {federation(), PeerKind::kOperator, std::string(name)};
  plan.extended_key_usage = "clientAuth";
  plan.now = now;
  plan.lifetime = kOperatorCertificateLifetime;
  return IssueLeaf(request_pem, plan);
}

}  // namespace consilium
