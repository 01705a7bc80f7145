#include "site_agent/ingest/row_codec.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

static_assert(std::endian::native == std::endian::little, "the bytes of numbers are stored as is");

constexpr uint8_t kPlainVersion = 1;
constexpr uint8_t kTensorsVersion = 2;

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

void AppendTensors(const std::vector<float>& tensors, std::string& bytes) {
  Append(static_cast<uint32_t>(tensors.size()), bytes);
  bytes.append(reinterpret_cast<const char*>(tensors.data()), tensors.size() * sizeof(float));
}

// All that is left of `bytes`. A row without tensors has another version.
absl::Status TakeTensors(absl::string_view bytes, std::vector<float>& tensors) {
  uint32_t numbers = 0;
  if (!Take(bytes, numbers) || numbers == 0 || numbers > limits::kFeaturesMax ||
      bytes.size() != size_t{numbers} * sizeof(float)) {
    return Damaged("its tensors have the wrong length");
  }
  tensors.resize(numbers);
  std::memcpy(tensors.data(), bytes.data(), bytes.size());
  for (const float number : tensors) {
    if (!std::isfinite(number)) return Damaged("a tensor holds what is not a finite number");
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeRow(const RawRow& row) {
  std::string bytes;
  bytes.reserve(19 + 8 * row.values.size() + row.patient_id.size() + 4 * row.tensors.size());
  Append(row.tensors.empty() ? kPlainVersion : kTensorsVersion, bytes);
  Append(static_cast<uint32_t>(row.values.size()), bytes);
  for (double value : row.values) Append(value, bytes);
  Append(row.label, bytes);
  Append(static_cast<uint16_t>(row.patient_id.size()), bytes);
  bytes += row.patient_id;
  if (!row.tensors.empty()) AppendTensors(row.tensors, bytes);
  return bytes;
}

absl::StatusOr<RawRow> DecodeRow(absl::string_view bytes) {
  uint8_t version = 0;
  uint32_t columns = 0;
  if (!Take(bytes, version) || (version != kPlainVersion && version != kTensorsVersion)) {
    return Damaged("unknown version");
  }
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
  if (!Take(bytes, id_bytes) || bytes.size() < id_bytes || id_bytes == 0 ||
      id_bytes > limits::kPatientIdBytesMax ||
      (version == kPlainVersion && bytes.size() != id_bytes)) {
    return Damaged("its patient id has the wrong length");
  }
  row.patient_id = std::string(bytes.substr(0, id_bytes));
  if (version == kTensorsVersion) {
    CONSILIUM_RETURN_IF_ERROR(TakeTensors(bytes.substr(id_bytes), row.tensors));
  }
  return row;
}

}  // namespace consilium
