#include "privacy/at_rest/journal.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

// The triggers guard against our own mistakes; against others there is the chain.
Migration JournalMigration() {
  return {.name = "journal",
          .sql =
              "CREATE TABLE journal (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, "
              "chain BLOB NOT NULL);"
              "CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal BEGIN "
              "SELECT RAISE(ABORT, 'the journal is append-only'); END;"
              "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal BEGIN "
              "SELECT RAISE(ABORT, 'the journal is append-only'); END;"};
}

absl::StatusOr<Journal> Journal::Open(Database* database) {
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement insert,
      database->Prepare("INSERT INTO journal (seq, payload, chain) VALUES (?1, ?2, ?3)"));
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement last,
      database->Prepare("SELECT seq, chain FROM journal ORDER BY seq DESC LIMIT 1"));
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement from, database->Prepare("SELECT seq, payload, chain FROM journal WHERE seq >= ?1 "
                                        "ORDER BY seq"));
  return Journal(database, std::move(insert), std::move(last), std::move(from));
}

absl::StatusOr<ChainHead> Journal::Append(std::span<const std::string> records) {
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  CONSILIUM_ASSIGN_OR_RETURN(const ChainHead head, AppendIn(transaction, records));
  CONSILIUM_RETURN_IF_ERROR(transaction.Commit());
  return head;
}

absl::StatusOr<ChainHead> Journal::AppendIn(const Transaction&,
                                            std::span<const std::string> records) {
  for (const std::string& record : records) {
    if (record.size() > kJournalRecordBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("a journal record of ", record.size(),
                                                     " bytes; at most ", kJournalRecordBytesMax));
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(ChainHead head, Head());
  for (const std::string& record : records) {
    head = Extend(head, Bytes(record));
    CONSILIUM_RETURN_IF_ERROR(insert_.Bind(head.sequence, Bytes(record), head.digest).Run());
  }
  return head;
}

absl::StatusOr<ChainHead> Journal::Head() {
  last_.Bind();
  CONSILIUM_ASSIGN_OR_RETURN(const bool row, last_.Step());
  if (!row) return ChainHead{};
  ChainHead head;
  head.sequence = Sequence(static_cast<uint64_t>(last_.ColumnInt64(0)));
  absl::StatusOr<Digest> digest = last_.ColumnDigest(1);
  last_.Reset();
  CONSILIUM_ASSIGN_OR_RETURN(head.digest, std::move(digest));
  return head;
}

absl::Status Journal::Read(Sequence from, absl::FunctionRef<absl::Status(const ChainRow&)> visit) {
  from_.Bind(from);
  CONSILIUM_ASSIGN_OR_RETURN(bool more, from_.Step());
  while (more) {
    absl::StatusOr<Digest> digest = from_.ColumnDigest(2);
    absl::Status status = digest.status();
    if (status.ok()) {
      status = visit({.sequence = Sequence(static_cast<uint64_t>(from_.ColumnInt64(0))),
                      .payload = from_.ColumnBlob(1),
                      .digest = *digest});
    }
    if (!status.ok()) {
      from_.Reset();
      return status;
    }
    CONSILIUM_ASSIGN_OR_RETURN(more, from_.Step());
  }
  return absl::OkStatus();
}

absl::StatusOr<ChainHead> Journal::Verify(const std::vector<ChainHead>& known) {
  ChainVerifier verifier({}, known);
  CONSILIUM_RETURN_IF_ERROR(
      Read(Sequence(0), [&](const ChainRow& row) { return verifier.Check(row); }));
  CONSILIUM_RETURN_IF_ERROR(verifier.Finish());
  return verifier.head();
}

}  // namespace consilium
