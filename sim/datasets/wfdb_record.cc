#include "sim/datasets/wfdb_record.h"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/status_macros.h"
#include "sim/datasets/manifests.h"

namespace consilium {
namespace {

constexpr int16_t kNotMeasured = INT16_MIN;

int16_t SampleAt(absl::string_view data, size_t i) {
  const auto low = static_cast<uint8_t>(data[2 * i]);
  const auto high = static_cast<uint8_t>(data[2 * i + 1]);
  return static_cast<int16_t>(static_cast<uint16_t>(high << 8 | low));
}

std::string NameOf(const WfdbHeader& header, size_t signal) {
  return absl::StrCat("signal ", signal + 1, " (", PrintableText(header.signals[signal].name), ")");
}

absl::Status OfFile(const std::string& path, const absl::Status& status) {
  if (status.ok() || absl::StrContains(status.message(), path)) return status;
  return {status.code(), absl::StrCat(path, ": ", status.message())};
}

}  // namespace

absl::StatusOr<std::vector<float>> DecodeFormat16(absl::string_view data,
                                                  const WfdbHeader& header) {
  if (data.size() != header.data_bytes()) {
    return absl::DataLossError(
        absl::StrCat(data.size(), " bytes, where its header says ", header.data_bytes()));
  }
  const size_t signals = header.signals.size();
  std::vector<float> millivolts(signals * header.samples);
  for (size_t s = 0; s < signals; ++s) {
    const WfdbSignal& signal = header.signals[s];
    uint16_t sum = 0;
    for (size_t i = 0; i < header.samples; ++i) {
      const int64_t sample = SampleAt(data, i * signals + s);
      if (sample == kNotMeasured) {
        return absl::DataLossError(
            absl::StrCat(NameOf(header, s), ": sample ", i + 1, " was not measured"));
      }
      sum = static_cast<uint16_t>(sum + static_cast<uint16_t>(sample));
      const double value = static_cast<double>(sample - signal.baseline) / signal.gain;
      if (!(std::abs(value) <= std::numeric_limits<float>::max())) {
        return absl::DataLossError(
            absl::StrCat(NameOf(header, s), ": sample ", i + 1, " is no number of millivolts"));
      }
      millivolts[s * header.samples + i] = static_cast<float>(value);
    }
    if (sum != signal.checksum) {
      return absl::DataLossError(absl::StrCat(NameOf(header, s), ": its checksum is ", sum,
                                              ", where its header says ", signal.checksum,
                                              ": it is damaged"));
    }
  }
  return millivolts;
}

absl::StatusOr<WfdbRecord> ReadWfdbRecord(const std::string& folder, const std::string& name) {
  if (!StaysInFolder(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the name of a record leaves the folder ", folder));
  }
  const std::filesystem::path base = std::filesystem::path(folder) / name;
  const std::string header_path = base.string() + ".hea";
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(header_path, kWfdbHeaderBytesMax));
  absl::StatusOr<WfdbHeader> header = ParseWfdbHeader(text, base.filename().string());
  CONSILIUM_RETURN_IF_ERROR(OfFile(header_path, header.status()));
  const std::string data_path = (base.parent_path() / header->data_file).string();
  CONSILIUM_ASSIGN_OR_RETURN(const std::string data, ReadFile(data_path, header->data_bytes()));
  absl::StatusOr<std::vector<float>> millivolts = DecodeFormat16(data, *header);
  CONSILIUM_RETURN_IF_ERROR(OfFile(data_path, millivolts.status()));
  return WfdbRecord{*std::move(header), *std::move(millivolts)};
}

}  // namespace consilium
