// What the rows of a data set, or of a scenario's tables, may take in memory, where they all are
// when a run reads them: a file that is packed, or whose rows are short, has far fewer bytes than
// they.
//
// Ownership: value. Threads: one.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ROW_BUDGET_H_
#define CONSILIUM_SITE_AGENT_INGEST_ROW_BUDGET_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

// Of one data set of an agent, or of all tables of a scenario together.
inline constexpr uint64_t kRowsBytesMax = uint64_t{32} << 30;

class RowBudget {
 public:
  explicit RowBudget(uint64_t bytes_max = kRowsBytesMax) : bytes_max_(bytes_max) {}

  // RESOURCE_EXHAUSTED where the row is one too many.
  absl::Status Take(const RawRow& row) {
    bytes_ += sizeof(RawRow) + row.values.size() * sizeof(double) +
              row.tensors.size() * sizeof(float) + row.patient_id.size();
    if (bytes_ <= bytes_max_) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("the rows take more than ", bytes_max_, " bytes of memory"));
  }

 private:
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ROW_BUDGET_H_
