#include "site_agent/ingest/array_columns.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "models/spec/features.h"
#include "protocol/core/status_macros.h"
#include "site_agent/ingest/array_files.h"
#include "site_agent/ingest/contract_check.h"

namespace consilium {
namespace {

absl::Status Wrong(absl::string_view column, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("column \"", column, "\" ", what));
}

std::vector<uint64_t> WithoutOnes(std::vector<uint64_t> shape) {
  shape.erase(std::remove(shape.begin(), shape.end(), uint64_t{1}), shape.end());
  return shape;
}

bool IsArchive(const ArrayColumnSource::Part& part) { return absl::EndsWith(part.file, ".npz"); }

const std::string& ArrayName(const ArrayColumnSource& source, const ArrayColumnSource::Part& part) {
  return part.array.empty() ? source.column : part.array;
}

absl::StatusOr<ArrayFormat> FormatOf(const ArrayColumnSource& source,
                                     const ArrayColumnSource::Part& part, OpenArchives& archives) {
  if (!IsArchive(part)) {
    if (part.array.empty()) return IdxFormat(part.file);
    return Wrong(source.column, "names an array, which only a *.npz file has");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const NpzFile* file, archives.Open(part.file));
  return file->Format(ArrayName(source, part));
}

// Of the names of a contract's columns, label, event and patient too, those that `wanted` takes.
template <typename Wanted>
std::vector<std::string> NamesOf(const v1::DataContract& contract, Wanted wanted) {
  std::vector<std::string> names;
  for (const v1::Column& column : contract.columns()) {
    if (wanted(column)) names.push_back(column.name());
  }
  names.push_back(contract.label().column());
  if (contract.label().has_survival()) {
    names.push_back(contract.label().survival().event_column());
  }
  if (!contract.patient_id_column().empty()) names.push_back(contract.patient_id_column());
  return names;
}

std::vector<std::string> AllNames(const v1::DataContract& contract) {
  return NamesOf(contract, [](const v1::Column&) { return true; });
}

uint64_t RowsOf(const ArrayColumn& column) {
  uint64_t rows = 0;
  for (const ArrayFormat& format : column.formats) rows += format.shape[0];
  return rows;
}

// Headers read so far, of columns as long as the first and in all no larger than allowed.
class Headers {
 public:
  Headers(const std::vector<ArrayColumnSource>& sources, const ArrayTableOptions& options,
          OpenArchives& archives)
      : sources_(sources), options_(options), archives_(archives), bytes_left_(options.bytes_max) {}

  bool Has(const std::string& name) const {
    return std::any_of(columns_.begin(), columns_.end(),
                       [&name](const ArrayColumn& column) { return column.source.column == name; });
  }

  absl::Status Add(const std::string& name) {
    CONSILIUM_ASSIGN_OR_RETURN(const ArrayColumnSource* source, Find(name));
    CONSILIUM_ASSIGN_OR_RETURN(ArrayColumn column, Read(*source));
    const uint64_t rows = RowsOf(column);
    if (!columns_.empty() && rows != rows_) {
      return Wrong(name, absl::StrCat("has ", rows, " rows, another one ", rows_));
    }
    rows_ = rows;
    columns_.push_back(std::move(column));
    return absl::OkStatus();
  }

  uint64_t rows() const { return rows_; }
  std::vector<ArrayColumn> Take() { return std::move(columns_); }

 private:
  absl::StatusOr<const ArrayColumnSource*> Find(const std::string& name) const {
    const ArrayColumnSource* found = nullptr;
    for (const ArrayColumnSource& source : sources_) {
      if (source.column != name) continue;
      if (found != nullptr) return Wrong(name, "is there twice");
      found = &source;
    }
    if (found == nullptr) {
      return Wrong(name,
                   "is not among the arrays: each column of the contract needs one, and so do its "
                   "label and its patients, with an entry a row");
    }
    return found;
  }

  absl::StatusOr<ArrayColumn> Read(const ArrayColumnSource& source) {
    if (source.parts.empty()) return Wrong(source.column, "has no parts");
    ArrayColumn column{source, {}};
    for (const ArrayColumnSource::Part& part : source.parts) {
      CONSILIUM_ASSIGN_OR_RETURN(ArrayFormat format, FormatOf(source, part, archives_));
      CONSILIUM_ASSIGN_OR_RETURN(const uint64_t bytes, BytesOf(format));
      if (bytes > bytes_left_) {
        return absl::ResourceExhaustedError(absl::StrCat("column \"", source.column,
                                                         "\": the table has more than ",
                                                         options_.bytes_max, " bytes unpacked"));
      }
      bytes_left_ -= bytes;
      if (options_.tell != nullptr) {
        CONSILIUM_RETURN_IF_ERROR(options_.tell(0, options_.bytes_max - bytes_left_));
      }
      column.formats.push_back(std::move(format));
      const ArrayFormat& first = column.formats.front();
      const ArrayFormat& last = column.formats.back();
      if (!std::equal(first.shape.begin() + 1, first.shape.end(), last.shape.begin() + 1,
                      last.shape.end()) ||
          first.is_text() != last.is_text()) {
        return Wrong(source.column, "has parts of unlike shapes");
      }
    }
    return column;
  }

  const std::vector<ArrayColumnSource>& sources_;
  const ArrayTableOptions& options_;
  OpenArchives& archives_;
  uint64_t bytes_left_;
  uint64_t rows_ = 0;
  std::vector<ArrayColumn> columns_;
};

absl::Status CheckTensor(const ArrayFormat& format, const v1::Column& column) {
  if (format.is_text()) return Wrong(column.name(), "holds texts");
  const auto& dimensions = column.tensor().shape();
  const std::vector<uint64_t> shape(dimensions.begin(), dimensions.end());
  if (RowShape(format) == WithoutOnes(shape)) return absl::OkStatus();
  return Wrong(column.name(), absl::StrCat("has rows of ", ShapeText(RowShape(format)),
                                           " where the contract says ", ShapeText(shape)));
}

absl::Status CheckShapes(const std::vector<ArrayColumn>& columns,
                         const ArrayTableOptions& options) {
  const auto format_of = [&columns](const std::string& name) -> const ArrayFormat& {
    return std::find_if(columns.begin(), columns.end(),
                        [&name](const ArrayColumn& column) { return column.source.column == name; })
        ->formats.front();
  };
  for (const std::string& name : ScalarsOf(options.contract)) {
    const std::vector<uint64_t> shape = RowShape(format_of(name));
    if (shape.empty()) continue;
    return Wrong(name,
                 absl::StrCat("has ", ShapeText(shape), " numbers a row; the contract wants one"));
  }
  for (const v1::Column& column : options.contract.columns()) {
    if (!column.has_tensor()) continue;
    CONSILIUM_RETURN_IF_ERROR(CheckTensor(format_of(column.name()), column));
  }
  if (options.site_column.empty()) return absl::OkStatus();
  const std::vector<uint64_t> shape = RowShape(format_of(options.site_column));
  if (shape.empty()) return absl::OkStatus();
  return Wrong(options.site_column,
               absl::StrCat("has ", ShapeText(shape),
                            " numbers a row; a site column is of one value a row"));
}

absl::Status CheckRoom(uint64_t rows, const ArrayTableOptions& options) {
  size_t numbers = 0;
  for (const v1::Column& column : options.contract.columns()) {
    if (column.has_tensor()) numbers += TensorElements(column.tensor());
  }
  return options.budget.CheckRoom(rows, static_cast<size_t>(options.contract.columns_size()),
                                  numbers);
}

absl::StatusOr<std::vector<Array>> ReadParts(const ArrayColumn& column, OpenArchives& archives,
                                             const TellUnpacked& tell) {
  std::vector<Array> parts;
  for (size_t p = 0; p < column.formats.size(); ++p) {
    const ArrayColumnSource::Part& part = column.source.parts[p];
    if (!IsArchive(part)) {
      CONSILIUM_ASSIGN_OR_RETURN(Array array, ReadIdxFile(part.file, column.formats[p], tell));
      parts.push_back(std::move(array));
      continue;
    }
    CONSILIUM_ASSIGN_OR_RETURN(const NpzFile* file, archives.Open(part.file));
    CONSILIUM_ASSIGN_OR_RETURN(Array array,
                               file->Read(ArrayName(column.source, part), column.formats[p], tell));
    parts.push_back(std::move(array));
  }
  return parts;
}

}  // namespace

v1::DataContract ByName(const v1::DataContract& contract) {
  v1::DataContract by_name = contract;
  by_name.mutable_csv()->set_header(v1::CsvFormat::PRESENT);
  by_name.mutable_csv()->clear_column_names();
  return by_name;
}

std::vector<ArrayColumnSource> ArraysOfArchive(const std::string& path,
                                               const v1::DataContract& contract) {
  std::vector<ArrayColumnSource> sources;
  for (const std::string& name : AllNames(contract)) sources.push_back({name, {{path, name}}});
  return sources;
}

std::vector<std::string> ScalarsOf(const v1::DataContract& contract) {
  return NamesOf(contract, [](const v1::Column& column) { return !column.has_tensor(); });
}

std::vector<uint64_t> RowShape(const ArrayFormat& format) {
  return WithoutOnes({format.shape.begin() + 1, format.shape.end()});
}

absl::StatusOr<std::vector<ArrayColumn>> ReadHeaders(const std::vector<ArrayColumnSource>& sources,
                                                     const ArrayTableOptions& options,
                                                     OpenArchives& archives) {
  CONSILIUM_RETURN_IF_ERROR(ContractCheck::Create(ByName(options.contract)).status());
  Headers headers(sources, options, archives);
  for (const std::string& name : AllNames(options.contract)) {
    if (headers.Has(name)) return Wrong(name, "is named twice by the contract");
    CONSILIUM_RETURN_IF_ERROR(headers.Add(name));
  }
  if (!options.site_column.empty() && !headers.Has(options.site_column)) {
    CONSILIUM_RETURN_IF_ERROR(headers.Add(options.site_column));
  }
  const uint64_t rows = headers.rows();
  std::vector<ArrayColumn> columns = headers.Take();
  CONSILIUM_RETURN_IF_ERROR(CheckShapes(columns, options));
  if (rows == 0) return absl::InvalidArgumentError("the arrays have no rows");
  CONSILIUM_RETURN_IF_ERROR(CheckRoom(rows, options));
  return columns;
}

absl::StatusOr<std::vector<std::vector<Array>>> ReadItems(const std::vector<ArrayColumn>& columns,
                                                          const ArrayTableOptions& options,
                                                          OpenArchives& archives) {
  uint64_t all = 0;
  for (const ArrayColumn& column : columns) {
    for (const ArrayFormat& format : column.formats) {
      CONSILIUM_ASSIGN_OR_RETURN(const uint64_t bytes, BytesOf(format));
      all += bytes;
    }
  }
  TellUnpacked tell;
  uint64_t unpacked = 0;
  if (options.tell != nullptr) {
    tell = [&](uint64_t bytes) { return options.tell(unpacked += bytes, all); };
  }
  std::vector<std::vector<Array>> items;
  for (const ArrayColumn& column : columns) {
    CONSILIUM_ASSIGN_OR_RETURN(std::vector<Array> parts, ReadParts(column, archives, tell));
    items.push_back(std::move(parts));
  }
  return items;
}

}  // namespace consilium
