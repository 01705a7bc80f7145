#include "sim/report/comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "models/metrics/metrics.h"
#include "sim/report/csv_files.h"
#include "sim/report/embedded.h"
#include "sim/report/scores.h"

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

std::map<v1::Metric, double> ScoresIn(const Json& federated) {
  constexpr std::pair<v1::Metric, const char*> kKeys[] = {
      {v1::LOG_LOSS, "log_loss"},
      {v1::BALANCED_ACCURACY, "balanced_accuracy"},
      {v1::AUROC, "auroc"},
      {v1::METRIC_MSE, "mse"},
      {v1::C_INDEX, "c_index"},
      {v1::AUPRC, "auprc"},
      {v1::CALIBRATION_ERROR, "calibration_error"},
      {v1::COX_LOSS, "cox_loss"}};
  std::map<v1::Metric, double> scores;
  for (const auto& [metric, key] : kKeys) {
    if (const std::optional<double> score = Number(federated, key)) scores[metric] = *score;
  }
  if (const std::optional<double> errors = Number(federated, "errors_per_100")) {
    scores[v1::ACCURACY] = 1 - *errors / 100;
  }
  return scores;
}

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
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
    ComparedPoint compared = {Number(point, "seconds").value_or(0),
                              Number(point, "updates").value_or(0),
                              Number(point, "upload_bytes").value_or(0),
                              {}};
    for (const char* key : {"validation_loss", "score", "test_loss", "test_score"}) {
      if (const std::optional<double> value = Number(point, key)) compared.values[key] = *value;
    }
    if (!compared.values.empty()) curve.push_back(std::move(compared));
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
  run.scores = ScoresIn(json.at("federated"));
  v1::Metric_Parse(Text(json, "metric"), &run.selected_by);
  run.data_sha256 = Text(json, "data_sha256");
  run.scenario_sha256 = Text(json, "scenario_sha256");
  run.worst_loss = WorstLoss(json);
  const Json target = json.value("target", Json());
  run.curve_in = run.selected_by;
  if (target.is_object()) {
    run.target_seconds = Number(target, "seconds");
    v1::Metric_Parse(Text(target, "metric"), &run.curve_in);
  }
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

// A run's value of what decides.
auto Deciding(DecidedBy decided_by) {
  return [decided_by](const ComparedRun& run) -> std::optional<double> {
    if (!decided_by.has_value()) return run.loss;
    const auto found = run.scores.find(*decided_by);
    return found == run.scores.end() ? std::nullopt : std::optional<double>(found->second);
  };
}

std::string NameOf(DecidedBy decided_by) {
  return decided_by.has_value() ? v1::Metric_Name(*decided_by) : "loss";
}

std::string Sentence(const Experiment& first, const Experiment& other, DecidedBy decided_by) {
  const Difference score = DifferenceIn(other, first, Deciding(decided_by));
  if (score.pairs == 0) {
    return absl::StrCat(other.name, " and ", first.name,
                        " have no seed in common; run both with `--seeds 1..5`.");
  }
  const std::string name = NameOf(decided_by);
  const bool is_same = score.mean == 0 && score.half_width.value_or(0) == 0;
  if (is_same) {
    return absl::StrFormat("%s and %s have the same test %s.", other.name, first.name, name);
  }
  const bool higher_is_better = decided_by.has_value() && HigherIsBetter(*decided_by);
  const bool other_is_better = (score.mean > 0) == higher_is_better;
  const std::string& better = other_is_better ? other.name : first.name;
  const std::string& worse = other_is_better ? first.name : other.name;
  std::string text =
      absl::StrFormat("%s has the %s test %s, by %.4f against %s", better,
                      higher_is_better ? "higher" : "lower", name, std::abs(score.mean), worse);
  if (!score.half_width.has_value()) {
    return absl::StrCat(text, "; with one seed nothing can be said about noise.");
  }
  absl::StrAppendFormat(&text, " (95%% interval ±%.4f over %d seeds): ", *score.half_width,
                        score.pairs);
  absl::StrAppend(&text, score.BeyondNoise() ? "more than seeds make."
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

// What is not the same in runs of one seed, in a person's words.
std::vector<std::string> DifferingInputs(const Experiment& a, const Experiment& b) {
  bool data = false;
  bool scenario = false;
  const auto differ = [](const std::string& x, const std::string& y) {
    return !x.empty() && !y.empty() && x != y;
  };
  for (const auto& [seed, run] : a.seeds) {
    const auto other = b.seeds.find(seed);
    if (other == b.seeds.end()) continue;
    data |= differ(run.data_sha256, other->second.data_sha256);
    scenario |= differ(run.scenario_sha256, other->second.scenario_sha256);
  }
  std::vector<std::string> inputs;
  if (data) inputs.emplace_back("their data (rows, hospitals or split)");
  if (scenario) inputs.emplace_back("their scenario");
  if (a.seeds.size() != b.seeds.size()) {
    inputs.push_back(
        absl::StrCat("their number of seeds (", a.seeds.size(), " and ", b.seeds.size(), ")"));
  }
  return inputs;
}

// What every run states to have been selected by; nothing where they differ or one does not say.
DecidedBy SelectedByAll(const std::vector<Experiment>& experiments) {
  DecidedBy common;
  for (const Experiment& experiment : experiments) {
    for (const auto& [seed, run] : experiment.seeds) {
      if (run.selected_by == v1::METRIC_UNSPECIFIED) return std::nullopt;
      if (common.has_value() && *common != run.selected_by) return std::nullopt;
      common = run.selected_by;
    }
  }
  return common;
}

// The first run that does not have the metric; null where all do.
const Experiment* Lacking(const std::vector<Experiment>& experiments, v1::Metric metric) {
  for (const Experiment& experiment : experiments) {
    for (const auto& [seed, run] : experiment.seeds) {
      if (!run.scores.contains(metric)) return &experiment;
    }
  }
  return nullptr;
}

// A score only where all have it in one metric.
DrawnCurve CurveOfAll(const std::vector<Experiment>& experiments) {
  std::optional<v1::Metric> common;
  bool one_metric = true;
  CurveHas has;
  for (const Experiment& experiment : experiments) {
    for (const auto& [seed, run] : experiment.seeds) {
      one_metric &= common.value_or(run.curve_in) == run.curve_in;
      common = run.curve_in;
      for (const ComparedPoint& point : run.curve) {
        has.loss |= point.values.contains("validation_loss");
        has.score |= point.values.contains("score");
        has.test_loss |= point.values.contains("test_loss");
        has.test_score |= point.values.contains("test_score");
      }
    }
  }
  return CurveToDraw(one_metric ? common.value_or(v1::METRIC_UNSPECIFIED) : v1::METRIC_UNSPECIFIED,
                     has);
}

Json OrNull(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json();
}

std::vector<v1::Metric> AllMetrics() {
  std::vector<v1::Metric> metrics;
  for (int i = 0; i < v1::Metric_descriptor()->value_count(); ++i) {
    const int number = v1::Metric_descriptor()->value(i)->number();
    if (number != v1::METRIC_UNSPECIFIED) metrics.push_back(static_cast<v1::Metric>(number));
  }
  return metrics;
}

std::string MetricNames() {
  return absl::StrJoin(AllMetrics(), ", ", [](std::string* out, v1::Metric metric) {
    absl::StrAppend(out, v1::Metric_Name(metric));
  });
}

std::string CsvNumber(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.9g", *value) : "";
}

Json ToJson(const Experiment& experiment, DecidedBy decided_by) {
  Json seeds = Json::array();
  for (const auto& [seed, run] : experiment.seeds) {
    const std::optional<double> score = Deciding(decided_by)(run);
    Json curve = Json::array();
    for (const ComparedPoint& p : run.curve) {
      Json values = p.values;
      values.update(
          {{"seconds", p.seconds}, {"updates", p.updates}, {"upload_bytes", p.upload_bytes}});
      curve.push_back(std::move(values));
    }
    seeds.push_back({{"seed", seed},
                     {"loss", run.loss},
                     {"score", OrNull(score)},
                     {"worst_loss", OrNull(run.worst_loss)},
                     {"target_seconds", OrNull(run.target_seconds)},
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

absl::StatusOr<DecidedBy> DecideBy(const std::vector<Experiment>& experiments,
                                   absl::string_view metric) {
  if (metric.empty()) {
    const DecidedBy common = SelectedByAll(experiments);
    const bool decides =
        common.has_value() && !IsLoss(*common) && Lacking(experiments, *common) == nullptr;
    return decides ? common : DecidedBy();
  }
  v1::Metric named = v1::METRIC_UNSPECIFIED;
  if (!v1::Metric_Parse(std::string(metric), &named) || named == v1::METRIC_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metric: no metric is named ", metric, " (", MetricNames(), ")"));
  }
  if (const Experiment* lacking = Lacking(experiments, named)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metric: ", lacking->name, " has no ", metric, " on its test patients"));
  }
  return named;
}

std::vector<std::string> Sentences(const std::vector<Experiment>& experiments,
                                   DecidedBy decided_by) {
  std::vector<std::string> sentences;
  for (size_t i = 1; i < experiments.size(); ++i) {
    sentences.push_back(Sentence(experiments[0], experiments[i], decided_by));
  }
  return sentences;
}

std::vector<std::string> WarningsOf(const std::vector<Experiment>& experiments) {
  std::vector<std::string> warnings;
  for (size_t i = 1; i < experiments.size(); ++i) {
    const std::vector<std::string> inputs = DifferingInputs(experiments[i], experiments[0]);
    if (inputs.empty()) continue;
    warnings.push_back(absl::StrCat(experiments[i].name, " and ", experiments[0].name,
                                    " differ in ", absl::StrJoin(inputs, ", "),
                                    ": what is compared is not the run configs alone"));
  }
  return warnings;
}

Json ComparisonJson(const std::vector<Experiment>& experiments, DecidedBy decided_by) {
  const DrawnCurve curve = CurveOfAll(experiments);
  Json json = {{"decided_by", NameOf(decided_by)},
               {"curve", {{"key", curve.key}, {"name", curve.name}}},
               {"warnings", WarningsOf(experiments)},
               {"experiments", Json::array()},
               {"differences", Json::array()}};
  for (const Experiment& experiment : experiments) {
    json["experiments"].push_back(ToJson(experiment, decided_by));
  }
  const std::vector<std::string> sentences = Sentences(experiments, decided_by);
  for (size_t i = 1; i < experiments.size(); ++i) {
    const Experiment& first = experiments[0];
    const Experiment& other = experiments[i];
    json["differences"].push_back(
        {{"of", other.name},
         {"against", first.name},
         {"loss", ToJson(DifferenceIn(other, first, Loss))},
         {"score", ToJson(DifferenceIn(other, first, Deciding(decided_by)))},
         {"worst_loss", ToJson(DifferenceIn(other, first, Worst))},
         {"target_seconds", ToJson(DifferenceIn(other, first, ToTarget))},
         {"sentence", sentences[i - 1]}});
  }
  return json;
}

std::string ComparisonCsv(const std::vector<Experiment>& experiments) {
  std::string csv = "run,seed,loss,worst_loss,target_seconds";
  for (const v1::Metric metric : AllMetrics()) {
    absl::StrAppend(&csv, ",", v1::Metric_Name(metric));
  }
  absl::StrAppend(&csv, "\n");
  for (const Experiment& experiment : experiments) {
    for (const auto& [seed, run] : experiment.seeds) {
      absl::StrAppend(&csv, CsvCell(experiment.name), ",", seed, ",", CsvNumber(run.loss), ",",
                      CsvNumber(run.worst_loss), ",", CsvNumber(run.target_seconds));
      for (const v1::Metric metric : AllMetrics()) {
        absl::StrAppend(&csv, ",", CsvNumber(Deciding(metric)(run)));
      }
      absl::StrAppend(&csv, "\n");
    }
  }
  return csv;
}

std::string ComparisonHtml(const std::vector<Experiment>& experiments, DecidedBy decided_by) {
  // "</script>" inside a name must not end the script element.
  const std::string json =
      absl::StrReplaceAll(ComparisonJson(experiments, decided_by)
                              .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
                          {{"<", "\\u003c"}});
  return absl::StrReplaceAll(embedded::CompareTemplate(), {{"/*CHART_JS*/", embedded::ChartJs()},
                                                           {"/*DATA*/", absl::string_view(json)}});
}

}  // namespace consilium
