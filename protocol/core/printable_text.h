// Text from outside made fit for a log, a journal, JSON and a terminal: whatever the bytes were,
// the result is valid UTF-8 that a terminal does not obey.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_CORE_PRINTABLE_TEXT_H_
#define CONSILIUM_PROTOCOL_CORE_PRINTABLE_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace consilium {

struct PrintableOptions {
  enum class Lines { kOne, kMany } lines = Lines::kOne;  // kMany: line feeds stay.
  size_t bytes_max = 2000;                               // A sentence or two.
};

// Bytes that are not UTF-8, control characters (line breaks and ESC among them) and characters
// that turn the direction of writing are written out as "\x1b" or "\u202e"; the rest stays. What
// is longer than `bytes_max` is cut between two characters.
std::string PrintableText(absl::string_view text, const PrintableOptions& options = {});

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_PRINTABLE_TEXT_H_
