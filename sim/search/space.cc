#include "sim/search/space.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "sim/search/cell_space.h"
#include "sim/search/space_checks.h"

namespace consilium {
namespace {

double Within(double value, double min, double max) { return std::clamp(value, min, max); }

std::string RealText(const v1::RealRange& range, double coordinate) {
  const double value = range.scale() == v1::LOG
                           ? std::exp(std::log(range.min()) +
                                      coordinate * (std::log(range.max()) - std::log(range.min())))
                           : range.min() + coordinate * (range.max() - range.min());
  std::string text = absl::StrFormat("%.6g", value);
  double rounded = 0;
  // Six digits may lie outside of a range whose ends have more.
  if (absl::SimpleAtod(text, &rounded) && rounded >= range.min() && rounded <= range.max()) {
    return text;
  }
  return absl::StrFormat("%.17g", Within(value, range.min(), range.max()));
}

// Each integer has an interval of its own, as long as its neighbours'; in a logarithmic range, as
// long as that of n ± 1/2 is there.
int64_t IntegerAt(const v1::IntegerRange& range, double coordinate) {
  const double low = static_cast<double>(range.min()) - 0.5;
  const double high = static_cast<double>(range.max()) + 0.5;
  const double value = range.scale() == v1::LOG
                           ? std::exp(std::log(low) + coordinate * (std::log(high) - std::log(low)))
                           : low + coordinate * (high - low);
  return std::clamp(static_cast<int64_t>(std::floor(value + 0.5)), range.min(), range.max());
}

// In the middle of the integer's interval.
double CoordinateOf(const v1::IntegerRange& range, int64_t integer) {
  const double low = static_cast<double>(range.min()) - 0.5;
  const double high = static_cast<double>(range.max()) + 0.5;
  const auto value = static_cast<double>(integer);
  return range.scale() == v1::LOG ? std::log(value / low) / std::log(high / low)
                                  : (value - low) / (high - low);
}

std::vector<int64_t> GridIntegers(const v1::IntegerRange& range) {
  std::vector<int64_t> integers;
  if (range.grid_points() == 0) {
    for (int64_t i = range.min(); i <= range.max(); ++i) integers.push_back(i);
    return integers;
  }
  const auto low = static_cast<double>(range.min());
  const auto high = static_cast<double>(range.max());
  for (uint32_t i = 0; i < range.grid_points(); ++i) {
    const double part = static_cast<double>(i) / (range.grid_points() - 1);
    const double value =
        range.scale() == v1::LOG ? low * std::pow(high / low, part) : low + part * (high - low);
    const auto integer =
        std::clamp(static_cast<int64_t>(std::llround(value)), range.min(), range.max());
    if (integers.empty() || integers.back() < integer) integers.push_back(integer);
  }
  return integers;
}

}  // namespace

std::string TextAt(const v1::SearchParameter& parameter, double coordinate) {
  coordinate = Within(coordinate, 0, 1);
  switch (parameter.kind_case()) {
    case v1::SearchParameter::kInteger:
      return absl::StrCat(IntegerAt(parameter.integer(), coordinate));
    case v1::SearchParameter::kReal:
      return RealText(parameter.real(), coordinate);
    case v1::SearchParameter::kChoice: {
      const int count = parameter.choice().values_size();
      return parameter.choice().values(std::min(count - 1, static_cast<int>(coordinate * count)));
    }
    case v1::SearchParameter::KIND_NOT_SET:
      break;
  }
  return "";
}

std::vector<std::string> TextsAt(const v1::SearchSpace& space, const Point& point) {
  std::vector<std::string> texts;
  for (int i = 0; i < space.parameters_size(); ++i) {
    texts.push_back(TextAt(space.parameters(i), point[static_cast<size_t>(i)]));
  }
  return texts;
}

std::string KeyOf(const std::vector<std::string>& texts) {
  std::string key;
  for (const std::string& text : texts) absl::StrAppend(&key, text.size(), ":", text);
  return key;
}

std::vector<std::string> AssignmentsOf(const v1::SearchSpace& space,
                                       const std::vector<std::string>& texts) {
  std::vector<std::string> assignments;
  for (int i = 0; i < space.parameters_size(); ++i) {
    const std::string& path = space.parameters(i).path();
    if (IsCellPath(path)) continue;
    assignments.push_back(absl::StrCat(path, "=", texts[static_cast<size_t>(i)]));
  }
  return assignments;
}

std::map<std::string, std::string> ValuesOf(const v1::SearchSpace& space,
                                            const std::vector<std::string>& texts) {
  std::map<std::string, std::string> values;
  for (int i = 0; i < space.parameters_size(); ++i) {
    values[space.parameters(i).path()] = texts[static_cast<size_t>(i)];
  }
  return values;
}

std::vector<double> GridCoordinates(const v1::SearchParameter& parameter) {
  std::vector<double> coordinates;
  if (parameter.has_integer()) {
    for (const int64_t integer : GridIntegers(parameter.integer())) {
      coordinates.push_back(CoordinateOf(parameter.integer(), integer));
    }
  } else if (parameter.has_real()) {
    const uint32_t points = parameter.real().grid_points();
    for (uint32_t i = 0; i < points; ++i) {
      coordinates.push_back(static_cast<double>(i) / (points - 1));
    }
  } else {
    const int count = parameter.choice().values_size();
    for (int i = 0; i < count; ++i) coordinates.push_back((i + 0.5) / count);
  }
  return coordinates;
}

absl::StatusOr<v1::SearchSpace> LoadSearchSpace(const std::string& path) {
  v1::SearchSpace space;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(path, space));
  return ResolveSearchSpace(std::move(space));
}

absl::StatusOr<v1::SearchSpace> ResolveSearchSpace(v1::SearchSpace space) {
  FillSearchDefaults(space);
  CONSILIUM_RETURN_IF_ERROR(CheckSearchSpace(space));
  return space;
}

std::vector<double> LossesOf(const v1::SearchSpace& space, const std::vector<double>& objectives) {
  std::vector<double> losses = objectives;
  for (size_t i = 0; i < losses.size(); ++i) {
    const auto& objective = space.objectives(static_cast<int>(i));
    if (objective.direction() == v1::SearchObjective::MAXIMISE) losses[i] = -losses[i];
  }
  return losses;
}

std::string SpaceSha256(const v1::SearchSpace& resolved) {
  v1::SearchSpace told = resolved;
  told.clear_trials_max();
  if (told.has_random()) told.mutable_random()->clear_trials();
  if (told.has_successive_halving()) told.mutable_successive_halving()->clear_trials();
  if (told.has_differential_evolution()) {
    told.mutable_differential_evolution()->clear_generations();
  }
  if (told.has_cma_es()) told.mutable_cma_es()->clear_generations();
  if (told.has_aging_evolution()) told.mutable_aging_evolution()->clear_trials();
  if (told.has_policy_gradient()) told.mutable_policy_gradient()->clear_trials();
  if (told.has_nsga2()) told.mutable_nsga2()->clear_generations();
  return ToHex(Sha256Of(DeterministicBytes(told)));
}

std::optional<RungEnd> RungEndAt(const v1::SearchSpace& resolved, uint32_t rung) {
  if (!resolved.has_successive_halving()) return std::nullopt;
  const v1::SuccessiveHalving& settings = resolved.successive_halving();
  const bool timed = settings.virtual_ms_max() > 0;
  const uint64_t most = timed ? settings.virtual_ms_max() : settings.versions_max();
  RungEnd end = {timed ? "scenario.stopped_after_ms" : "stop.versions_max",
                 timed ? "virtual_ms" : "versions_max",
                 timed ? settings.virtual_ms_min() : settings.versions_min()};
  for (uint32_t i = 0; i < rung && end.value <= most / settings.reduction(); ++i) {
    end.value *= settings.reduction();
  }
  return end;
}

bool IsRungEnd(const v1::SearchSpace& resolved, absl::string_view path) {
  const std::optional<RungEnd> end = RungEndAt(resolved, 0);
  return end.has_value() && end->path == path;
}

}  // namespace consilium
