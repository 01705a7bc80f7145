// Finds a field among the values that a contract lists. Numbers compare as numbers: a contract's
// "1" also means "1.0" and "1.00", as different exports of one table write it.
//
// Ownership: values. Threads: any, once made.

#ifndef CONSILIUM_SITE_AGENT_INGEST_VALUE_MATCHER_H_
#define CONSILIUM_SITE_AGENT_INGEST_VALUE_MATCHER_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium {

// A finite decimal number, surrounding blanks allowed; nothing for anything else ("nan", "1,5").
std::optional<double> ParseNumber(absl::string_view field);

class ValueMatcher {
 public:
  // INVALID_ARGUMENT where `value` is empty or equals one that was added before.
  absl::Status Add(absl::string_view value, int index);

  // The index of the value that `field` equals, surrounding blanks ignored.
  std::optional<int> Find(absl::string_view field) const;
  std::optional<int> FindNumber(double number) const;

 private:
  std::map<std::string, int> texts_;
  std::map<double, int> numbers_;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_VALUE_MATCHER_H_
