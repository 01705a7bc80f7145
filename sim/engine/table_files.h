// One table of a scenario, out of a CSV file, an NPZ archive or arrays of several files: whichever
// it is, its rows satisfy the run's contract and look alike from here on.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_ENGINE_TABLE_FILES_H_
#define CONSILIUM_SIM_ENGINE_TABLE_FILES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "protocol/core/ids.h"
#include "site_agent/ingest/raw_row.h"
#include "site_agent/ingest/row_budget.h"

namespace consilium {

// As scenario.proto has it: `file`, or else `arrays`.
struct TableSource {
  std::string folder;  // Of all that is relative.
  std::string file;    // *.npz, or a CSV file.
  google::protobuf::RepeatedPtrField<v1::ArrayColumn> arrays;
};

// The rows that the contract takes, in the table's order. INVALID_ARGUMENT where there is none, or
// no file is named; RESOURCE_EXHAUSTED where `budget` is used up; otherwise as ImportCsvFile and
// ImportArrays.
absl::StatusOr<std::vector<RawRow>> ReadTable(const TableSource& source,
                                              const v1::DataContract& contract, RowBudget& budget);

// The same by site, which `site_column` tells. INVALID_ARGUMENT also where there is no such column,
// or it holds what is no site id.
absl::StatusOr<std::map<SiteId, std::vector<RawRow>>> ReadTableBySite(
    const TableSource& source, const std::string& site_column, const v1::DataContract& contract,
    RowBudget& budget);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_TABLE_FILES_H_
