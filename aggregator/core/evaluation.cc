#include "aggregator/core/evaluation.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/admission.h"
#include "aggregator/core/run_lifecycle.h"
#include "aggregator/core/stopping.h"
#include "aggregator/core/strategies/control_variates.h"
#include "models/metrics/metrics.h"

namespace consilium::federation {
namespace {

bool HasPart(const RunState& run, v1::Split split) {
  const v1::SplitConfig& config = run.plan->config().data().split();
  return (split == v1::TEST ? config.test() : config.validation()) > 0;
}

using MetricReports = std::map<SiteId, std::shared_ptr<const v1::MetricSums>>;

const MetricReports& ReportsOf(const VersionState& version, v1::Split split) {
  return split == v1::TEST ? version.test : version.validation;
}

AnnounceModel AnnouncementOf(const RunState& run, Version version) {
  const VersionState& state = run.versions[version.value()];
  AnnounceModel announce;
  announce.run = run.run;
  announce.version = version;
  announce.model_id = state.model_id;
  announce.payload_bytes = PayloadElements(run, version) * sizeof(float);
  return announce;
}

void Announce(StepContext& step, const RunState& run, const SiteId& site, Version version,
              v1::Split evaluate) {
  const VersionState& state = run.versions[version.value()];
  AnnounceModel announce = AnnouncementOf(run, version);
  announce.site = site;
  const bool wanted = HasPart(run, evaluate) && !ReportsOf(state, evaluate).contains(site);
  announce.evaluate = wanted ? evaluate : v1::SPLIT_UNSPECIFIED;
  step.Emit(std::move(announce));
}

// In the order of site ids, so that every replay adds in the same order.
std::optional<double> ScoreOver(const MetricReports& reports, v1::Metric metric) {
  v1::MetricSums sums;
  for (const auto& [site, report] : reports) sums = Merge(sums, *report);
  return MetricValue(metric, sums);
}

// Counts a version that every member has reported on.
void ScoreVersion(RunState& run, VersionState& version) {
  if (!IsComplete(run, version.version, v1::VALIDATION)) return;
  const v1::Metric metric = SelectBy(run.plan->config().stop());
  version.validation_score = ScoreOver(version.validation, metric);
  if (!version.validation_score.has_value()) return;
  run.scored = std::max(run.scored.value_or(version.version), version.version);
  if (!run.best.has_value()) {
    run.best = version.version;
    return;
  }
  const double incumbent = *run.versions[run.best->value()].validation_score;
  const bool better =
      IsBetter(metric, {.candidate = *version.validation_score, .incumbent = incumbent});
  const bool earlier = *version.validation_score == incumbent && version.version < *run.best;
  if (better || earlier) run.best = version.version;
}

// Target and patience, now that `version` may have its score.
void TryStop(StepContext& step, RunState& run, Version version) {
  if (run.phase != RunPhase::kRunning || !IsComplete(run, version, v1::VALIDATION)) return;
  const v1::StopConfig& stop = run.plan->config().stop();
  if (stop.has_target()) {
    const std::optional<double> score =
        ScoreOver(run.versions[version.value()].validation, stop.target().metric());
    if (score.has_value() && ReachesTarget(stop.target(), *score)) {
      StopRun(step, run,
              absl::StrCat("version ", version.value(), " reached the target with ", *score));
      return;
    }
  }
  if (run.best.has_value() &&
      IsOutOfPatience(stop, {.best = *run.best, .newest = run.scored.value_or(*run.best)})) {
    StopRun(step, run,
            absl::StrCat("no version was better than ", run.best->value(), " for ",
                         stop.patience_versions(), " versions"));
  }
}

v1::Reason ReasonAgainst(const RunState* run, const EvaluationReported& event) {
  if (run == nullptr) return v1::RUN_UNKNOWN;
  if (!run->participants.contains(event.site)) return v1::NOT_APPROVED;
  if (event.version.value() >= run->versions.size()) return v1::VERSION_UNKNOWN;
  if (event.metrics == nullptr) return v1::MALFORMED;
  if (event.split != v1::VALIDATION && event.split != v1::TEST) return v1::MALFORMED;
  if (!CheckMetricSums(*event.metrics).ok()) return v1::MALFORMED;
  if (event.metrics->examples() > SiteExamplesMax(*run)) return v1::TOO_MANY_EXAMPLES;
  return v1::REASON_UNSPECIFIED;
}

// The members over which the result is chosen.
std::vector<SiteId> Choosers(const StepContext& step, const RunState& run) {
  std::vector<SiteId> choosers;
  for (const SiteId& site : run.members) {
    if (step.IsAttached(site) || run.versions.back().validation.contains(site)) {
      choosers.push_back(site);
    }
  }
  return choosers;
}

std::optional<double> ScoreBy(const std::vector<SiteId>& choosers, const VersionState& version,
                              v1::Metric metric) {
  v1::MetricSums sums;
  for (const SiteId& site : choosers) {
    const auto report = version.validation.find(site);
    if (report == version.validation.end()) return std::nullopt;
    sums = Merge(sums, *report->second);
  }
  return MetricValue(metric, sums);
}

}  // namespace

void OnEvaluationReported(StepContext& step, const EvaluationReported& event) {
  RunState* run = step.FindRun(event.run);
  if (const v1::Reason reason = ReasonAgainst(run, event); reason != v1::REASON_UNSPECIFIED) {
    step.Emit(Alarm{reason, event.site, event.run,
                    absl::StrCat("an evaluation of version ", event.version.value(),
                                 " does not fit: ", v1::Reason_Name(reason))});
    return;
  }
  if (!run->members.contains(event.site) || run->phase >= RunPhase::kEnded) return;
  VersionState& version = run->versions[event.version.value()];
  MetricReports& reports = event.split == v1::TEST ? version.test : version.validation;
  if (!reports.emplace(event.site, event.metrics).second) return;  // Said again.
  if (event.split == v1::VALIDATION) {
    ScoreVersion(*run, version);
    TryStop(step, *run, event.version);
  }
  AdvanceClosing(step, *run);
}

void AnnounceToAll(StepContext& step, RunState& run, Version version, v1::Split evaluate) {
  if (!ReportsOf(run.versions[version.value()], evaluate).empty()) {
    // Who has reported is not asked again.
    for (const SiteId& site : run.members) {
      if (step.IsAttached(site)) Announce(step, run, site, version, evaluate);
    }
    return;
  }
  AnnounceModel model = AnnouncementOf(run, version);
  model.evaluate = HasPart(run, evaluate) ? evaluate : v1::SPLIT_UNSPECIFIED;
  step.Emit(AnnounceToMembers{ListOfMembers(run), std::move(model)});
}

void AnnounceMissed(StepContext& step, const RunState& run, const SiteId& site) {
  const uint64_t current = run.current().value();
  const uint64_t first = current - std::min(current, kEvaluationsAskedAgainMax - 1);
  for (uint64_t v = first; v < current; ++v) {
    const VersionState& version = run.versions[v];
    const bool missed = run.phase <= RunPhase::kClosingValidation && HasPart(run, v1::VALIDATION) &&
                        version.stored == VersionState::Stored::kKept &&
                        !version.validation.contains(site);
    if (missed) Announce(step, run, site, Version(v), v1::VALIDATION);
  }
  if (run.phase == RunPhase::kClosingTest) {
    Announce(step, run, site, *run.result, v1::TEST);
  } else {
    Announce(step, run, site, run.current(), v1::VALIDATION);
  }
}

bool IsComplete(RunState& run, Version version, v1::Split split) {
  if (!HasPart(run, split)) return true;
  const MetricReports& reports = ReportsOf(run.versions[version.value()], split);
  if (reports.size() < run.members.size()) return false;
  // Reports only come; where a member does, what was seen is forgotten.
  ReportsSeen& seen = run.members_memo.reports_seen[{version, split}];
  if (seen.all) return true;
  const auto next =
      std::find_if(run.members.lower_bound(seen.next), run.members.end(),
                   [&reports](const SiteId& site) { return !reports.contains(site); });
  seen.all = next == run.members.end();
  if (!seen.all) seen.next = *next;
  return seen.all;
}

Version ChooseResult(const StepContext& step, const RunState& run) {
  const v1::Metric metric = SelectBy(run.plan->config().stop());
  const std::vector<SiteId> choosers = Choosers(step, run);
  std::optional<Version> best;
  double best_score = 0;
  for (const VersionState& version : run.versions) {
    if (version.stored == VersionState::Stored::kForgotten) continue;
    const std::optional<double> score = ScoreBy(choosers, version, metric);
    if (!score.has_value()) continue;
    if (!best.has_value() || IsBetter(metric, {.candidate = *score, .incumbent = best_score})) {
      best = version.version;
      best_score = *score;
    }
  }
  return best.value_or(run.current());
}

void AfterMembersChanged(StepContext& step, RunState& run) {
  if (run.phase == RunPhase::kRunning) {
    const uint64_t current = run.current().value();
    const uint64_t first = current - std::min(current, kEvaluationsAskedAgainMax - 1);
    for (uint64_t v = first; v <= current && run.phase == RunPhase::kRunning; ++v) {
      if (!run.versions[v].validation_score.has_value()) ScoreVersion(run, run.versions[v]);
      TryStop(step, run, Version(v));
    }
  }
  AdvanceClosing(step, run);
}

}  // namespace consilium::federation
