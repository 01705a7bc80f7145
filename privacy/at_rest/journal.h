// An append-only journal of opaque records in a Database, hash-chained (hash_chain.h). Records that
// are appended together commit together, with one fsync for all of them (group commit), and may
// share their transaction with other tables.
//
// Ownership: borrows the Database, which outlives it. It keeps no head in memory: the table is the
// truth, so a transaction that is rolled back takes its records with it. Threads: the Database's.

#ifndef CONSILIUM_PRIVACY_AT_REST_JOURNAL_H_
#define CONSILIUM_PRIVACY_AT_REST_JOURNAL_H_

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/at_rest/database.h"
#include "privacy/at_rest/hash_chain.h"
#include "privacy/at_rest/statement.h"

namespace consilium {

inline constexpr size_t kJournalRecordBytesMax = size_t{16} << 20;

// The schema step that every store with a journal has in its list of migrations.
Migration JournalMigration();

class Journal {
 public:
  // INTERNAL where the store has no JournalMigration().
  static absl::StatusOr<Journal> Open(Database* database);

  // Commits the records in order, and returns the head after them; durable when it returns.
  // INVALID_ARGUMENT: a record over 16 MiB; nothing is appended then. Else as in database.h.
  absl::StatusOr<ChainHead> Append(std::span<const std::string> records);

  // The same inside a transaction of the caller, who commits it: only then is the head true.
  absl::StatusOr<ChainHead> AppendIn(const Transaction& transaction,
                                     std::span<const std::string> records);

  // The last row's; the default one where the journal is empty.
  absl::StatusOr<ChainHead> Head();

  // Rows from `from` (1 is the first) in order, until `visit` returns an error, which comes back.
  // A row's payload lives until `visit` returns. The chain is not checked: Verify() does that.
  absl::Status Read(Sequence from, absl::FunctionRef<absl::Status(const ChainRow&)> visit);

  // Checks the whole chain, and that it passes through `known` (heads that were signed or handed
  // out). Returns the head. DATA_LOSS names the first wrong row.
  absl::StatusOr<ChainHead> Verify(const std::vector<ChainHead>& known = {});

 private:
  Journal(Database* database, Statement insert, Statement last, Statement from)
      : database_(database),
        insert_(std::move(insert)),
        last_(std::move(last)),
        from_(std::move(from)) {}

  Database* database_;
  Statement insert_;
  Statement last_;
  Statement from_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_JOURNAL_H_
