#include "sim/report/summary.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/core/stopping.h"
#include "models/metrics/metrics.h"
#include "models/spec/preset_traits.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

using Json = nlohmann::json;
using federation::Contribution;
using federation::RunState;
using federation::TaskPhase;
using federation::VersionState;

std::optional<double> ValidationLoss(const VersionState& version, size_t participants) {
  if (version.validation.size() < participants) return std::nullopt;
  const v1::MetricSums total = Total(version.validation);
  if (total.examples() == 0) return std::nullopt;
  return MeanLoss(total);
}

size_t Approved(const RunState& run) {
  return static_cast<size_t>(
      std::count_if(run.participants.begin(), run.participants.end(), [](const auto& entry) {
        return entry.second.decision == federation::Participant::Decision::kApproved;
      }));
}

absl::string_view NameOf(federation::WeightFactor::Kind kind) {
  constexpr std::array<absl::string_view, 7> kNames = {
      "SIZE", "STALENESS", "RATE_CORRECTION", "NORMALISATION", "MIXING", "SERVER_STEP", "REPLACED"};
  const auto index = static_cast<size_t>(kind);
  return index < kNames.size() ? kNames[index] : "OTHER";
}

const char* NameOf(RunSummary::Scored scored) {
  return scored == RunSummary::Scored::kPersonal ? "personal" : "shared";
}

MergedUpdate MergedUpdateOf(const Contribution& part, const VersionState& version) {
  MergedUpdate out;
  out.site = part.site.value();
  out.task = part.task.value();
  out.version = version.version.value();
  out.base = part.base.value();
  out.staleness = part.staleness;
  out.coefficient = part.coefficient;
  for (const federation::WeightFactor& factor : part.factors) {
    absl::StrAppend(&out.factors, out.factors.empty() ? "" : " ", NameOf(factor.kind), " ",
                    absl::StrFormat("%.6g", factor.value));
  }
  return out;
}

void AddMerged(const VersionState& version, RunSummary& summary) {
  for (const Contribution& part : version.contributions) {
    if (part.role != Contribution::Role::kNew) continue;
    summary.merged.push_back(MergedUpdateOf(part, version));
    if (summary.staleness.size() <= part.staleness) summary.staleness.resize(part.staleness + 1);
    ++summary.staleness[part.staleness];
  }
}

// Sequences at which updates were accepted, ascending.
std::vector<Sequence> Acceptances(const RunState& run) {
  std::vector<Sequence> accepted;
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [id, task] : participant.tasks) {
      const bool came = task.phase == TaskPhase::kAccepted || task.phase == TaskPhase::kIncluded ||
                        task.phase == TaskPhase::kNotIncluded;
      if (came) accepted.push_back(task.accepted);
    }
  }
  std::sort(accepted.begin(), accepted.end());
  return accepted;
}

void AddScores(const VersionState& version, v1::Metric metric, CurvePoint& point) {
  std::vector<v1::MetricSums> sums;
  for (const auto& [site, part] : version.validation) sums.push_back(*part);
  const MetricOverSites over_sites = OverSites(metric, sums);
  point.score = over_sites.by_examples;
  point.worst_score = over_sites.worst;
}

void AddSiteCurves(const RunState& run, v1::Metric metric, RunSummary& summary) {
  std::map<SiteId, SiteCurve> curves;
  for (const VersionState& version : run.versions) {
    for (const auto& [site, part] : version.validation) {
      if (part->examples() == 0) continue;
      curves[site].points.push_back({absl::ToDoubleSeconds(version.committed_at - run.submitted_at),
                                     version.version.value(), MetricValue(metric, *part), part});
    }
  }
  for (auto& [site, curve] : curves) {
    curve.site = site.value();
    summary.site_curves.push_back(std::move(curve));
  }
}

void AddCurve(const RunState& run, RunSummary& summary) {
  const size_t approved = Approved(run);
  const std::vector<Sequence> accepted = Acceptances(run);
  const uint64_t update_bytes = run.elements * sizeof(float);
  for (const VersionState& version : run.versions) {
    AddMerged(version, summary);
    CurvePoint point;
    point.seconds = absl::ToDoubleSeconds(version.committed_at - run.submitted_at);
    point.version = version.version.value();
    point.updates = summary.merged.size();
    const auto before = std::lower_bound(accepted.begin(), accepted.end(), version.committed);
    point.upload_bytes = static_cast<uint64_t>(before - accepted.begin()) * update_bytes;
    point.validation_loss = ValidationLoss(version, approved);
    // A version that not everyone has scored can not be compared with one that they have.
    if (version.validation.size() >= approved) {
      AddScores(version, MetricOfCurve(summary), point);
    }
    summary.curve.push_back(point);
  }
  summary.updates = summary.merged.size();
  summary.upload_bytes = accepted.size() * update_bytes;
}

// The scores of the run as a whole, once the curve is there.
void AddTarget(RunSummary& summary) {
  if (!summary.target.has_value()) return;
  for (const CurvePoint& point : summary.curve) {
    if (!point.score.has_value()) continue;
    if (!federation::ReachesTarget(*summary.target, *point.score)) continue;
    summary.reached = {point.version, point.seconds, point.updates, point.upload_bytes};
    return;
  }
}

void AddWorstSite(RunSummary& summary) {
  std::optional<double> worst;
  for (const SiteSummary& site : summary.sites) {
    if (!site.federated.has_value()) continue;
    const std::optional<double> loss =
        site.federated->log_loss.has_value()   ? site.federated->log_loss
        : site.federated->cox_loss.has_value() ? site.federated->cox_loss
                                               : site.federated->mse;
    if (!loss.has_value() || (worst.has_value() && *loss <= *worst)) continue;
    worst = loss;
    summary.worst_site = site.name;
  }
}

// What the hospitals tell of the result on their test patients; empty before there is one.
SiteSums ToldOfResult(const RunState& run) {
  return run.result.has_value() ? run.versions[run.result->value()].test : SiteSums();
}

// Without the hospitals that tell nothing of the result.
std::map<SiteId, v1::MetricSums> Comparable(const SiteSums& told,
                                            const std::map<SiteId, v1::MetricSums>& sums) {
  std::map<SiteId, v1::MetricSums> comparable;
  for (const auto& [site, known] : told) {
    if (auto found = sums.find(site); found != sums.end()) {
      comparable[site] = AsFarAsTold(*known, found->second);
    }
  }
  return comparable;
}

Baselines Comparable(const SiteSums& told, const Baselines& baselines) {
  Baselines comparable;
  comparable.alone = Comparable(told, baselines.alone);
  comparable.pooled = Comparable(told, baselines.pooled);
  return comparable;
}

std::string WhyNoScores(const RunState& run, const Scores& federated) {
  if (federated.examples > 0) return "";
  if (run.plan->config().data().split().test() == 0) {
    return "data.split.test is 0: no patients are kept for the scores";
  }
  if (run.result.has_value()) {
    return "no hospital has test patients enough to tell how the model does on them";
  }
  return absl::StrCat("the run ended without a result", run.why_ended.empty() ? "" : ": ",
                      run.why_ended);
}

SiteSummary SummaryOfSite(const SiteId& site, const federation::Participant& participant,
                          const SiteSums& told, const Baselines* baselines) {
  SiteSummary out;
  out.name = site.value();
  out.train_examples = participant.train_examples;
  out.updates = static_cast<uint64_t>(
      std::count_if(participant.tasks.begin(), participant.tasks.end(),
                    [](const auto& task) { return task.second.phase == TaskPhase::kIncluded; }));
  out.influence = participant.influence;
  if (auto found = told.find(site); found != told.end()) out.federated = ScoresOf(*found->second);
  if (baselines != nullptr) {
    if (auto found = baselines->alone.find(site); found != baselines->alone.end()) {
      out.alone = ScoresOf(found->second);
    }
    if (auto found = baselines->pooled.find(site); found != baselines->pooled.end()) {
      out.pooled = ScoresOf(found->second);
    }
  }
  return out;
}

// Shares of examples and of influence, each summing to 1.
void Normalise(std::vector<SiteSummary>& sites) {
  double examples = 0;
  double influence = 0;
  for (const SiteSummary& site : sites) {
    examples += static_cast<double>(site.train_examples);
    influence += site.influence;
  }
  for (SiteSummary& site : sites) {
    site.share = examples > 0 ? static_cast<double>(site.train_examples) / examples : 0;
    site.influence = influence > 0 ? site.influence / influence : 0;
  }
}

std::string Cell(const std::optional<double>& value, int decimals) {
  if (!value.has_value()) return "-";
  return absl::StrFormat("%.*f", decimals, *value);
}

// "-" where the hospital does not tell.
std::string TestRows(const std::optional<Scores>& scores) {
  if (!scores.has_value() || scores->examples == 0) return "-";
  return absl::StrCat(scores->examples);
}

// What the two columns that AppendScores writes are of.
const char* NameOfLoss(const Scores& scores) {
  return scores.cox_loss.has_value() ? "Cox loss" : "log-loss";
}
const char* NameOfPairs(const Scores& scores) {
  return scores.cox_loss.has_value() || scores.c_index.has_value() ? "C" : "AUROC";
}

void AppendScores(const std::optional<Scores>& scores, std::string& line) {
  const Scores none;
  const Scores& s = scores.has_value() ? *scores : none;
  // A loss has one of these, and one of these two kinds of pairs.
  const std::optional<double>& loss = s.cox_loss.has_value() ? s.cox_loss : s.log_loss;
  const std::optional<double>& pairs = s.c_index.has_value() ? s.c_index : s.auroc;
  absl::StrAppendFormat(&line, " | %8s %6s %6s", Cell(loss, 3), Cell(pairs, 3),
                        Cell(s.errors_per_100, 1));
}

Json Optional(const std::optional<Scores>& scores) {
  return scores.has_value() ? ToJson(*scores) : Json(nullptr);
}
Json Optional(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

Json TargetJson(const RunSummary& summary) {
  if (!summary.target.has_value()) return nullptr;
  Json json = {{"metric", v1::Metric_Name(summary.target->metric())},
               {"value", summary.target->value()},
               {"reached", summary.reached.has_value()}};
  if (summary.reached.has_value()) {
    json["version"] = summary.reached->version;
    json["seconds"] = summary.reached->seconds;
    json["updates"] = summary.reached->updates;
    json["upload_bytes"] = summary.reached->upload_bytes;
  }
  return json;
}

Json ToJson(const CurvePoint& point) {
  Json json = {{"seconds", point.seconds},
               {"version", point.version},
               {"updates", point.updates},
               {"upload_bytes", point.upload_bytes},
               {"validation_loss", Optional(point.validation_loss)},
               {"score", Optional(point.score)},
               {"worst_score", Optional(point.worst_score)}};
  if (point.test_loss.has_value()) json["test_loss"] = *point.test_loss;
  if (point.test_score.has_value()) json["test_score"] = *point.test_score;
  return json;
}

}  // namespace

v1::Metric MetricOfCurve(const RunSummary& summary) {
  return summary.target.has_value() ? summary.target->metric() : summary.metric;
}

RunSummary SummaryOf(const RunState& run, const SummaryOptions& options) {
  const Baselines* baselines = options.baselines;
  const SiteSums told = ToldOfResult(run);
  Baselines comparable;
  if (baselines != nullptr) {
    comparable = Comparable(told, *baselines);
    baselines = &comparable;
  }
  RunSummary summary;
  summary.title = v1::AggregationConfig::Preset_Name(run.plan->config().aggregation().preset());
  summary.dataset = run.plan->config().name();
  if (IsPersonal(KeptBySites(run.plan->config()))) summary.scored = RunSummary::Scored::kPersonal;
  const v1::StopConfig& stop = run.plan->config().stop();
  summary.metric = federation::SelectBy(stop);
  summary.target = options.target;
  if (!summary.target.has_value() && stop.has_target()) summary.target = stop.target();
  AddCurve(run, summary);
  AddTarget(summary);
  AddSiteCurves(run, MetricOfCurve(summary), summary);
  for (const auto& [site, participant] : run.participants) {
    if (participant.decision != federation::Participant::Decision::kApproved) continue;
    summary.sites.push_back(SummaryOfSite(site, participant, told, baselines));
  }
  Normalise(summary.sites);
  summary.versions = run.current().value();
  summary.duplicates_absorbed = run.duplicates_absorbed;
  summary.seconds = absl::ToDoubleSeconds(run.ended_at - run.submitted_at);
  if (run.result.has_value()) {
    const VersionState& result = run.versions[run.result->value()];
    summary.result_version = run.result->value();
    summary.model_sha256 = ToHex(result.model_id);
    summary.best_score = result.validation_score;
    summary.federated = ScoresOf(Total(told));
  }
  if (run.scored.has_value()) {
    summary.final_score = run.versions[run.scored->value()].validation_score;
  }
  AddWorstSite(summary);
  summary.why_no_scores = WhyNoScores(run, summary.federated);
  if (baselines != nullptr) {
    summary.alone = ScoresOf(Total(baselines->alone));
    summary.pooled = ScoresOf(Total(baselines->pooled));
  }
  return summary;
}

Json ToJson(const RunSummary& summary) {
  Json sites = Json::array();
  for (const SiteSummary& site : summary.sites) {
    sites.push_back({{"name", site.name},
                     {"train_examples", site.train_examples},
                     {"updates", site.updates},
                     {"share", site.share},
                     {"influence", site.influence},
                     {"idle_fraction", Optional(site.idle_fraction)},
                     {"alone", Optional(site.alone)},
                     {"federated", Optional(site.federated)},
                     {"pooled", Optional(site.pooled)}});
  }
  Json curve = Json::array();
  for (const CurvePoint& point : summary.curve) curve.push_back(ToJson(point));
  Json json = {{"title", summary.title},
               {"dataset", summary.dataset},
               {"scored", NameOf(summary.scored)},
               {"sites", std::move(sites)},
               {"federated", ToJson(summary.federated)},
               {"alone", Optional(summary.alone)},
               {"pooled", Optional(summary.pooled)},
               {"why_no_scores", summary.why_no_scores},
               {"versions", summary.versions},
               {"result_version", summary.result_version},
               {"updates", summary.updates},
               {"duplicates_absorbed", summary.duplicates_absorbed},
               {"staleness", summary.staleness},
               {"seconds", summary.seconds},
               {"wall_seconds", Optional(summary.wall_seconds)},
               {"energy_joules", Optional(summary.energy_joules)},
               {"upload_bytes", summary.upload_bytes},
               {"metric", v1::Metric_Name(summary.metric)},
               {"best_score", Optional(summary.best_score)},
               {"final_score", Optional(summary.final_score)},
               {"worst_site", summary.worst_site},
               {"target", TargetJson(summary)},
               {"model_sha256", summary.model_sha256},
               {"curve", std::move(curve)}};
  if (!summary.data_sha256.empty()) json["data_sha256"] = summary.data_sha256;
  if (!summary.scenario_sha256.empty()) json["scenario_sha256"] = summary.scenario_sha256;
  if (summary.open.has_value()) json["simulation_only"] = ToJson(*summary.open);
  if (summary.backdoor.has_value()) {
    json["backdoor"] = {{"rows", summary.backdoor->rows},
                        {"with_trigger", summary.backdoor->with_trigger},
                        {"without_trigger", summary.backdoor->without_trigger}};
  }
  return json;
}

std::string TextTable(const RunSummary& summary) {
  const char* const loss = NameOfLoss(summary.federated);
  const char* const pairs = NameOfPairs(summary.federated);
  std::string text = absl::StrFormat(
      "%-22s %6s %6s %7s | %22s | %22s | %22s\n%-22s %6s %6s %7s | %8s %6s %6s | %8s %6s %6s | "
      "%8s %6s %6s\n",
      "scores on test rows", "train", "test", "updates", "alone",
      summary.scored == RunSummary::Scored::kPersonal ? "personal" : "federated",
      "pooled (simulated)", "hospital", "rows", "rows", "merged", loss, pairs, "err %", loss, pairs,
      "err %", loss, pairs, "err %");
  for (const SiteSummary& site : summary.sites) {
    std::string line = absl::StrFormat("%-22s %6d %6s %7d", site.name, site.train_examples,
                                       TestRows(site.federated), site.updates);
    AppendScores(site.alone, line);
    AppendScores(site.federated, line);
    AppendScores(site.pooled, line);
    absl::StrAppend(&text, line, "\n");
  }
  std::string line =
      absl::StrFormat("%-22s %6s %6s %7d", "all", "", TestRows(summary.federated), summary.updates);
  AppendScores(summary.alone, line);
  AppendScores(summary.federated, line);
  AppendScores(summary.pooled, line);
  absl::StrAppend(&text, line, "\n");
  if (summary.backdoor.has_value()) {
    absl::StrAppendFormat(&text,
                          "Backdoor: takes %.1f %% of %d test rows of other labels for its target "
                          "(%.1f %% without the trigger).\n",
                          100 * summary.backdoor->with_trigger, summary.backdoor->rows,
                          100 * summary.backdoor->without_trigger);
  }
  if (!summary.why_no_scores.empty()) {
    absl::StrAppend(&text, "No scores: ", summary.why_no_scores, ".\n");
  }
  return text;
}

std::string ComparisonTable(const std::vector<RunSummary>& runs) {
  const Scores first = runs.empty() ? Scores() : runs[0].federated;
  std::string text =
      absl::StrFormat("%-44s %8s %6s %6s %9s %8s %9s\n", "aggregation", NameOfLoss(first),
                      NameOfPairs(first), "err %", "versions", "updates", "seconds");
  for (const RunSummary& run : runs) {
    const Scores& scores = run.federated;
    absl::StrAppendFormat(&text, "%-44s %8s %6s %6s %9d %8d %9.1f\n", run.title,
                          Cell(scores.cox_loss.has_value() ? scores.cox_loss : scores.log_loss, 3),
                          Cell(scores.c_index.has_value() ? scores.c_index : scores.auroc, 3),
                          Cell(run.federated.errors_per_100, 1), run.versions, run.updates,
                          run.seconds);
  }
  return text;
}

}  // namespace consilium
