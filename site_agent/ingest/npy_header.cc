#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/array.h"

namespace consilium {
namespace {

using Kind = ArrayFormat::Kind;

// Of text items, in bytes.
constexpr uint64_t kTextBytesMax = 4096;
constexpr size_t kDigitsMax = 18;  // So that a number fits into 64 bits.

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("its NPY header ", what));
}

// The few Python literals that numpy.save writes.
class Literals {
 public:
  explicit Literals(absl::string_view text) : rest_(text) {}

  bool TakeSign(char c) {
    SkipBlanks();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::optional<absl::string_view> TakeString() {
    SkipBlanks();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return std::nullopt;
    const size_t end = rest_.find(rest_[0], 1);
    if (end == absl::string_view::npos) return std::nullopt;
    const absl::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool TakeWord(absl::string_view word) {
    SkipBlanks();
    if (rest_.substr(0, word.size()) != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<uint64_t> TakeNumber() {
    SkipBlanks();
    size_t digits = 0;
    while (digits < rest_.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(rest_[digits]))) {
      ++digits;
    }
    uint64_t number = 0;
    if (digits == 0 || digits > kDigitsMax || !absl::SimpleAtoi(rest_.substr(0, digits), &number)) {
      return std::nullopt;
    }
    rest_.remove_prefix(digits);
    return number;
  }
  bool AtEnd() {
    SkipBlanks();
    return rest_.empty();
  }

 private:
  void SkipBlanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  absl::string_view rest_;
};

absl::Status ParseType(absl::string_view descr, ArrayFormat& format) {
  const absl::Status unknown = Wrong(
      "has a type of items that is not supported: integers, floats of 4 or 8 bytes, truth values "
      "and texts of fixed length are (dtype '<f4', '|u1', '<U8', …)");
  uint64_t size = 0;
  if (descr.size() < 3 || !absl::SimpleAtoi(descr.substr(2), &size) || size == 0) return unknown;
  const char order = descr[0];
  if (order != '<' && order != '>' && !(order == '|' && (size == 1 || descr[1] == 'S'))) {
    return unknown;
  }
  format.order = order == '>' ? std::endian::big : std::endian::little;
  const bool whole = size == 1 || size == 2 || size == 4 || size == 8;
  switch (descr[1]) {
    case 'b':
      if (size != 1) return unknown;
      format.kind = Kind::kUnsigned;
      break;
    case 'i':
    case 'u':
      if (!whole) return unknown;
      format.kind = descr[1] == 'i' ? Kind::kSigned : Kind::kUnsigned;
      break;
    case 'f':
      if (size != 4 && size != 8) return unknown;
      format.kind = Kind::kFloat;
      break;
    case 'S':
    case 'U':
      format.kind = descr[1] == 'S' ? Kind::kBytes : Kind::kUnicode;
      if (size > kTextBytesMax / 4) return Wrong("has texts of too many characters");
      if (format.kind == Kind::kUnicode) size *= 4;
      break;
    default:
      return unknown;
  }
  format.item_bytes = static_cast<size_t>(size);
  return absl::OkStatus();
}

std::optional<std::vector<uint64_t>> TakeShape(Literals& literals) {
  if (!literals.TakeSign('(')) return std::nullopt;
  std::vector<uint64_t> shape;
  while (!literals.TakeSign(')')) {
    const std::optional<uint64_t> size = literals.TakeNumber();
    if (!size.has_value() || shape.size() > limits::kArrayRankMax) return std::nullopt;
    shape.push_back(*size);
    if (literals.TakeSign(',')) continue;
    if (!literals.TakeSign(')')) return std::nullopt;
    break;
  }
  return shape;
}

}  // namespace

absl::StatusOr<ArrayFormat> ParseNpyHeader(absl::string_view dictionary) {
  Literals literals(dictionary);
  std::optional<absl::string_view> descr;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<bool> fortran;
  const absl::Status malformed = Wrong("is not one that NumPy writes");
  if (!literals.TakeSign('{')) return malformed;
  while (!literals.TakeSign('}')) {
    const std::optional<absl::string_view> key = literals.TakeString();
    if (!key.has_value() || !literals.TakeSign(':')) return malformed;
    if (*key == "descr" && !descr.has_value()) {
      descr = literals.TakeString();
      if (!descr.has_value()) return Wrong("describes records; save each field as an array");
    } else if (*key == "fortran_order" && !fortran.has_value()) {
      fortran = literals.TakeWord("True");
      if (!*fortran && !literals.TakeWord("False")) return malformed;
    } else if (*key == "shape" && !shape.has_value()) {
      shape = TakeShape(literals);
      if (!shape.has_value()) return malformed;
    } else {
      return malformed;
    }
    if (literals.TakeSign(',')) continue;
    if (!literals.TakeSign('}')) return malformed;
    break;
  }
  if (!literals.AtEnd() || !descr.has_value() || !shape.has_value() || !fortran.has_value()) {
    return malformed;
  }
  ArrayFormat format;
  CONSILIUM_RETURN_IF_ERROR(ParseType(*descr, format));
  format.shape = *std::move(shape);
  if (*fortran && format.shape.size() > 1) {
    return Wrong("says Fortran's order; save numpy.ascontiguousarray of it");
  }
  return format;
}

}  // namespace consilium
