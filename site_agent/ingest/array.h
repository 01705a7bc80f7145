// Numbers or texts of one type and shape, as NPZ and IDX files hold them: in the file's own bytes,
// read one at a time. What a header promises is held against the limits before it costs memory.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ARRAY_H_
#define CONSILIUM_SITE_AGENT_INGEST_ARRAY_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

struct ArrayFormat {
  enum class Kind : uint8_t {
    kSigned,    // 1, 2, 4 or 8 bytes; as is kUnsigned.
    kUnsigned,  // Also truth values, of one byte.
    kFloat,     // 4 or 8 bytes.
    kBytes,     // Text of fixed length, filled up with zeros.
    kUnicode,   // The same in four bytes a character.
  };
  Kind kind = Kind::kUnsigned;
  size_t item_bytes = 1;
  std::endian order = std::endian::little;
  std::vector<uint64_t> shape = {};  // Row-major. The first dimension counts the rows.

  bool operator==(const ArrayFormat&) const = default;
  bool is_text() const { return kind == Kind::kBytes || kind == Kind::kUnicode; }
};

// The bytes of all items. INVALID_ARGUMENT where there is no dimension; RESOURCE_EXHAUSTED names
// the limit where there are too many, or too many bytes.
absl::StatusOr<uint64_t> BytesOf(const ArrayFormat& format);

class Array {
 public:
  // `bytes` are BytesOf(format) many.
  Array(ArrayFormat format, std::vector<uint8_t> bytes);

  size_t rows() const { return static_cast<size_t>(format_.shape[0]); }
  // Of one row, e.g. [28, 28]; empty where a row is one item.
  const std::vector<uint64_t>& row_shape() const { return row_shape_; }
  size_t row_items() const { return row_items_; }
  bool is_text() const { return format_.is_text(); }

  // Item i of all, row-major. Not of a text. i is below rows() · row_items().
  double Number(size_t i) const;
  // A number as the shortest decimal that reads back as the same (empty for what is not a number);
  // a text in UTF-8 without the zeros that fill it up.
  std::string Text(size_t i) const;

 private:
  uint64_t Bits(size_t i) const;

  ArrayFormat format_;
  std::vector<uint64_t> row_shape_;
  size_t row_items_ = 1;
  std::vector<uint8_t> bytes_;
};

// "[28, 28]".
std::string ShapeText(const std::vector<uint64_t>& shape);

// What the header of an NPY file says in its dictionary, a literal of Python such as
//   {'descr': '<f4', 'fortran_order': False, 'shape': (60, 28, 28), }
// INVALID_ARGUMENT for anything but exactly these three keys, for Python objects and records (which
// may hold code), for columns before rows (Fortran's order), and for types that ArrayFormat has
// not.
absl::StatusOr<ArrayFormat> ParseNpyHeader(absl::string_view dictionary);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ARRAY_H_
