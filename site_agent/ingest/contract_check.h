// Whether a row is what its data contract says, and what it holds if so. A refusal names the
// column and the rule, never the value: reports travel, values may be a patient's.
//
// Ownership: copies what it needs of the contract. Threads: Check() from any, once bound.

#ifndef CONSILIUM_SITE_AGENT_INGEST_CONTRACT_CHECK_H_
#define CONSILIUM_SITE_AGENT_INGEST_CONTRACT_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/csv_reader.h"
#include "site_agent/ingest/raw_row.h"
#include "site_agent/ingest/value_matcher.h"

namespace consilium {

struct RowRefusal {
  uint64_t line = 0;
  std::string column;  // Empty where the reason concerns the whole row.
  std::string reason;  // E.g. "is above the contract's maximum of 300".
};

class ContractCheck {
 public:
  // INVALID_ARGUMENT names the column of the contract that makes no sense: no kind, an empty or
  // doubled name, min > max, too few or doubled values, a constant that is none of them.
  static absl::StatusOr<ContractCheck> Create(const v1::DataContract& contract);

  // As the contract says; needs to be given to the CsvReader.
  char delimiter() const { return delimiter_; }
  // Whether the file's first record is a header, for BindHeader.
  bool expects_header() const { return expects_header_; }

  // INVALID_ARGUMENT names a column that is a tensor: of whoever reads a CSV file.
  absl::Status RefuseTensors() const;

  // Finds the contract's columns, but for tensors, in the file's first record. INVALID_ARGUMENT
  // names the column that is missing or there twice.
  absl::Status BindHeader(const CsvRecord& header);

  // Fills `row` but for its tensors, which are part of what its patient is known by and so are
  // there before, or says why not. BindHeader has been called where expects_header().
  std::optional<RowRefusal> Check(const CsvRecord& record, RawRow& row) const;

 private:
  struct CheckedColumn {
    v1::Column spec;
    ValueMatcher values;  // Categories only.
    size_t position = 0;  // In the file.
  };

  ContractCheck() = default;
  absl::Status AddColumn(const v1::Column& column);
  absl::Status AddLabel(const v1::Label& label);
  absl::Status Bind(const std::vector<absl::string_view>& names);
  bool IsMissing(absl::string_view field) const;
  // Empty where `field` is fine and `value` set; otherwise the reason.
  std::string CheckColumn(const CheckedColumn& column, absl::string_view field,
                          double& value) const;
  std::string CheckLabel(absl::string_view field, double& value) const;
  // `value` holds the time; becomes the label that RawRow describes.
  std::string CheckEvent(absl::string_view field, double& value) const;
  std::string CheckPatient(absl::string_view field, std::string& id) const;

  char delimiter_ = ',';
  bool expects_header_ = true;
  size_t file_columns_ = 0;
  ValueMatcher missing_;
  std::vector<CheckedColumn> columns_;
  v1::Label label_;
  ValueMatcher label_values_;
  size_t label_position_ = 0;
  size_t event_position_ = 0;  // Survival labels only.
  std::string patient_column_;
  size_t patient_position_ = 0;
};

// The patient id of a row whose contract names no patient column: the hexadecimal SHA-256 of its
// values and label, so that equal rows are one patient and never part.
std::string PatientIdOfContent(const RawRow& row);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_CONTRACT_CHECK_H_
