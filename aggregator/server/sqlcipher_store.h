// The store of an aggregator on one machine: an encrypted database and sealed files beside it.
//
//   <folder>/aggregator.db (-wal, -shm, .keys, .lock)
//   <folder>/blobs/<run>/…      privacy/at_rest/blob_store.h, under the key "run/<run>"
//
// Ownership, threads: as Store; one mutex guards the connection. Reading the journal takes a
// connection of its own, so an export does not hold up the engine.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SQLCIPHER_STORE_H_
#define CONSILIUM_AGGREGATOR_SERVER_SQLCIPHER_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/store.h"
#include "privacy/at_rest/database.h"
#include "privacy/at_rest/journal.h"
#include "privacy/at_rest/key_wrap.h"

namespace consilium {

class SqlcipherStore final : public Store {
 public:
  // ALREADY_EXISTS where `folder` holds a store; else as Open().
  static absl::StatusOr<std::unique_ptr<SqlcipherStore>> Create(const Kek& kek, std::string folder);
  // Whether `folder` holds a store.
  static bool Exists(const std::string& folder);
  // As Database::Open().
  static absl::StatusOr<std::unique_ptr<SqlcipherStore>> Open(const Kek& kek, std::string folder);

  absl::StatusOr<std::optional<std::string>> Value(absl::string_view name) override;
  absl::Status PutValue(absl::string_view name, absl::string_view value) override;
  absl::Status Invite(const Invitation& invitation) override;
  absl::StatusOr<std::vector<Invitation>> Invitations() override;
  absl::Status RemoveToken(const SiteId& site) override;
  absl::Status Enrol(const EnrolledSite& enrolled) override;
  absl::Status AddCertificate(const CertificateRecord& certificate,
                              std::span<const Digest> forgotten) override;
  absl::Status Revoke(const SiteId& site) override;
  absl::Status NoteSeen(const SiteId& site, absl::Time when,
                        absl::string_view software_version) override;
  absl::StatusOr<std::vector<SiteRecord>> Sites() override;
  absl::StatusOr<std::vector<CertificateRecord>> Certificates() override;
  absl::StatusOr<ChainHead> Append(std::span<const std::string> entries) override;
  absl::StatusOr<ChainHead> Head() override;
  absl::Status ReadJournal(Sequence from,
                           absl::FunctionRef<absl::Status(const ChainRow&)> visit) const override;
  absl::StatusOr<std::shared_ptr<BlobStore>> Blobs(const RunId& run) override;
  absl::StatusOr<uint64_t> RemoveBlobs(const RunId& run) override;

 private:
  SqlcipherStore(std::string folder, std::unique_ptr<Database> database, Journal journal)
      : folder_(std::move(folder)),
        database_(std::move(database)),
        journal_(std::make_unique<Journal>(std::move(journal))) {}
  static absl::StatusOr<std::unique_ptr<SqlcipherStore>> Make(std::string folder,
                                                              std::unique_ptr<Database> database);

  const std::string folder_;
  mutable absl::Mutex mu_;
  std::unique_ptr<Database> database_ ABSL_PT_GUARDED_BY(mu_);
  std::unique_ptr<Journal> journal_ ABSL_PT_GUARDED_BY(mu_);
  std::map<RunId, std::shared_ptr<BlobStore>> blobs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SQLCIPHER_STORE_H_
