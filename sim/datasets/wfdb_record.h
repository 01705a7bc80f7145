// The samples of a WFDB record of format 16: 16-bit numbers, little-endian, the signals in turn
// (physionet.org/physiotools/wag/signal-5.htm).
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_WFDB_RECORD_H_
#define CONSILIUM_SIM_DATASETS_WFDB_RECORD_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sim/datasets/wfdb_header.h"

namespace consilium {

struct WfdbRecord {
  WfdbHeader header;
  // [signals, samples], row-major: (sample − baseline)/gain.
  std::vector<float> millivolts;
};

// `data` as `header` says. DATA_LOSS: another number of bytes than header.data_bytes(), a sample
// that was not measured (−32,768), or a signal whose samples do not sum to its checksum.
absl::StatusOr<std::vector<float>> DecodeFormat16(absl::string_view data, const WfdbHeader& header);

// The record `name`, e.g. "records100/00000/00001_lr", below `folder`: that and ".hea". No more
// bytes are read than the header says, nor more than its limits allow. Each error begins with the
// file that it is about: INVALID_ARGUMENT for a name that leaves the folder; NOT_FOUND; as
// ParseWfdbHeader and DecodeFormat16; errors of the system.
absl::StatusOr<WfdbRecord> ReadWfdbRecord(const std::string& folder, const std::string& name);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_WFDB_RECORD_H_
