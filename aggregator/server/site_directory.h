// Who may call: the sites, their certificates and their tokens, answered from memory on every call
// and written through to the store. A certificate is good while its site is enrolled, its
// fingerprint is on record and neither was revoked; so a revocation holds from the next call on,
// also on connections that were opened before.
//
// Ownership: borrows the store. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SITE_DIRECTORY_H_
#define CONSILIUM_AGGREGATOR_SERVER_SITE_DIRECTORY_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "aggregator/server/store.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/peer_check.h"

namespace consilium {

// A site has the certificate that it uses, and perhaps newer ones that never reached it.
inline constexpr size_t kCertificatesPerSiteMax = 3;
inline constexpr absl::Duration kRenewalPause = absl::Hours(1);

class SiteDirectory {
 public:
  // The store's errors.
  static absl::StatusOr<std::unique_ptr<SiteDirectory>> Load(Store& store);

  // Whether this certificate's site may call now. Refusals SITE_UNKNOWN, SITE_REVOKED. Never blocks
  // on the disk.
  absl::Status Admit(const PeerIdentity& peer) const ABSL_LOCKS_EXCLUDED(mu_);

  struct Invited {
    std::string token;  // 32 random bytes, which are kept nowhere.
    // Until when the token that it replaces would have been good; the past where there was none.
    absl::Time earlier_expires = absl::InfinitePast();
  };
  // A new token for the site, in place of the one that it may have. kAgain revokes the site's
  // certificates. RESOURCE_EXHAUSTED beyond limits::kSitesMax sites; the store's errors.
  absl::StatusOr<Invited> Invite(const SiteId& site, absl::Time expires,
                                 Invitation::Joining joining) ABSL_LOCKS_EXCLUDED(mu_);
  // What `token` was made for. Refusal TOKEN_REFUSED unless it is good now and `site`'s. Never
  // blocks on the disk: who knows no token costs no more than a look into a table.
  absl::StatusOr<Invitation::Joining> CheckToken(absl::string_view token, const SiteId& site,
                                                 absl::Time now) const ABSL_LOCKS_EXCLUDED(mu_);
  // The site's token for a first joining, where it has one: it has attached, and needs none any
  // more. One with which an operator lets it join again stays.
  absl::Status DropFirstToken(const SiteId& site) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Enrol(const EnrolledSite& enrolled) ABSL_LOCKS_EXCLUDED(mu_);
  // All zero where it has not enrolled.
  PublicKey SigningKeyOf(const SiteId& site) const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether a new certificate may be made in place of the one that `peer` shows. Refusal BUSY, with
  // the time to come again: where less than a third of that one's life is over, or the site got
  // another one less than kRenewalPause ago.
  absl::Status CheckRenewal(const PeerIdentity& peer, absl::Time now) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // Refusals as CheckRenewal, which is asked again: of several calls at the same time one is taken.
  // Also forgets the site's ended and revoked ones, and beyond kCertificatesPerSiteMax the oldest,
  // but for the one that `shown` is.
  absl::Status AddCertificate(const CertificateRecord& certificate, const PeerIdentity& shown,
                              absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Revoke(const SiteId& site) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status NoteSeen(const SiteId& site, absl::Time when, absl::string_view software_version)
      ABSL_LOCKS_EXCLUDED(mu_);

  struct Entry {
    SiteRecord site;
    CertificateRecord newest_certificate;  // Fingerprint zero where it has none.
  };
  // In the order of ids.
  std::vector<Entry> List() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit SiteDirectory(Store& store) : store_(store) {}
  void RevokeCertificates(const SiteId& site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetToken(const SiteId& site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckRenewalLocked(const PeerIdentity& peer, absl::Time now) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // Oldest first.
  std::vector<CertificateRecord> CertificatesOf(const SiteId& site) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);

  Store& store_;
  // Held over a whole change, the store's part included; `mu_` only over that of the memory, so
  // that no call waits for a disk.
  absl::Mutex write_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  mutable absl::Mutex mu_;
  std::map<SiteId, Entry> sites_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<Digest, CertificateRecord> certificates_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<Digest, Invitation> tokens_ ABSL_GUARDED_BY(mu_);  // At most one a site.
};

// As tokens are stored.
Digest JoinTokenHash(absl::string_view token);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SITE_DIRECTORY_H_
