#include "site_agent/ingest/csv_import.h"

#include <optional>
#include <utility>

#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/csv_file.h"
#include "site_agent/ingest/csv_reader.h"

namespace consilium {

absl::StatusOr<ImportReport> ImportCsv(std::unique_ptr<std::istream> input,
                                       const v1::DataContract& contract, const RowSink& sink,
                                       const RowRead& row_read) {
  CONSILIUM_ASSIGN_OR_RETURN(ContractCheck check, ContractCheck::Create(contract));
  CONSILIUM_RETURN_IF_ERROR(check.RefuseTensors());
  CsvOptions options;
  options.delimiter = check.delimiter();
  CsvReader reader(std::move(input), options);
  CsvRecord record;
  if (check.expects_header()) {
    CONSILIUM_ASSIGN_OR_RETURN(bool has_header, reader.Next(record));
    if (!has_header) return absl::InvalidArgumentError("the file is empty: it has no header line");
    CONSILIUM_RETURN_IF_ERROR(check.BindHeader(record));
  }
  ImportReport report;
  RawRow row;
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(bool has_record, reader.Next(record));
    if (!has_record) break;
    ++report.rows_read;
    if (std::optional<RowRefusal> refusal = check.Check(record, row)) {
      ++report.rows_refused;
      if (report.refusals.size() < limits::kRefusedRowsReportedMax) {
        report.refusals.push_back(*std::move(refusal));
      }
    } else {
      CONSILIUM_RETURN_IF_ERROR(sink(row));
      ++report.rows_stored;
    }
    if (row_read != nullptr) CONSILIUM_RETURN_IF_ERROR(row_read());
  }
  if (report.rows_read == 0) return absl::InvalidArgumentError("the file has no rows");
  return report;
}

absl::StatusOr<ImportReport> ImportCsvFile(const std::string& path,
                                           const v1::DataContract& contract, const RowSink& sink) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<std::istream> file, OpenCsvFile(path));
  return ImportCsv(std::move(file), contract, sink);
}

}  // namespace consilium
