// What the aggregator keeps: sites and their certificates, join tokens, the journal, a few named
// values, and sealed blobs. An interface, so that a central service may keep the same things in a
// replicated database; nothing above it knows of SQL.
//
// Ownership: a store owns its files and their keys. Threads: any; calls that write are short, and
// durable when they return.
//
// Errors of every call that touches the disk: RESOURCE_EXHAUSTED where it is full, DATA_LOSS where
// it is damaged, UNAVAILABLE for other trouble of the system.

#ifndef CONSILIUM_AGGREGATOR_SERVER_STORE_H_
#define CONSILIUM_AGGREGATOR_SERVER_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/at_rest/blob_store.h"
#include "privacy/at_rest/hash_chain.h"
#include "protocol/core/ids.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

struct SiteRecord {
  SiteId site;
  enum class State : uint8_t { kInvited = 0, kEnrolled = 1, kRevoked = 2 } state = State::kInvited;
  PublicKey signing_key = {};  // Zero until it has enrolled.
  absl::Time last_seen = absl::UnixEpoch();
  std::string software_version;
};

struct CertificateRecord {
  SiteId site;
  Digest fingerprint = {};
  absl::Time ends;
  enum class State : uint8_t { kGood = 0, kRevoked = 1 } state = State::kGood;
};

// A join token that was handed out. Only its hash is kept.
struct Invitation {
  SiteId site;
  Digest token_hash = {};
  absl::Time expires;
  // kAgain: for a site that has attached before and can not any more; it keeps its store.
  enum class Joining : uint8_t { kFirst = 0, kAgain = 1 } joining = Joining::kFirst;
};

struct EnrolledSite {
  Digest token_hash = {};
  SiteId site;
  PublicKey signing_key = {};
  Digest certificate_fingerprint = {};
  absl::Time certificate_ends;
};

class Store {
 public:
  virtual ~Store() = default;

  // Small named values of the program itself. PutValue replaces.
  virtual absl::StatusOr<std::optional<std::string>> Value(absl::string_view name) = 0;
  virtual absl::Status PutValue(absl::string_view name, absl::string_view value) = 0;

  // Makes the site where it is new, and replaces whatever token it had. kAgain revokes the site's
  // certificates, too.
  virtual absl::Status Invite(const Invitation& invitation) = 0;
  // Those that are not spent, expired ones included.
  virtual absl::StatusOr<std::vector<Invitation>> Invitations() = 0;
  // The site's token, where it has one.
  virtual absl::Status RemoveToken(const SiteId& site) = 0;
  // Spends the token, keeps key and certificate, and revokes the site's older certificates, all or
  // nothing. Refusal TOKEN_REFUSED where the token went in the meantime.
  virtual absl::Status Enrol(const EnrolledSite& enrolled) = 0;
  // Also forgets those of these fingerprints.
  virtual absl::Status AddCertificate(const CertificateRecord& certificate,
                                      std::span<const Digest> forgotten) = 0;
  // The site, its token and all its certificates. NOT_FOUND.
  virtual absl::Status Revoke(const SiteId& site) = 0;
  virtual absl::Status NoteSeen(const SiteId& site, absl::Time when,
                                absl::string_view software_version) = 0;
  virtual absl::StatusOr<std::vector<SiteRecord>> Sites() = 0;
  virtual absl::StatusOr<std::vector<CertificateRecord>> Certificates() = 0;

  // Appends serialized journal entries in order, with one sync for all; gives the new head.
  virtual absl::StatusOr<ChainHead> Append(std::span<const std::string> entries) = 0;
  virtual absl::StatusOr<ChainHead> Head() = 0;
  // Entries from `from` on, as they were when the call began; other calls go on meanwhile.
  virtual absl::Status ReadJournal(
      Sequence from, absl::FunctionRef<absl::Status(const ChainRow&)> visit) const = 0;

  // The sealed blobs of one run, under a key of the run's own, which is made where it is missing.
  // Shared by everybody who asks.
  virtual absl::StatusOr<std::shared_ptr<BlobStore>> Blobs(const RunId& run) = 0;
  // Shreds the run's key and removes its files. Gives the number of blobs; 0 where there is
  // nothing.
  virtual absl::StatusOr<uint64_t> RemoveBlobs(const RunId& run) = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_STORE_H_
