#include "privacy/at_rest/statement.h"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "privacy/at_rest/hash_chain.h"
#include "tests/fakes/status_matchers.h"
#include "tests/privacy/at_rest/database_fixture.h"

namespace consilium {
namespace {

class StatementTest : public DatabaseFixture {
 protected:
  // The row of `SELECT ?1, ?2, ...` for these values.
  template <typename... Values>
  Statement Echo(const Values&... values) {
    std::string sql = "SELECT ?1";
    for (size_t i = 2; i <= sizeof...(values); ++i) sql += ", ?" + std::to_string(i);
    absl::StatusOr<Statement> statement = database_->Prepare(sql);
    EXPECT_THAT(statement, IsOk());
    EXPECT_TRUE(*statement->Bind(values...).Step());
    return *std::move(statement);
  }

  std::unique_ptr<Database> database_ = Create();
};

TEST_F(StatementTest, NumbersComeBack) {
  const int64_t low = std::numeric_limits<int64_t>::min();
  const uint64_t high = std::numeric_limits<uint64_t>::max();
  const Statement row = Echo(low, high, 7, true, 0.1, std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(row.ColumnInt64(0), low);
  EXPECT_EQ(static_cast<uint64_t>(row.ColumnInt64(1)), high);
  EXPECT_EQ(row.ColumnInt64(2), 7);
  EXPECT_EQ(row.ColumnInt64(3), 1);
  EXPECT_EQ(row.ColumnDouble(4), 0.1);
  EXPECT_EQ(row.ColumnDouble(5), std::numeric_limits<double>::denorm_min());
}

TEST_F(StatementTest, TextAndBlobsComeBackWithZerosAndEmpty) {
  const std::string zeros("a\0b", 3);
  const std::vector<uint8_t> blob = {0, 1, 255, 0};
  const Statement row = Echo(zeros, "", absl::string_view(), blob, std::vector<uint8_t>());
  EXPECT_EQ(row.ColumnText(0), zeros);
  for (int i : {1, 2, 4}) EXPECT_FALSE(row.ColumnIsNull(i)) << i;
  EXPECT_EQ(row.ColumnText(1), "");
  EXPECT_EQ(std::vector<uint8_t>(row.ColumnBlob(3).begin(), row.ColumnBlob(3).end()), blob);
  EXPECT_TRUE(row.ColumnBlob(4).empty());
}

TEST_F(StatementTest, IdsDigestsAndNulls) {
  const Digest digest = DigestOf("x");
  const Statement row = Echo(RunId("heart"), Version(9), digest, std::nullopt, std::optional<int>(),
                             std::optional<std::string>("there"));
  EXPECT_EQ(row.ColumnText(0), "heart");
  EXPECT_EQ(row.ColumnInt64(1), 9);
  EXPECT_EQ(*row.ColumnDigest(2), digest);
  EXPECT_THAT(row.ColumnDigest(0), IsError(absl::StatusCode::kDataLoss, "5 bytes"));
  EXPECT_TRUE(row.ColumnIsNull(3));
  EXPECT_TRUE(row.ColumnIsNull(4));
  EXPECT_EQ(row.ColumnText(5), "there");
}

TEST_F(StatementTest, CountOfValuesIsChecked) {
  absl::StatusOr<Statement> statement = database_->Prepare("SELECT ?1, ?2");
  EXPECT_THAT(statement->Bind(1).Step(),
              IsError(absl::StatusCode::kInvalidArgument, "1 values for 2"));
  EXPECT_THAT(statement->Bind(1, 2, 3).Run(),
              IsError(absl::StatusCode::kInvalidArgument, "3 values for 2"));
  EXPECT_THAT(statement->Bind(1, 2).Run(), IsOk());
}

TEST_F(StatementTest, CanBeUsedAgain) {
  absl::StatusOr<Statement> insert =
      database_->Prepare("INSERT INTO row (id, value) VALUES (?1, ?2)");
  for (int i = 1; i <= 5; ++i) ASSERT_THAT(insert->Bind(i, std::optional<int>()).Run(), IsOk());
  EXPECT_THAT(insert->Bind(3, 0).Run(), IsError(absl::StatusCode::kAlreadyExists, "row.id"));
  EXPECT_THAT(insert->Bind(6, 0).Run(), IsOk());
  absl::StatusOr<Statement> select =
      database_->Prepare("SELECT id FROM row WHERE id > ?1 ORDER BY id");
  for (int from : {0, 4}) {
    std::vector<int64_t> seen;
    select->Bind(from);
    for (absl::StatusOr<bool> more = select->Step(); *more; more = select->Step()) {
      seen.push_back(select->ColumnInt64(0));
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(6 - from));
    EXPECT_EQ(seen.back(), 6);
  }
}

}  // namespace
}  // namespace consilium
