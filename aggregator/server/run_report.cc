#include "aggregator/server/run_report.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "aggregator/core/run_views.h"
#include "models/metrics/metrics.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

using federation::Participant;
using federation::RunPhase;
using federation::WeightFactor;

absl::string_view NameOf(Participant::Decision decision) {
  switch (decision) {
    case Participant::Decision::kPending:
      return "pending";
    case Participant::Decision::kApproved:
      return "approved";
    case Participant::Decision::kRefused:
      return "refused";
  }
  return "";
}

absl::string_view NameOf(WeightFactor::Kind kind) {
  switch (kind) {
    case WeightFactor::Kind::kSize:
      return "size";
    case WeightFactor::Kind::kStaleness:
      return "staleness";
    case WeightFactor::Kind::kRateCorrection:
      return "rate_correction";
    case WeightFactor::Kind::kNormalisation:
      return "normalisation";
    case WeightFactor::Kind::kMixing:
      return "mixing";
    case WeightFactor::Kind::kServerStep:
      return "server_step";
    case WeightFactor::Kind::kReplaced:
      return "replaced";
    case WeightFactor::Kind::kExpired:
      return "expired";
    case WeightFactor::Kind::kLocalSteps:
      return "local_steps";
    case WeightFactor::Kind::kClip:
      return "clip";
    case WeightFactor::Kind::kBandClip:
      return "band_clip";
    case WeightFactor::Kind::kRobust:
      return "robust";
    case WeightFactor::Kind::kShorterTask:
      return "shorter_task";
    case WeightFactor::Kind::kRescale:
      return "rescale";
    case WeightFactor::Kind::kValidator:
      return "validator";
  }
  return "";
}

void AddContribution(const federation::Contribution& contribution, v1::VersionReport& version) {
  v1::ContributionReport& out = *version.add_contributions();
  out.set_site_id(contribution.site.value());
  out.set_task_id(contribution.task.value());
  out.set_update_id(ToBytes(contribution.update));
  out.set_base_version(contribution.base.value());
  out.set_staleness(contribution.staleness);
  out.set_coefficient(contribution.coefficient);
  out.set_table_entry(contribution.role == federation::Contribution::Role::kTableEntry);
  for (const WeightFactor& factor : contribution.factors) {
    (*out.mutable_factors())[std::string(NameOf(factor.kind))] = factor.value;
  }
}

using MetricReports = std::map<SiteId, std::shared_ptr<const v1::MetricSums>>;

void SetScores(const MetricReports& reports, v1::Scores& out) {
  v1::MetricSums sums;
  for (const auto& [site, report] : reports) sums = Merge(sums, *report);
  out.set_examples(sums.examples());
  out.set_sites(reports.size());
  if (const auto value = LogLoss(sums)) out.set_log_loss(*value);
  if (const auto value = Accuracy(sums)) out.set_accuracy(*value);
  if (const auto value = BalancedAccuracy(sums)) out.set_balanced_accuracy(*value);
  if (const auto value = Auroc(sums)) out.set_auroc(*value);
  if (const auto value = Mse(sums)) out.set_mse(*value);
  if (const auto value = CIndex(sums)) out.set_c_index(*value);
  if (const auto value = CoxLoss(sums)) out.set_cox_loss(*value);
}

void AddVersion(const federation::VersionState& version, v1::RunReport& report) {
  v1::VersionReport& out = *report.add_versions();
  out.set_version(version.version.value());
  out.set_model_id(ToBytes(version.model_id));
  out.set_committed_unix_ns(absl::ToUnixNanos(version.committed_at));
  out.set_server_learning_rate(version.server_learning_rate);
  for (const federation::Contribution& contribution : version.contributions) {
    AddContribution(contribution, out);
  }
  for (const auto& [site, metrics] : version.validation) {
    (*out.mutable_validation())[site.value()] = *metrics;
  }
  for (const auto& [site, metrics] : version.test) {
    (*out.mutable_test())[site.value()] = *metrics;
  }
  if (!version.validation.empty()) {
    SetScores(version.validation, *out.mutable_validation_scores());
  }
  if (!version.test.empty()) SetScores(version.test, *out.mutable_test_scores());
}

void AddParticipants(const federation::RunState& run, v1::RunReport& report) {
  const std::map<SiteId, federation::SiteCounts> counts = federation::CountsBySite(run);
  double influence = 0;
  for (const auto& [site, count] : counts) influence += count.influence;
  for (const auto& [site, participant] : run.participants) {
    v1::ParticipantReport& out = *report.add_participants();
    out.set_site_id(site.value());
    out.set_decision(std::string(NameOf(participant.decision)));
    if (participant.refusal_reason != v1::REASON_UNSPECIFIED) {
      out.set_refusal(v1::Reason_Name(participant.refusal_reason));
    }
    out.set_train_examples(participant.train_examples);
    const auto count = counts.find(site);
    if (count == counts.end()) continue;
    out.set_tasks_granted(count->second.granted);
    out.set_updates_accepted(count->second.accepted);
    out.set_updates_included(count->second.included);
    out.set_updates_not_included(count->second.not_included);
    out.set_updates_refused(count->second.refused);
    out.set_influence(influence > 0 ? count->second.influence / influence : 0);
  }
}

}  // namespace

absl::string_view NameOf(RunPhase phase) {
  switch (phase) {
    case RunPhase::kOffered:
      return "offered";
    case RunPhase::kDrawing:
      return "drawing";
    case RunPhase::kRunning:
      return "running";
    case RunPhase::kClosingValidation:
      return "closing-validation";
    case RunPhase::kClosingTest:
      return "closing-test";
    case RunPhase::kEnded:
      return "ended";
    case RunPhase::kPurged:
      return "purged";
  }
  return "";
}

v1::RunSummary SummaryOf(const federation::RunState& run) {
  v1::RunSummary summary;
  summary.set_run_id(run.run.value());
  summary.set_phase(std::string(NameOf(run.phase)));
  summary.set_version(run.current().value());
  summary.set_sites(run.participants.size());
  summary.set_submitted_unix_s(absl::ToUnixSeconds(run.submitted_at));
  return summary;
}

v1::RunReport ReportOf(const federation::RunState& run) {
  v1::RunReport report;
  report.set_run_id(run.run.value());
  report.set_plan_hash(ToBytes(run.plan_hash));
  if (run.plan != nullptr) *report.mutable_plan() = *run.plan;
  report.set_phase(std::string(NameOf(run.phase)));
  report.set_why_ended(run.why_ended);
  report.set_submitted_unix_ns(absl::ToUnixNanos(run.submitted_at));
  if (run.phase >= RunPhase::kEnded) report.set_ended_unix_ns(absl::ToUnixNanos(run.ended_at));
  report.set_current_version(run.current().value());
  for (const federation::VersionState& version : run.versions) AddVersion(version, report);
  if (run.result.has_value()) {
    report.set_result_version(run.result->value());
    report.set_result_model_id(ToBytes(run.versions[run.result->value()].model_id));
  }
  if (!run.versions.empty()) report.set_last_model_id(ToBytes(run.versions.back().model_id));
  AddParticipants(run, report);
  for (const uint64_t count : federation::StalenessHistogram(run)) {
    report.add_staleness_histogram(count);
  }
  report.set_duplicates_absorbed(run.duplicates_absorbed);
  for (const auto& [reason, count] : run.refusals) {
    (*report.mutable_refusals())[v1::Reason_Name(reason)] = count;
  }
  return report;
}

}  // namespace consilium
