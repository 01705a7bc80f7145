// Where the columns of a table of arrays lie, and what the headers of their files say of them: all
// that can be refused by a header is, before any item is unpacked.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ARRAY_COLUMNS_H_
#define CONSILIUM_SITE_AGENT_INGEST_ARRAY_COLUMNS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/array.h"
#include "site_agent/ingest/open_archives.h"
#include "site_agent/ingest/row_budget.h"

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

// The columns of a table that is one archive: an array for each of the contract's columns and its
// label, event and patient, of their names.
std::vector<ArrayColumnSource> ArraysOfArchive(const std::string& path,
                                               const v1::DataContract& contract);

// Of one table unpacked, however many arrays it has: a small file can name one of them many times.
inline constexpr uint64_t kTableBytesMax = uint64_t{16} << 30;

// What a table is read for.
struct ArrayTableOptions {
  v1::DataContract contract;
  // Besides the contract's columns: one value a row, the site that the row is of. Empty: none.
  std::string site_column = "";
  RowBudget budget = RowBudget();  // What all of its rows would have to find room in.
  uint64_t bytes_max = kTableBytesMax;
  // Told how many bytes of how many are unpacked: at each header, where it is none of those that
  // are known of yet, then at each MiB at least. An error ends the reading with it. Null: nobody
  // listens.
  std::function<absl::Status(uint64_t unpacked, uint64_t of)> tell = nullptr;
};

// One column by its headers.
struct ArrayColumn {
  ArrayColumnSource source;
  std::vector<ArrayFormat> formats;  // Of source.parts; alike but for their numbers of rows.
};

// The same contract of a file that names its columns, as arrays are named.
v1::DataContract ByName(const v1::DataContract& contract);

// The names of the contract's columns, label, event and patient that have one value a row.
std::vector<std::string> ScalarsOf(const v1::DataContract& contract);

// Of one row, without dimensions of one: e.g. [28, 28] of images that were stored as [1, 28, 28].
std::vector<uint64_t> RowShape(const ArrayFormat& format);

// The columns that `options` ask for; other sources are not looked at. INVALID_ARGUMENT for a
// contract that makes no sense, and names the column that is not there or there twice, has no parts
// or parts of unlike shapes, another number of rows than the first one, or another shape than the
// contract says; also where there are no rows. RESOURCE_EXHAUSTED where all items together, each
// part as often as it is named, have more than bytes_max bytes, or as many rows are beyond the
// budget. Otherwise as NpzFile::Format and IdxFormat, and the errors of options.tell.
absl::StatusOr<std::vector<ArrayColumn>> ReadHeaders(const std::vector<ArrayColumnSource>& sources,
                                                     const ArrayTableOptions& options,
                                                     OpenArchives& archives);

// The items of all `columns`, which ReadHeaders gave under the same options and archives, part by
// part. Errors as of NpzFile::Read and ReadIdxFile, and those of options.tell.
absl::StatusOr<std::vector<std::vector<Array>>> ReadItems(const std::vector<ArrayColumn>& columns,
                                                          const ArrayTableOptions& options,
                                                          OpenArchives& archives);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ARRAY_COLUMNS_H_
