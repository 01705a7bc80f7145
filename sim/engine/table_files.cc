#include "sim/engine/table_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "sim/engine/refused_rows.h"
#include "sim/engine/site_column.h"
#include "site_agent/ingest/array_table.h"
#include "site_agent/ingest/csv_import.h"

namespace consilium {
namespace {

std::string InFolder(const std::string& folder, const std::string& file) {
  return (std::filesystem::path(folder) / file).string();
}

bool IsArrays(const TableSource& source) {
  return source.file.empty() || absl::EndsWith(source.file, ".npz");
}

absl::StatusOr<ArrayTable> ReadArrays(const TableSource& source, const std::string& site_column,
                                      const v1::DataContract& contract, const RowBudget& budget) {
  const ArrayTableOptions options = {
      .contract = contract, .site_column = site_column, .budget = budget};
  if (!source.file.empty()) {
    const std::string path = InFolder(source.folder, source.file);
    std::vector<ArrayColumnSource> columns = ArraysOfArchive(path, contract);
    const bool named = std::any_of(
        columns.begin(), columns.end(),
        [&site_column](const ArrayColumnSource& column) { return column.column == site_column; });
    if (!site_column.empty() && !named) columns.push_back({site_column, {{path, site_column}}});
    return ArrayTable::Read(columns, options);
  }
  if (source.arrays.empty()) {
    return absl::InvalidArgumentError("dataset: a table names neither a file nor arrays");
  }
  std::vector<ArrayColumnSource> columns;
  for (const v1::ArrayColumn& column : source.arrays) {
    ArrayColumnSource& to = columns.emplace_back();
    to.column = column.column();
    for (const v1::ArrayPart& part : column.parts()) {
      to.parts.push_back({InFolder(source.folder, part.file()), part.array()});
    }
  }
  return ArrayTable::Read(columns, options);
}

// The complaint with the file that it is about.
absl::Status OfFile(const std::string& path, const absl::Status& status) {
  if (status.ok() || absl::StrContains(status.message(), path)) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::Status NoRows(const TableSource& source) {
  return absl::InvalidArgumentError(absl::StrCat(
      source.file.empty() ? "the table of arrays" : InFolder(source.folder, source.file),
      " has no row that the contract takes"));
}

}  // namespace

absl::StatusOr<std::vector<RawRow>> ReadTable(const TableSource& source,
                                              const v1::DataContract& contract, RowBudget& budget) {
  std::vector<RawRow> rows;
  const auto keep = [&](const RawRow& row) {
    CONSILIUM_RETURN_IF_ERROR(budget.Take(row));
    rows.push_back(row);
    return absl::OkStatus();
  };
  if (IsArrays(source)) {
    CONSILIUM_ASSIGN_OR_RETURN(const ArrayTable table, ReadArrays(source, "", contract, budget));
    CONSILIUM_RETURN_IF_ERROR(
        ImportArrays(table, [&keep](const RawRow& row, size_t) { return keep(row); }).status());
  } else {
    const std::string path = InFolder(source.folder, source.file);
    const absl::StatusOr<ImportReport> report = ImportCsvFile(path, contract, keep);
    CONSILIUM_RETURN_IF_ERROR(OfFile(path, report.status()));
    WarnOfRefusedRows(path, report->rows_read, report->rows_refused,
                      report->refusals.empty() ? RowRefusal() : report->refusals[0]);
  }
  if (rows.empty()) return NoRows(source);
  return rows;
}

absl::StatusOr<std::map<SiteId, std::vector<RawRow>>> ReadTableBySite(
    const TableSource& source, const std::string& site_column, const v1::DataContract& contract,
    RowBudget& budget) {
  if (!IsArrays(source)) {
    const std::string path = InFolder(source.folder, source.file);
    auto rows = ReadBySiteColumn({path, site_column}, contract, budget);
    CONSILIUM_RETURN_IF_ERROR(OfFile(path, rows.status()));
    return rows;
  }
  CONSILIUM_ASSIGN_OR_RETURN(const ArrayTable table,
                             ReadArrays(source, site_column, contract, budget));
  std::map<SiteId, std::vector<RawRow>> rows;
  const auto sink = [&](const RawRow& row, size_t index) {
    const std::string site = table.Text(site_column, index);
    if (const absl::Status legal = CheckSiteId(site); !legal.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("row ", index + 1, ": array \"", site_column,
                       "\" holds what is no site id: ", legal.message()));
    }
    CONSILIUM_RETURN_IF_ERROR(budget.Take(row));
    rows[SiteId(site)].push_back(row);
    return absl::OkStatus();
  };
  CONSILIUM_RETURN_IF_ERROR(ImportArrays(table, sink).status());
  if (rows.empty()) return NoRows(source);
  return rows;
}

}  // namespace consilium
