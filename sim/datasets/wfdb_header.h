// The header of a WFDB record (*.hea), the format of PhysioNet's signals
// (physionet.org/physiotools/wag/header-5.htm), as far as records of one file and of format 16 go.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_WFDB_HEADER_H_
#define CONSILIUM_SIM_DATASETS_WFDB_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

inline constexpr size_t kWfdbHeaderBytesMax = 64 * 1024;
inline constexpr size_t kWfdbSignalsMax = 256;
inline constexpr size_t kWfdbDataBytesMax = size_t{64} << 20;  // Of all signals of a record.

struct WfdbSignal {
  std::string name;       // E.g. "AVR"; may be empty.
  double gain = 0;        // Steps of the converter in a millivolt; finite and above 0.
  int32_t baseline = 0;   // The step that is 0 mV.
  uint16_t checksum = 0;  // Sum of all samples, modulo 65,536.
};

struct WfdbHeader {
  std::string data_file;  // A plain name: it lies beside the header.
  double samples_per_s = 0;
  size_t samples = 0;  // Of each signal; at least 1.
  std::vector<WfdbSignal> signals;

  // Of two bytes a sample; at most kWfdbDataBytesMax.
  size_t data_bytes() const { return 2 * samples * signals.size(); }
};

// `record` is the name that the header must give itself. DATA_LOSS names the line: what is no
// header, is not that record's, or leaves out what the format lets one leave out (sampling rate,
// number of samples, gain, checksum). UNIMPLEMENTED names it too: several segments or files,
// another format than 16, units other than mV. RESOURCE_EXHAUSTED: beyond a limit above.
absl::StatusOr<WfdbHeader> ParseWfdbHeader(absl::string_view text, absl::string_view record);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_WFDB_HEADER_H_
