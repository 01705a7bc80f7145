#include "aggregator/server/site_directory.h"

#include <algorithm>
#include <utility>

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
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<Invitation> invitations, store.Invitations());
  absl::MutexLock lock(&directory->mu_);
  for (SiteRecord& site : sites) directory->sites_[site.site].site = std::move(site);
  for (CertificateRecord& certificate : certificates) {
    Entry& entry = directory->sites_[certificate.site];
    if (certificate.ends >= entry.newest_certificate.ends) entry.newest_certificate = certificate;
    directory->certificates_[certificate.fingerprint] = std::move(certificate);
  }
  for (Invitation& invitation : invitations) {
    directory->tokens_[invitation.token_hash] = std::move(invitation);
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
  if (certificate == certificates_.end() || certificate->second.site != peer.site()) {
    return Refusal(v1::SITE_REVOKED, absl::StrCat("this certificate of ", peer.site().value(),
                                                  " is not, or no longer, on record"));
  }
  if (certificate->second.state == CertificateRecord::State::kRevoked) {
    return Refusal(v1::LEASE_FENCED,
                   absl::StrCat("this certificate of ", peer.site().value(),
                                " is void: the operator has made a new join file for the site"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SiteDirectory::Invited> SiteDirectory::Invite(const SiteId& site, absl::Time expires,
                                                             Invitation::Joining joining) {
  Invited invited;
  std::string& token = invited.token;
  token.resize(kTokenBytes);
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
  const Invitation invitation = {
      .site = site, .token_hash = JoinTokenHash(token), .expires = expires, .joining = joining};
  CONSILIUM_RETURN_IF_ERROR(store_.Invite(invitation));
  absl::MutexLock lock(&mu_);
  sites_[site].site.site = site;
  for (const auto& [hash, earlier] : tokens_) {
    if (earlier.site == site) invited.earlier_expires = earlier.expires;
  }
  ForgetToken(site);
  tokens_[invitation.token_hash] = invitation;
  if (joining == Invitation::Joining::kAgain) RevokeCertificates(site);
  return invited;
}

absl::StatusOr<Invitation::Joining> SiteDirectory::CheckToken(absl::string_view token,
                                                              const SiteId& site,
                                                              absl::Time now) const {
  if (token.size() != kTokenBytes) return Refusal(v1::TOKEN_REFUSED, "a join token has 32 bytes");
  const Digest hash = JoinTokenHash(token);
  absl::MutexLock lock(&mu_);
  const auto found = tokens_.find(hash);
  if (found == tokens_.end() || found->second.expires <= now) {
    return Refusal(v1::TOKEN_REFUSED,
                   "the join token is unknown, used or expired: ask the operator "
                   "for a new join file");
  }
  if (found->second.site != site) {
    return Refusal(v1::TOKEN_REFUSED, "the join token was made for another site");
  }
  return found->second.joining;
}

absl::Status SiteDirectory::DropFirstToken(const SiteId& site) {
  absl::MutexLock writing(&write_mu_);
  {
    absl::MutexLock lock(&mu_);
    const bool has_one = std::any_of(tokens_.begin(), tokens_.end(), [&site](const auto& token) {
      return token.second.site == site && token.second.joining == Invitation::Joining::kFirst;
    });
    if (!has_one) return absl::OkStatus();
  }
  CONSILIUM_RETURN_IF_ERROR(store_.RemoveToken(site));
  absl::MutexLock lock(&mu_);
  ForgetToken(site);
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
  tokens_.erase(enrolled.token_hash);
  return absl::OkStatus();
}

PublicKey SiteDirectory::SigningKeyOf(const SiteId& site) const {
  absl::MutexLock lock(&mu_);
  const auto found = sites_.find(site);
  return found == sites_.end() ? PublicKey{} : found->second.site.signing_key;
}

absl::Status SiteDirectory::CheckRenewal(const PeerIdentity& peer, absl::Time now) const {
  absl::MutexLock lock(&mu_);
  return CheckRenewalLocked(peer, now);
}

absl::Status SiteDirectory::CheckRenewalLocked(const PeerIdentity& peer, absl::Time now) const {
  const auto shown = certificates_.find(peer.fingerprint);
  if (shown == certificates_.end()) {
    return Refusal(v1::SITE_REVOKED, "this certificate is not, or no longer, on record");
  }
  absl::Time not_before = shown->second.ends - limits::kSiteCertificateLifetime * 2 / 3;
  const auto site = sites_.find(peer.site());
  if (site != sites_.end() && site->second.newest_certificate.fingerprint != peer.fingerprint) {
    not_before = std::max(not_before, site->second.newest_certificate.ends -
                                          limits::kSiteCertificateLifetime + kRenewalPause);
  }
  if (now >= not_before) return absl::OkStatus();
  v1::ErrorDetail detail;
  detail.set_reason(v1::BUSY);
  detail.set_retryable(true);
  // At most two thirds of a certificate's life.
  detail.set_retry_after_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(not_before - now)));
  detail.set_message(
      absl::StrCat("the certificate was renewed already; it may be again from ",
                   absl::FormatTime(absl::RFC3339_sec, not_before, absl::UTCTimeZone()), " on"));
  return Refusal(detail);
}

absl::Status SiteDirectory::AddCertificate(const CertificateRecord& certificate,
                                           const PeerIdentity& shown, absl::Time now) {
  absl::MutexLock writing(&write_mu_);
  std::vector<Digest> forgotten;
  {
    // A revocation may have come between the caller's check and now.
    absl::MutexLock lock(&mu_);
    const auto site = sites_.find(certificate.site);
    const auto in_use = certificates_.find(shown.fingerprint);
    if (site == sites_.end() || site->second.site.state != SiteRecord::State::kEnrolled ||
        in_use == certificates_.end() ||
        in_use->second.state == CertificateRecord::State::kRevoked) {
      return Refusal(v1::SITE_REVOKED,
                     absl::StrCat("the site ", certificate.site.value(), " was revoked"));
    }
    CONSILIUM_RETURN_IF_ERROR(CheckRenewalLocked(shown, now));
    std::vector<Digest> live;
    for (const CertificateRecord& known : CertificatesOf(certificate.site)) {
      const bool is_good = known.state == CertificateRecord::State::kGood && known.ends > now;
      if (known.fingerprint == shown.fingerprint) continue;
      (is_good ? live : forgotten).push_back(known.fingerprint);
    }
    // Beside the one in use and the new one.
    const size_t kept = std::min(live.size(), kCertificatesPerSiteMax - 2);
    forgotten.insert(forgotten.end(), live.begin(), live.end() - static_cast<ptrdiff_t>(kept));
  }
  CONSILIUM_RETURN_IF_ERROR(store_.AddCertificate(certificate, forgotten));
  absl::MutexLock lock(&mu_);
  for (const Digest& fingerprint : forgotten) certificates_.erase(fingerprint);
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
  ForgetToken(site);
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

void SiteDirectory::ForgetToken(const SiteId& site) {
  absl::erase_if(tokens_, [&site](const auto& token) { return token.second.site == site; });
}

std::vector<CertificateRecord> SiteDirectory::CertificatesOf(const SiteId& site) const {
  std::vector<CertificateRecord> list;
  for (const auto& [fingerprint, certificate] : certificates_) {
    if (certificate.site == site) list.push_back(certificate);
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.ends < b.ends; });
  return list;
}

void SiteDirectory::RevokeCertificates(const SiteId& site) {
  for (auto& [fingerprint, certificate] : certificates_) {
    if (certificate.site == site) certificate.state = CertificateRecord::State::kRevoked;
  }
}

}  // namespace consilium
