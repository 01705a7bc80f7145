#include "privacy/at_rest/statement.h"

#include <sqlcipher/sqlite3.h>
#include <stdlib.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "privacy/at_rest/sql_status.h"
#include "protocol/core/status_macros.h"

namespace consilium {

absl::Status SqlStatus(sqlite3* connection, int code) {
  const int extended = connection == nullptr ? code : sqlite3_extended_errcode(connection);
  const std::string text = absl::StrCat(
      "database: ", connection == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(connection),
      " (code ", extended, ")");
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(text, ": the disk is full"));
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(text);
    case SQLITE_CONSTRAINT:
      if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY ||
          extended == SQLITE_CONSTRAINT_ROWID) {
        return absl::AlreadyExistsError(text);
      }
      return absl::FailedPreconditionError(text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::AbortedError(text);
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(text);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

void Statement::Start(size_t count) {
  Reset();
  sqlite3_clear_bindings(statement_.get());
  const int expected = sqlite3_bind_parameter_count(statement_.get());
  bound_ = absl::OkStatus();
  if (count != static_cast<size_t>(expected)) {
    bound_ = absl::InvalidArgumentError(absl::StrCat(
        count, " values for ", expected, " parameters: ", sqlite3_sql(statement_.get())));
  }
}

void Statement::Keep(int code) {
  if (code != SQLITE_OK && bound_.ok()) bound_ = SqlStatus(connection_, code);
}

void Statement::BindInt64(int index, int64_t value) {
  Keep(sqlite3_bind_int64(statement_.get(), index, value));
}

void Statement::BindDouble(int index, double value) {
  Keep(sqlite3_bind_double(statement_.get(), index, value));
}

void Statement::BindText(int index, absl::string_view value) {
  // A null pointer would bind NULL instead of an empty text.
  const char* data = value.data() == nullptr ? "" : value.data();
  Keep(sqlite3_bind_text64(statement_.get(), index, data, value.size(), SQLITE_TRANSIENT,
                           SQLITE_UTF8));
}

void Statement::BindBlob(int index, std::span<const uint8_t> value) {
  if (value.empty()) {
    Keep(sqlite3_bind_zeroblob(statement_.get(), index, 0));
    return;
  }
  Keep(sqlite3_bind_blob64(statement_.get(), index, value.data(), value.size(), SQLITE_TRANSIENT));
}

absl::StatusOr<bool> Statement::Step() {
  CONSILIUM_RETURN_IF_ERROR(bound_);
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    Reset();
    return false;
  }
  absl::Status status = SqlStatus(connection_, code);
  Reset();
  return status;
}

absl::Status Statement::Run() {
  bool more = true;
  while (more) {
    CONSILIUM_ASSIGN_OR_RETURN(more, Step());
  }
  return absl::OkStatus();
}

void Statement::Reset() { sqlite3_reset(statement_.get()); }

void Statement::CheckColumn(int column) const {
  if (column < 0 || column >= sqlite3_data_count(statement_.get())) abort();
}

bool Statement::ColumnIsNull(int column) const {
  CheckColumn(column);
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

int64_t Statement::ColumnInt64(int column) const {
  CheckColumn(column);
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::ColumnDouble(int column) const {
  CheckColumn(column);
  return sqlite3_column_double(statement_.get(), column);
}

absl::string_view Statement::ColumnText(int column) const {
  CheckColumn(column);
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  if (text == nullptr) return "";
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::span<const uint8_t> Statement::ColumnBlob(int column) const {
  CheckColumn(column);
  const auto* bytes = static_cast<const uint8_t*>(sqlite3_column_blob(statement_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

absl::StatusOr<Digest> Statement::ColumnDigest(int column) const {
  const std::span<const uint8_t> bytes = ColumnBlob(column);
  Digest digest;
  if (bytes.size() != digest.size()) {
    return absl::DataLossError(
        absl::StrCat("a digest in the database has ", bytes.size(), " bytes instead of 32"));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

}  // namespace consilium
