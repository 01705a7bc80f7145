// A hospital's CSV file, row by row through its data contract and on to whoever stores the rows.
// Memory is bounded by one record, whatever the file's size.
//
// Threads: one import at a time on one input.

#ifndef CONSILIUM_SITE_AGENT_INGEST_CSV_IMPORT_H_
#define CONSILIUM_SITE_AGENT_INGEST_CSV_IMPORT_H_

#include <cstdint>
#include <functional>
#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/contract_check.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

struct ImportReport {
  uint64_t rows_read = 0;
  uint64_t rows_stored = 0;
  uint64_t rows_refused = 0;
  // The first limits::kRefusedRowsReportedMax of them, in the file's order.
  std::vector<RowRefusal> refusals;
};

// Called for each good row, in the file's order. An error ends the import with it.
using RowSink = std::function<absl::Status(const RawRow& row)>;

// Called after each row, whether it was good or refused. An error ends the import with it. Null:
// nobody is.
using RowRead = std::function<absl::Status()>;

// Rows that `sink` took stay with it where the import fails half-way: it is the caller's
// transaction. INVALID_ARGUMENT for a contract that makes no sense, a file without rows or without
// the contract's columns; otherwise as CsvReader::Next.
absl::StatusOr<ImportReport> ImportCsv(std::unique_ptr<std::istream> input,
                                       const v1::DataContract& contract, const RowSink& sink,
                                       const RowRead& row_read = nullptr);

// Errors of the file as of OpenCsvFile.
absl::StatusOr<ImportReport> ImportCsvFile(const std::string& path,
                                           const v1::DataContract& contract, const RowSink& sink);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_CSV_IMPORT_H_
