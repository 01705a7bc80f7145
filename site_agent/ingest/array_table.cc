#include "site_agent/ingest/array_table.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/contract_check.h"
#include "site_agent/ingest/csv_reader.h"

namespace consilium {
namespace {

// Takes the tensors of a row, or says why not.
class TensorCheck {
 public:
  explicit TensorCheck(const ArrayTable& table) : table_(table) {}

  std::optional<RowRefusal> Take(size_t index, std::vector<float>& tensors) {
    tensors.clear();
    for (const v1::Column& column : table_.contract().columns()) {
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
  std::vector<double> numbers_;
};

}  // namespace

absl::StatusOr<ArrayTable> ArrayTable::Read(const std::vector<ArrayColumnSource>& sources,
                                            const ArrayTableOptions& options) {
  OpenArchives archives;
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<ArrayColumn> columns,
                             ReadHeaders(sources, options, archives));
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<std::vector<Array>> items,
                             ReadItems(columns, options, archives));
  ArrayTable table;
  table.contract_ = options.contract;
  for (const Array& part : items.front()) table.rows_ += part.rows();
  for (size_t c = 0; c < columns.size(); ++c) {
    table.columns_.emplace(columns[c].source.column, std::move(items[c]));
  }
  return table;
}

ArrayTable::Place ArrayTable::PlaceOf(const std::string& column, size_t row) const {
  const std::vector<Array>& parts = columns_.at(column);
  size_t part = 0;
  for (; row >= parts[part].rows(); ++part) row -= parts[part].rows();
  return {&parts[part], row};
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

absl::StatusOr<ImportReport> ImportArrays(const ArrayTable& table, const ArrayRowSink& sink,
                                          const RowRead& row_read) {
  CONSILIUM_ASSIGN_OR_RETURN(ContractCheck check, ContractCheck::Create(ByName(table.contract())));
  const std::vector<std::string> names = ScalarsOf(table.contract());
  CsvRecord record;
  record.Assign(0, names);
  CONSILIUM_RETURN_IF_ERROR(check.BindHeader(record));
  TensorCheck tensors(table);
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
    } else {
      CONSILIUM_RETURN_IF_ERROR(sink(row, i));
      ++report.rows_stored;
    }
    if (row_read != nullptr) CONSILIUM_RETURN_IF_ERROR(row_read());
  }
  return report;
}

}  // namespace consilium
