#include "sim/engine/open_scores.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "models/metrics/metrics.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

constexpr v1::Metric kMetrics[] = {v1::LOG_LOSS,   v1::ACCURACY, v1::BALANCED_ACCURACY,
                                   v1::AUROC,      v1::AUPRC,    v1::CALIBRATION_ERROR,
                                   v1::METRIC_MSE, v1::C_INDEX,  v1::COX_LOSS};

Json Optional(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

Json ToJson(v1::Metric metric, const CentreSums& sums) {
  std::vector<v1::MetricSums> centres;
  Json of_centres = Json::object();
  for (const auto& entry : sums.centres) {
    centres.push_back(entry.second);
    of_centres[entry.first.value()] = Optional(MetricValue(metric, entry.second));
  }
  return {{"mean_over_centres", Optional(OverSites(metric, centres).by_sites)},
          {"all_patients", Optional(MetricValue(metric, sums.all_patients))},
          {"centres", std::move(of_centres)}};
}

}  // namespace

absl::StatusOr<CentreSums> ScoreInTheOpen(const v1::RunPlan& plan, const FederationData& data,
                                          std::span<const float> weights, Trainer& trainer) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::Standardisation everyone, StandardisationOver(plan, data));
  CentreSums sums;
  Examples all;
  for (const auto& entry : data) {
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples own, EncodeSite(plan, everyone, entry.second));
    CONSILIUM_ASSIGN_OR_RETURN(sums.centres[entry.first],
                               trainer.Evaluate({&plan, weights, &own.test}));
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples pooled,
                               EncodePooled(plan, everyone, entry.second));
    Append(pooled.test, all);
  }
  CONSILIUM_ASSIGN_OR_RETURN(sums.all_patients, trainer.Evaluate({&plan, weights, &all}));
  return sums;
}

absl::StatusOr<CentreSums> ScorePersonal(const v1::RunPlan& plan, const FederationData& data,
                                         std::span<const float> weights, KeptOfSite kept,
                                         Trainer& trainer) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::Standardisation everyone, StandardisationOver(plan, data));
  CentreSums sums;
  for (const auto& [site, of_site] : data) {
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples own, EncodeSite(plan, everyone, of_site));
    EvaluateInput input{&plan, weights, &own.test};
    CONSILIUM_ASSIGN_OR_RETURN(const auto of_it, kept(site));
    if (of_it != nullptr) input.kept = *of_it;
    CONSILIUM_ASSIGN_OR_RETURN(sums.centres[site], trainer.Evaluate(input));
  }
  return sums;
}

Json ToJson(const OpenScores& scores) {
  Json json = Json::object();
  for (const auto& entry : scores) {
    for (const v1::Metric metric : kMetrics) {
      Json values = ToJson(metric, entry.second);
      if (values["mean_over_centres"].is_null() && values["all_patients"].is_null()) continue;
      json[entry.first][v1::Metric_Name(metric)] = std::move(values);
    }
  }
  return json;
}

}  // namespace consilium
