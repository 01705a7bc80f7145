#include "privacy/at_rest/database.h"

#include <gtest/gtest.h>
#include <sqlcipher/sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "protocol/core/files.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/privacy/at_rest/database_fixture.h"

namespace consilium {
namespace {

constexpr size_t kFileBytesMax = size_t{64} << 20;

class DatabaseTest : public DatabaseFixture {
 protected:
  absl::Status TryOpen() { return Database::Open(kek_, options_).status(); }
};

TEST_F(DatabaseTest, KeepsWhatWasCommitted) {
  {
    auto database = Create();
    ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (41), (42)"), IsOk());
    EXPECT_EQ(database->changes(), 2);
    EXPECT_EQ(database->last_insert_rowid(), 2);
  }
  auto database = Open();
  EXPECT_EQ(Number(*database, "SELECT sum(value) FROM row"), 83);
  EXPECT_THAT(database->CheckIntegrity(), IsOk());
  database.reset();
  EXPECT_THAT(Database::Create(kek_, options_),
              IsError(absl::StatusCode::kAlreadyExists, "already"));
}

TEST_F(DatabaseTest, SettingsAreAsPromised) {
  auto database = Create();
  EXPECT_EQ(Number(*database, "PRAGMA cipher_page_size"), 16384);
  EXPECT_EQ(Number(*database, "PRAGMA page_size"), 16384);
  EXPECT_EQ(Number(*database, "PRAGMA synchronous"), 2);
  EXPECT_EQ(Number(*database, "PRAGMA foreign_keys"), 1);
  absl::StatusOr<Statement> mode = database->Prepare("PRAGMA journal_mode");
  ASSERT_THAT(mode->Step(), IsOk());
  EXPECT_EQ(mode->ColumnText(0), "wal");
  for (const char* end : {"", ".keys", ".lock", "-wal"}) {
    struct stat info;
    ASSERT_EQ(stat((options_.path + end).c_str(), &info), 0) << end;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << end;
  }
}

TEST_F(DatabaseTest, NoPlaintextInAnyFile) {
  auto database = Create();
  ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES ('Margarete Musterfrau')"), IsOk());
  for (const char* end : {"", "-wal"}) {
    const std::string content = *ReadFile(options_.path + end, kFileBytesMax);
    EXPECT_GT(content.size(), 1000u);
    EXPECT_EQ(content.find("Margarete"), std::string::npos) << end;
    EXPECT_EQ(content.find("CREATE TABLE"), std::string::npos) << end;
    EXPECT_EQ(content.find("SQLite format"), std::string::npos) << end;
  }
}

TEST_F(DatabaseTest, PlaintextDatabaseIsRefused) {
  { auto database = Create(); }
  ASSERT_EQ(unlink(options_.path.c_str()), 0);
  sqlite3* plain = nullptr;
  ASSERT_EQ(sqlite3_open(options_.path.c_str(), &plain), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(plain, "CREATE TABLE row (id)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(plain);
  ASSERT_EQ(chmod(options_.path.c_str(), 0600), 0);
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kFailedPrecondition, "is not encrypted"));
}

TEST_F(DatabaseTest, AnotherKekIsRefused) {
  { auto database = Create(); }
  const Kek other = *Kek::Random();
  EXPECT_THAT(Database::Open(other, options_),
              IsError(absl::StatusCode::kFailedPrecondition, "wrapped by the KEK " + kek_.id()));
}

TEST_F(DatabaseTest, KeysOfAnotherStoreAreRefused) {
  { auto database = Create(); }
  DatabaseOptions other = options_;
  other.path = folder_.File("other/site.db");
  ASSERT_THAT(Database::Create(kek_, other), IsOk());
  ASSERT_EQ(rename((other.path + ".keys").c_str(), (options_.path + ".keys").c_str()), 0);
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kDataLoss, "does not open with its key"));
}

TEST_F(DatabaseTest, MissingStoreAndMissingKeys) {
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kNotFound, "no store"));
  { auto database = Create(); }
  ASSERT_EQ(unlink((options_.path + ".keys").c_str()), 0);
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kFailedPrecondition, "are gone"));
}

TEST_F(DatabaseTest, CutOffFileIsRefused) {
  { auto database = Create(); }
  ASSERT_EQ(truncate(options_.path.c_str(), 0), 0);
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kDataLoss, "cut off"));
}

TEST_F(DatabaseTest, LoosePermissionsAreRefused) {
  { auto database = Create(); }
  ASSERT_EQ(chmod(options_.path.c_str(), 0640), 0);
  EXPECT_THAT(TryOpen(),
              IsError(absl::StatusCode::kFailedPrecondition, "chmod 600 " + options_.path));
  ASSERT_EQ(chmod(options_.path.c_str(), 0600), 0);
  ASSERT_EQ(chmod(folder_.File("store").c_str(), 0755), 0);
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kFailedPrecondition, "chmod 700"));
}

TEST_F(DatabaseTest, StoreOfAnotherKindIsRefused) {
  { auto database = Create(); }
  options_.application_id = 7;
  options_.kind = "an aggregator's store";
  EXPECT_THAT(TryOpen(),
              IsError(absl::StatusCode::kFailedPrecondition, "is not an aggregator's store"));
}

TEST_F(DatabaseTest, NewerSchemaIsRefused) {
  const std::vector<Migration> old = options_.migrations;
  options_.migrations.push_back({.name = "more", .sql = "CREATE TABLE more (id);"});
  { auto database = Create(); }
  options_.migrations = old;
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kFailedPrecondition, "newer release"));
}

TEST_F(DatabaseTest, EditedSchemaStepIsRefused) {
  { auto database = Create(); }
  options_.migrations[0].sql = "CREATE TABLE row (id INTEGER PRIMARY KEY, value, extra);";
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kFailedPrecondition, "step 1 (rows) differs"));
}

TEST_F(DatabaseTest, OlderStoreIsMigrated) {
  {
    auto database = Create();
    ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (5)"), IsOk());
  }
  options_.migrations.push_back({.name = "twice", .sql = "UPDATE row SET value = value * 2;"});
  options_.migrations.push_back({.name = "more", .sql = "INSERT INTO row (value) VALUES (1);"});
  for (int again = 0; again < 2; ++again) {
    auto database = Open();
    EXPECT_EQ(Number(*database, "PRAGMA user_version"), 3);
    EXPECT_EQ(Number(*database, "SELECT sum(value) FROM row"), 11);
  }
}

TEST_F(DatabaseTest, FailedMigrationLeavesTheStepBefore) {
  { auto database = Create(); }
  options_.migrations.push_back({.name = "good", .sql = "INSERT INTO row (value) VALUES (1);"});
  options_.migrations.push_back(
      {.name = "bad",
       .sql = "INSERT INTO row (value) VALUES (2); INSERT INTO nowhere VALUES (1);"});
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kInternal, "schema step 3 (bad)"));
  options_.migrations.pop_back();
  auto database = Open();
  EXPECT_EQ(Number(*database, "PRAGMA user_version"), 2);
  EXPECT_EQ(Number(*database, "SELECT sum(value) FROM row"), 1);
}

TEST_F(DatabaseTest, SecondOpenIsRefused) {
  auto database = Create();
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kUnavailable, "open already"));
  database.reset();
  EXPECT_THAT(TryOpen(), IsOk());
}

TEST_F(DatabaseTest, SecondProcessIsRefusedUntilTheFirstIsKilled) {
  { auto database = Create(); }
  ChildProcess child([&](const std::function<void()>& reach) {
    auto database = Open();
    if (database != nullptr) reach();
    return 1;
  });
  ASSERT_TRUE(child.reached());
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kUnavailable, "(process "));
  child.Kill();
  EXPECT_THAT(TryOpen(), IsOk());
}

TEST_F(DatabaseTest, UncommittedTransactionIsRolledBack) {
  auto database = Create();
  {
    absl::StatusOr<Transaction> transaction = database->Begin();
    ASSERT_THAT(transaction, IsOk());
    ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (1)"), IsOk());
    EXPECT_THAT(database->Begin(), IsError(absl::StatusCode::kFailedPrecondition, "open already"));
  }
  EXPECT_EQ(Number(*database, "SELECT count(*) FROM row"), 0);
  absl::StatusOr<Transaction> transaction = database->Begin();
  ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (1)"), IsOk());
  EXPECT_THAT(transaction->Commit(), IsOk());
  EXPECT_THAT(transaction->Commit(), IsError(absl::StatusCode::kFailedPrecondition, "has ended"));
  EXPECT_EQ(Number(*database, "SELECT count(*) FROM row"), 1);
}

// kill -9 in the middle of a transaction: the old content; after the commit: the new one.
TEST_F(DatabaseTest, KillLeavesOldOrNewContent) {
  {
    auto database = Create();
    ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (1)"), IsOk());
  }
  const auto write_and_die = [&](bool commit) {
    ChildProcess child([&](const std::function<void()>& reach) {
      auto database = Open();
      if (database == nullptr) return 1;
      // Far more than the cache holds, so that pages reach the file before the commit.
      if (!database->Execute("PRAGMA cache_size=4").ok()) return 2;
      absl::StatusOr<Transaction> transaction = database->Begin();
      if (!database->Execute("UPDATE row SET value = 2 WHERE id = 1").ok()) return 3;
      for (int i = 0; i < 64; ++i) {
        if (!database->Execute("INSERT INTO row (value) VALUES (randomblob(20000))").ok()) return 4;
      }
      if (commit && !transaction->Commit().ok()) return 5;
      reach();
      return 6;
    });
    ASSERT_TRUE(child.reached());
    child.Kill();
  };
  write_and_die(false);
  {
    auto database = Open();
    EXPECT_EQ(Number(*database, "SELECT value FROM row WHERE id = 1"), 1);
    EXPECT_EQ(Number(*database, "SELECT count(*) FROM row"), 1);
    EXPECT_THAT(database->CheckIntegrity(), IsOk());
  }
  write_and_die(true);
  auto database = Open();
  EXPECT_EQ(Number(*database, "SELECT value FROM row WHERE id = 1"), 2);
  EXPECT_EQ(Number(*database, "SELECT count(*) FROM row"), 65);
  EXPECT_THAT(database->CheckIntegrity(), IsOk());
}

TEST_F(DatabaseTest, CutOffCreationCanBeTriedAgain) {
  ASSERT_THAT(MakeFolders(folder_.File("store")), IsOk());
  ASSERT_THAT(KeyRing::Create(kek_, options_.path + ".keys"), IsOk());
  ASSERT_THAT(WriteFileDurably(options_.path + ".building", "half a page"), IsOk());
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kNotFound, "no store"));
  auto database = Create();
  EXPECT_THAT(database->CheckIntegrity(), IsOk());
}

TEST_F(DatabaseTest, FlippedByteIsFound) {
  {
    auto database = Create();
    for (int i = 0; i < 8; ++i) {
      ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (randomblob(12000))"), IsOk());
    }
  }
  const std::string good = *ReadFile(options_.path, kFileBytesMax);
  for (size_t at = 100; at < good.size(); at += 10007) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    ASSERT_THAT(WriteFileDurably(options_.path, bad), IsOk());
    absl::StatusOr<std::unique_ptr<Database>> database = Database::Open(kek_, options_);
    const absl::Status status = database.ok() ? (*database)->CheckIntegrity() : database.status();
    EXPECT_THAT(status, IsError(absl::StatusCode::kDataLoss, "")) << "byte " << at;
  }
}

TEST_F(DatabaseTest, RotationOfTheKekWrapsAnewAndEncryptsNothing) {
  const Kek next = *Kek::Random();
  {
    auto database = Create();
    ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (9)"), IsOk());
  }
  const std::string before = *ReadFile(options_.path, kFileBytesMax);
  {
    auto database = Open();
    ASSERT_THAT(database->keys()->Rewrap(next), IsOk());
    EXPECT_EQ(Number(*database, "SELECT value FROM row"), 9);
  }
  EXPECT_EQ(*ReadFile(options_.path, kFileBytesMax), before);
  EXPECT_FALSE(TryOpen().ok());
  auto database = Value(Database::Open(next, options_));
  EXPECT_EQ(Number(*database, "SELECT value FROM row"), 9);
}

TEST_F(DatabaseTest, ShreddedStoreDoesNotOpen) {
  {
    auto database = Create();
    ASSERT_THAT(database->keys()->Remove("database"), IsOk());
  }
  EXPECT_THAT(TryOpen(), IsError(absl::StatusCode::kFailedPrecondition, "was shredded"));
}

TEST_F(DatabaseTest, ReaderInAnotherThreadSeesCommitsAndWritesNothing) {
  auto database = Create();
  auto reader = Value(database->OpenReader());
  std::thread thread([&] {
    EXPECT_EQ(Number(*reader, "SELECT count(*) FROM row"), 0);
    EXPECT_FALSE(reader->Execute("INSERT INTO row (value) VALUES (1)").ok());
  });
  thread.join();
  absl::StatusOr<Transaction> transaction = database->Begin();
  ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (1)"), IsOk());
  EXPECT_EQ(Number(*reader, "SELECT count(*) FROM row"), 0);
  ASSERT_THAT(transaction->Commit(), IsOk());
  EXPECT_EQ(Number(*reader, "SELECT count(*) FROM row"), 1);
  EXPECT_THAT(reader->OpenReader(), IsError(absl::StatusCode::kFailedPrecondition, "reader"));
}

TEST_F(DatabaseTest, ConstraintsHaveTheirCodes) {
  auto database = Create();
  ASSERT_THAT(database->Execute("INSERT INTO row (id) VALUES (1)"), IsOk());
  EXPECT_THAT(database->Execute("INSERT INTO row (id) VALUES (1)"),
              IsError(absl::StatusCode::kAlreadyExists, "row.id"));
  EXPECT_THAT(database->Execute("SELECT nonsense"),
              IsError(absl::StatusCode::kInternal, "nonsense"));
  EXPECT_THAT(database->Prepare("SELECT 1; SELECT 2"),
              IsError(absl::StatusCode::kInternal, "not one SQL statement"));
  EXPECT_THAT(database->Prepare(""), IsError(absl::StatusCode::kInternal, "not one"));
}

}  // namespace
}  // namespace consilium
