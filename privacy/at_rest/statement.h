// A prepared SQL statement. Bind, then Run() for a write or Step() for the rows:
//
//   CONSILIUM_RETURN_IF_ERROR(insert.Bind(run, task, hash).Run());
//
//   select.Bind(run);
//   CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Step());
//   while (more) { use(select.ColumnInt64(0)); CONSILIUM_ASSIGN_OR_RETURN(more, select.Step()); }
//
// SQLCipher 3.4.1 speaks the SQL of SQLite 3.15: no UPSERT, RETURNING, STRICT, window functions.
//
// Ownership: must die before its Database. Threads: its Database's.

#ifndef CONSILIUM_PRIVACY_AT_REST_STATEMENT_H_
#define CONSILIUM_PRIVACY_AT_REST_STATEMENT_H_

#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"

struct sqlite3;
struct sqlite3_stmt;

namespace consilium {

class Statement {
 public:
  Statement(Statement&&) = default;
  Statement& operator=(Statement&&) = default;

  // Sets all parameters, ?1 to ?n, and starts the statement anew. Values are copied. Takes
  // integers (an unsigned one above 2^63 is stored as its two's complement), floating point,
  // text, byte spans, vectors and digests as blobs, strong ids, and std::nullopt or an empty
  // std::optional as NULL. An error is kept and comes back from Step() or Run(): INVALID_ARGUMENT
  // where the count of parameters is another.
  template <typename... Values>
  Statement& Bind(const Values&... values) {
    Start(sizeof...(values));
    int index = 0;
    (BindOne(++index, values), ...);
    return *this;
  }

  // True where there is a row; false after the last one, and the statement is reset then. Errors
  // as in database.h.
  absl::StatusOr<bool> Step();

  // Runs to the end and resets; rows are passed over.
  absl::Status Run();

  // Ends the reading of rows before the last one: an open read keeps the WAL from being folded.
  void Reset();

  // Values of the row that Step() found; views live until the next call that is no Column.
  // `column` from 0, below the count of columns (a programmer's error otherwise).
  bool ColumnIsNull(int column) const;
  int64_t ColumnInt64(int column) const;
  double ColumnDouble(int column) const;
  absl::string_view ColumnText(int column) const;
  std::span<const uint8_t> ColumnBlob(int column) const;
  // DATA_LOSS where the blob has not 32 bytes.
  absl::StatusOr<Digest> ColumnDigest(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3* connection, sqlite3_stmt* statement)
      : connection_(connection), statement_(statement) {}

  void Start(size_t count);
  void Keep(int code);
  void CheckColumn(int column) const;

  void BindInt64(int index, int64_t value);
  void BindDouble(int index, double value);
  void BindText(int index, absl::string_view value);
  void BindBlob(int index, std::span<const uint8_t> value);

  template <std::integral T>
  void BindOne(int index, T value) {
    BindInt64(index, static_cast<int64_t>(value));
  }
  template <std::floating_point T>
  void BindOne(int index, T value) {
    BindDouble(index, static_cast<double>(value));
  }
  void BindOne(int index, absl::string_view value) { BindText(index, value); }
  void BindOne(int index, const std::string& value) { BindText(index, value); }
  void BindOne(int index, const char* value) { BindText(index, value); }
  void BindOne(int index, std::span<const uint8_t> value) { BindBlob(index, value); }
  void BindOne(int index, const std::vector<uint8_t>& value) { BindBlob(index, value); }
  void BindOne(int index, const Digest& value) { BindBlob(index, value); }
  // NULL is what a parameter holds until it is bound.
  void BindOne(int, std::nullopt_t) {}
  template <typename T>
  void BindOne(int index, const std::optional<T>& value) {
    if (value.has_value()) BindOne(index, *value);
  }
  template <typename T>
  void BindOne(int index, const NameId<T>& id) {
    BindText(index, id.value());
  }
  template <typename T>
  void BindOne(int index, const NumberId<T>& id) {
    BindInt64(index, static_cast<int64_t>(id.value()));
  }

  sqlite3* connection_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  absl::Status bound_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_STATEMENT_H_
