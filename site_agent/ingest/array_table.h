// A table whose columns are arrays: images beside their labels and patients, out of NPZ and IDX
// files, row by row through a data contract as a CSV file's.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ARRAY_TABLE_H_
#define CONSILIUM_SITE_AGENT_INGEST_ARRAY_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/array.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

// Where a column lies; several parts are one after the other.
struct ArrayColumnSource {
  struct Part {
    std::string file;   // *.npz, or an IDX file.
    std::string array;  // Of an NPZ file. Empty: the column's name.
  };
  std::string column;
  std::vector<Part> parts;
};

// Of one table unpacked, however many arrays it has: a small file can name one of them many times.
inline constexpr uint64_t kTableBytesMax = uint64_t{16} << 30;

class ArrayTable {
 public:
  // INVALID_ARGUMENT where a column is there twice or has no parts, or columns differ in their
  // number of rows, or parts of one in their shape; RESOURCE_EXHAUSTED beyond `bytes_max`, which
  // one array more than that may take for a while; otherwise as NpzFile and ReadIdxFile.
  static absl::StatusOr<ArrayTable> Read(const std::vector<ArrayColumnSource>& sources,
                                         uint64_t bytes_max = kTableBytesMax);

  size_t rows() const { return rows_; }
  bool Has(const std::string& column) const { return columns_.count(column) > 0; }
  // Of one row, without dimensions of one: e.g. [28, 28] of images that were stored as [1, 28, 28].
  // The column is there.
  std::vector<uint64_t> RowShape(const std::string& column) const;
  bool IsText(const std::string& column) const;
  // The one item of a row, as Array::Text has it. RowShape is empty and row < rows().
  std::string Text(const std::string& column, size_t row) const;
  // Appends the row's numbers. IsText is false and row < rows().
  void AppendNumbers(const std::string& column, size_t row, std::vector<double>& numbers) const;

 private:
  struct Place {
    const Array* array;
    size_t row;
  };
  ArrayTable() = default;
  Place PlaceOf(const std::string& column, size_t row) const;

  std::map<std::string, std::vector<Array>> columns_;
  size_t rows_ = 0;
};

// The columns of a table that is one archive: an array for each of the contract's columns and its
// label, event and patient, of their names.
std::vector<ArrayColumnSource> ArraysOfArchive(const std::string& path,
                                               const v1::DataContract& contract);

// Called for each good row, in the table's order. An error ends the import with it.
using ArrayRowSink = std::function<absl::Status(const RawRow& row, size_t index)>;

// As ImportCsv. A refusal's line is the row's number, from 1. Texts and numbers are taken as a CSV
// file would have them, so a label 3.0 is the class "3"; what is not a number was not measured.
// INVALID_ARGUMENT where a column of the contract is not there or has another shape than it says.
absl::StatusOr<ImportReport> ImportArrays(const ArrayTable& table, const v1::DataContract& contract,
                                          const ArrayRowSink& sink);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ARRAY_TABLE_H_
