#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/openssl_ptr.h"
#include "protocol/rpc/pki.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

constexpr char kScheme[] = "spiffe://";
constexpr int kChainCertificatesMax = 8;
constexpr int kAlternativeNamesMax = 64;
constexpr size_t kDescribeCharsMax = 400;

absl::Status CheckSize(absl::string_view what, absl::string_view pem) {
  if (pem.size() <= limits::kCertificateBytesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat("a %s of %d bytes; at most %d are read", what,
                                                      pem.size(), limits::kCertificateBytesMax));
}

absl::Time TimeOf(const ASN1_TIME* time) {
  struct tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTimeT(timegm(&parts));
}

std::string OneLine(const X509_NAME* name) {
  const openssl::BioPtr out = openssl::MemoryBio();
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  return absl::CHexEscape(openssl::TextOf(out.get()));
}

absl::string_view View(const ASN1_STRING* text) {
  return absl::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                           static_cast<size_t>(ASN1_STRING_length(text)));
}

}  // namespace

absl::string_view NameOf(PeerKind kind) {
  switch (kind) {
    case PeerKind::kSite:
      return "site";
    case PeerKind::kAggregator:
      return "aggregator";
    case PeerKind::kOperator:
      return "operator";
  }
  return "peer";
}

std::string PeerName::Uri() const {
  const std::string base = absl::StrCat(kScheme, federation, "/", NameOf(kind));
  return kind == PeerKind::kAggregator ? base : absl::StrCat(base, "/", id);
}

absl::StatusOr<PeerName> ParsePeerUri(absl::string_view uri) {
  PeerName name;
  if (!absl::ConsumePrefix(&uri, kScheme)) {
    return absl::InvalidArgumentError("the name is no spiffe:// URI");
  }
  const std::vector<std::string> parts = absl::StrSplit(uri, absl::MaxSplits('/', 3));
  name.federation = parts[0];
  CONSILIUM_RETURN_IF_ERROR(CheckFederationName(name.federation));
  if (parts.size() == 2 && parts[1] == NameOf(PeerKind::kAggregator)) {
    name.kind = PeerKind::kAggregator;
    return name;
  }
  if (parts.size() == 3) {
    name.id = parts[2];
    CONSILIUM_RETURN_IF_ERROR(CheckSiteId(name.id));
    for (const PeerKind kind : {PeerKind::kSite, PeerKind::kOperator}) {
      name.kind = kind;
      if (parts[1] == NameOf(kind)) return name;
    }
  }
  return absl::InvalidArgumentError("the URI names neither a site, an operator nor the aggregator");
}

absl::Status CheckFederationName(absl::string_view name) {
  if (CheckSiteId(name).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "a federation's name has 1 to 63 characters of a-z, 0-9 and '-', and begins with a letter or "
      "digit");
}

bool IsP256(const EVP_PKEY* key) {
  char group[32] = {};
  size_t size = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
         absl::string_view(group, size) == SN_X9_62_prime256v1;
}

absl::StatusOr<TlsKey> TlsKey::Generate() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  if (key == nullptr) {
    return absl::InternalError(absl::StrCat("no P-256 key was made: ", openssl::TakeError()));
  }
  return TlsKey(std::move(key));
}

absl::StatusOr<TlsKey> TlsKey::FromPem(absl::string_view pem) {
  CONSILIUM_RETURN_IF_ERROR(CheckSize("private key", pem));
  std::shared_ptr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(openssl::ViewOf(pem).get(), nullptr, openssl::NoPassphrase, nullptr),
      EVP_PKEY_free);
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("not an unencrypted private key in PEM form: ", openssl::TakeError()));
  }
  if (!IsP256(key.get())) return absl::InvalidArgumentError("the private key is not a P-256 key");
  return TlsKey(std::move(key));
}

absl::StatusOr<TlsKey> TlsKey::Read(const std::string& path) {
  CONSILIUM_RETURN_IF_ERROR(CheckPrivate(path));
  CONSILIUM_ASSIGN_OR_RETURN(std::string pem, ReadFile(path, limits::kCertificateBytesMax));
  absl::StatusOr<TlsKey> key = FromPem(pem);
  explicit_bzero(pem.data(), pem.size());
  if (!key.ok()) {
    return absl::Status(key.status().code(), absl::StrCat(path, ": ", key.status().message()));
  }
  return key;
}

SecretBytes TlsKey::ToPem() const {
  const openssl::BioPtr out(BIO_new(BIO_s_secmem()));
  PEM_write_bio_PKCS8PrivateKey(out.get(), key_.get(), nullptr, nullptr, 0, openssl::NoPassphrase,
                                nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return SecretBytes(
      std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(data), static_cast<size_t>(size)));
}

absl::Status TlsKey::Write(const std::string& path) const {
  const SecretBytes pem = ToPem();
  return WriteFileDurably(
      path, absl::string_view(reinterpret_cast<const char*>(pem.data()), pem.size()), 0600);
}

absl::StatusOr<std::string> TlsKey::MakeRequestPem() const {
  const openssl::X509ReqPtr request(X509_REQ_new());
  const openssl::BioPtr out = openssl::MemoryBio();
  if (request == nullptr || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key_.get()) != 1 ||
      X509_REQ_sign(request.get(), key_.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(out.get(), request.get()) != 1) {
    return absl::InternalError(
        absl::StrCat("no certificate request was made: ", openssl::TakeError()));
  }
  return openssl::TextOf(out.get());
}

absl::StatusOr<Certificate> Certificate::FromPem(absl::string_view pem) {
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<Certificate> chain, ChainFromPem(pem));
  return std::move(chain.front());
}

absl::StatusOr<std::vector<Certificate>> Certificate::ChainFromPem(absl::string_view pem) {
  CONSILIUM_RETURN_IF_ERROR(CheckSize("certificate", pem));
  const openssl::BioPtr in = openssl::ViewOf(pem);
  std::vector<Certificate> chain;
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, openssl::NoPassphrase, nullptr)) {
    chain.push_back(Certificate(std::shared_ptr<X509>(next, X509_free)));
    if (chain.size() > kChainCertificatesMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("more than %d certificates in one chain", kChainCertificatesMax));
    }
  }
  const std::string error = openssl::TakeError();
  if (chain.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("not a certificate in PEM form: ", error));
  }
  return chain;
}

std::string Certificate::ToPem() const {
  const openssl::BioPtr out = openssl::MemoryBio();
  PEM_write_bio_X509(out.get(), certificate_.get());
  return openssl::TextOf(out.get());
}

Digest Certificate::Fingerprint() const {
  Digest digest = {};
  unsigned int size = digest.size();
  X509_digest(certificate_.get(), EVP_sha256(), digest.data(), &size);
  return digest;
}

absl::Time Certificate::not_before() const {
  return TimeOf(X509_get0_notBefore(certificate_.get()));
}

absl::Time Certificate::not_after() const { return TimeOf(X509_get0_notAfter(certificate_.get())); }

absl::StatusOr<PeerName> Certificate::Name() const {
  const openssl::NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate_.get(), NID_subject_alt_name, nullptr, nullptr)));
  const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
  const ASN1_STRING* uri = nullptr;
  int uris = 0;
  for (int i = 0; i < count && i < kAlternativeNamesMax; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    uri = name->d.uniformResourceIdentifier;
    ++uris;
  }
  openssl::TakeError();
  if (uris != 1 || count > kAlternativeNamesMax) {
    return Refusal(
        v1::FOREIGN_CERTIFICATE,
        absl::StrCat("the certificate has ", uris, " URI names instead of one (", Describe(), ")"));
  }
  absl::StatusOr<PeerName> name = ParsePeerUri(View(uri));
  if (!name.ok()) {
    return Refusal(v1::FOREIGN_CERTIFICATE,
                   absl::StrCat(name.status().message(), " (", Describe(), ")"));
  }
  return name;
}

std::string Certificate::Describe() const {
  std::string text =
      absl::StrCat("subject ", OneLine(X509_get_subject_name(certificate_.get())), ", issuer ",
                   OneLine(X509_get_issuer_name(certificate_.get())), ", valid to ",
                   absl::FormatTime("%Y-%m-%d %H:%M:%SZ", not_after(), absl::UTCTimeZone()));
  if (text.size() > kDescribeCharsMax) text.resize(kDescribeCharsMax);
  return text;
}

std::string Certificate::Federation() const {
  char text[128] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate_.get()), NID_organizationName, text,
                            sizeof text);
  return text;
}

bool Certificate::Matches(const TlsKey& key) const {
  const bool matches = X509_check_private_key(certificate_.get(), key.get()) == 1;
  openssl::TakeError();
  return matches;
}

}  // namespace consilium
