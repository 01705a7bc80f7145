// Scores that only a simulation can tell, because it holds all patients: of every site however few
// patients are behind them, and over all patients as one. Published benchmarks report these; a real
// federation never does.
//
// Threads: one call at a time on one trainer.

#ifndef CONSILIUM_SIM_ENGINE_OPEN_SCORES_H_
#define CONSILIUM_SIM_ENGINE_OPEN_SCORES_H_

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "sim/engine/site_data.h"
#include "site_agent/core/trainer.h"

namespace consilium {

// On test patients.
struct CentreSums {
  std::map<SiteId, v1::MetricSums> centres;
  // Over all as if they were one site's: pairs between sites count. Without examples: not known.
  v1::MetricSums all_patients;
};

// By model: "federated", "alone", "pooled", and "personal" where sites have models of their own.
using OpenScores = std::map<std::string, CentreSums>;

// What a site keeps; null where that is nothing.
using KeptOfSite =
    absl::FunctionRef<absl::StatusOr<std::shared_ptr<const std::vector<float>>>(const SiteId&)>;

// Each site's patients encoded as the site encodes them; all patients with the means and deviations
// over all sites' training patients, as in FLamby (arXiv:2210.04620).
absl::StatusOr<CentreSums> ScoreInTheOpen(const v1::RunPlan& plan, const FederationData& data,
                                          std::span<const float> weights, Trainer& trainer);

// Of each site's personal model: the version `weights` with what the site keeps. Over all patients
// there is none.
absl::StatusOr<CentreSums> ScorePersonal(const v1::RunPlan& plan, const FederationData& data,
                                         std::span<const float> weights, KeptOfSite kept,
                                         Trainer& trainer);

// {model: {metric: {"mean_over_centres", "all_patients", "centres": {site: value}}}}; what is not
// defined is null.
nlohmann::json ToJson(const OpenScores& scores);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_OPEN_SCORES_H_
