// One CSV file of all sites' rows, in which a column tells whose each row is. The column need not
// be in the contract: hospitals do not have it.
//
// Threads: any.

#ifndef CONSILIUM_SIM_ENGINE_SITE_COLUMN_H_
#define CONSILIUM_SIM_ENGINE_SITE_COLUMN_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "protocol/core/ids.h"
#include "site_agent/ingest/raw_row.h"
#include "site_agent/ingest/row_budget.h"

namespace consilium {

struct SiteColumnFile {
  std::string path;
  std::string column;
};

// The rows that the contract takes, by site, in the file's order. INVALID_ARGUMENT where the file
// has no such column, or it holds what is no site id; RESOURCE_EXHAUSTED also where `budget` is
// used up; otherwise as ImportCsvFile.
absl::StatusOr<std::map<SiteId, std::vector<RawRow>>> ReadBySiteColumn(
    const SiteColumnFile& file, const v1::DataContract& contract, RowBudget& budget);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SITE_COLUMN_H_
