// A table whose columns are arrays: images beside their labels and patients, out of NPZ and IDX
// files, unpacked, and row by row through a data contract as a CSV file's.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ARRAY_TABLE_H_
#define CONSILIUM_SITE_AGENT_INGEST_ARRAY_TABLE_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/array.h"
#include "site_agent/ingest/array_columns.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

class ArrayTable {
 public:
  // Errors as of ReadHeaders, before any item is unpacked, and of ReadItems.
  static absl::StatusOr<ArrayTable> Read(const std::vector<ArrayColumnSource>& sources,
                                         const ArrayTableOptions& options);

  const v1::DataContract& contract() const { return contract_; }
  size_t rows() const { return rows_; }
  // The one item of a row, as Array::Text has it. The column is there and no tensor; row < rows().
  std::string Text(const std::string& column, size_t row) const;
  // Appends the row's numbers. The column is a tensor of the contract; row < rows().
  void AppendNumbers(const std::string& column, size_t row, std::vector<double>& numbers) const;

 private:
  struct Place {
    const Array* array;
    size_t row;
  };
  ArrayTable() = default;
  Place PlaceOf(const std::string& column, size_t row) const;

  v1::DataContract contract_;
  std::map<std::string, std::vector<Array>> columns_;
  size_t rows_ = 0;
};

// Called for each good row, in the table's order. An error ends the import with it.
using ArrayRowSink = std::function<absl::Status(const RawRow& row, size_t index)>;

// As ImportCsv, under the table's contract. A refusal's line is the row's number, from 1. Texts and
// numbers are taken as a CSV file would have them, so a label 3.0 is the class "3"; what is not a
// number was not measured.
absl::StatusOr<ImportReport> ImportArrays(const ArrayTable& table, const ArrayRowSink& sink,
                                          const RowRead& row_read = nullptr);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ARRAY_TABLE_H_
