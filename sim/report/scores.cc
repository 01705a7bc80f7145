#include "sim/report/scores.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "models/metrics/metrics.h"

namespace consilium {
namespace {

nlohmann::json Optional(const std::optional<double>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

Scores ScoresOf(const v1::MetricSums& sums) {
  Scores scores;
  scores.examples = sums.examples();
  scores.log_loss = LogLoss(sums);
  scores.auroc = Auroc(sums);
  if (const std::optional<double> accuracy = Accuracy(sums)) {
    scores.errors_per_100 = 100 * (1 - *accuracy);
  }
  scores.balanced_accuracy = BalancedAccuracy(sums);
  scores.auprc = Auprc(sums);
  scores.calibration_error = CalibrationError(sums);
  scores.mse = Mse(sums);
  scores.c_index = CIndex(sums);
  scores.cox_loss = CoxLoss(sums);
  return scores;
}

nlohmann::json ToJson(const Scores& scores) {
  return {{"examples", scores.examples},
          {"log_loss", Optional(scores.log_loss)},
          {"auroc", Optional(scores.auroc)},
          {"errors_per_100", Optional(scores.errors_per_100)},
          {"balanced_accuracy", Optional(scores.balanced_accuracy)},
          {"auprc", Optional(scores.auprc)},
          {"calibration_error", Optional(scores.calibration_error)},
          {"mse", Optional(scores.mse)},
          {"c_index", Optional(scores.c_index)},
          {"cox_loss", Optional(scores.cox_loss)}};
}

double MeanLoss(const v1::MetricSums& sums) {
  if (const std::optional<double> loss = LogLoss(sums)) return *loss;
  if (const std::optional<double> loss = CoxLoss(sums)) return *loss;
  return Mse(sums).value_or(std::numeric_limits<double>::infinity());
}

v1::MetricSums AsFarAsTold(const v1::MetricSums& told, v1::MetricSums sums) {
  if (told.examples() == 0) return {};
  if (told.class_examples().empty()) {
    sums.clear_class_examples();
    sums.clear_class_correct();
    sums.clear_auprc_by_positives();
  }
  if (!told.has_auroc_comparable()) {
    sums.clear_auroc_concordant();
    sums.clear_auroc_comparable();
  }
  if (!told.has_events()) {
    sums.clear_events();
    sums.clear_cox_loss_sum();
    sums.clear_c_index_concordant();
    sums.clear_c_index_comparable();
  }
  return sums;
}

v1::MetricSums Total(const SiteSums& sums) {
  v1::MetricSums total;
  for (const auto& [site, part] : sums) total = Merge(total, *part);
  return total;
}

v1::MetricSums Total(const std::map<SiteId, v1::MetricSums>& sums) {
  v1::MetricSums total;
  for (const auto& [site, part] : sums) total = Merge(total, part);
  return total;
}

}  // namespace consilium
