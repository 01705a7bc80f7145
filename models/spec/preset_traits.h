// What each preset of aggregation stands for in a run config, and what its rule can be combined
// with: one row a preset. The engine's side of the same row is in
// aggregator/core/strategies/presets.cc.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_PRESET_TRAITS_H_
#define CONSILIUM_MODELS_SPEC_PRESET_TRAITS_H_

#include <cstdint>

#include "consilium/v1/run_config.pb.h"

namespace consilium {

struct PresetTraits {
  v1::AggregationConfig::Preset preset = v1::AggregationConfig::FEDAVG;

  // The trigger where the config has none. A buffer has buffer_updates.
  v1::Trigger::KindCase trigger = v1::Trigger::kBarrier;
  uint32_t buffer_updates = 2;
  double buffer_live_share_min = 0;  // Where the config has neither.
  enum class Triggers : uint8_t {
    kAny,          // Barrier, buffer, interval.
    kCounting,     // Buffer, interval: the rule divides by the number of updates.
    kEveryUpdate,  // A buffer of 1.
    kBounded,      // Bounded, and no other.
    kBarrier,      // A barrier, and no other.
    kGroups,       // Arrival groups, and no other.
  };
  Triggers triggers = Triggers::kAny;

  enum class StalenessRule : uint8_t {
    kPolynomial,  // Where the config has none; constant with a barrier.
    kConstant,    // Where the config has none.
    kAbsent,      // The rule has no s(τ).
  };
  StalenessRule staleness = StalenessRule::kConstant;

  // The server optimizer where the config has none.
  v1::ServerOptimizer::KindCase server = v1::ServerOptimizer::kSgd;
  enum class Server : uint8_t {
    kAny,
    kThisOne,   // It is what makes the preset.
    kPlainSum,  // SGD with learning rate 1: the rule takes no step of its own.
  };
  Server servers = Server::kAny;

  enum class Rates : uint8_t {
    kCorrectable,
    kEqual,      // A table gives each site its share already.
    kAsTheyAre,  // The rule has no place for a correction.
  };
  Rates rates = Rates::kAsTheyAre;

  // Whether each site counts by its patients, so that a fairness contract has a measure: p_i or n_i
  // in the weight, and no preset's own division by local steps or norms.
  bool gives_shares = false;

  // α where the config has none; 0: the rule has no α.
  double mixing_alpha = 0;
};

// The most updates of one site that wait where no number of the plan bounds them, so that what a
// person approves has a bound (site_agent/core/tasks.h). With the trigger `interval`, and with
// buckets, who has so many gets no grant; with a share of the live sites they make a version.
inline constexpr uint32_t kWaitingUpdatesOfSiteMax = 10;

// What a site keeps from task to task and never sends.
enum class SiteKeeps : uint8_t {
  kNothing,
  kControlVariate,  // SCAFFOLD's c_i.
  kPersonalLayers,  // FEDPER's and FEDBN's: their tensors, in the layout's order.
  kPersonalModel,   // DITTO's v: a whole model.
};
SiteKeeps KeptBySites(const v1::RunConfig& config);
// Whether it is of a model that serves this site: evaluated with, and part of the run's result.
bool IsPersonal(SiteKeeps keeps);

// Of `preset`; null for a number that names none.
const PresetTraits* TraitsOf(v1::AggregationConfig::Preset preset);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_PRESET_TRAITS_H_
