#include "aggregator/server/server_identity.h"

#include <arpa/inet.h>
#include <openssl/x509.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr char kAuthorityKeyValue[] = "intermediate_key_pem";
constexpr char kAuthorityChainValue[] = "intermediate_pem";
constexpr char kRootValue[] = "root_pem";
constexpr char kSigningKeyValue[] = "signing_key";
constexpr char kServerNamesFile[] = "/names";
constexpr absl::Duration kAuthorityEndWarning = absl::Hours(60 * 24);

absl::string_view TextOf(const SecretBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

absl::StatusOr<std::string> Need(Store& store, absl::string_view name) {
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<std::string> value, store.Value(name));
  if (!value.has_value()) {
    return absl::DataLossError(absl::StrCat("the store has no ", name,
                                            ": consilium-aggregator init was not run to its ",
                                            "end; run it again"));
  }
  return *std::move(value);
}

// While roots are exchanged there are two.
absl::StatusOr<bool> IsMadeByOneOf(const Certificate& authority, const std::string& roots_pem) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Certificate> roots,
                             Certificate::ChainFromPem(roots_pem));
  return std::any_of(roots.begin(), roots.end(), [&authority](const Certificate& root) {
    return X509_verify(authority.get(), X509_get0_pubkey(root.get())) == 1;
  });
}

bool IsAddress(const std::string& host) {
  in6_addr buffer;
  return inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &buffer) == 1;
}

}  // namespace

absl::StatusOr<ServerIdentity::Authority> ServerIdentity::ReadAuthority(
    const std::string& pki_folder, absl::string_view federation) {
  Authority out;
  CONSILIUM_ASSIGN_OR_RETURN(TlsKey key, TlsKey::Read(pki_folder + "/intermediate.key"));
  CONSILIUM_ASSIGN_OR_RETURN(
      out.chain_pem, ReadFile(pki_folder + "/intermediate.pem", limits::kCertificateBytesMax));
  CONSILIUM_ASSIGN_OR_RETURN(out.root_pem,
                             ReadFile(pki_folder + "/root.pem", limits::kCertificateBytesMax));
  out.key_pem = key.ToPem();
  CONSILIUM_ASSIGN_OR_RETURN(const CertificateAuthority authority,
                             CertificateAuthority::FromPem(std::move(key), out.chain_pem));
  if (authority.federation() != federation) {
    return absl::FailedPreconditionError(absl::StrCat(pki_folder,
                                                      "/intermediate.pem is of the "
                                                      "federation \"",
                                                      authority.federation(), "\", not of \"",
                                                      federation, "\""));
  }
  if (authority.is_root()) {
    return absl::FailedPreconditionError(
        absl::StrCat(pki_folder, "/intermediate.pem is a root: the root's key stays offline"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const bool made_by_root,
                             IsMadeByOneOf(authority.certificate(), out.root_pem));
  if (!made_by_root) {
    return absl::FailedPreconditionError(
        absl::StrCat(pki_folder, "/intermediate.pem was not made by the root in ", pki_folder,
                     "/root.pem: take both from one `consilium pki init`"));
  }
  return out;
}

absl::Status ServerIdentity::Install(Store& store, const Authority& authority) {
  CONSILIUM_ASSIGN_OR_RETURN(const SigningKey signing_key, SigningKey::Generate());
  CONSILIUM_RETURN_IF_ERROR(store.PutValue(kAuthorityKeyValue, TextOf(authority.key_pem)));
  CONSILIUM_RETURN_IF_ERROR(store.PutValue(kAuthorityChainValue, authority.chain_pem));
  CONSILIUM_RETURN_IF_ERROR(store.PutValue(kRootValue, authority.root_pem));
  return store.PutValue(kSigningKeyValue, TextOf(signing_key.private_bytes()));
}

absl::StatusOr<std::unique_ptr<ServerIdentity>> ServerIdentity::Load(Store& store,
                                                                     Servers servers) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string key_pem, Need(store, kAuthorityKeyValue));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string chain, Need(store, kAuthorityChainValue));
  CONSILIUM_ASSIGN_OR_RETURN(std::string root, Need(store, kRootValue));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string signing, Need(store, kSigningKeyValue));
  CONSILIUM_ASSIGN_OR_RETURN(TlsKey key, TlsKey::FromPem(key_pem));
  CONSILIUM_ASSIGN_OR_RETURN(CertificateAuthority authority,
                             CertificateAuthority::FromPem(std::move(key), chain));
  CONSILIUM_ASSIGN_OR_RETURN(
      SigningKey signing_key,
      SigningKey::FromPrivateBytes(SecretBytes(std::span<const uint8_t>(
          reinterpret_cast<const uint8_t*>(signing.data()), signing.size()))));
  return std::unique_ptr<ServerIdentity>(new ServerIdentity(
      std::move(servers), std::move(root), std::move(authority), std::move(signing_key)));
}

std::string ServerIdentity::NamesText() const {
  return absl::StrCat(absl::StrJoin(servers_.names.dns, "\n"), "\n",
                      absl::StrJoin(servers_.names.ip, "\n"), "\n");
}

absl::Status ServerIdentity::RefreshServerCertificate(absl::Time now) {
  const absl::Time authority_ends = authority_.certificate().not_after();
  if (authority_ends - now < kAuthorityEndWarning) {
    spdlog::warn("the aggregator's authority ends on {}: make a new one with the offline root",
                 absl::FormatTime(absl::RFC3339_sec, authority_ends, absl::UTCTimeZone()));
  }
  const std::string names_path = servers_.certificate_folder + kServerNamesFile;
  const absl::StatusOr<InstalledCertificate> installed =
      ReadInstalledCertificate(servers_.certificate_folder);
  if (installed.ok()) {
    const absl::Time begins = installed->certificate.not_before();
    const absl::Time ends = installed->certificate.not_after();
    const absl::StatusOr<std::string> names = ReadFile(names_path, limits::kTextFileBytesMax);
    if (now < begins + (ends - begins) / 2 && names.ok() && *names == NamesText()) {
      return absl::OkStatus();
    }
  } else if (!absl::IsNotFound(installed.status())) {
    return installed.status();
  }
  CONSILIUM_ASSIGN_OR_RETURN(const TlsKey key, TlsKey::Generate());
  CONSILIUM_ASSIGN_OR_RETURN(const std::string request, key.MakeRequestPem());
  CONSILIUM_ASSIGN_OR_RETURN(const std::string chain,
                             authority_.IssueServer(request, servers_.names, now));
  CONSILIUM_RETURN_IF_ERROR(InstallCertificate(servers_.certificate_folder, key, chain));
  spdlog::info("the servers have a new certificate");
  return WriteFileDurably(names_path, NamesText());
}

absl::StatusOr<HostPort> ParseHostPort(absl::string_view address) {
  const size_t colon = address.rfind(':');
  HostPort out;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &out.port) || out.port < 0 || out.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", address, "\" is not host:port, as in aggregator.example.org:7443"));
  }
  absl::string_view host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ":")) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", address, "\": write an IPv6 address in brackets, as in [::1]:7443"));
  }
  out.host = std::string(host);
  return out;
}

std::string ToText(const HostPort& address) {
  if (absl::StrContains(address.host, ":")) {
    return absl::StrCat("[", address.host, "]:", address.port);
  }
  return absl::StrCat(address.host, ":", address.port);
}

void AddName(const std::string& host, ServerNames& names) {
  std::vector<std::string>& list = IsAddress(host) ? names.ip : names.dns;
  if (std::find(list.begin(), list.end(), host) == list.end()) list.push_back(host);
}

}  // namespace consilium
