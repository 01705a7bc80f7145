// What SQLCipher's result codes mean here. Not for use outside this folder.
//
//   full disk, too big, no memory   RESOURCE_EXHAUSTED
//   damaged file, not a database    DATA_LOSS
//   unique or primary key           ALREADY_EXISTS
//   other constraints, triggers     FAILED_PRECONDITION
//   busy, locked                    ABORTED
//   no permission, read-only        PERMISSION_DENIED
//   other trouble of the disk       UNAVAILABLE
//   everything else                 INTERNAL (the SQL is ours, so the fault is)
//
// The words are SQLite's: they name tables and columns, never a bound value.

#ifndef CONSILIUM_PRIVACY_AT_REST_SQL_STATUS_H_
#define CONSILIUM_PRIVACY_AT_REST_SQL_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

struct sqlite3;

namespace consilium {

// The last error of `connection`, whose result code was `code`.
absl::Status SqlStatus(sqlite3* connection, int code);

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_SQL_STATUS_H_
