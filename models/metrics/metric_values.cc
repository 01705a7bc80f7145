#include <algorithm>
#include <vector>

#include "models/metrics/metrics.h"

namespace consilium {
namespace {

// Whether the side's model gave numbers, so that what is absent has another reason.
bool IsComputed(const v1::MetricSums& sums) {
  return sums.examples() == 0 || sums.has_log_loss_sum() || sums.has_squared_error_sum();
}

uint64_t Positives(const v1::MetricSums& sums) {
  return sums.class_examples_size() == 2 ? sums.class_examples(1) : 0;
}

// One without positives, or that does not tell of them, adds none and hides nothing.
bool TellsPrecision(const v1::MetricSums& sums) {
  return sums.has_auprc_by_positives() || Positives(sums) == 0;
}

// A side that counts events but has no loss over them has diverged; one that counts none tells
// nothing of them.
void MergeSurvival(const v1::MetricSums& a, const v1::MetricSums& b, v1::MetricSums& sum) {
  if (!a.has_events() && !b.has_events()) return;
  sum.set_events(a.events() + b.events());
  for (const v1::MetricSums* side : {&a, &b}) {
    if (side->has_events() && !side->has_cox_loss_sum() && !side->has_log_loss_sum()) return;
  }
  if (a.has_cox_loss_sum() || b.has_cox_loss_sum()) {
    sum.set_cox_loss_sum(a.cox_loss_sum() + b.cox_loss_sum());
  }
  if (a.has_c_index_comparable() || b.has_c_index_comparable()) {
    sum.set_c_index_concordant(a.c_index_concordant() + b.c_index_concordant());
    sum.set_c_index_comparable(a.c_index_comparable() + b.c_index_comparable());
  }
}

std::optional<double> PerExample(bool is_there, double sum, const v1::MetricSums& sums) {
  if (!is_there || sums.examples() == 0) return std::nullopt;
  return sum / static_cast<double>(sums.examples());
}

using Counts = google::protobuf::RepeatedField<uint64_t>;

void AddCounts(const Counts& from, Counts& to) {
  if (to.size() < from.size()) to.Resize(from.size(), 0);
  for (int i = 0; i < from.size(); ++i) to.Set(i, to.Get(i) + from.Get(i));
}

}  // namespace

v1::MetricSums Merge(const v1::MetricSums& a, const v1::MetricSums& b) {
  if (a.examples() == 0) return b;
  if (b.examples() == 0) return a;
  v1::MetricSums sum;
  sum.set_examples(a.examples() + b.examples());
  if (a.has_log_loss_sum() && b.has_log_loss_sum()) {
    sum.set_log_loss_sum(a.log_loss_sum() + b.log_loss_sum());
  }
  if (a.has_correct() && b.has_correct()) sum.set_correct(a.correct() + b.correct());
  if (a.has_squared_error_sum() && b.has_squared_error_sum()) {
    sum.set_squared_error_sum(a.squared_error_sum() + b.squared_error_sum());
  }
  MergeSurvival(a, b, sum);
  if (a.has_calibration_error_by_examples() && b.has_calibration_error_by_examples()) {
    sum.set_calibration_error_by_examples(a.calibration_error_by_examples() +
                                          b.calibration_error_by_examples());
  }
  if (!IsComputed(a) || !IsComputed(b)) return sum;
  *sum.mutable_class_examples() = a.class_examples();
  *sum.mutable_class_correct() = a.class_correct();
  AddCounts(b.class_examples(), *sum.mutable_class_examples());
  AddCounts(b.class_correct(), *sum.mutable_class_correct());
  const bool some_precision = a.has_auprc_by_positives() || b.has_auprc_by_positives();
  if (some_precision && TellsPrecision(a) && TellsPrecision(b)) {
    sum.set_auprc_by_positives(a.auprc_by_positives() + b.auprc_by_positives());
  }
  if (a.has_auroc_comparable() || b.has_auroc_comparable()) {
    sum.set_auroc_concordant(a.auroc_concordant() + b.auroc_concordant());
    sum.set_auroc_comparable(a.auroc_comparable() + b.auroc_comparable());
  }
  return sum;
}

std::optional<double> LogLoss(const v1::MetricSums& sums) {
  return PerExample(sums.has_log_loss_sum(), sums.log_loss_sum(), sums);
}

std::optional<double> Accuracy(const v1::MetricSums& sums) {
  return PerExample(sums.has_correct(), static_cast<double>(sums.correct()), sums);
}

std::optional<double> BalancedAccuracy(const v1::MetricSums& sums) {
  double recalls = 0;
  int classes = 0;
  const int listed = std::min(sums.class_examples_size(), sums.class_correct_size());
  for (int c = 0; c < listed; ++c) {
    if (sums.class_examples(c) == 0) continue;
    recalls +=
        static_cast<double>(sums.class_correct(c)) / static_cast<double>(sums.class_examples(c));
    ++classes;
  }
  if (classes < 2) return std::nullopt;
  return recalls / classes;
}

std::optional<double> Auroc(const v1::MetricSums& sums) {
  if (!sums.has_auroc_concordant() || !(sums.auroc_comparable() > 0)) return std::nullopt;
  return sums.auroc_concordant() / sums.auroc_comparable();
}

std::optional<double> Auprc(const v1::MetricSums& sums) {
  if (!sums.has_auprc_by_positives() || Positives(sums) == 0) return std::nullopt;
  return sums.auprc_by_positives() / static_cast<double>(Positives(sums));
}

std::optional<double> CalibrationError(const v1::MetricSums& sums) {
  return PerExample(sums.has_calibration_error_by_examples(), sums.calibration_error_by_examples(),
                    sums);
}

std::optional<double> Mse(const v1::MetricSums& sums) {
  return PerExample(sums.has_squared_error_sum(), sums.squared_error_sum(), sums);
}

std::optional<double> CIndex(const v1::MetricSums& sums) {
  if (!sums.has_c_index_concordant() || !(sums.c_index_comparable() > 0)) return std::nullopt;
  return sums.c_index_concordant() / sums.c_index_comparable();
}

std::optional<double> CoxLoss(const v1::MetricSums& sums) {
  if (!sums.has_cox_loss_sum() || sums.events() == 0) return std::nullopt;
  return sums.cox_loss_sum() / static_cast<double>(sums.events());
}

std::optional<double> MetricValue(v1::Metric metric, const v1::MetricSums& sums) {
  switch (metric) {
    case v1::LOG_LOSS:
      return LogLoss(sums);
    case v1::ACCURACY:
      return Accuracy(sums);
    case v1::BALANCED_ACCURACY:
      return BalancedAccuracy(sums);
    case v1::AUROC:
      return Auroc(sums);
    case v1::AUPRC:
      return Auprc(sums);
    case v1::CALIBRATION_ERROR:
      return CalibrationError(sums);
    case v1::METRIC_MSE:
      return Mse(sums);
    case v1::C_INDEX:
      return CIndex(sums);
    case v1::COX_LOSS:
      return CoxLoss(sums);
    default:
      return std::nullopt;
  }
}

bool HigherIsBetter(v1::Metric metric) {
  return metric == v1::ACCURACY || metric == v1::BALANCED_ACCURACY || metric == v1::AUROC ||
         metric == v1::AUPRC || metric == v1::C_INDEX;
}

MetricOverSites OverSites(v1::Metric metric, std::span<const v1::MetricSums> sites) {
  MetricOverSites over;
  v1::MetricSums merged;
  double sum = 0;
  for (const v1::MetricSums& site : sites) {
    merged = Merge(merged, site);
    const std::optional<double> value = MetricValue(metric, site);
    if (!value) continue;
    sum += *value;
    ++over.sites_defined;
    const bool is_worse =
        !over.worst || (HigherIsBetter(metric) ? *value < *over.worst : *value > *over.worst);
    if (is_worse) over.worst = value;
  }
  over.by_examples = MetricValue(metric, merged);
  if (over.sites_defined > 0) over.by_sites = sum / static_cast<double>(over.sites_defined);
  return over;
}

}  // namespace consilium
