#include "site_agent/ingest/array.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using Kind = ArrayFormat::Kind;

// One character of UTF-8; what is none becomes U+FFFD.
void AppendUtf8(uint32_t c, std::string& text) {
  if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
  const auto push = [&text](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return push(c);
  if (c < 0x800) {
    push(0xc0 | c >> 6);
  } else {
    if (c < 0x10000) {
      push(0xe0 | c >> 12);
    } else {
      push(0xf0 | c >> 18);
      push(0x80 | (c >> 12 & 0x3f));
    }
    push(0x80 | (c >> 6 & 0x3f));
  }
  push(0x80 | (c & 0x3f));
}

std::string ShortestText(double value) {
  if (std::isnan(value)) return "";
  for (const int digits : {6, 9, 15}) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    if (std::strtod(text.c_str(), nullptr) == value) return text;
  }
  return absl::StrFormat("%.17g", value);
}

int64_t SignExtended(uint64_t bits, size_t item_bytes) {
  const int unused = static_cast<int>(8 * (sizeof(bits) - item_bytes));
  return static_cast<int64_t>(bits << unused) >> unused;
}

}  // namespace

std::string ShapeText(const std::vector<uint64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<uint64_t> BytesOf(const ArrayFormat& format) {
  if (format.shape.empty()) {
    return absl::InvalidArgumentError("is a single number, without a dimension that counts rows");
  }
  if (format.shape.size() > limits::kArrayRankMax) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "has %d dimensions; at most %d are allowed", format.shape.size(), limits::kArrayRankMax));
  }
  uint64_t bytes = format.item_bytes;
  for (const uint64_t size : format.shape) {
    // Dimensions of zero do not excuse the others.
    if (size > limits::kArrayBytesMax ||
        bytes > limits::kArrayBytesMax / std::max<uint64_t>(size, 1)) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("has more than %d bytes, by its shape of %s", limits::kArrayBytesMax,
                          ShapeText(format.shape)));
    }
    bytes *= std::max<uint64_t>(size, 1);
  }
  for (const uint64_t size : format.shape) {
    if (size == 0) return 0;
  }
  return bytes;
}

Array::Array(ArrayFormat format, std::vector<uint8_t> bytes)
    : format_(std::move(format)),
      row_shape_(format_.shape.begin() + 1, format_.shape.end()),
      bytes_(std::move(bytes)) {
  for (const uint64_t size : row_shape_) row_items_ *= static_cast<size_t>(size);
}

uint64_t Array::Bits(size_t i) const {
  const uint8_t* item = bytes_.data() + i * format_.item_bytes;
  uint64_t bits = 0;
  for (size_t b = 0; b < format_.item_bytes; ++b) {
    const size_t shift = format_.order == std::endian::big ? format_.item_bytes - 1 - b : b;
    bits |= uint64_t{item[b]} << 8 * shift;
  }
  return bits;
}

double Array::Number(size_t i) const {
  const uint64_t bits = Bits(i);
  switch (format_.kind) {
    case Kind::kSigned:
      return static_cast<double>(SignExtended(bits, format_.item_bytes));
    case Kind::kUnsigned:
      return static_cast<double>(bits);
    default:
      return format_.item_bytes == 4 ? double{std::bit_cast<float>(static_cast<uint32_t>(bits))}
                                     : std::bit_cast<double>(bits);
  }
}

std::string Array::Text(size_t i) const {
  if (format_.kind == Kind::kSigned) {
    return absl::StrCat(SignExtended(Bits(i), format_.item_bytes));
  }
  if (format_.kind == Kind::kUnsigned) return absl::StrCat(Bits(i));
  if (format_.kind == Kind::kFloat) return ShortestText(Number(i));
  const size_t character = format_.kind == Kind::kUnicode ? 4 : 1;
  std::string text;
  const uint8_t* item = bytes_.data() + i * format_.item_bytes;
  for (size_t b = 0; b < format_.item_bytes; b += character) {
    if (character == 1) {
      text.push_back(static_cast<char>(item[b]));
      continue;
    }
    uint32_t c = 0;
    for (size_t k = 0; k < 4; ++k) {
      const size_t shift = format_.order == std::endian::big ? 3 - k : k;
      c |= uint32_t{item[b + k]} << 8 * shift;
    }
    AppendUtf8(c, text);
  }
  text.erase(text.find_last_not_of('\0') + 1);
  return text;
}

}  // namespace consilium
