#include "aggregator/core/stopping.h"

#include "models/metrics/metrics.h"

namespace consilium::federation {

v1::Metric SelectBy(const v1::StopConfig& stop) {
  return stop.select_by() == v1::METRIC_UNSPECIFIED ? v1::LOG_LOSS : stop.select_by();
}

bool IsBetter(v1::Metric metric, ScorePair scores) {
  return HigherIsBetter(metric) ? scores.candidate > scores.incumbent
                                : scores.candidate < scores.incumbent;
}

bool ReachesTarget(const v1::StopConfig::Target& target, double score) {
  return !IsBetter(target.metric(), {.candidate = target.value(), .incumbent = score});
}

bool IsOutOfPatience(const v1::StopConfig& stop, Progress progress) {
  return stop.patience_versions() > 0 && progress.newest >= progress.best &&
         progress.newest.value() - progress.best.value() >= stop.patience_versions();
}

}  // namespace consilium::federation
