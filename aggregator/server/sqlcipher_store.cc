#include "aggregator/server/sqlcipher_store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "consilium/v1/errors.pb.h"
#include "privacy/at_rest/key_ring.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

constexpr int32_t kApplicationId = 0x434F4147;  // "COAG"
// Each run that is not purged has a key, the database and others have a few: no run that was
// taken lacks its own.
static_assert(kKeyRingKeysMax >= limits::kRunsMax + 16);

std::string PathIn(const std::string& folder) { return folder + "/aggregator.db"; }

DatabaseOptions OptionsOf(const std::string& folder) {
  DatabaseOptions options;
  options.path = PathIn(folder);
  options.application_id = kApplicationId;
  options.kind = "an aggregator's store";
  options.migrations = {
      JournalMigration(),
      {"sites",
       "CREATE TABLE named_value (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
       "CREATE TABLE site (site TEXT PRIMARY KEY, state INTEGER NOT NULL, signing_key BLOB NOT "
       "NULL,"
       " last_seen_unix_ns INTEGER NOT NULL, software_version TEXT NOT NULL) WITHOUT ROWID;"
       "CREATE TABLE token (hash BLOB PRIMARY KEY, site TEXT NOT NULL UNIQUE REFERENCES site,"
       " expires_unix_ns INTEGER NOT NULL, joining INTEGER NOT NULL) WITHOUT ROWID;"
       "CREATE TABLE certificate (fingerprint BLOB PRIMARY KEY, site TEXT NOT NULL REFERENCES site,"
       " ends_unix_ns INTEGER NOT NULL, state INTEGER NOT NULL) WITHOUT ROWID;"
       "CREATE INDEX certificate_of_site ON certificate (site)"},
  };
  return options;
}

std::string KeyNameOf(const RunId& run) { return absl::StrCat("run/", run.value()); }

absl::Status TokenRefused() {
  return Refusal(v1::TOKEN_REFUSED,
                 "the join token is unknown, used or expired: ask the operator "
                 "for a new join file");
}

absl::Status InsertCertificate(Database& database, const CertificateRecord& certificate) {
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement insert,
      database.Prepare("INSERT INTO certificate (fingerprint, site, ends_unix_ns, state) "
                       "VALUES (?1, ?2, ?3, ?4)"));
  return insert
      .Bind(certificate.fingerprint, certificate.site, absl::ToUnixNanos(certificate.ends),
            static_cast<int64_t>(certificate.state))
      .Run();
}

absl::Status RevokeCertificates(Database& database, const SiteId& site) {
  CONSILIUM_ASSIGN_OR_RETURN(Statement revoke,
                             database.Prepare("UPDATE certificate SET state = 1 WHERE site = ?1"));
  return revoke.Bind(site).Run();
}

absl::Status RemoveTokenOf(Database& database, const SiteId& site) {
  CONSILIUM_ASSIGN_OR_RETURN(Statement remove,
                             database.Prepare("DELETE FROM token WHERE site = ?1"));
  return remove.Bind(site).Run();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqlcipherStore>> SqlcipherStore::Make(
    std::string folder, std::unique_ptr<Database> database) {
  CONSILIUM_ASSIGN_OR_RETURN(Journal journal, Journal::Open(database.get()));
  return std::unique_ptr<SqlcipherStore>(
      new SqlcipherStore(std::move(folder), std::move(database), std::move(journal)));
}

bool SqlcipherStore::Exists(const std::string& folder) {
  std::error_code error;
  return std::filesystem::exists(PathIn(folder), error);
}

absl::StatusOr<std::unique_ptr<SqlcipherStore>> SqlcipherStore::Create(const Kek& kek,
                                                                       std::string folder) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                             Database::Create(kek, OptionsOf(folder)));
  return Make(std::move(folder), std::move(database));
}

absl::StatusOr<std::unique_ptr<SqlcipherStore>> SqlcipherStore::Open(const Kek& kek,
                                                                     std::string folder) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                             Database::Open(kek, OptionsOf(folder)));
  return Make(std::move(folder), std::move(database));
}

absl::StatusOr<std::optional<std::string>> SqlcipherStore::Value(absl::string_view name) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Statement select,
                             database_->Prepare("SELECT value FROM named_value WHERE name = ?1"));
  select.Bind(name);
  CONSILIUM_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return std::optional<std::string>();
  const std::span<const uint8_t> value = select.ColumnBlob(0);
  return std::optional<std::string>(std::string(value.begin(), value.end()));
}

absl::Status SqlcipherStore::PutValue(absl::string_view name, absl::string_view value) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT OR REPLACE INTO named_value (name, value) VALUES (?1, ?2)"));
  return insert
      .Bind(name,
            std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(value.data()), value.size()))
      .Run();
}

absl::Status SqlcipherStore::Invite(const Invitation& invitation) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT OR IGNORE INTO site (site, state, signing_key, last_seen_unix_ns, "
                         "software_version) VALUES (?1, 0, ?2, 0, '')"));
  CONSILIUM_RETURN_IF_ERROR(insert.Bind(invitation.site, PublicKey{}).Run());
  CONSILIUM_RETURN_IF_ERROR(RemoveTokenOf(*database_, invitation.site));
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement token,
      database_->Prepare("INSERT INTO token (hash, site, expires_unix_ns, joining) "
                         "VALUES (?1, ?2, ?3, ?4)"));
  CONSILIUM_RETURN_IF_ERROR(token
                                .Bind(invitation.token_hash, invitation.site,
                                      absl::ToUnixNanos(invitation.expires),
                                      static_cast<int64_t>(invitation.joining))
                                .Run());
  if (invitation.joining == Invitation::Joining::kAgain) {
    CONSILIUM_RETURN_IF_ERROR(RevokeCertificates(*database_, invitation.site));
  }
  return transaction.Commit();
}

absl::StatusOr<std::vector<Invitation>> SqlcipherStore::Invitations() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT hash, site, expires_unix_ns, joining FROM token ORDER BY site"));
  std::vector<Invitation> invitations;
  CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Bind().Step());
  while (more) {
    Invitation invitation;
    CONSILIUM_ASSIGN_OR_RETURN(invitation.token_hash, select.ColumnDigest(0));
    invitation.site = SiteId(std::string(select.ColumnText(1)));
    invitation.expires = absl::FromUnixNanos(select.ColumnInt64(2));
    invitation.joining = static_cast<Invitation::Joining>(select.ColumnInt64(3));
    invitations.push_back(std::move(invitation));
    CONSILIUM_ASSIGN_OR_RETURN(more, select.Step());
  }
  return invitations;
}

absl::Status SqlcipherStore::RemoveToken(const SiteId& site) {
  absl::MutexLock lock(&mu_);
  return RemoveTokenOf(*database_, site);
}

absl::Status SqlcipherStore::Enrol(const EnrolledSite& enrolled) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  CONSILIUM_ASSIGN_OR_RETURN(Statement spend,
                             database_->Prepare("DELETE FROM token WHERE hash = ?1 AND site = ?2"));
  CONSILIUM_RETURN_IF_ERROR(spend.Bind(enrolled.token_hash, enrolled.site).Run());
  if (database_->changes() != 1) return TokenRefused();
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement update,
      database_->Prepare("UPDATE site SET state = 1, signing_key = ?2 WHERE site = ?1"));
  CONSILIUM_RETURN_IF_ERROR(update.Bind(enrolled.site, enrolled.signing_key).Run());
  CONSILIUM_RETURN_IF_ERROR(RevokeCertificates(*database_, enrolled.site));
  CONSILIUM_RETURN_IF_ERROR(
      InsertCertificate(*database_, {.site = enrolled.site,
                                     .fingerprint = enrolled.certificate_fingerprint,
                                     .ends = enrolled.certificate_ends}));
  return transaction.Commit();
}

absl::Status SqlcipherStore::AddCertificate(const CertificateRecord& certificate,
                                            std::span<const Digest> forgotten) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  CONSILIUM_RETURN_IF_ERROR(InsertCertificate(*database_, certificate));
  for (const Digest& fingerprint : forgotten) {
    CONSILIUM_ASSIGN_OR_RETURN(
        Statement remove, database_->Prepare("DELETE FROM certificate WHERE fingerprint = ?1"));
    CONSILIUM_RETURN_IF_ERROR(remove.Bind(fingerprint).Run());
  }
  return transaction.Commit();
}

absl::Status SqlcipherStore::Revoke(const SiteId& site) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  CONSILIUM_ASSIGN_OR_RETURN(Statement update,
                             database_->Prepare("UPDATE site SET state = 2 WHERE site = ?1"));
  CONSILIUM_RETURN_IF_ERROR(update.Bind(site).Run());
  if (database_->changes() != 1) {
    return absl::NotFoundError(absl::StrCat("there is no site ", site.value()));
  }
  CONSILIUM_RETURN_IF_ERROR(RevokeCertificates(*database_, site));
  CONSILIUM_RETURN_IF_ERROR(RemoveTokenOf(*database_, site));
  return transaction.Commit();
}

absl::Status SqlcipherStore::NoteSeen(const SiteId& site, absl::Time when,
                                      absl::string_view software_version) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Statement update,
                             database_->Prepare("UPDATE site SET last_seen_unix_ns = ?2, "
                                                "software_version = ?3 WHERE site = ?1"));
  return update.Bind(site, absl::ToUnixNanos(when), software_version).Run();
}

absl::StatusOr<std::vector<SiteRecord>> SqlcipherStore::Sites() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT site, state, signing_key, last_seen_unix_ns, software_version "
                         "FROM site ORDER BY site"));
  std::vector<SiteRecord> sites;
  CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Bind().Step());
  while (more) {
    SiteRecord record;
    record.site = SiteId(std::string(select.ColumnText(0)));
    record.state = static_cast<SiteRecord::State>(select.ColumnInt64(1));
    CONSILIUM_ASSIGN_OR_RETURN(record.signing_key, select.ColumnDigest(2));
    record.last_seen = absl::FromUnixNanos(select.ColumnInt64(3));
    record.software_version = std::string(select.ColumnText(4));
    sites.push_back(std::move(record));
    CONSILIUM_ASSIGN_OR_RETURN(more, select.Step());
  }
  return sites;
}

absl::StatusOr<std::vector<CertificateRecord>> SqlcipherStore::Certificates() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT site, fingerprint, ends_unix_ns, state FROM certificate "
                         "ORDER BY site, ends_unix_ns, fingerprint"));
  std::vector<CertificateRecord> certificates;
  CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Bind().Step());
  while (more) {
    CertificateRecord record;
    record.site = SiteId(std::string(select.ColumnText(0)));
    CONSILIUM_ASSIGN_OR_RETURN(record.fingerprint, select.ColumnDigest(1));
    record.ends = absl::FromUnixNanos(select.ColumnInt64(2));
    record.state = static_cast<CertificateRecord::State>(select.ColumnInt64(3));
    certificates.push_back(std::move(record));
    CONSILIUM_ASSIGN_OR_RETURN(more, select.Step());
  }
  return certificates;
}

absl::StatusOr<ChainHead> SqlcipherStore::Append(std::span<const std::string> entries) {
  absl::MutexLock lock(&mu_);
  return journal_->Append(entries);
}

absl::StatusOr<ChainHead> SqlcipherStore::Head() {
  absl::MutexLock lock(&mu_);
  return journal_->Head();
}

absl::Status SqlcipherStore::ReadJournal(
    Sequence from, absl::FunctionRef<absl::Status(const ChainRow&)> visit) const {
  std::unique_ptr<Database> reader;
  {
    absl::MutexLock lock(&mu_);
    CONSILIUM_ASSIGN_OR_RETURN(reader, database_->OpenReader());
  }
  CONSILIUM_ASSIGN_OR_RETURN(Journal journal, Journal::Open(reader.get()));
  return journal.Read(from, visit);
}

absl::StatusOr<std::shared_ptr<BlobStore>> SqlcipherStore::Blobs(const RunId& run) {
  absl::MutexLock lock(&mu_);
  if (const auto it = blobs_.find(run); it != blobs_.end()) return it->second;
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes key, database_->keys()->GetOrCreate(KeyNameOf(run)));
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder_ + "/blobs"));
  CONSILIUM_ASSIGN_OR_RETURN(
      std::unique_ptr<BlobStore> blobs,
      BlobStore::Open(std::move(key), absl::StrCat(folder_, "/blobs/", run.value())));
  return blobs_.emplace(run, std::move(blobs)).first->second;
}

absl::StatusOr<uint64_t> SqlcipherStore::RemoveBlobs(const RunId& run) {
  absl::MutexLock lock(&mu_);
  uint64_t count = 0;
  if (const auto it = blobs_.find(run); it != blobs_.end()) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> names, it->second->List());
    count = names.size();
    blobs_.erase(it);
  }
  // The key goes first: from then on the files are noise, even where a crash leaves some.
  const std::vector<std::string> keys = database_->keys()->Names();
  if (std::find(keys.begin(), keys.end(), KeyNameOf(run)) != keys.end()) {
    CONSILIUM_RETURN_IF_ERROR(database_->keys()->Remove(KeyNameOf(run)));
  }
  std::error_code error;
  std::filesystem::remove_all(absl::StrCat(folder_, "/blobs/", run.value()), error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("can not remove the blobs of ", run.value(), ": ", error.message()));
  }
  return count;
}

}  // namespace consilium
