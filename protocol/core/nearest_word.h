// What somebody may have meant by a word that is none of those there are.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_CORE_NEAREST_WORD_H_
#define CONSILIUM_PROTOCOL_CORE_NEAREST_WORD_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace consilium {

// The one of `words` with the fewest letters to insert, delete, replace or swap with the next
// (optimal string alignment), the first of several; empty where even that takes more than a third
// of `word`, one at least. Reads 64 letters of each.
std::string NearestWord(absl::string_view word, const std::vector<std::string>& words);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_NEAREST_WORD_H_
