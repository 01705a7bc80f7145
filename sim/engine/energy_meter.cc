#include "sim/engine/energy_meter.h"

#include <filesystem>
#include <system_error>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protocol/core/files.h"

namespace consilium {
namespace {

constexpr uint64_t kCounterFileBytesMax = 4096;

std::optional<uint64_t> ReadNumber(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, kCounterFileBytesMax);
  uint64_t number = 0;
  if (!text.ok() || !absl::SimpleAtoi(*text, &number)) return std::nullopt;
  return number;
}

// Others (cores, memory, the whole platform) are parts of a package, or contain them; and some
// machines show a package a second time, by another way to the same counter (intel-rapl-mmio).
bool IsPackage(const std::string& folder) {
  if (absl::StrContains(folder, "-mmio:")) return false;
  const absl::StatusOr<std::string> name =
      ReadFile(absl::StrCat(folder, "/name"), kCounterFileBytesMax);
  return name.ok() && absl::StartsWith(*name, "package-");
}

}  // namespace

EnergyMeter::EnergyMeter(const std::string& powercap) {
  std::error_code error;
  std::filesystem::directory_iterator entry(powercap, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string folder = entry->path().string();
    if (!IsPackage(folder)) continue;
    Counter counter{absl::StrCat(folder, "/energy_uj")};
    const std::optional<uint64_t> largest =
        ReadNumber(absl::StrCat(folder, "/max_energy_range_uj"));
    const std::optional<uint64_t> now = ReadNumber(counter.path);
    if (!largest.has_value() || !now.has_value()) {
      is_whole_ = false;
      continue;
    }
    counter.microjoules_max = *largest;
    counter.last_microjoules = *now;
    packages_.push_back(std::move(counter));
  }
}

void EnergyMeter::Sample() {
  for (Counter& counter : packages_) {
    const std::optional<uint64_t> now = ReadNumber(counter.path);
    if (!now.has_value()) {
      is_whole_ = false;
      continue;
    }
    const bool began_again = *now < counter.last_microjoules;
    microjoules_ += *now - counter.last_microjoules + (began_again ? counter.microjoules_max : 0);
    counter.last_microjoules = *now;
  }
}

std::optional<double> EnergyMeter::joules() const {
  if (packages_.empty() || !is_whole_) return std::nullopt;
  return static_cast<double>(microjoules_) * 1e-6;
}

}  // namespace consilium
