// All that a hospital's agent keeps, on one encrypted disk area:
//
//   <folder>/site.db (-wal, -shm, .keys, .lock)   identity, lease, data sets, approvals, journal
//   <folder>/blobs/                               sealed models and outbox (blob_store.h)
//   <folder>/tls/                                 TLS key and certificate (certificate_folder.h)
//   <folder>/kek.location                         where the key-encryption key lies: never in here
//
// Rows of patients lie in the encrypted database and are sealed once more, each under the key of
// its data set and bound to data set, row number and schema version: replacing a data set shreds
// the key of the old one.
//
// One process at a time has a store open; the database's lock sees to that.
//
// Ownership: owns its files and their keys. Threads: any. Reading rows takes a connection of its
// own, so that it does not hold up the journal.
//
// Errors of every call that touches the disk: RESOURCE_EXHAUSTED where it is full, DATA_LOSS where
// it is damaged, UNAVAILABLE for other trouble of the system.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_SITE_STORE_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_SITE_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "consilium/v1/data_contract.pb.h"
#include "consilium/v1/errors.pb.h"
#include "consilium/v1/site_journal.pb.h"
#include "privacy/at_rest/blob_store.h"
#include "privacy/at_rest/database.h"
#include "privacy/at_rest/hash_chain.h"
#include "privacy/at_rest/journal.h"
#include "privacy/at_rest/key_wrap.h"
#include "protocol/core/ids.h"
#include "protocol/core/secret_bytes.h"
#include "protocol/wire/signing_key.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/ingest/raw_row.h"
#include "site_agent/runtime/statistics_sets.h"

namespace consilium::site {

// Who this site is, since it has enrolled.
struct SiteIdentity {
  SiteId site;
  std::string federation;
  std::string root_certificate_pem;
  std::string enrolment_address;   // host:port
  std::string aggregator_address;  // host:port
  PublicKey aggregator_key = {};   // Verifies receipts.
};

// The secrets that fence a copied store (lease.h), 32 bytes each.
struct LeasePair {
  SecretBytes current;
  SecretBytes next;  // Empty where none was drawn.
};

// What `enrol` brings home; kept together or not at all.
struct Enrolment {
  SiteIdentity identity;
  SigningKey signing_key;
  SecretBytes initial_lease;
};

struct DatasetInfo {
  int64_t id = 0;  // Never used twice.
  std::string name;
  v1::DataContract contract;  // Defaults filled in.
  Digest contract_hash = {};  // ContractHash(contract).
  uint64_t rows = 0;
  uint64_t rows_refused = 0;
  absl::Time imported;
};

// Whether a person has approved whatever this federation runs, or wants to be asked.
enum class AllRuns : uint8_t { kOneByOne, kApproved };

// Fills in the contract's defaults, as a run plan's contract has them.
v1::DataContract ResolvedContract(const v1::DataContract& contract);
// By which a run finds its data set. Of a resolved contract.
Digest ContractHash(const v1::DataContract& resolved);

class SiteStore {
 public:
  // Makes the folder (0700) and the store. ALREADY_EXISTS where there is one; else as Open().
  static absl::StatusOr<std::unique_ptr<SiteStore>> Create(const Kek& kek,
                                                           const std::string& folder);
  // As Database::Open(): each refusal is a sentence of its own.
  static absl::StatusOr<std::unique_ptr<SiteStore>> Open(const Kek& kek, const std::string& folder);

  const std::string& folder() const { return folder_; }
  // For InstallCertificate and the credentials of channels.
  std::string tls_folder() const { return folder_ + "/tls"; }
  BlobStore& blobs() { return *blobs_; }

  // FAILED_PRECONDITION where this store is another site's: an identity has a store of its own. The
  // same one may enrol again, after its certificate has ended.
  absl::Status CheckMayEnrol(const SiteIdentity& identity);
  // As CheckMayEnrol.
  absl::Status PutEnrolment(const Enrolment& enrolment);
  // FAILED_PRECONDITION where it has not, and says what to do.
  absl::StatusOr<SiteIdentity> Identity();
  bool is_enrolled();
  // By which the aggregator knows this store when it enrols again; nothing before it has enrolled.
  absl::StatusOr<std::optional<SigningKey>> OwnSigningKey();

  // Why the aggregator will not have this site any more, for whoever asks after the agent has
  // ended; REASON_UNSPECIFIED: it will. An enrolment clears it.
  absl::StatusOr<v1::Reason> RefusedForGood();
  absl::Status PutRefusedForGood(v1::Reason reason);

  absl::StatusOr<LeasePair> Leases();
  absl::Status PutLeases(const LeasePair& leases);

  // One more than the last time; durable before it is returned.
  absl::StatusOr<Incarnation> NextIncarnation();

  // The site's policy: nothing is approved but what a person approved, run by run, or all runs
  // until that is taken back. Each change is in the journal, in the same transaction.
  absl::Status ApproveRun(const RunId& run, const Digest& plan_hash);
  absl::Status WithdrawRun(const RunId& run);
  absl::Status SetAllRuns(AllRuns all_runs);
  absl::StatusOr<AllRuns> ApprovalOfAllRuns();
  absl::StatusOr<bool> IsApproved(const RunId& run, const Digest& plan_hash);

  // Numbers over fewer patients do not leave (release_rules.h). A change is in the journal.
  absl::StatusOr<uint64_t> MinimumCount();
  // INVALID_ARGUMENT below kMinimumCountMin.
  absl::Status SetMinimumCount(uint64_t count);

  // For the journal: a person takes the site's own model of a run out of the store.
  absl::Status RecordExport(const RunId& run, Version version);

  // Under which MeasuredSetsOf() hashes; of this store alone, and never shown.
  absl::StatusOr<SecretBytes> StatisticsKey();
  // Refusal NOT_APPROVED where sums of one of the columns were recorded before over other patients,
  // and fewer than `minimum_count` of them differ. The same patients again are fine.
  absl::Status CheckStatistics(std::span<const MeasuredSet> sets, uint64_t minimum_count);
  // As CheckStatistics(); else remembers them for ever. To be called before they are released.
  absl::Status RecordStatistics(std::span<const MeasuredSet> sets, uint64_t minimum_count);

  // Replaces the data set of that name, all or nothing. `import` gives its rows to the sink that it
  // is called with; where it fails, the old data set stays and its error comes back.
  using Import = absl::FunctionRef<absl::StatusOr<ImportReport>(const RowSink& sink)>;
  absl::StatusOr<ImportReport> ReplaceDataset(const std::string& name,
                                              const v1::DataContract& contract, Import import);
  // In the order of their names.
  absl::StatusOr<std::vector<DatasetInfo>> Datasets();
  // Every row, in the order of the file that it came from. NOT_FOUND; DATA_LOSS where a row is not
  // the one that was stored there.
  absl::StatusOr<std::vector<RawRow>> ReadRows(const DatasetInfo& dataset);

  // The site's journal (journal_codec.h has its entries). Durable when Append returns.
  absl::Status AppendJournal(std::span<const std::string> entries);
  absl::Status ReadJournal(absl::FunctionRef<absl::Status(const ChainRow&)> visit);
  absl::StatusOr<ChainHead> VerifyJournal();

 private:
  SiteStore(std::string folder, std::unique_ptr<Database> database,
            std::unique_ptr<Database> reader, std::unique_ptr<BlobStore> blobs, Journal journal);
  static absl::StatusOr<std::unique_ptr<SiteStore>> Make(const std::string& folder,
                                                         std::unique_ptr<Database> database);

  absl::StatusOr<std::optional<std::string>> Value(absl::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::string> NeededValue(absl::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status PutValue(absl::string_view name, absl::string_view value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckSameSite(const SiteIdentity& identity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status WriteLeases(const LeasePair& leases) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<int64_t> InsertDataset(const std::string& name, const v1::DataContract& contract)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<ImportReport> StoreRows(int64_t dataset, Import import)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ChangePolicy(const v1::SiteJournalEntry::Policy& policy,
                            absl::FunctionRef<absl::Status()> change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<AllRuns> ReadAllRuns() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckApart(const MeasuredSet& set, uint64_t minimum_count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ShredOrphanKeys() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string folder_;
  absl::Mutex mu_;
  const std::unique_ptr<Database> database_ ABSL_PT_GUARDED_BY(mu_);
  Journal journal_ ABSL_GUARDED_BY(mu_);
  absl::Mutex reader_mu_;
  const std::unique_ptr<Database> reader_ ABSL_PT_GUARDED_BY(reader_mu_);
  const std::unique_ptr<BlobStore> blobs_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_SITE_STORE_H_
