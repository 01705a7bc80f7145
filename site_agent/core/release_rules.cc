#include "site_agent/core/release_rules.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"

namespace consilium::site {
namespace {

constexpr size_t kLeaseBytes = 32;
// A sentence; no room for data.
constexpr size_t kMessageCharsMax = 2000;

absl::Status Broken(ReleaseKind kind, absl::string_view rule) {
  return absl::FailedPreconditionError(
      absl::StrCat("the egress gate holds back a message of kind ", NameOf(kind), ": ", rule));
}

bool IsReleasable(uint64_t count, uint64_t minimum) { return count == 0 || count >= minimum; }

absl::Status CheckHello(const v1::Hello& hello) {
  if (hello.lease_presented().size() != kLeaseBytes || hello.lease_next().size() != kLeaseBytes) {
    return Broken(ReleaseKind::kHello, "its leases have not 32 bytes");
  }
  if (hello.held_receipts_size() > static_cast<int>(limits::kHeldReceiptsMax)) {
    return Broken(ReleaseKind::kHello, "it names too many receipts");
  }
  return absl::OkStatus();
}

absl::Status CheckDecision(const v1::RunDecision& decision, uint64_t minimum) {
  if (!IsReleasable(decision.train_examples(), minimum)) {
    return Broken(ReleaseKind::kDecision, "it counts fewer examples than the minimum");
  }
  if (decision.message().size() > kMessageCharsMax) {
    return Broken(ReleaseKind::kDecision, "its message is too long");
  }
  return absl::OkStatus();
}

absl::Status CheckStatistics(const v1::StatisticsReport& report, uint64_t minimum) {
  const int features = report.counts_size();
  if (report.sums_size() != features || report.sums_of_squares_size() != features) {
    return Broken(ReleaseKind::kStatistics, "its lists have different lengths");
  }
  for (int i = 0; i < features; ++i) {
    if (!IsReleasable(report.counts(i), minimum)) {
      return Broken(ReleaseKind::kStatistics, "a feature has fewer values than the minimum");
    }
    const bool silent = report.sums(i) == 0 && report.sums_of_squares(i) == 0;
    if (report.counts(i) == 0 && !silent) {
      return Broken(ReleaseKind::kStatistics, "a feature without values has a sum");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEvaluation(const v1::EvaluationReport& report, uint64_t minimum) {
  const v1::MetricSums& metrics = report.metrics();
  if (metrics.examples() == 0 && metrics.ByteSizeLong() != 0) {
    return Broken(ReleaseKind::kEvaluation, "it has metrics over no examples");
  }
  if (!IsReleasable(metrics.examples(), minimum)) {
    return Broken(ReleaseKind::kEvaluation, "it is over fewer examples than the minimum");
  }
  for (const uint64_t count : metrics.class_examples()) {
    if (IsReleasable(count, minimum)) continue;
    return Broken(ReleaseKind::kEvaluation, "a class has fewer examples than the minimum");
  }
  if (!IsReleasable(metrics.events(), minimum) ||
      (metrics.has_events() && !IsReleasable(metrics.examples() - metrics.events(), minimum))) {
    return Broken(ReleaseKind::kEvaluation,
                  "fewer examples than the minimum had an event, or had none");
  }
  if (!metrics.has_events() && (metrics.has_cox_loss_sum() || metrics.has_c_index_comparable())) {
    return Broken(ReleaseKind::kEvaluation, "it sums over events without their number");
  }
  if (metrics.has_auprc_by_positives() && metrics.class_examples().empty()) {
    return Broken(ReleaseKind::kEvaluation, "it sums over positives without their number");
  }
  const double pairs = metrics.auroc_comparable();
  if (pairs != 0 && pairs < static_cast<double>(minimum) * static_cast<double>(minimum)) {
    return Broken(ReleaseKind::kEvaluation, "its pairs are of fewer examples than the minimum");
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view NameOf(ReleaseKind kind) {
  switch (kind) {
    case ReleaseKind::kEnrolment:
      return "enrolment";
    case ReleaseKind::kRenewal:
      return "renewal";
    case ReleaseKind::kHello:
      return "hello";
    case ReleaseKind::kLeaseConfirm:
      return "lease_confirm";
    case ReleaseKind::kDecision:
      return "decision";
    case ReleaseKind::kStatistics:
      return "statistics";
    case ReleaseKind::kEvaluation:
      return "evaluation";
    case ReleaseKind::kUpdate:
      return "update";
    case ReleaseKind::kFetch:
      return "fetch";
  }
  return "";
}

absl::StatusOr<ReleaseKind> CheckRelease(const v1::SiteEvent& event, uint64_t minimum_count) {
  switch (event.event_case()) {
    case v1::SiteEvent::kHello:
      CONSILIUM_RETURN_IF_ERROR(CheckHello(event.hello()));
      return ReleaseKind::kHello;
    case v1::SiteEvent::kLeaseConfirm:
      if (event.lease_confirm().lease().size() != kLeaseBytes) {
        return Broken(ReleaseKind::kLeaseConfirm, "its lease has not 32 bytes");
      }
      return ReleaseKind::kLeaseConfirm;
    case v1::SiteEvent::kRunDecision:
      CONSILIUM_RETURN_IF_ERROR(CheckDecision(event.run_decision(), minimum_count));
      return ReleaseKind::kDecision;
    case v1::SiteEvent::kStatistics:
      CONSILIUM_RETURN_IF_ERROR(CheckStatistics(event.statistics(), minimum_count));
      return ReleaseKind::kStatistics;
    case v1::SiteEvent::kEvaluation:
      CONSILIUM_RETURN_IF_ERROR(CheckEvaluation(event.evaluation(), minimum_count));
      return ReleaseKind::kEvaluation;
    case v1::SiteEvent::EVENT_NOT_SET:
      break;
  }
  return absl::FailedPreconditionError("the egress gate knows no event of this kind");
}

absl::Status CheckRelease(const v1::UpdateHeader& header, uint64_t minimum_count) {
  CONSILIUM_RETURN_IF_ERROR(CheckUpdateHeader(header));
  if (header.examples() < minimum_count) {
    return Broken(ReleaseKind::kUpdate, "it was trained on fewer examples than the minimum");
  }
  return absl::OkStatus();
}

void WithholdSmallCounts(uint64_t minimum_count, std::span<const uint64_t> patients,
                         v1::StatisticsReport& report) {
  for (int i = 0; i < report.counts_size(); ++i) {
    if (IsReleasable(patients[static_cast<size_t>(i)], minimum_count)) continue;
    report.set_counts(i, 0);
    report.set_sums(i, 0);
    report.set_sums_of_squares(i, 0);
  }
}

void WithholdSmallCounts(uint64_t minimum_count, const Examples& part, v1::MetricSums& metrics) {
  absl::flat_hash_set<size_t> patients;
  absl::flat_hash_map<float, absl::flat_hash_set<size_t>> patients_of_class;
  for (size_t i = 0; i < part.count(); ++i) {
    patients.insert(part.patient(i));
    // Of a time that counts is whether its event was observed.
    const float of_class =
        metrics.has_events() ? (part.labels[i] > 0 ? 1.0f : 0.0f) : part.labels[i];
    patients_of_class[of_class].insert(part.patient(i));
  }
  if (patients.size() < minimum_count) {
    metrics.Clear();
    return;
  }
  const bool small_class = std::any_of(
      patients_of_class.begin(), patients_of_class.end(),
      [&](const auto& entry) { return !IsReleasable(entry.second.size(), minimum_count); });
  if (!small_class) return;
  // A discrete hazard's sum is over all patients, but where hazards are small it is nearly theirs
  // alone who had the event, and a model can be made whose sum tells their times.
  if (metrics.has_events() && metrics.has_log_loss_sum()) {
    metrics.Clear();
    return;
  }
  metrics.clear_class_examples();
  metrics.clear_class_correct();
  metrics.clear_auroc_concordant();
  metrics.clear_auroc_comparable();
  metrics.clear_auprc_by_positives();
  metrics.clear_events();
  metrics.clear_c_index_concordant();
  metrics.clear_c_index_comparable();
  metrics.clear_cox_loss_sum();
}

}  // namespace consilium::site
