#include "sim/report/scores.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
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

std::span<const NamedScore> NamedScores() {
  static constexpr NamedScore kScores[] = {
      {"log_loss", &Scores::log_loss},
      {"auroc", &Scores::auroc},
      {"errors_per_100", &Scores::errors_per_100},
      {"balanced_accuracy", &Scores::balanced_accuracy},
      {"auprc", &Scores::auprc},
      {"calibration_error", &Scores::calibration_error},
      {"mse", &Scores::mse},
      {"c_index", &Scores::c_index},
      {"cox_loss", &Scores::cox_loss},
  };
  return kScores;
}

nlohmann::json ToJson(const Scores& scores) {
  nlohmann::json json = {{"examples", scores.examples}};
  for (const NamedScore& score : NamedScores()) json[score.name] = Optional(scores.*score.value);
  return json;
}

bool IsLoss(v1::Metric metric) {
  return metric == v1::LOG_LOSS || metric == v1::METRIC_MSE || metric == v1::COX_LOSS;
}

DrawnCurve CurveToDraw(v1::Metric metric, CurveHas has) {
  const bool named = metric != v1::METRIC_UNSPECIFIED;
  const bool on_validation = has.loss || (has.score && named);
  const bool has_loss = on_validation ? has.loss : has.test_loss;
  const bool has_score = named && (on_validation ? has.score : has.test_score);
  const absl::string_view where = on_validation ? "validation" : "test";
  if (has_score && (!IsLoss(metric) || !has_loss)) {
    return {on_validation ? "score" : "test_score",
            absl::StrCat(where, " ", v1::Metric_Name(metric))};
  }
  if (has_loss)
    return {on_validation ? "validation_loss" : "test_loss", absl::StrCat(where, " loss")};
  return {"", "validation loss"};
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
