#include "site_agent/ingest/value_matcher.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace consilium {

std::optional<double> ParseNumber(absl::string_view field) {
  // SimpleAtod takes hexadecimal, "nan" and "inf" too.
  const absl::string_view text = absl::StripAsciiWhitespace(field);
  if (text.find_first_not_of("0123456789+-.eE") != absl::string_view::npos) return std::nullopt;
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !std::isfinite(number)) return std::nullopt;
  return number;
}

absl::Status ValueMatcher::Add(absl::string_view value, int index) {
  const absl::string_view text = absl::StripAsciiWhitespace(value);
  if (text.empty()) return absl::InvalidArgumentError("an empty value is in the list");
  bool is_new;
  if (std::optional<double> number = ParseNumber(text)) {
    is_new = numbers_.emplace(*number, index).second;
  } else {
    is_new = texts_.emplace(std::string(text), index).second;
  }
  if (is_new) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the value \"", text, "\" is listed twice"));
}

std::optional<int> ValueMatcher::FindNumber(double number) const {
  auto found = numbers_.find(number);
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

std::optional<int> ValueMatcher::Find(absl::string_view field) const {
  const absl::string_view text = absl::StripAsciiWhitespace(field);
  if (std::optional<double> number = ParseNumber(text)) return FindNumber(*number);
  auto found = texts_.find(std::string(text));
  if (found == texts_.end()) return std::nullopt;
  return found->second;
}

}  // namespace consilium
