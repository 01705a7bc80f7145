#include "sim/report/comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "sim/report/embedded.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

std::optional<double> Number(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::optional<double> LossOf(const Json& scores) {
  if (!scores.is_object()) return std::nullopt;
  const std::optional<double> log_loss = Number(scores, "log_loss");
  if (log_loss.has_value()) return log_loss;
  const std::optional<double> cox_loss = Number(scores, "cox_loss");
  return cox_loss.has_value() ? cox_loss : Number(scores, "mse");
}

std::optional<double> WorstLoss(const Json& run) {
  std::optional<double> worst;
  for (const Json& site : run.value("sites", Json::array())) {
    if (!site.is_object()) continue;
    const std::optional<double> loss = LossOf(site.value("federated", Json()));
    if (loss.has_value() && (!worst.has_value() || *loss > *worst)) worst = loss;
  }
  return worst;
}

std::vector<ComparedPoint> CurveOf(const Json& run) {
  std::vector<ComparedPoint> curve;
  for (const Json& point : run.value("curve", Json::array())) {
    if (!point.is_object()) continue;
    const std::optional<double> loss = Number(point, "validation_loss");
    if (!loss.has_value()) continue;
    curve.push_back({Number(point, "seconds").value_or(0), Number(point, "updates").value_or(0),
                     Number(point, "upload_bytes").value_or(0), *loss});
  }
  return curve;
}

absl::StatusOr<ComparedRun> RunOf(const std::string& name, const Json& json) {
  const std::optional<double> loss =
      json.is_object() ? LossOf(json.value("federated", Json())) : std::nullopt;
  if (!loss.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name,
                     ": has no federated loss; give the folder or summary.json of a "
                     "`consilium-sim run` whose plan keeps test patients"));
  }
  ComparedRun run;
  run.loss = *loss;
  run.worst_loss = WorstLoss(json);
  const Json target = json.value("target", Json());
  if (target.is_object()) run.target_seconds = Number(target, "seconds");
  run.curve = CurveOf(json);
  return run;
}

// Values of the seeds that both have, where both have the value.
template <typename Field>
Difference DifferenceIn(const Experiment& a, const Experiment& b, const Field& field) {
  std::vector<double> of_a, of_b;
  for (const auto& [seed, run] : a.seeds) {
    const auto other = b.seeds.find(seed);
    if (other == b.seeds.end()) continue;
    const std::optional<double> x = field(run);
    const std::optional<double> y = field(other->second);
    if (!x.has_value() || !y.has_value()) continue;
    of_a.push_back(*x);
    of_b.push_back(*y);
  }
  return PairedDifference(of_a, of_b);
}

std::optional<double> Loss(const ComparedRun& run) { return run.loss; }
std::optional<double> Worst(const ComparedRun& run) { return run.worst_loss; }
std::optional<double> ToTarget(const ComparedRun& run) { return run.target_seconds; }

std::string Sentence(const Experiment& first, const Experiment& other) {
  const Difference loss = DifferenceIn(other, first, Loss);
  if (loss.pairs == 0) {
    return absl::StrCat(other.name, " and ", first.name,
                        " have no seed in common; run both with `--seeds 1..5`.");
  }
  const bool is_same = loss.mean == 0 && loss.half_width.value_or(0) == 0;
  if (is_same) {
    return absl::StrFormat("%s and %s have the same test loss.", other.name, first.name);
  }
  const std::string& better = loss.mean < 0 ? other.name : first.name;
  const std::string& worse = loss.mean < 0 ? first.name : other.name;
  std::string text = absl::StrFormat("%s has the lower test loss, by %.4f against %s", better,
                                     std::abs(loss.mean), worse);
  if (!loss.half_width.has_value()) {
    return absl::StrCat(text, "; with one seed nothing can be said about noise.");
  }
  absl::StrAppendFormat(&text, " (95%% interval ±%.4f over %d seeds): ", *loss.half_width,
                        loss.pairs);
  absl::StrAppend(&text, loss.BeyondNoise() ? "more than seeds make."
                                            : "no more than seeds make, so neither is better.");
  return text;
}

Json ToJson(const Difference& difference) {
  return {
      {"pairs", difference.pairs},
      {"mean", difference.mean},
      {"half_width_95", difference.half_width.has_value() ? Json(*difference.half_width) : Json()},
      {"beyond_noise", difference.BeyondNoise()}};
}

Json ToJson(const Experiment& experiment) {
  Json seeds = Json::array();
  for (const auto& [seed, run] : experiment.seeds) {
    Json curve = Json::array();
    for (const ComparedPoint& p : run.curve) {
      curve.push_back({{"seconds", p.seconds},
                       {"updates", p.updates},
                       {"upload_bytes", p.upload_bytes},
                       {"loss", p.loss}});
    }
    seeds.push_back(
        {{"seed", seed},
         {"loss", run.loss},
         {"worst_loss", run.worst_loss.has_value() ? Json(*run.worst_loss) : Json()},
         {"target_seconds", run.target_seconds.has_value() ? Json(*run.target_seconds) : Json()},
         {"curve", std::move(curve)}});
  }
  return {{"name", experiment.name}, {"seeds", std::move(seeds)}};
}

}  // namespace

absl::StatusOr<Experiment> ExperimentOf(const std::string& name, const Json& json) {
  Experiment experiment;
  experiment.name = name;
  const Json seeds = json.is_object() ? json.value("seeds", Json()) : Json();
  if (!seeds.is_array()) {
    absl::StatusOr<ComparedRun> run = RunOf(name, json);
    if (!run.ok()) return run.status();
    experiment.seeds[0] = *std::move(run);
    return experiment;
  }
  for (const Json& one : seeds) {
    absl::StatusOr<ComparedRun> run = RunOf(name, one);
    if (!run.ok()) return run.status();
    const auto seed = one.find("seed");
    const bool numbered = seed != one.end() && seed->is_number_unsigned();
    if (!numbered || !experiment.seeds.emplace(seed->get<uint64_t>(), *std::move(run)).second) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": a seed is missing or comes twice"));
    }
  }
  if (experiment.seeds.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": has no runs"));
  }
  return experiment;
}

double StudentT975(size_t degrees) {
  // As printed in any table; beyond it, the first terms of the expansion about the normal's
  // (Abramowitz and Stegun, 26.7.5).
  constexpr std::array<double, 30> kTable = {
      12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
      2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
      2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  if (degrees >= 1 && degrees <= kTable.size()) return kTable[degrees - 1];
  constexpr double kNormal = 1.959964;
  const double n = static_cast<double>(degrees);
  const double cube = kNormal * kNormal * kNormal;
  return kNormal + (cube + kNormal) / (4 * n) +
         (5 * cube * kNormal * kNormal + 16 * cube + 3 * kNormal) / (96 * n * n);
}

Difference PairedDifference(const std::vector<double>& a, const std::vector<double>& b) {
  Difference difference;
  difference.pairs = std::min(a.size(), b.size());
  if (difference.pairs == 0) return difference;
  const double n = static_cast<double>(difference.pairs);
  for (size_t i = 0; i < difference.pairs; ++i) difference.mean += (a[i] - b[i]) / n;
  if (difference.pairs < 2) return difference;
  double squares = 0;
  for (size_t i = 0; i < difference.pairs; ++i) {
    squares += std::pow(a[i] - b[i] - difference.mean, 2);
  }
  difference.half_width = StudentT975(difference.pairs - 1) * std::sqrt(squares / (n - 1) / n);
  return difference;
}

bool Difference::BeyondNoise() const {
  return half_width.has_value() && std::abs(mean) > *half_width;
}

std::vector<std::string> Sentences(const std::vector<Experiment>& experiments) {
  std::vector<std::string> sentences;
  for (size_t i = 1; i < experiments.size(); ++i) {
    sentences.push_back(Sentence(experiments[0], experiments[i]));
  }
  return sentences;
}

Json ComparisonJson(const std::vector<Experiment>& experiments) {
  Json json = {{"experiments", Json::array()}, {"differences", Json::array()}};
  for (const Experiment& experiment : experiments)
    json["experiments"].push_back(ToJson(experiment));
  const std::vector<std::string> sentences = Sentences(experiments);
  for (size_t i = 1; i < experiments.size(); ++i) {
    const Experiment& first = experiments[0];
    const Experiment& other = experiments[i];
    json["differences"].push_back({{"of", other.name},
                                   {"against", first.name},
                                   {"loss", ToJson(DifferenceIn(other, first, Loss))},
                                   {"worst_loss", ToJson(DifferenceIn(other, first, Worst))},
                                   {"target_seconds", ToJson(DifferenceIn(other, first, ToTarget))},
                                   {"sentence", sentences[i - 1]}});
  }
  return json;
}

std::string ComparisonHtml(const std::vector<Experiment>& experiments) {
  // "</script>" inside a name must not end the script element.
  const std::string json = absl::StrReplaceAll(
      ComparisonJson(experiments).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
      {{"<", "\\u003c"}});
  return absl::StrReplaceAll(embedded::CompareTemplate(), {{"/*CHART_JS*/", embedded::ChartJs()},
                                                           {"/*DATA*/", absl::string_view(json)}});
}

}  // namespace consilium
