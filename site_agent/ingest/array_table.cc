#include "site_agent/ingest/array_table.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/features.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/array_files.h"
#include "site_agent/ingest/contract_check.h"
#include "site_agent/ingest/csv_reader.h"

namespace consilium {
namespace {

absl::Status Wrong(absl::string_view column, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("column \"", column, "\" ", what));
}

absl::StatusOr<Array> ReadPart(const std::string& column, const ArrayColumnSource::Part& part) {
  if (!absl::EndsWith(part.file, ".npz")) {
    if (!part.array.empty()) return Wrong(column, "names an array, which only a *.npz file has");
    return ReadIdxFile(part.file);
  }
  CONSILIUM_ASSIGN_OR_RETURN(const NpzFile file, NpzFile::Open(part.file));
  return file.Read(part.array.empty() ? column : part.array);
}

std::vector<uint64_t> WithoutOnes(const std::vector<uint64_t>& shape) {
  std::vector<uint64_t> rest;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(rest),
               [](uint64_t size) { return size != 1; });
  return rest;
}

// Takes what is read of `bytes_left`.
absl::StatusOr<std::vector<Array>> ReadColumn(const ArrayColumnSource& source,
                                              uint64_t& bytes_left) {
  if (source.parts.empty()) return Wrong(source.column, "has no parts");
  std::vector<Array> parts;
  for (const ArrayColumnSource::Part& part : source.parts) {
    CONSILIUM_ASSIGN_OR_RETURN(Array array, ReadPart(source.column, part));
    if (array.bytes() > bytes_left) {
      return absl::ResourceExhaustedError(
          absl::StrCat("column \"", source.column, "\": the table has too many bytes unpacked"));
    }
    bytes_left -= array.bytes();
    parts.push_back(std::move(array));
    const Array& first = parts.front();
    if (parts.back().row_shape() != first.row_shape() ||
        parts.back().is_text() != first.is_text()) {
      return Wrong(source.column, "has parts of unlike shapes");
    }
  }
  return parts;
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

// The names of those that have one value a row.
std::vector<std::string> ScalarsOf(const v1::DataContract& contract) {
  return NamesOf(contract, [](const v1::Column& column) { return !column.has_tensor(); });
}

absl::Status CheckShapes(const ArrayTable& table, const v1::DataContract& contract) {
  for (const std::string& name : ScalarsOf(contract)) {
    if (!table.Has(name)) return Wrong(name, "is not among the arrays");
    if (!table.RowShape(name).empty()) {
      return Wrong(name, absl::StrCat("has ", ShapeText(table.RowShape(name)),
                                      " numbers a row; the contract wants one"));
    }
  }
  for (const v1::Column& column : contract.columns()) {
    if (!column.has_tensor()) continue;
    if (!table.Has(column.name())) return Wrong(column.name(), "is not among the arrays");
    if (table.IsText(column.name())) return Wrong(column.name(), "holds texts");
    const auto& dimensions = column.tensor().shape();
    const std::vector<uint64_t> shape(dimensions.begin(), dimensions.end());
    if (table.RowShape(column.name()) != WithoutOnes(shape)) {
      return Wrong(column.name(),
                   absl::StrCat("has rows of ", ShapeText(table.RowShape(column.name())),
                                " where the contract says ", ShapeText(shape)));
    }
  }
  return absl::OkStatus();
}

// Takes the tensors of a row, or says why not.
class TensorCheck {
 public:
  TensorCheck(const ArrayTable& table, const v1::DataContract& contract)
      : table_(table), contract_(contract) {}

  std::optional<RowRefusal> Take(size_t index, std::vector<float>& tensors) {
    tensors.clear();
    for (const v1::Column& column : contract_.columns()) {
      if (!column.has_tensor()) continue;
      numbers_.clear();
      table_.AppendNumbers(column.name(), index, numbers_);
      for (const double number : numbers_) {
        const std::string reason = Reason(column.tensor(), number);
        if (!reason.empty()) return RowRefusal{index + 1, column.name(), reason};
        tensors.push_back(static_cast<float>(number + 0.0));  // −0 becomes 0.
      }
    }
    return std::nullopt;
  }

 private:
  static std::string Reason(const v1::Tensor& tensor, double number) {
    if (!std::isfinite(number)) return "holds what is not a finite number";
    if (std::abs(number) > double{std::numeric_limits<float>::max()}) {
      return "holds a number beyond those of single precision";
    }
    if (number < tensor.min()) {
      return absl::StrCat("holds a number below the contract's minimum of ", tensor.min());
    }
    if (number > tensor.max()) {
      return absl::StrCat("holds a number above the contract's maximum of ", tensor.max());
    }
    return "";
  }

  const ArrayTable& table_;
  const v1::DataContract& contract_;
  std::vector<double> numbers_;
};

}  // namespace

absl::StatusOr<ArrayTable> ArrayTable::Read(const std::vector<ArrayColumnSource>& sources,
                                            uint64_t bytes_max) {
  ArrayTable table;
  for (const ArrayColumnSource& source : sources) {
    CONSILIUM_ASSIGN_OR_RETURN(std::vector<Array> parts, ReadColumn(source, bytes_max));
    size_t rows = 0;
    for (const Array& part : parts) rows += part.rows();
    if (!table.columns_.empty() && rows != table.rows_) {
      return Wrong(source.column, absl::StrCat("has ", rows, " rows, another one ", table.rows_));
    }
    table.rows_ = rows;
    if (!table.columns_.emplace(source.column, std::move(parts)).second) {
      return Wrong(source.column, "is there twice");
    }
  }
  return table;
}

ArrayTable::Place ArrayTable::PlaceOf(const std::string& column, size_t row) const {
  const std::vector<Array>& parts = columns_.at(column);
  size_t part = 0;
  for (; row >= parts[part].rows(); ++part) row -= parts[part].rows();
  return {&parts[part], row};
}

std::vector<uint64_t> ArrayTable::RowShape(const std::string& column) const {
  return WithoutOnes(columns_.at(column).front().row_shape());
}

bool ArrayTable::IsText(const std::string& column) const {
  return columns_.at(column).front().is_text();
}

std::string ArrayTable::Text(const std::string& column, size_t row) const {
  const Place place = PlaceOf(column, row);
  return place.array->Text(place.row);
}

void ArrayTable::AppendNumbers(const std::string& column, size_t row,
                               std::vector<double>& numbers) const {
  const Place place = PlaceOf(column, row);
  const size_t first = place.row * place.array->row_items();
  for (size_t i = 0; i < place.array->row_items(); ++i) {
    numbers.push_back(place.array->Number(first + i));
  }
}

std::vector<ArrayColumnSource> ArraysOfArchive(const std::string& path,
                                               const v1::DataContract& contract) {
  std::vector<ArrayColumnSource> sources;
  for (const std::string& name : NamesOf(contract, [](const v1::Column&) { return true; })) {
    sources.push_back({name, {{path, name}}});
  }
  return sources;
}

absl::StatusOr<ImportReport> ImportArrays(const ArrayTable& table, const v1::DataContract& contract,
                                          const ArrayRowSink& sink) {
  if (table.rows() == 0) return absl::InvalidArgumentError("the arrays have no rows");
  v1::DataContract by_name = contract;
  by_name.mutable_csv()->set_header(v1::CsvFormat::PRESENT);
  by_name.mutable_csv()->clear_column_names();
  CONSILIUM_ASSIGN_OR_RETURN(ContractCheck check, ContractCheck::Create(by_name));
  CONSILIUM_RETURN_IF_ERROR(CheckShapes(table, contract));
  const std::vector<std::string> names = ScalarsOf(contract);
  CsvRecord record;
  record.Assign(0, names);
  CONSILIUM_RETURN_IF_ERROR(check.BindHeader(record));
  TensorCheck tensors(table, contract);
  ImportReport report;
  RawRow row;
  std::vector<std::string> fields(names.size());
  for (size_t i = 0; i < table.rows(); ++i) {
    ++report.rows_read;
    for (size_t f = 0; f < names.size(); ++f) fields[f] = table.Text(names[f], i);
    record.Assign(i + 1, fields);
    std::optional<RowRefusal> refusal = tensors.Take(i, row.tensors);
    if (!refusal.has_value()) refusal = check.Check(record, row);
    if (refusal.has_value()) {
      ++report.rows_refused;
      if (report.refusals.size() < limits::kRefusedRowsReportedMax) {
        report.refusals.push_back(*std::move(refusal));
      }
      continue;
    }
    CONSILIUM_RETURN_IF_ERROR(sink(row, i));
    ++report.rows_stored;
  }
  return report;
}

}  // namespace consilium
