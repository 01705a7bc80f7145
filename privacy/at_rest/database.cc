#include "privacy/at_rest/database.h"

#include <fcntl.h>
#include <sqlcipher/sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "privacy/at_rest/hash_chain.h"
#include "privacy/at_rest/hex.h"
#include "privacy/at_rest/sql_status.h"
#include "privacy/at_rest/store_lock.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr char kDatabaseKey[] = "database";
constexpr int kBusyMilliseconds = 10'000;

std::string KeysPath(const std::string& path) { return absl::StrCat(path, ".keys"); }

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

absl::StatusOr<DatabaseOptions> Checked(DatabaseOptions options) {
  if (options.path.empty() || options.application_id == 0 || options.kind.empty() ||
      options.migrations.empty()) {
    return absl::InvalidArgumentError("a database needs a path, an id, a kind and migrations");
  }
  // Absolute, because SQLite gives meaning to names such as ":memory:".
  options.path = std::filesystem::absolute(options.path).string();
  return options;
}

// What can be said of the file before any key is tried.
absl::Status CheckFile(const DatabaseOptions& options) {
  if (!Exists(options.path)) {
    return absl::NotFoundError(
        absl::StrCat("there is no store ", options.path, "; `init` makes one"));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckPrivate(options.path));
  const int fd = open(options.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError("can not open", options.path);
  char start[16] = {};
  const ssize_t n = read(fd, start, sizeof(start));
  close(fd);
  if (n < static_cast<ssize_t>(sizeof(start))) {
    return absl::DataLossError(absl::StrCat(options.path, " is cut off: it has no first page"));
  }
  if (memcmp(start, "SQLite format 3", sizeof(start)) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        options.path, " is not encrypted; it is not a store of ours and is not opened"));
  }
  if (!Exists(KeysPath(options.path))) {
    return absl::FailedPreconditionError(
        absl::StrCat("the keys of the store ", options.path, " (", KeysPath(options.path),
                     ") are gone: shredded, or left out of a restored backup"));
  }
  return absl::OkStatus();
}

}  // namespace

Transaction::~Transaction() {
  if (connection_ != nullptr) sqlite3_exec(connection_, "ROLLBACK", nullptr, nullptr, nullptr);
}

absl::Status Transaction::Commit() {
  if (connection_ == nullptr) return absl::FailedPreconditionError("the transaction has ended");
  if (const int code = sqlite3_exec(connection_, "COMMIT", nullptr, nullptr, nullptr);
      code != SQLITE_OK) {
    absl::Status status = SqlStatus(connection_, code);
    sqlite3_exec(connection_, "ROLLBACK", nullptr, nullptr, nullptr);
    connection_ = nullptr;
    return status;
  }
  connection_ = nullptr;
  return absl::OkStatus();
}

Database::Database(DatabaseOptions options, std::shared_ptr<StoreLock> lock)
    : options_(std::move(options)), lock_(std::move(lock)) {}

Database::~Database() { sqlite3_close_v2(connection_); }

absl::StatusOr<std::unique_ptr<Database>> Database::Create(const Kek& kek,
                                                           const DatabaseOptions& given) {
  CONSILIUM_ASSIGN_OR_RETURN(const DatabaseOptions options, Checked(given));
  const std::string folder = std::filesystem::path(options.path).parent_path().string();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0700));
  {
    CONSILIUM_ASSIGN_OR_RETURN(auto lock, StoreLock::Take(absl::StrCat(options.path, ".lock")));
    if (Exists(options.path)) {
      return absl::AlreadyExistsError(absl::StrCat("there is a store ", options.path, " already"));
    }
    // The keys come first. A creation that was cut off after them left no data under them, so they
    // serve again.
    const std::string keys_path = KeysPath(options.path);
    CONSILIUM_ASSIGN_OR_RETURN(KeyRing ring, Exists(keys_path) ? KeyRing::Open(kek, keys_path)
                                                               : KeyRing::Create(kek, keys_path));
    CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key, ring.GetOrCreate(kDatabaseKey));
    // Built whole under another name: what lies at `path` always opens.
    DatabaseOptions building = options;
    building.path = absl::StrCat(options.path, ".building");
    for (const char* end : {"", "-journal", "-wal", "-shm"}) {
      unlink(absl::StrCat(building.path, end).c_str());
    }
    const int fd = open(building.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return SystemError("can not create", building.path);
    close(fd);
    Database database(building, lock);
    CONSILIUM_RETURN_IF_ERROR(database.Connect(key));
    CONSILIUM_RETURN_IF_ERROR(database.Execute(absl::StrCat(
        "PRAGMA synchronous=FULL; BEGIN; PRAGMA application_id=", options.application_id,
        "; CREATE TABLE consilium_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
        "digest BLOB NOT NULL); COMMIT;")));
    sqlite3_close_v2(std::exchange(database.connection_, nullptr));
    CONSILIUM_RETURN_IF_ERROR(CheckPrivate(building.path));
    if (rename(building.path.c_str(), options.path.c_str()) != 0) {
      return SystemError("can not rename to", options.path);
    }
    CONSILIUM_RETURN_IF_ERROR(SyncFolder(folder));
  }
  return Open(kek, options);
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const Kek& kek,
                                                         const DatabaseOptions& given) {
  CONSILIUM_ASSIGN_OR_RETURN(DatabaseOptions options, Checked(given));
  CONSILIUM_RETURN_IF_ERROR(CheckFile(options));
  CONSILIUM_ASSIGN_OR_RETURN(auto lock, StoreLock::Take(absl::StrCat(options.path, ".lock")));
  std::unique_ptr<Database> database(new Database(std::move(options), std::move(lock)));
  CONSILIUM_ASSIGN_OR_RETURN(KeyRing ring, KeyRing::Open(kek, KeysPath(database->path())));
  database->keys_ = std::make_unique<KeyRing>(std::move(ring));
  CONSILIUM_RETURN_IF_ERROR(database->Unlock(*database->keys_));
  CONSILIUM_RETURN_IF_ERROR(database->CheckOwner());
  CONSILIUM_RETURN_IF_ERROR(database->SetPragmas());
  CONSILIUM_RETURN_IF_ERROR(database->Migrate());
  return database;
}

absl::StatusOr<std::unique_ptr<Database>> Database::OpenReader() const {
  if (keys_ == nullptr) return absl::FailedPreconditionError("a reader opens no further ones");
  std::unique_ptr<Database> reader(new Database(options_, lock_));
  CONSILIUM_RETURN_IF_ERROR(reader->Unlock(*keys_));
  CONSILIUM_RETURN_IF_ERROR(reader->SetPragmas());
  CONSILIUM_RETURN_IF_ERROR(reader->Execute("PRAGMA query_only=ON"));
  return reader;
}

absl::Status Database::Unlock(const KeyRing& keys) {
  absl::StatusOr<SecretBytes> key = keys.Get(kDatabaseKey);
  if (absl::IsNotFound(key.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the key of the store ", options_.path, " was shredded; nothing can read it"));
  }
  CONSILIUM_RETURN_IF_ERROR(key.status());
  return Connect(*key);
}

// A wrong key shows at the first read, never at sqlite3_key().
absl::Status Database::Connect(const SecretBytes& key) {
  if (const int code = sqlite3_open_v2(options_.path.c_str(), &connection_,
                                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
      code != SQLITE_OK) {
    return SqlStatus(connection_, code);
  }
  sqlite3_extended_result_codes(connection_, 1);
  sqlite3_busy_timeout(connection_, kBusyMilliseconds);
  // x'<64 hex>' is a raw key; any other length would be taken for a passphrase.
  SecretBytes literal(2 * kKeyBytes + 3);
  char* text = reinterpret_cast<char*>(literal.mutable_data());
  text[0] = 'x';
  text[1] = '\'';
  EncodeHex(key.span(), text + 2);
  text[2 + 2 * kKeyBytes] = '\'';
  if (key.size() != kKeyBytes ||
      sqlite3_key(connection_, text, static_cast<int>(literal.size())) != SQLITE_OK) {
    return absl::InternalError("the database's key can not be set");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckCipher());
  // SQLCipher 4 then writes the form that Debian's 3.4 reads, which passes over the first pragma.
  CONSILIUM_RETURN_IF_ERROR(Execute(
      absl::StrCat("PRAGMA cipher_compatibility=3; PRAGMA cipher_page_size=", kDatabasePageBytes)));
  absl::StatusOr<int64_t> tables = ReadNumber("SELECT count(*) FROM sqlite_master");
  if (tables.ok()) return absl::OkStatus();
  if (!absl::IsDataLoss(tables.status())) return tables.status();
  return absl::DataLossError(absl::StrCat(
      "the store ", options_.path,
      " does not open with its key: it is damaged, or its .keys file is another store's"));
}

absl::Status Database::CheckCipher() {
  CONSILIUM_ASSIGN_OR_RETURN(Statement version, Prepare("PRAGMA cipher_version"));
  CONSILIUM_ASSIGN_OR_RETURN(const bool row, version.Step());
  if (!row || version.ColumnText(0).empty()) {
    return absl::InternalError(
        "the linked SQLite does not encrypt (no cipher_version): the program is built wrongly");
  }
  return absl::OkStatus();
}

absl::Status Database::SetPragmas() {
  CONSILIUM_ASSIGN_OR_RETURN(Statement mode, Prepare("PRAGMA journal_mode=WAL"));
  CONSILIUM_ASSIGN_OR_RETURN(const bool row, mode.Step());
  if (!row || mode.ColumnText(0) != "wal") {
    return absl::UnavailableError(absl::StrCat(
        "the folder of ", options_.path, " does not allow a write-ahead log (a network disk?)"));
  }
  return Execute(
      "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; "
      "PRAGMA temp_store=MEMORY");
}

absl::Status Database::CheckOwner() {
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t id, ReadNumber("PRAGMA application_id"));
  if (id != options_.application_id) {
    return absl::FailedPreconditionError(absl::StrCat(options_.path, " is not ", options_.kind,
                                                      ": its application id is ", id, ", not ",
                                                      options_.application_id));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t version, ReadNumber("PRAGMA user_version"));
  const auto known = static_cast<int64_t>(options_.migrations.size());
  if (version > known) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.path, " has schema ", version, " and this program knows up to ",
                     known, ": it was used by a newer release, so install that one"));
  }
  return CheckHistory(version);
}

// The steps that the store had must be this program's first ones, word for word.
absl::Status Database::CheckHistory(int64_t version) {
  CONSILIUM_ASSIGN_OR_RETURN(Statement steps,
                             Prepare("SELECT version, name, digest FROM consilium_migrations "
                                     "ORDER BY version"));
  int64_t seen = 0;
  CONSILIUM_ASSIGN_OR_RETURN(bool more, steps.Step());
  while (more) {
    ++seen;
    CONSILIUM_ASSIGN_OR_RETURN(const Digest digest, steps.ColumnDigest(2));
    if (seen > version || steps.ColumnInt64(0) != seen ||
        digest != DigestOf(options_.migrations[static_cast<size_t>(seen - 1)].sql)) {
      return absl::FailedPreconditionError(
          absl::StrCat(options_.path, " has another schema than this program: its step ",
                       steps.ColumnInt64(0), " (", steps.ColumnText(1), ") differs"));
    }
    CONSILIUM_ASSIGN_OR_RETURN(more, steps.Step());
  }
  if (seen != version) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.path, " says schema ", version, " but records ", seen, " steps"));
  }
  return absl::OkStatus();
}

absl::Status Database::Migrate() {
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t version, ReadNumber("PRAGMA user_version"));
  for (size_t done = static_cast<size_t>(version); done < options_.migrations.size(); ++done) {
    if (absl::Status status = RunMigration(done); !status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("schema step ", done + 1, " (",
                                       options_.migrations[done].name, "): ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status Database::RunMigration(size_t step) {
  const Migration& migration = options_.migrations[step];
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, Begin());
  CONSILIUM_RETURN_IF_ERROR(Execute(migration.sql));
  {
    CONSILIUM_ASSIGN_OR_RETURN(
        Statement insert,
        Prepare("INSERT INTO consilium_migrations (version, name, digest) VALUES (?1, ?2, ?3)"));
    CONSILIUM_RETURN_IF_ERROR(insert.Bind(step + 1, migration.name, DigestOf(migration.sql)).Run());
  }
  CONSILIUM_RETURN_IF_ERROR(Execute(absl::StrCat("PRAGMA user_version=", step + 1)));
  return transaction.Commit();
}

absl::StatusOr<int64_t> Database::ReadNumber(absl::string_view sql) {
  CONSILIUM_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  CONSILIUM_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::InternalError(absl::StrCat("no value from ", sql));
  return statement.ColumnInt64(0);
}

absl::StatusOr<Statement> Database::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  if (const int code = sqlite3_prepare_v2(connection_, sql.data(), static_cast<int>(sql.size()),
                                          &statement, &tail);
      code != SQLITE_OK) {
    return SqlStatus(connection_, code);
  }
  Statement prepared(connection_, statement);
  if (statement == nullptr || tail != sql.data() + sql.size()) {
    return absl::InternalError(absl::StrCat("not one SQL statement: ", sql));
  }
  return prepared;
}

absl::Status Database::Execute(const std::string& sql) {
  if (const int code = sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
      code != SQLITE_OK) {
    return SqlStatus(connection_, code);
  }
  return absl::OkStatus();
}

absl::StatusOr<Transaction> Database::Begin() {
  if (sqlite3_get_autocommit(connection_) == 0) {
    return absl::FailedPreconditionError("a transaction is open already");
  }
  CONSILIUM_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
  return Transaction(connection_);
}

int64_t Database::last_insert_rowid() const { return sqlite3_last_insert_rowid(connection_); }

int64_t Database::changes() const { return sqlite3_changes(connection_); }

absl::Status Database::CheckIntegrity() {
  CONSILIUM_ASSIGN_OR_RETURN(Statement check, Prepare("PRAGMA integrity_check(1)"));
  CONSILIUM_ASSIGN_OR_RETURN(const bool row, check.Step());
  if (!row || check.ColumnText(0) != "ok") {
    return absl::DataLossError(absl::StrCat(
        "the store ", options_.path, " is damaged: ", row ? check.ColumnText(0) : "no answer"));
  }
  return absl::OkStatus();
}

}  // namespace consilium
