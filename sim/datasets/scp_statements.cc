#include "sim/datasets/scp_statements.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr char kNormal[] = "NORM";

absl::Status NoDictionary() {
  return absl::DataLossError("scp_codes is no dictionary like {'NORM': 100.0, 'SR': 0.0}");
}

// 'CODE': NUMBER. No code has a quote, a comma or a colon.
absl::StatusOr<std::string> ParseEntry(absl::string_view entry) {
  const std::vector<absl::string_view> parts = absl::StrSplit(entry, ':');
  double likelihood = 0;
  if (parts.size() != 2 || !absl::SimpleAtod(absl::StripAsciiWhitespace(parts[1]), &likelihood)) {
    return NoDictionary();
  }
  absl::string_view code = absl::StripAsciiWhitespace(parts[0]);
  if (!absl::ConsumePrefix(&code, "'") || !absl::ConsumeSuffix(&code, "'") || code.empty() ||
      code.find('\'') != absl::string_view::npos) {
    return NoDictionary();
  }
  return std::string(code);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseScpCodes(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (!absl::ConsumePrefix(&text, "{") || !absl::ConsumeSuffix(&text, "}")) return NoDictionary();
  std::vector<std::string> codes;
  if (absl::StripAsciiWhitespace(text).empty()) return codes;
  for (const absl::string_view entry : absl::StrSplit(text, ',')) {
    if (codes.size() == kScpCodesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("scp_codes has more than ", kScpCodesMax, " statements"));
    }
    CONSILIUM_ASSIGN_OR_RETURN(codes.emplace_back(), ParseEntry(entry));
  }
  return codes;
}

std::optional<bool> IsAbnormal(const std::vector<std::string>& codes, const ScpClasses& classes) {
  std::optional<bool> abnormal;
  for (const std::string& code : codes) {
    const auto found = classes.find(code);
    if (found == classes.end() || found->second.empty()) continue;
    abnormal = abnormal.value_or(false) || found->second != kNormal;
  }
  return abnormal;
}

}  // namespace consilium
