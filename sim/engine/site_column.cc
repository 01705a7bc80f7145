#include "sim/engine/site_column.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "sim/engine/refused_rows.h"
#include "site_agent/ingest/contract_check.h"
#include "site_agent/ingest/csv_file.h"
#include "site_agent/ingest/csv_reader.h"

namespace consilium {
namespace {

absl::StatusOr<size_t> PositionOf(const std::string& column,
                                  const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), column);
  if (found == names.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("dataset.together.site_column: the file has no column \"", column, "\""));
  }
  return static_cast<size_t>(found - names.begin());
}

}  // namespace

absl::StatusOr<std::map<SiteId, std::vector<RawRow>>> ReadBySiteColumn(
    const SiteColumnFile& file, const v1::DataContract& contract, RowBudget& budget) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<std::istream> input, OpenCsvFile(file.path));
  CONSILIUM_ASSIGN_OR_RETURN(ContractCheck check, ContractCheck::Create(contract));
  CONSILIUM_RETURN_IF_ERROR(check.RefuseTensors());
  CsvOptions options;
  options.delimiter = check.delimiter();
  CsvReader reader(std::move(input), options);
  CsvRecord record;
  std::vector<std::string> names(contract.csv().column_names().begin(),
                                 contract.csv().column_names().end());
  if (check.expects_header()) {
    CONSILIUM_ASSIGN_OR_RETURN(const bool has_header, reader.Next(record));
    if (!has_header) return absl::InvalidArgumentError("the file is empty: it has no header line");
    CONSILIUM_RETURN_IF_ERROR(check.BindHeader(record));
    for (size_t i = 0; i < record.size(); ++i) {
      names.emplace_back(absl::StripAsciiWhitespace(record.field(i)));
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(const size_t position, PositionOf(file.column, names));
  std::map<SiteId, std::vector<RawRow>> rows;
  RawRow row;
  uint64_t read = 0;
  uint64_t refused = 0;
  RowRefusal first;
  for (;; ++read) {
    CONSILIUM_ASSIGN_OR_RETURN(const bool has_record, reader.Next(record));
    if (!has_record) break;
    if (std::optional<RowRefusal> refusal = check.Check(record, row); refusal.has_value()) {
      if (refused++ == 0) first = *std::move(refusal);
      continue;
    }
    const std::string site(absl::StripAsciiWhitespace(record.field(position)));
    if (const absl::Status legal = CheckSiteId(site); !legal.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", record.line(), ": column \"",
                                                     file.column, "\" holds what is no ",
                                                     "site id: ", legal.message()));
    }
    CONSILIUM_RETURN_IF_ERROR(budget.Take(row));
    rows[SiteId(site)].push_back(row);
  }
  WarnOfRefusedRows(file.path, read, refused, first);
  return rows;
}

}  // namespace consilium
