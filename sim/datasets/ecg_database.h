// A database of electrocardiograms that is published as PTB-XL is, as arrays that a run reads.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_ECG_DATABASE_H_
#define CONSILIUM_SIM_DATASETS_ECG_DATABASE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/dataset_manifest.pb.h"

namespace consilium {

struct EcgRecord {
  std::string file;  // Without ".hea"; below the data set's folder.
  int32_t patient = 0;
  int32_t site = 0;
  bool abnormal = false;
};

// The records that have a diagnostic statement, in the order of the table `database`, by the table
// `statements`; both below `folder`. Each error names file and line. DATA_LOSS: a column, patient,
// site or file that is missing, or is not what it must be; a statement that `statements` has not;
// no record at all. RESOURCE_EXHAUSTED: beyond CsvReader's limits. Errors of the system.
absl::StatusOr<std::vector<EcgRecord>> ReadEcgTable(const std::string& folder,
                                                    const std::string& database,
                                                    const std::string& statements);

// The IDX file that `array` says, of `bytes` bytes, out of what lies in `folder`. Takes no more
// memory than that and one record. DATA_LOSS also where it would have another number of bytes, or a
// record another shape or sampling rate than the first; otherwise as ReadEcgTable and
// ReadWfdbRecord.
absl::StatusOr<std::string> MakeEcgArray(const std::string& folder, const v1::EcgArray& array,
                                         uint64_t bytes);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_ECG_DATABASE_H_
