// Lower-case hex of keys, digests and file names, checked digit by digit on the way in.
//
// Threads: any.

#ifndef CONSILIUM_PRIVACY_AT_REST_HEX_H_
#define CONSILIUM_PRIVACY_AT_REST_HEX_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/string_view.h"

namespace consilium {

inline void EncodeHex(std::span<const uint8_t> bytes, char* out) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const uint8_t byte : bytes) {
    *out++ = kDigits[byte >> 4];
    *out++ = kDigits[byte & 15];
  }
}

inline std::string Hex(std::span<const uint8_t> bytes) {
  std::string text(bytes.size() * 2, '0');
  EncodeHex(bytes, text.data());
  return text;
}

// False where `text` is not exactly two lower-case digits for each byte of `out`.
inline bool DecodeHex(absl::string_view text, std::span<uint8_t> out) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (text.size() != out.size() * 2) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = digit(text[2 * i]);
    const int low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_HEX_H_
