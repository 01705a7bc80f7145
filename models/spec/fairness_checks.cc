#include "models/spec/fairness_checks.h"

#include <string>

#include "models/spec/preset_traits.h"

namespace consilium {
namespace {

using Config = v1::AggregationConfig;

constexpr uint32_t kWindowVersionsMax = 10'000;

// Whether each update counts by its own weight, undivided by those of the few that came with it.
bool WeighsAlone(Config::Preset preset) {
  return preset == Config::FEDBUFF || preset == Config::ADAPTIVE;
}

}  // namespace

void FillFairness(Config& config) {
  if (config.preset() == Config::ADAPTIVE) config.mutable_fairness();
  if (!config.has_fairness()) return;
  v1::FairnessContract& fairness = *config.mutable_fairness();
  if (fairness.epsilon() == 0) fairness.set_epsilon(0.25);
  if (fairness.window_versions() == 0) fairness.set_window_versions(50);
  if (fairness.local_steps_share_min() == 0) fairness.set_local_steps_share_min(0.25);
  if (WeighsAlone(config.preset()) && !config.trigger().has_barrier()) {
    v1::RateCorrection& correction = *config.mutable_rate_correction();
    // The cap keeps it stable; a larger κ would hold it back from what the contract needs.
    if (correction.kappa_per_site() == 0) correction.set_kappa_per_site(0.5);
  }
}

void CheckFairness(const Config& config, Complaints& complaints) {
  if (!config.has_fairness()) return;
  const std::string path = "aggregation.fairness";
  const std::string name = Config::Preset_Name(config.preset());
  const v1::FairnessContract& fairness = config.fairness();
  complaints.Require(fairness.epsilon() > 0 && fairness.epsilon() <= 1, path + ".epsilon",
                     "must be above 0 and at most 1");
  complaints.Require(fairness.window_versions() <= kWindowVersionsMax, path + ".window_versions",
                     "must be from 1 to 10,000");
  complaints.Require(fairness.local_steps_share_min() > 0 && fairness.local_steps_share_min() <= 1,
                     path + ".local_steps_share_min", "must be above 0 and at most 1");
  // Without its contract it would be FEDBUFF; CheckRobustness says what it can not have.
  const bool adaptive = config.preset() == Config::ADAPTIVE;
  complaints.Require(adaptive || !config.has_combine(), path,
                     "has no place with a robust rule, to which all updates are equal; remove it");
  complaints.Require(adaptive || config.transform().clip_norm() == 0, path,
                     "would undo what transform.clip_norm takes from who sends long updates; "
                     "remove one of them");
  const PresetTraits* const traits = TraitsOf(config.preset());
  if (traits == nullptr) return;
  if (!traits->gives_shares) {
    complaints.Add(
        path, "has no place in " + name +
                  "'s rule, which does not weigh sites by their patients; remove it or "
                  "take ADAPTIVE, FEDBUFF, FEDAVG with a barrier or the staleness-weighted table");
    return;
  }
  const bool divides = traits->rates == PresetTraits::Rates::kCorrectable &&
                       !WeighsAlone(config.preset()) && !config.trigger().has_barrier();
  complaints.Require(!divides, path,
                     "can not be kept by " + name +
                         " without a barrier: divided by the weights of the few that came with it, "
                         "no update of a rare site weighs enough; take FEDBUFF");
  complaints.Require(config.preset() != Config::FEDBUFF || !config.trigger().has_barrier(), path,
                     "can not be kept by FEDBUFF with a barrier; take FEDAVG");
}

}  // namespace consilium
