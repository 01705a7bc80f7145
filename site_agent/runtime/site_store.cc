#include "site_agent/runtime/site_store.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "site_agent/runtime/site_schema.h"

namespace consilium::site {
namespace {

constexpr char kRefusedForGood[] = "refused_for_good";

DatabaseOptions OptionsOf(const std::string& folder) {
  DatabaseOptions options;
  options.path = absl::StrCat(folder, "/site.db");
  options.application_id = kSiteApplicationId;
  options.kind = "a hospital's store";
  options.migrations = SiteMigrations();
  return options;
}

std::string BytesOf(std::span<const uint8_t> bytes) {
  return std::string(bytes.begin(), bytes.end());
}

}  // namespace

SiteStore::SiteStore(std::string folder, std::unique_ptr<Database> database,
                     std::unique_ptr<Database> reader, std::unique_ptr<BlobStore> blobs,
                     Journal journal)
    : folder_(std::move(folder)),
      database_(std::move(database)),
      journal_(std::move(journal)),
      reader_(std::move(reader)),
      blobs_(std::move(blobs)) {}

absl::StatusOr<std::unique_ptr<SiteStore>> SiteStore::Create(const Kek& kek,
                                                             const std::string& folder) {
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder));
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                             Database::Create(kek, OptionsOf(folder)));
  return Make(folder, std::move(database));
}

absl::StatusOr<std::unique_ptr<SiteStore>> SiteStore::Open(const Kek& kek,
                                                           const std::string& folder) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                             Database::Open(kek, OptionsOf(folder)));
  return Make(folder, std::move(database));
}

absl::StatusOr<std::unique_ptr<SiteStore>> SiteStore::Make(const std::string& folder,
                                                           std::unique_ptr<Database> database) {
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes blob_key, database->keys()->GetOrCreate(kBlobsKey));
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<BlobStore> blobs,
                             BlobStore::Open(std::move(blob_key), absl::StrCat(folder, "/blobs")));
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<Database> reader, database->OpenReader());
  CONSILIUM_ASSIGN_OR_RETURN(Journal journal, Journal::Open(database.get()));
  std::unique_ptr<SiteStore> store(new SiteStore(folder, std::move(database), std::move(reader),
                                                 std::move(blobs), std::move(journal)));
  absl::MutexLock lock(&store->mu_);
  CONSILIUM_RETURN_IF_ERROR(store->ShredOrphanKeys());
  return store;
}

absl::StatusOr<std::optional<std::string>> SiteStore::Value(absl::string_view name) {
  CONSILIUM_ASSIGN_OR_RETURN(Statement select,
                             database_->Prepare("SELECT value FROM setting WHERE name = ?1"));
  CONSILIUM_ASSIGN_OR_RETURN(const bool found, select.Bind(name).Step());
  if (!found) return std::nullopt;
  return BytesOf(select.ColumnBlob(0));
}

absl::StatusOr<std::string> SiteStore::NeededValue(absl::string_view name) {
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<std::string> value, Value(name));
  if (!value.has_value()) {
    return absl::FailedPreconditionError(
        "this site has not joined a federation yet: consilium-agent enrol --store DIR --join FILE");
  }
  return *std::move(value);
}

absl::Status SiteStore::PutValue(absl::string_view name, absl::string_view value) {
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement put,
      database_->Prepare("INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)"));
  const auto* bytes = reinterpret_cast<const uint8_t*>(value.data());
  return put.Bind(name, std::span<const uint8_t>(bytes, value.size())).Run();
}

absl::Status SiteStore::CheckSameSite(const SiteIdentity& identity) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> site, Value("site"));
  if (!site.has_value()) return absl::OkStatus();
  CONSILIUM_ASSIGN_OR_RETURN(const std::string federation, NeededValue("federation"));
  if (*site == identity.site.value() && federation == identity.federation) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("this store is that of site ", *site,
                                                    " in the federation ", federation,
                                                    "; another identity needs another store"));
}

absl::Status SiteStore::CheckMayEnrol(const SiteIdentity& identity) {
  absl::MutexLock lock(&mu_);
  return CheckSameSite(identity);
}

absl::Status SiteStore::PutEnrolment(const Enrolment& enrolment) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_RETURN_IF_ERROR(CheckSameSite(enrolment.identity));
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  const SiteIdentity& identity = enrolment.identity;
  const std::pair<absl::string_view, std::string> values[] = {
      {"site", identity.site.value()},
      {"federation", identity.federation},
      {"root_certificate", identity.root_certificate_pem},
      {"enrolment_address", identity.enrolment_address},
      {"aggregator_address", identity.aggregator_address},
      {"aggregator_key", BytesOf(identity.aggregator_key)},
      {"signing_key", BytesOf(enrolment.signing_key.private_bytes().span())},
      {kRefusedForGood, ""}};
  for (const auto& [name, value] : values) CONSILIUM_RETURN_IF_ERROR(PutValue(name, value));
  CONSILIUM_RETURN_IF_ERROR(
      WriteLeases({.current = enrolment.initial_lease.Clone(), .next = SecretBytes()}));
  return transaction.Commit();
}

absl::StatusOr<SiteIdentity> SiteStore::Identity() {
  absl::MutexLock lock(&mu_);
  SiteIdentity identity;
  CONSILIUM_ASSIGN_OR_RETURN(std::string site, NeededValue("site"));
  identity.site = SiteId(std::move(site));
  CONSILIUM_ASSIGN_OR_RETURN(identity.federation, NeededValue("federation"));
  CONSILIUM_ASSIGN_OR_RETURN(identity.root_certificate_pem, NeededValue("root_certificate"));
  CONSILIUM_ASSIGN_OR_RETURN(identity.enrolment_address, NeededValue("enrolment_address"));
  CONSILIUM_ASSIGN_OR_RETURN(identity.aggregator_address, NeededValue("aggregator_address"));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string key, NeededValue("aggregator_key"));
  if (key.size() != identity.aggregator_key.size()) {
    return absl::DataLossError("the store's copy of the aggregator's key has not 32 bytes");
  }
  std::copy(key.begin(), key.end(), identity.aggregator_key.begin());
  return identity;
}

bool SiteStore::is_enrolled() {
  absl::MutexLock lock(&mu_);
  const absl::StatusOr<std::optional<std::string>> site = Value("site");
  return site.ok() && site->has_value();
}

absl::StatusOr<std::optional<SigningKey>> SiteStore::OwnSigningKey() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, Value("signing_key"));
  if (!bytes.has_value()) return std::nullopt;
  CONSILIUM_ASSIGN_OR_RETURN(SigningKey key,
                             SigningKey::FromPrivateBytes(SecretBytes(std::span<const uint8_t>(
                                 reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()))));
  return std::optional<SigningKey>(std::move(key));
}

absl::StatusOr<v1::Reason> SiteStore::RefusedForGood() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> name, Value(kRefusedForGood));
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  if (name.has_value()) v1::Reason_Parse(*name, &reason);
  return reason;
}

absl::Status SiteStore::PutRefusedForGood(v1::Reason reason) {
  absl::MutexLock lock(&mu_);
  return PutValue(kRefusedForGood, v1::Reason_Name(reason));
}

absl::Status SiteStore::WriteLeases(const LeasePair& leases) {
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement put,
      database_->Prepare("INSERT OR REPLACE INTO lease (id, current, next) VALUES (1, ?1, ?2)"));
  std::optional<std::span<const uint8_t>> next;
  if (!leases.next.empty()) next = leases.next.span();
  return put.Bind(leases.current.span(), next).Run();
}

absl::StatusOr<LeasePair> SiteStore::Leases() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Statement select,
                             database_->Prepare("SELECT current, next FROM lease WHERE id = 1"));
  CONSILIUM_ASSIGN_OR_RETURN(const bool found, select.Bind().Step());
  if (!found) {
    return absl::FailedPreconditionError(
        "this store holds no lease: it has not joined a federation yet");
  }
  LeasePair leases;
  leases.current = SecretBytes(select.ColumnBlob(0));
  if (!select.ColumnIsNull(1)) leases.next = SecretBytes(select.ColumnBlob(1));
  return leases;
}

absl::Status SiteStore::PutLeases(const LeasePair& leases) {
  absl::MutexLock lock(&mu_);
  return WriteLeases(leases);
}

absl::StatusOr<Incarnation> SiteStore::NextIncarnation() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> last, Value("incarnation"));
  uint64_t number = 0;
  if (last.has_value() && !absl::SimpleAtoi(*last, &number)) {
    return absl::DataLossError("the store's incarnation is not a number");
  }
  CONSILIUM_RETURN_IF_ERROR(PutValue("incarnation", absl::StrCat(number + 1)));
  return Incarnation(number + 1);
}

absl::Status SiteStore::AppendJournal(std::span<const std::string> entries) {
  absl::MutexLock lock(&mu_);
  return journal_.Append(entries).status();
}

absl::Status SiteStore::ReadJournal(absl::FunctionRef<absl::Status(const ChainRow&)> visit) {
  absl::MutexLock lock(&mu_);
  return journal_.Read(Sequence(1), visit);
}

absl::StatusOr<ChainHead> SiteStore::VerifyJournal() {
  absl::MutexLock lock(&mu_);
  return journal_.Verify();
}

}  // namespace consilium::site
