#include "privacy/at_rest/journal.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/privacy/at_rest/database_fixture.h"

namespace consilium {
namespace {

using Records = std::vector<std::string>;

class JournalTest : public DatabaseFixture {
 protected:
  JournalTest() { options_.migrations.push_back(JournalMigration()); }

  static Journal OpenJournal(Database& database) {
    absl::StatusOr<Journal> journal = Journal::Open(&database);
    EXPECT_THAT(journal, IsOk());
    return *std::move(journal);
  }

  static Records ReadFrom(Journal& journal, uint64_t from) {
    Records records;
    EXPECT_THAT(journal.Read(Sequence(from),
                             [&](const ChainRow& row) {
                               EXPECT_EQ(row.sequence.value(), from + records.size());
                               records.emplace_back(row.payload.begin(), row.payload.end());
                               return absl::OkStatus();
                             }),
                IsOk());
    return records;
  }

  // As one who holds the key could.
  static void Tamper(Database& database, const std::string& sql) {
    ASSERT_THAT(database.Execute("DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete;"),
                IsOk());
    ASSERT_THAT(database.Execute(sql), IsOk());
  }
};

TEST_F(JournalTest, AppendsAndReads) {
  ChainHead head;
  {
    auto database = Create();
    Journal journal = OpenJournal(*database);
    EXPECT_EQ(*journal.Head(), ChainHead{});
    EXPECT_THAT(journal.Append(Records{"one", std::string("t\0o", 3)}), IsOk());
    head = *journal.Append(Records{""});
    EXPECT_EQ(head.sequence, Sequence(3));
    EXPECT_EQ(*journal.Append(Records{}), head);
  }
  auto database = Open();
  Journal journal = OpenJournal(*database);
  EXPECT_EQ(*journal.Head(), head);
  EXPECT_EQ(ReadFrom(journal, 1), (Records{"one", std::string("t\0o", 3), ""}));
  EXPECT_EQ(ReadFrom(journal, 3), Records{""});
  EXPECT_EQ(ReadFrom(journal, 4), Records{});
  EXPECT_EQ(*journal.Verify({head}), head);
}

TEST_F(JournalTest, SharesATransactionAndItsEnd) {
  auto database = Create();
  Journal journal = OpenJournal(*database);
  const ChainHead first = *journal.Append(Records{"first"});
  {
    absl::StatusOr<Transaction> transaction = database->Begin();
    ASSERT_THAT(journal.AppendIn(*transaction, Records{"dropped"}), IsOk());
    ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (1)"), IsOk());
  }
  EXPECT_EQ(*journal.Head(), first);
  absl::StatusOr<Transaction> transaction = database->Begin();
  const ChainHead second = *journal.AppendIn(*transaction, Records{"second"});
  ASSERT_THAT(database->Execute("INSERT INTO row (value) VALUES (1)"), IsOk());
  ASSERT_THAT(transaction->Commit(), IsOk());
  EXPECT_EQ(*journal.Verify(), second);
  EXPECT_EQ(Number(*database, "SELECT count(*) FROM row"), 1);
}

TEST_F(JournalTest, StopsReadingWhereTheVisitorFails) {
  auto database = Create();
  Journal journal = OpenJournal(*database);
  ASSERT_THAT(journal.Append(Records{"a", "b", "c"}), IsOk());
  int seen = 0;
  EXPECT_THAT(journal.Read(Sequence(1),
                           [&](const ChainRow&) {
                             return ++seen == 2 ? absl::CancelledError("enough") : absl::OkStatus();
                           }),
              IsError(absl::StatusCode::kCancelled, "enough"));
  EXPECT_EQ(seen, 2);
  EXPECT_THAT(journal.Append(Records{"d"}), IsOk());
}

TEST_F(JournalTest, RefusesHugeRecordsWhole) {
  auto database = Create();
  Journal journal = OpenJournal(*database);
  EXPECT_THAT(journal.Append(Records{"small", std::string(kJournalRecordBytesMax + 1, 'x')}),
              IsError(absl::StatusCode::kInvalidArgument, "at most"));
  EXPECT_EQ(*journal.Head(), ChainHead{});
}

TEST_F(JournalTest, RowsAreNotChangedByMistake) {
  auto database = Create();
  Journal journal = OpenJournal(*database);
  ASSERT_THAT(journal.Append(Records{"a", "b"}), IsOk());
  EXPECT_THAT(database->Execute("UPDATE journal SET payload = x'00' WHERE seq = 1"),
              IsError(absl::StatusCode::kFailedPrecondition, "append-only"));
  EXPECT_THAT(database->Execute("DELETE FROM journal WHERE seq = 2"),
              IsError(absl::StatusCode::kFailedPrecondition, "append-only"));
}

TEST_F(JournalTest, ChangedRowIsNamed) {
  auto database = Create();
  Journal journal = OpenJournal(*database);
  ASSERT_THAT(journal.Append(Records{"a", "b", "c"}), IsOk());
  Tamper(*database, "UPDATE journal SET payload = x'63' WHERE seq = 2");
  EXPECT_THAT(journal.Verify(), IsError(absl::StatusCode::kDataLoss, "row 2"));
}

TEST_F(JournalTest, DeletedAndReorderedRowsAreNamed) {
  auto database = Create();
  Journal journal = OpenJournal(*database);
  const ChainHead head = *journal.Append(Records{"a", "b", "c", "d"});
  Tamper(*database,
         "UPDATE journal SET seq = 20 WHERE seq = 2; UPDATE journal SET seq = 2 WHERE seq = 3; "
         "UPDATE journal SET seq = 3 WHERE seq = 20;");
  EXPECT_THAT(journal.Verify(), IsError(absl::StatusCode::kDataLoss, "row 2"));
  ASSERT_THAT(database->Execute("DELETE FROM journal WHERE seq = 1"), IsOk());
  EXPECT_THAT(journal.Verify(), IsError(absl::StatusCode::kDataLoss, "row 1: it is missing"));
  ASSERT_THAT(database->Execute("DELETE FROM journal"), IsOk());
  EXPECT_THAT(journal.Verify(), IsOk());
  EXPECT_THAT(journal.Verify({head}), IsError(absl::StatusCode::kDataLoss, "row 1: rows were cut"));
}

TEST_F(JournalTest, KilledBatchIsWhollyThereOrNot) {
  ChainHead before;
  {
    auto database = Create();
    before = *OpenJournal(*database).Append(Records{"a"});
  }
  {
    ChildProcess child([&](const std::function<void()>& reach) {
      auto database = Open();
      Journal journal = OpenJournal(*database);
      absl::StatusOr<Transaction> transaction = database->Begin();
      if (journal.AppendIn(*transaction, Records{"b", "c"}).ok()) reach();
      return 1;
    });
    ASSERT_TRUE(child.reached());
  }
  EXPECT_EQ(*OpenJournal(*Open()).Verify({before}), before);
  {
    ChildProcess child([&](const std::function<void()>& reach) {
      auto database = Open();
      if (OpenJournal(*database).Append(Records{"b", "c"}).ok()) reach();
      return 1;
    });
    ASSERT_TRUE(child.reached());
  }
  auto database = Open();
  Journal journal = OpenJournal(*database);
  EXPECT_EQ(journal.Verify({before})->sequence, Sequence(3));
}

TEST_F(JournalTest, NeedsItsSchemaStep) {
  options_.migrations.pop_back();
  auto database = Create();
  EXPECT_THAT(Journal::Open(database.get()),
              IsError(absl::StatusCode::kInternal, "no such table: journal"));
}

}  // namespace
}  // namespace consilium
