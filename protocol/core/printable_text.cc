#include "protocol/core/printable_text.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace consilium {
namespace {

struct Character {
  uint32_t code = 0;
  size_t bytes = 0;  // 0: what stands here is not UTF-8.
};

// The first character of `text`, which is not empty (RFC 3629, table of section 4).
Character FirstOf(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (bytes == 0 || text.size() < bytes) return {};
  uint32_t code = lead & (0x7FU >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3FU);
  }
  const uint32_t smallest = bytes == 2 ? 0x80 : bytes == 3 ? 0x800 : 0x10000;
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < smallest || code > 0x10FFFF || surrogate) return {};
  return {code, bytes};
}

bool IsObeyed(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x61C ||
         (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string PrintableText(absl::string_view text, const PrintableOptions& options) {
  const bool keeps_lines = options.lines == PrintableOptions::Lines::kMany;
  std::string out;
  while (!text.empty()) {
    const Character first = FirstOf(text);
    const size_t taken = first.bytes == 0 ? 1 : first.bytes;
    std::string next(text.substr(0, taken));
    if (first.bytes == 0) {
      next = absl::StrFormat("\\x%02x", static_cast<uint8_t>(text[0]));
    } else if (IsObeyed(first.code) && !(keeps_lines && first.code == '\n')) {
      next = first.code < 0x100 ? absl::StrFormat("\\x%02x", first.code)
                                : absl::StrFormat("\\u%04x", first.code);
    }
    if (out.size() + next.size() > options.bytes_max) break;
    out += next;
    text.remove_prefix(taken);
  }
  return out;
}

}  // namespace consilium
