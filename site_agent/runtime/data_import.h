// `consilium-agent data import`: a CSV file, an NPZ archive or arrays of several files under a
// contract become a data set of the store, in the agent that runs on it or without one.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_DATA_IMPORT_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_DATA_IMPORT_H_

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"
#include "site_agent/ingest/array_table.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

struct ImportOptions {
  std::string contract_file;
  // Where the rows are: one of the three.
  std::string csv_file = "";
  std::string npz_file = "";  // *.npz, with an array for each column of the contract.
  std::vector<ArrayColumnSource> arrays = {};
  std::string dataset = "";      // Empty: the contract's name.
  std::string report_file = "";  // Empty: import-<dataset>.json in the store's folder.
  // What is done about rows that break the contract.
  enum class BadRows : uint8_t {
    kLeaveOut,      // The others are imported.
    kImportNothing  // The data set stays as it was.
  } bad_rows = BadRows::kLeaveOut;
};

// A column out of "COLUMN=FILE[,FILE...]", where several files are one after the other and a file
// is an IDX file or "ARCHIVE.npz[:ARRAY]"; without ARRAY, the array of the column's name.
// INVALID_ARGUMENT where it is not of this form.
absl::StatusOr<ArrayColumnSource> ArrayColumnOf(absl::string_view text);

// What a running agent is asked; files by their absolute paths, since it has a folder of its own.
nlohmann::json ImportRequest(const ImportOptions& options);
// INVALID_ARGUMENT where a file is not named, or rows come from more than one place.
absl::StatusOr<ImportOptions> ImportOptionsOf(const nlohmann::json& request);

// Asked before anything changes, with the hashes of the contracts whose data set would be another
// one afterwards: the file's own, and that of the data set that is replaced.
using MayReplace = absl::FunctionRef<absl::Status(const std::vector<Digest>& contracts)>;

// Told now and then how far an import came: {"part": from 0 to 1, "rows"} of the rows that were
// read; of arrays before that {"part", "unpacking": true}, of their bytes. An error ends the import
// with it. Null: nobody listens.
using TellProgress = std::function<absl::Status(const nlohmann::json& progress)>;

// {"dataset", "rows_read", "rows_stored", "rows_refused", "report_file", "refusals": [{"line",
// "column", "reason"}]}; of the refusals the first 20, the report file has them all; of arrays a
// line is a row, from 1. Errors of the files, RESOURCE_EXHAUSTED where the rows are beyond
// RowBudget, errors of `may_replace`, of `tell` and of the store; nothing has changed then. Nor has
// it where bad rows mean that nothing is imported: "rows_stored" is 0 and "rows_refused" is not.
absl::StatusOr<nlohmann::json> ImportInto(SiteStore& store, const ImportOptions& options,
                                          MayReplace may_replace,
                                          const TellProgress& tell = nullptr);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_DATA_IMPORT_H_
