// JSON files that earlier runs and searches have left, or a person names.
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_JSON_FILE_H_
#define CONSILIUM_SIM_REPORT_JSON_FILE_H_

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

// In memory such a file takes up to twenty times its bytes. Hundreds of seeds with curves of a
// thousand versions have less.
inline constexpr uint64_t kJsonFileBytesMax = uint64_t{256} << 20;
inline constexpr size_t kJsonDepthMax = 32;

// `name` begins each error. INVALID_ARGUMENT where `text` is not JSON, or has objects and lists in
// each other deeper than kJsonDepthMax.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view name, absl::string_view text);

// The same of a file. NOT_FOUND, UNAVAILABLE; RESOURCE_EXHAUSTED where it has more than
// `bytes_max`: it goes on with `advice` on how to come to less ("compare runs of fewer --seeds").
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, absl::string_view advice,
                                            uint64_t bytes_max = kJsonFileBytesMax);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_JSON_FILE_H_
