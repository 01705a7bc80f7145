#include "protocol/core/nearest_word.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace consilium {
namespace {

constexpr size_t kLettersMax = 64;

using Row = std::array<size_t, kLettersMax + 1>;

size_t Distance(absl::string_view a, absl::string_view b) {
  a = a.substr(0, kLettersMax);
  b = b.substr(0, kLettersMax);
  // Of the first i letters of a to the first j of b: rows i − 2, i − 1 and i.
  Row before = {};
  Row last = {};
  for (size_t j = 0; j <= b.size(); ++j) last.at(j) = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    Row row = {};
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last.at(j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      row.at(j) = std::min({last.at(j) + 1, row.at(j - 1) + 1, replaced});
      const bool is_swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swapped) row.at(j) = std::min(row.at(j), before.at(j - 2) + 1);
    }
    before = last;
    last = row;
  }
  return last.at(b.size());
}

}  // namespace

std::string NearestWord(absl::string_view word, const std::vector<std::string>& words) {
  word = word.substr(0, kLettersMax);
  std::string nearest;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : words) {
    const size_t distance = Distance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace consilium
