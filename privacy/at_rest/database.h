// An encrypted database: SQLCipher under a raw 256-bit key that the KEK wraps (key_ring.h), WAL,
// synchronous=FULL, pages of 16 KiB. A commit that returned is on the disk; a crash anywhere leaves
// the content before a transaction or after it.
//
// Beside the file `path` lie `path`.keys (the wrapped keys), `path`.lock, and SQLite's -wal and
// -shm. One process at a time has a store open.
//
// Ownership: Statements and Transactions must die before their Database; readers (OpenReader) share
// the lock and may outlive it. Threads: externally synchronised, so one thread at a time; a thread
// that reads beside the writer takes a connection of its own from OpenReader().
//
// Errors of every call that runs SQL: RESOURCE_EXHAUSTED full disk; DATA_LOSS damaged file;
// ALREADY_EXISTS unique key; FAILED_PRECONDITION other constraints; ABORTED busy;
// PERMISSION_DENIED; UNAVAILABLE other trouble of the disk; INTERNAL wrong SQL.

#ifndef CONSILIUM_PRIVACY_AT_REST_DATABASE_H_
#define CONSILIUM_PRIVACY_AT_REST_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/at_rest/key_ring.h"
#include "privacy/at_rest/key_wrap.h"
#include "privacy/at_rest/statement.h"

struct sqlite3;

namespace consilium {

class StoreLock;

inline constexpr int kDatabasePageBytes = 16384;

// One step of a schema. Step i of the list (from 1) brings user_version from i-1 to i, in a
// transaction of its own. A step that was released is never edited: each store keeps the digest of
// the text that it ran, and refuses a program whose text differs.
struct Migration {
  std::string name;
  // Statements separated by ';'.
  std::string sql;
};

struct DatabaseOptions {
  // In a folder of mode 0700; made by Create.
  std::string path;
  // Says whose file it is (PRAGMA application_id), so that an agent never opens an aggregator's
  // store; not 0. `kind` is its name in messages, as "a hospital's store".
  int32_t application_id = 0;
  std::string kind = "";
  std::vector<Migration> migrations = {};
};

// BEGIN IMMEDIATE ... COMMIT; rolled back where it dies without a Commit() that succeeded.
class Transaction {
 public:
  Transaction(Transaction&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // Durable when it returns OK. After an error nothing of the transaction has happened.
  absl::Status Commit();

 private:
  friend class Database;
  explicit Transaction(sqlite3* connection) : connection_(connection) {}
  sqlite3* connection_;
};

class Database {
 public:
  // Makes the store and opens it. ALREADY_EXISTS where there is one; INVALID_ARGUMENT for options
  // out of range; else as Open(). A creation that a crash cut off can be tried again.
  static absl::StatusOr<std::unique_ptr<Database>> Create(const Kek& kek,
                                                          const DatabaseOptions& options);

  // Opens it and runs the migrations that it has not had. Each refusal is a sentence of its own:
  //   NOT_FOUND            no store there
  //   FAILED_PRECONDITION  others may read it (names the command that mends it); it is open in
  //                        another process (names the pid); it is not encrypted; its key was
  //                        shredded; another KEK wrapped its keys; it is of another kind; its
  //                        schema is newer, or differs from what this program's steps make
  //   DATA_LOSS            its key does not open it: damaged, or the keys file of another store
  //   INTERNAL             the linked library does not encrypt
  static absl::StatusOr<std::unique_ptr<Database>> Open(const Kek& kek,
                                                        const DatabaseOptions& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // A further connection that can only read, for another thread; sees what is committed. Called on
  // the thread of this one. FAILED_PRECONDITION on a reader; else as Open().
  absl::StatusOr<std::unique_ptr<Database>> OpenReader() const;

  // One statement.
  absl::StatusOr<Statement> Prepare(absl::string_view sql);
  // Statements without parameters, separated by ';'.
  absl::Status Execute(const std::string& sql);
  // FAILED_PRECONDITION where one is open: they do not nest.
  absl::StatusOr<Transaction> Begin();

  int64_t last_insert_rowid() const;
  // Rows that the last INSERT, UPDATE or DELETE changed.
  int64_t changes() const;

  // Reads and authenticates every page, and checks the tables' structure. DATA_LOSS with the first
  // finding.
  absl::Status CheckIntegrity();

  // The store's keys: of its blobs ("blobs") and its data sets. The database's own is "database";
  // removing that shreds the store. Null on a reader.
  KeyRing* keys() { return keys_.get(); }
  const std::string& path() const { return options_.path; }

 private:
  Database(DatabaseOptions options, std::shared_ptr<StoreLock> lock);
  absl::Status Unlock(const KeyRing& keys);
  absl::Status Connect(const SecretBytes& key);
  absl::Status CheckCipher();
  absl::Status SetPragmas();
  absl::Status CheckOwner();
  absl::Status CheckHistory(int64_t version);
  absl::Status Migrate();
  absl::Status RunMigration(size_t step);
  absl::StatusOr<int64_t> ReadNumber(absl::string_view sql);

  DatabaseOptions options_;
  std::shared_ptr<StoreLock> lock_;
  std::unique_ptr<KeyRing> keys_;
  sqlite3* connection_ = nullptr;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_DATABASE_H_
