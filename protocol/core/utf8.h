// Text that is cut must stay text: Protobuf writes a string field whatever its bytes are, and
// refuses to read one that is not UTF-8.
//
// Ownership: borrows what it is given. Threads: any.

#ifndef CONSILIUM_PROTOCOL_CORE_UTF8_H_
#define CONSILIUM_PROTOCOL_CORE_UTF8_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace consilium {

// The longest beginning of `text` (UTF-8) of at most `bytes_max` bytes that ends where a character
// does.
inline absl::string_view CutAtCharacter(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_UTF8_H_
