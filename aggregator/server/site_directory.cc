#include "aggregator/server/site_directory.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "consilium/v1/errors.pb.h"
#include "privacy/at_rest/aead.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

constexpr size_t kTokenBytes = 32;

}  // namespace

Digest JoinTokenHash(absl::string_view token) {
  return FieldHasher("consilium.join_token.v1").Add(token).Finish();
}

absl::StatusOr<std::unique_ptr<SiteDirectory>> SiteDirectory::Load(Store& store) {
  std::unique_ptr<SiteDirectory> directory(new SiteDirectory(store));
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<SiteRecord> sites, store.Sites());
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<CertificateRecord> certificates, store.Certificates());
  absl::MutexLock lock(&directory->mu_);
  for (SiteRecord& site : sites) directory->sites_[site.site].site = std::move(site);
  for (CertificateRecord& certificate : certificates) {
    Entry& entry = directory->sites_[certificate.site];
    if (certificate.ends >= entry.newest_certificate.ends) entry.newest_certificate = certificate;
    directory->certificates_[certificate.fingerprint] = std::move(certificate);
  }
  return directory;
}

absl::Status SiteDirectory::Admit(const PeerIdentity& peer) const {
  absl::MutexLock lock(&mu_);
  const auto site = sites_.find(peer.site());
  if (site == sites_.end()) {
    return Refusal(v1::SITE_UNKNOWN,
                   absl::StrCat("no site \"", peer.site().value(), "\" was added here"));
  }
  const auto certificate = certificates_.find(peer.fingerprint);
  if (site->second.site.state == SiteRecord::State::kRevoked) {
    return Refusal(v1::SITE_REVOKED,
                   absl::StrCat("the site ", peer.site().value(), " was revoked"));
  }
  if (certificate == certificates_.end() ||
      certificate->second.state == CertificateRecord::State::kRevoked ||
      certificate->second.site != peer.site()) {
    return Refusal(v1::SITE_REVOKED, absl::StrCat("this certificate of ", peer.site().value(),
                                                  " is not, or no longer, on record"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SiteDirectory::Invite(const SiteId& site, absl::Time expires) {
  std::string token(kTokenBytes, '\0');
  CONSILIUM_RETURN_IF_ERROR(
      RandomFill(std::span<uint8_t>(reinterpret_cast<uint8_t*>(token.data()), token.size())));
  absl::MutexLock writing(&write_mu_);
  {
    absl::MutexLock lock(&mu_);
    if (!sites_.contains(site) && sites_.size() >= limits::kSitesMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("a federation has at most %d sites", limits::kSitesMax));
    }
  }
  CONSILIUM_RETURN_IF_ERROR(
      store_.Invite({.site = site, .token_hash = JoinTokenHash(token), .expires = expires}));
  absl::MutexLock lock(&mu_);
  sites_[site].site.site = site;
  return token;
}

absl::Status SiteDirectory::CheckToken(absl::string_view token, const SiteId& site,
                                       absl::Time now) const {
  if (token.size() != kTokenBytes) return Refusal(v1::TOKEN_REFUSED, "a join token has 32 bytes");
  CONSILIUM_ASSIGN_OR_RETURN(const SiteId owner, store_.SiteOfToken(JoinTokenHash(token), now));
  if (owner != site) {
    return Refusal(v1::TOKEN_REFUSED, "the join token was made for another site");
  }
  return absl::OkStatus();
}

absl::Status SiteDirectory::Enrol(const EnrolledSite& enrolled) {
  absl::MutexLock writing(&write_mu_);
  CONSILIUM_RETURN_IF_ERROR(store_.Enrol(enrolled));
  absl::MutexLock lock(&mu_);
  RevokeCertificates(enrolled.site);
  Entry& entry = sites_[enrolled.site];
  entry.site.site = enrolled.site;
  entry.site.state = SiteRecord::State::kEnrolled;
  entry.site.signing_key = enrolled.signing_key;
  entry.newest_certificate = {.site = enrolled.site,
                              .fingerprint = enrolled.certificate_fingerprint,
                              .ends = enrolled.certificate_ends};
  certificates_[enrolled.certificate_fingerprint] = entry.newest_certificate;
  return absl::OkStatus();
}

PublicKey SiteDirectory::SigningKeyOf(const SiteId& site) const {
  absl::MutexLock lock(&mu_);
  const auto found = sites_.find(site);
  return found == sites_.end() ? PublicKey{} : found->second.site.signing_key;
}

absl::Status SiteDirectory::AddCertificate(const CertificateRecord& certificate) {
  absl::MutexLock writing(&write_mu_);
  {
    // A revocation may have come between the caller's check and now.
    absl::MutexLock lock(&mu_);
    const auto site = sites_.find(certificate.site);
    if (site == sites_.end() || site->second.site.state != SiteRecord::State::kEnrolled) {
      return Refusal(v1::SITE_REVOKED,
                     absl::StrCat("the site ", certificate.site.value(), " was revoked"));
    }
  }
  CONSILIUM_RETURN_IF_ERROR(store_.AddCertificate(certificate));
  absl::MutexLock lock(&mu_);
  certificates_[certificate.fingerprint] = certificate;
  sites_[certificate.site].newest_certificate = certificate;
  return absl::OkStatus();
}

absl::Status SiteDirectory::Revoke(const SiteId& site) {
  absl::MutexLock writing(&write_mu_);
  CONSILIUM_RETURN_IF_ERROR(store_.Revoke(site));
  absl::MutexLock lock(&mu_);
  sites_[site].site.state = SiteRecord::State::kRevoked;
  RevokeCertificates(site);
  return absl::OkStatus();
}

absl::Status SiteDirectory::NoteSeen(const SiteId& site, absl::Time when,
                                     absl::string_view software_version) {
  absl::MutexLock writing(&write_mu_);
  CONSILIUM_RETURN_IF_ERROR(store_.NoteSeen(site, when, software_version));
  absl::MutexLock lock(&mu_);
  SiteRecord& record = sites_[site].site;
  record.last_seen = when;
  record.software_version = std::string(software_version);
  return absl::OkStatus();
}

std::vector<SiteDirectory::Entry> SiteDirectory::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<Entry> list;
  for (const auto& [id, entry] : sites_) list.push_back(entry);
  return list;
}

void SiteDirectory::RevokeCertificates(const SiteId& site) {
  for (auto& [fingerprint, certificate] : certificates_) {
    if (certificate.site == site) certificate.state = CertificateRecord::State::kRevoked;
  }
}

}  // namespace consilium
