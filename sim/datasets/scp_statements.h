// What the SCP-ECG statements of an electrocardiogram say, as PTB-XL writes them
// (doi:10.1038/s41597-020-0495-6).
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_SCP_STATEMENTS_H_
#define CONSILIUM_SIM_DATASETS_SCP_STATEMENTS_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

inline constexpr size_t kScpCodesMax = 64;  // Of one electrocardiogram.

// Statements with their diagnostic class, e.g. {"AMI", "MI"}; empty where one is not diagnostic, as
// that of a rhythm.
using ScpClasses = std::map<std::string, std::string, std::less<>>;

// The codes of "{'NORM': 100.0, 'SR': 0.0}", a dictionary of Python's; how likely each is, is read
// over: 0 means that nobody said. DATA_LOSS where it is none; RESOURCE_EXHAUSTED for more than
// kScpCodesMax.
absl::StatusOr<std::vector<std::string>> ParseScpCodes(absl::string_view text);

// False: all diagnostic statements are of the class NORM. True: one is of another. Nothing: there
// is no diagnostic statement. A code that is not in `classes` is none.
std::optional<bool> IsAbnormal(const std::vector<std::string>& codes, const ScpClasses& classes);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_SCP_STATEMENTS_H_
