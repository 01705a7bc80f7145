#include "cli/output.h"

#include <stdio.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "cli/json_text.h"

namespace consilium {

void Print(const CommandLine& line, const google::protobuf::Message& message,
           absl::string_view text) {
  Print(line, JsonOf(message), text);
}

void Print(const CommandLine& line, const nlohmann::json& value, absl::string_view text) {
  if (line.output == CommandLine::Output::kJson) {
    absl::PrintF("%s\n", value.dump(2));
  } else if (!text.empty()) {
    absl::PrintF("%s%s", text, text.back() == '\n' ? "" : "\n");
  }
}

std::string TimeText(int64_t unix_s) {
  if (unix_s == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::FromUnixSeconds(unix_s),
                          absl::UTCTimeZone());
}

}  // namespace consilium
