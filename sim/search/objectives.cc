#include "sim/search/objectives.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

const Json* Step(const Json& json, const std::string& step) {
  size_t index = 0;
  if (json.is_array() && absl::SimpleAtoi(step, &index) && index < json.size()) return &json[index];
  if (!json.is_object()) return nullptr;
  const auto found = json.find(step);
  return found == json.end() ? nullptr : &*found;
}

absl::StatusOr<double> NumberAt(const Json& run, const std::string& path) {
  const Json* json = &run;
  for (const absl::string_view step : absl::StrSplit(path, '.')) {
    json = Step(*json, std::string(step));
    if (json == nullptr) break;
  }
  if (json == nullptr || !json->is_number()) {
    return absl::NotFoundError(absl::StrFormat("its summary has no number at %s", path));
  }
  return json->get<double>();
}

absl::StatusOr<double> QuantityOf(v1::SearchObjective::Quantity quantity, const Json& run,
                                  const ModelSize& size) {
  switch (quantity) {
    case v1::SearchObjective::BEST_SCORE:
      return NumberAt(run, "best_score");
    case v1::SearchObjective::FINAL_SCORE:
      return NumberAt(run, "final_score");
    case v1::SearchObjective::PARAMETERS:
      return static_cast<double>(size.parameters);
    case v1::SearchObjective::MULTIPLY_ADDS:
      return static_cast<double>(size.multiply_adds);
    case v1::SearchObjective::VIRTUAL_SECONDS:
      return NumberAt(run, "seconds");
    case v1::SearchObjective::UPLOAD_BYTES:
      return NumberAt(run, "upload_bytes");
    case v1::SearchObjective::WALL_SECONDS:
      return NumberAt(run, "wall_seconds");
    case v1::SearchObjective::ENERGY_JOULES:
      return NumberAt(run, "energy_joules");
    default:
      return absl::InternalError("its objective is none that this build knows");
  }
}

absl::StatusOr<double> ObjectiveOf(const v1::SearchObjective& objective, const Json& run,
                                   const ModelSize& size) {
  absl::StatusOr<double> value = 0.0;
  if (objective.has_score_for_cost()) {
    const v1::ScoreForCost& product = objective.score_for_cost();
    CONSILIUM_ASSIGN_OR_RETURN(const double score, NumberAt(run, product.score()));
    value =
        score * std::pow(static_cast<double>(size.multiply_adds) / product.multiply_adds_target(),
                         product.exponent());
  } else if (objective.has_summary()) {
    value = NumberAt(run, objective.summary());
  } else {
    value = QuantityOf(objective.quantity(), run, size);
  }
  if (value.ok() && !std::isfinite(*value)) {
    return absl::OutOfRangeError(absl::StrFormat("its %s is not finite", objective.name()));
  }
  return value;
}

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments MomentsOf(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Moments moments;
  for (const double value : values) moments.mean += value / n;
  double squares = 0;
  for (const double value : values) {
    squares += (value - moments.mean) * (value - moments.mean);
  }
  if (values.size() > 1) moments.deviation = std::sqrt(squares / (n - 1));
  return moments;
}

// A summary of several seeds has one of each.
std::vector<Json> RunsOf(const Json& summary) {
  if (summary.is_object() && summary.contains("seeds") && summary.at("seeds").is_array()) {
    return summary.at("seeds").get<std::vector<Json>>();
  }
  return {summary};
}

double MeanOf(const std::vector<Json>& runs, const std::string& path) {
  double sum = 0;
  for (const Json& run : runs) {
    const absl::StatusOr<double> value = NumberAt(run, path);
    if (value.ok()) sum += *value;
  }
  return sum / static_cast<double>(runs.size());
}

}  // namespace

TrialResult ResultOf(const v1::SearchSpace& space, const Json& summary, const ModelSize& size) {
  const std::vector<Json> runs = RunsOf(summary);
  TrialResult result;
  for (const v1::SearchObjective& objective : space.objectives()) {
    std::vector<double> values;
    for (const Json& run : runs) {
      const absl::StatusOr<double> value = ObjectiveOf(objective, run, size);
      if (!value.ok()) {
        result.error = std::string(value.status().message());
        return result;
      }
      values.push_back(*value);
    }
    if (values.empty()) {
      result.error = "its summary has no seed";
      return result;
    }
    const Moments moments = MomentsOf(values);
    if (!std::isfinite(moments.mean) || !std::isfinite(moments.deviation)) {
      result.error = absl::StrFormat("its %s is too large", objective.name());
      return result;
    }
    result.objectives.push_back(moments.mean);
    result.deviations.push_back(moments.deviation);
  }
  result.costs = {size.parameters, size.multiply_adds, MeanOf(runs, "seconds"),
                  MeanOf(runs, "upload_bytes"), MeanOf(runs, "wall_seconds")};
  return result;
}

}  // namespace consilium
