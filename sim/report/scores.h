// What people read: scores out of the sums that sites send.
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_SCORES_H_
#define CONSILIUM_SIM_REPORT_SCORES_H_

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>

#include "aggregator/core/run_state.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// Absent where the patients at hand do not define it.
struct Scores {
  uint64_t examples = 0;
  std::optional<double> log_loss;
  std::optional<double> auroc;
  std::optional<double> auprc;
  std::optional<double> errors_per_100;
  std::optional<double> balanced_accuracy;
  std::optional<double> calibration_error;
  std::optional<double> mse;
  std::optional<double> c_index;
  std::optional<double> cox_loss;  // Per event.
};

// Each score with its name, as summary.json and the tables call it: the one list of them.
struct NamedScore {
  const char* name;
  std::optional<double> Scores::*value;
};
std::span<const NamedScore> NamedScores();

Scores ScoresOf(const v1::MetricSums& sums);
nlohmann::json ToJson(const Scores& scores);

// LOG_LOSS, METRIC_MSE or COX_LOSS.
bool IsLoss(v1::Metric metric);

// Which values the points of curves have.
struct CurveHas {
  bool loss = false;  // On validation patients, as is the score.
  bool score = false;
  bool test_loss = false;
  bool test_score = false;
};
// Which of them a chart draws.
struct DrawnCurve {
  std::string key;   // As in summary.json; empty where there is nothing to draw.
  std::string name;  // "validation loss", "test C_INDEX".
};
// On validation patients where there is anything, else on test patients. The score where that is in
// a metric that is no loss, or there is no loss; else the loss. `metric`: of the scores;
// METRIC_UNSPECIFIED where they are not in one metric, so none is drawn.
DrawnCurve CurveToDraw(v1::Metric metric, CurveHas has);

// The loss that training minimises, per example: log-loss, the Cox loss (per event), or the squared
// error. Infinite where there are no examples.
double MeanLoss(const v1::MetricSums& sums);

// `sums` of another model over the same patients, as far as their hospital tells of this one
// (`told`): where it withholds small counts, a score beside it is withheld too, so that both are
// over the same patients.
v1::MetricSums AsFarAsTold(const v1::MetricSums& told, v1::MetricSums sums);

using SiteSums = std::map<SiteId, std::shared_ptr<const v1::MetricSums>>;
// Added over sites: log-loss per patient, AUROC by within-site pairs.
v1::MetricSums Total(const SiteSums& sums);
v1::MetricSums Total(const std::map<SiteId, v1::MetricSums>& sums);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_SCORES_H_
