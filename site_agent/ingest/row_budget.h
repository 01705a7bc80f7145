// What the rows of a data set, or of a scenario's tables, may take in memory, where they all are
// when a run reads them: a file that is packed, or whose rows are short, has far fewer bytes than
// they.
//
// Ownership: value. Threads: one.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ROW_BUDGET_H_
#define CONSILIUM_SITE_AGENT_INGEST_ROW_BUDGET_H_

#include <algorithm>
#include <cstddef>
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
    bytes_ += BytesOf(row.values.size(), row.tensors.size()) + row.patient_id.size();
    return bytes_ <= bytes_max_ ? absl::OkStatus() : TooMany();
  }

  // RESOURCE_EXHAUSTED where not all of `rows` could be taken, whatever their patients are called:
  // of what claims to have so many. `values` and `tensor_numbers` are those of one row.
  absl::Status CheckRoom(uint64_t rows, size_t values, size_t tensor_numbers) const {
    const uint64_t left = bytes_max_ - std::min(bytes_, bytes_max_);
    return rows <= left / BytesOf(values, tensor_numbers) ? absl::OkStatus() : TooMany();
  }

 private:
  static uint64_t BytesOf(size_t values, size_t tensor_numbers) {
    return sizeof(RawRow) + values * sizeof(double) + tensor_numbers * sizeof(float);
  }
  absl::Status TooMany() const {
    return absl::ResourceExhaustedError(
        absl::StrCat("the rows take more than ", bytes_max_, " bytes of memory"));
  }

  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ROW_BUDGET_H_
