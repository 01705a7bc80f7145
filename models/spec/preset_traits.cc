#include "models/spec/preset_traits.h"

#include <algorithm>
#include <iterator>

namespace consilium {
namespace {

using Config = v1::AggregationConfig;
using Trigger = v1::Trigger;
using Optimizer = v1::ServerOptimizer;
using Triggers = PresetTraits::Triggers;
using Staleness = PresetTraits::StalenessRule;
using Server = PresetTraits::Server;
using Rates = PresetTraits::Rates;

// What a row does not say is as FEDAVG has it, but for the rates.
constexpr PresetTraits kPresets[] = {
    {.preset = Config::STALENESS_WEIGHTED_TABLE,
     .trigger = Trigger::kBuffer,
     .staleness = Staleness::kPolynomial,
     .rates = Rates::kEqual,
     .gives_shares = true},
    {.preset = Config::FEDAVG, .rates = Rates::kCorrectable, .gives_shares = true},
    {.preset = Config::FEDASYNC,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 1,
     .triggers = Triggers::kEveryUpdate,
     .staleness = Staleness::kPolynomial,
     .servers = Server::kPlainSum,
     .rates = Rates::kCorrectable,
     .mixing_alpha = 0.6},
    {.preset = Config::FEDBUFF,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 10,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kPolynomial,
     .rates = Rates::kCorrectable,
     .gives_shares = true},
    {.preset = Config::CA2FL,
     .trigger = Trigger::kBuffer,
     .staleness = Staleness::kAbsent,
     .rates = Rates::kEqual},
    {.preset = Config::FEDADAM,
     .server = Optimizer::kAdam,
     .servers = Server::kThisOne,
     .rates = Rates::kCorrectable,
     .gives_shares = true},
    {.preset = Config::FEDYOGI,
     .server = Optimizer::kYogi,
     .servers = Server::kThisOne,
     .rates = Rates::kCorrectable,
     .gives_shares = true},
    {.preset = Config::FEDADAGRAD,
     .server = Optimizer::kAdagrad,
     .servers = Server::kThisOne,
     .rates = Rates::kCorrectable,
     .gives_shares = true},
    {.preset = Config::FEDAMSGRAD,
     .server = Optimizer::kAmsgrad,
     .servers = Server::kThisOne,
     .rates = Rates::kCorrectable,
     .gives_shares = true},
    {.preset = Config::FEDPROX, .rates = Rates::kCorrectable, .gives_shares = true},
    {.preset = Config::SCAFFOLD, .triggers = Triggers::kBarrier},
    {.preset = Config::FEDNOVA},
    {.preset = Config::FEDBN, .triggers = Triggers::kBarrier, .gives_shares = true},
    {.preset = Config::FEDPER, .triggers = Triggers::kBarrier, .gives_shares = true},
    {.preset = Config::DITTO, .triggers = Triggers::kBarrier, .gives_shares = true},
    {.preset = Config::ACE,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 1,
     .staleness = Staleness::kAbsent,
     .rates = Rates::kEqual},
    {.preset = Config::ACED,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 1,
     .staleness = Staleness::kAbsent,
     .rates = Rates::kEqual},
    {.preset = Config::FADAS,
     .trigger = Trigger::kBuffer,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kAbsent,
     .server = Optimizer::kAmsgrad,
     .servers = Server::kThisOne},
    {.preset = Config::DC_ASGD,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 1,
     .triggers = Triggers::kEveryUpdate,
     .staleness = Staleness::kAbsent},
    {.preset = Config::STALE_SYNCHRONOUS,
     .trigger = Trigger::kBounded,
     .triggers = Triggers::kBounded},
    {.preset = Config::FEDCOMPASS,
     .trigger = Trigger::kGroups,
     .triggers = Triggers::kGroups,
     .staleness = Staleness::kPolynomial},
    {.preset = Config::ASYNCFEDED,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 1,
     .triggers = Triggers::kEveryUpdate},
    {.preset = Config::COORDINATE_MEDIAN},
    {.preset = Config::TRIMMED_MEAN},
    {.preset = Config::KRUM},
    {.preset = Config::MULTI_KRUM},
    {.preset = Config::GEOMETRIC_MEDIAN},
    {.preset = Config::NORM_BOUND, .rates = Rates::kCorrectable},
    {.preset = Config::ZENO, .trigger = Trigger::kBuffer, .buffer_updates = 1},
    {.preset = Config::BASGD, .trigger = Trigger::kBuffer, .buffer_updates = 1},
    // FEDBUFF with what plan_defaults.cc and fairness_checks.cc give it.
    {.preset = Config::ADAPTIVE,
     .trigger = Trigger::kBuffer,
     .buffer_live_share_min = 0.5,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kPolynomial,
     .rates = Rates::kCorrectable,
     .gives_shares = true},
    {.preset = Config::FEDBUFF_FLSIM,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 10,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kPolynomial},
    {.preset = Config::FEDBUFF_NVFLARE,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 10,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kPolynomial},
    {.preset = Config::FEDBUFF_APPFL,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 10,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kPolynomial,
     .mixing_alpha = 0.9},
    {.preset = Config::FEDBUFF_PLATO,
     .trigger = Trigger::kBuffer,
     .buffer_updates = 10,
     .triggers = Triggers::kCounting,
     .staleness = Staleness::kAbsent},
};

}  // namespace

const PresetTraits* TraitsOf(Config::Preset preset) {
  const auto* const row =
      std::find_if(std::begin(kPresets), std::end(kPresets),
                   [preset](const PresetTraits& traits) { return traits.preset == preset; });
  return row == std::end(kPresets) ? nullptr : row;
}

SiteKeeps KeptBySites(const v1::RunConfig& config) {
  switch (config.aggregation().preset()) {
    case Config::SCAFFOLD:
      return SiteKeeps::kControlVariate;
    case Config::FEDBN:
    case Config::FEDPER:
      return SiteKeeps::kPersonalLayers;
    case Config::DITTO:
      return SiteKeeps::kPersonalModel;
    default:
      return SiteKeeps::kNothing;
  }
}

bool IsPersonal(SiteKeeps keeps) {
  return keeps == SiteKeeps::kPersonalLayers || keeps == SiteKeeps::kPersonalModel;
}

}  // namespace consilium
