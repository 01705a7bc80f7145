#include "site_agent/runtime/site_schema.h"

#include "privacy/at_rest/journal.h"

namespace consilium::site {
namespace {

// AUTOINCREMENT: a data set's number names its key and binds its rows, so none comes twice.
constexpr char kTables[] = R"sql(
CREATE TABLE setting (
  name TEXT PRIMARY KEY NOT NULL,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE lease (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  current BLOB NOT NULL CHECK (length(current) = 32),
  next BLOB CHECK (next IS NULL OR length(next) = 32)
);

CREATE TABLE approval (
  plan_hash BLOB PRIMARY KEY NOT NULL CHECK (length(plan_hash) = 32),
  unix_ns INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE dataset (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE NOT NULL,
  contract BLOB NOT NULL,
  contract_hash BLOB NOT NULL CHECK (length(contract_hash) = 32),
  rows INTEGER NOT NULL,
  rows_refused INTEGER NOT NULL,
  imported_unix_ns INTEGER NOT NULL
);

CREATE TABLE example (
  dataset INTEGER NOT NULL REFERENCES dataset (id),
  row INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (dataset, row)
) WITHOUT ROWID;
)sql";

// An approval is of one run: the same plan under another name is another question. Nothing carries
// over from the approvals of plans, which named no run.
constexpr char kPolicy[] = R"sql(
DROP TABLE approval;

CREATE TABLE run_approval (
  run_id TEXT PRIMARY KEY NOT NULL,
  plan_hash BLOB NOT NULL CHECK (length(plan_hash) = 32),
  unix_ns INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE released_statistics (
  column_name TEXT NOT NULL,
  set_hash BLOB NOT NULL CHECK (length(set_hash) = 32),
  patients BLOB NOT NULL,
  unix_ns INTEGER NOT NULL,
  PRIMARY KEY (column_name, set_hash)
) WITHOUT ROWID;
)sql";

}  // namespace

std::vector<Migration> SiteMigrations() {
  return {JournalMigration(),
          {.name = "site tables", .sql = kTables},
          {.name = "approvals by run, released statistics", .sql = kPolicy}};
}

}  // namespace consilium::site
