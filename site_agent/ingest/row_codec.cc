#include "site_agent/ingest/row_codec.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

static_assert(std::endian::native == std::endian::little, "the bytes of numbers are stored as is");

constexpr uint8_t kRowVersion = 1;

template <typename T>
void Append(T value, std::string& bytes) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  bytes.append(raw, sizeof(T));
}

// Takes a value off the front; false where the bytes end first.
template <typename T>
bool Take(absl::string_view& bytes, T& value) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("a stored row is damaged: ", what));
}

}  // namespace

std::string EncodeRow(const RawRow& row) {
  std::string bytes;
  bytes.reserve(15 + 8 * row.values.size() + row.patient_id.size());
  Append(kRowVersion, bytes);
  Append(static_cast<uint32_t>(row.values.size()), bytes);
  for (double value : row.values) Append(value, bytes);
  Append(row.label, bytes);
  Append(static_cast<uint16_t>(row.patient_id.size()), bytes);
  bytes += row.patient_id;
  return bytes;
}

absl::StatusOr<RawRow> DecodeRow(absl::string_view bytes) {
  uint8_t version = 0;
  uint32_t columns = 0;
  if (!Take(bytes, version) || version != kRowVersion) return Damaged("unknown version");
  if (!Take(bytes, columns) || columns > limits::kCsvColumnsMax ||
      bytes.size() < size_t{columns} * sizeof(double)) {
    return Damaged("its columns are cut off");
  }
  RawRow row;
  row.values.resize(columns);
  for (double& value : row.values) {
    Take(bytes, value);
    if (std::isinf(value)) return Damaged("an infinite value");
  }
  uint16_t id_bytes = 0;
  if (!Take(bytes, row.label) || !std::isfinite(row.label)) return Damaged("no label");
  if (!Take(bytes, id_bytes) || bytes.size() != id_bytes || id_bytes == 0 ||
      id_bytes > limits::kPatientIdBytesMax) {
    return Damaged("its patient id has the wrong length");
  }
  row.patient_id = std::string(bytes);
  return row;
}

}  // namespace consilium
