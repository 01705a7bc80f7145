#include "sim/report/json_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

// Before anything is made of it: what is nested costs more than its bytes. Text that is not JSON
// may count as anything.
size_t DepthOf(absl::string_view text) {
  size_t depth = 0;
  size_t deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view name, absl::string_view text) {
  if (DepthOf(text) > kJsonDepthMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: is nested deeper than %d", name, kJsonDepthMax));
  }
  nlohmann::json json =
      nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": is not JSON"));
  }
  return json;
}

absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, absl::string_view advice,
                                            uint64_t bytes_max) {
  const absl::StatusOr<std::string> text = ReadFile(path, bytes_max);
  if (absl::IsResourceExhausted(text.status())) {
    return absl::ResourceExhaustedError(absl::StrCat(text.status().message(), ": ", advice));
  }
  CONSILIUM_RETURN_IF_ERROR(text.status());
  return ParseJson(path, *text);
}

}  // namespace consilium
