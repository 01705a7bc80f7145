// A store in a folder of its own, with one small table.

#ifndef CONSILIUM_TESTS_PRIVACY_AT_REST_DATABASE_FIXTURE_H_
#define CONSILIUM_TESTS_PRIVACY_AT_REST_DATABASE_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "privacy/at_rest/database.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {

class DatabaseFixture : public testing::Test {
 protected:
  DatabaseFixture()
      : options_{.path = folder_.File("store/site.db"),
                 .application_id = 0x43534954,
                 .kind = "a hospital's store",
                 .migrations = {{.name = "rows",
                                 .sql = "CREATE TABLE row (id INTEGER PRIMARY KEY, value);"}}} {}

  std::unique_ptr<Database> Create() { return Value(Database::Create(kek_, options_)); }
  std::unique_ptr<Database> Open() { return Value(Database::Open(kek_, options_)); }

  static std::unique_ptr<Database> Value(absl::StatusOr<std::unique_ptr<Database>> database) {
    EXPECT_TRUE(database.ok()) << database.status();
    return database.ok() ? *std::move(database) : nullptr;
  }

  static int64_t Number(Database& database, const std::string& sql) {
    absl::StatusOr<Statement> statement = database.Prepare(sql);
    EXPECT_TRUE(statement.ok()) << statement.status();
    absl::StatusOr<bool> row = statement->Step();
    EXPECT_TRUE(row.ok() && *row) << row.status();
    return statement->ColumnInt64(0);
  }

  TempFolder folder_;
  Kek kek_ = *Kek::Random();
  DatabaseOptions options_;
};

}  // namespace consilium

#endif  // CONSILIUM_TESTS_PRIVACY_AT_REST_DATABASE_FIXTURE_H_
