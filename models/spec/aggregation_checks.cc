#include "models/spec/aggregation_checks.h"

#include <string>

#include "models/spec/fairness_checks.h"
#include "models/spec/preset_traits.h"
#include "models/spec/robust_checks.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using Config = v1::AggregationConfig;

constexpr uint32_t kBufferUpdatesMax = 10'000;
constexpr uint32_t kDecayVersionsMax = 1'000'000;
constexpr uint32_t kUpdatesAheadLimit = 1'000'000;
constexpr uint32_t kIntervalMsMax = 86'400'000;
constexpr uint64_t kSiteExamplesLimit = 1'000'000'000'000;

void CheckBarrier(const Config& config, PresetTraits::Triggers triggers, Complaints& complaints) {
  const std::string path = "aggregation.trigger.barrier";
  const std::string name = Config::Preset_Name(config.preset());
  complaints.Require(
      triggers != PresetTraits::Triggers::kEveryUpdate, path,
      name + " merges every update as it comes, so it can not wait; take FEDAVG or a buffer");
  complaints.Require(
      triggers != PresetTraits::Triggers::kCounting, path,
      name + " divides by the size of its buffer, which a barrier has not; take FEDAVG");
  complaints.Require(config.trigger().barrier().sites_min() <= limits::kSitesMax,
                     path + ".sites_min", "must be at most 10,000");
  const uint32_t drawn = config.trigger().barrier().sites_per_round();
  complaints.Require(drawn <= limits::kSitesMax, path + ".sites_per_round",
                     "must be at most 10,000");
  complaints.Require(drawn == 0 || config.trigger().barrier().deadline_ms() > 0,
                     path + ".deadline_ms",
                     "must be given with sites_per_round: a round waits so long for those who were "
                     "drawn before it draws others");
  complaints.Require(drawn == 0 || config.trigger().barrier().sites_min() <= drawn,
                     path + ".sites_min", "must be at most sites_per_round");
  complaints.Require(
      drawn == 0 || !config.has_fairness(), path + ".sites_per_round",
      "has no place with a fairness contract, which says itself who trains, and which "
      "ADAPTIVE, the default, has; take FEDAVG");
  complaints.Require(drawn == 0 || !config.transform().has_zeno(), path + ".sites_per_round",
                     "has no place with ZENO, whose validator trains in each round");
}

void CheckBuffer(const Config& config, PresetTraits::Triggers triggers, Complaints& complaints) {
  const std::string path = "aggregation.trigger.buffer.updates";
  const uint32_t updates = config.trigger().buffer().updates();
  complaints.Require(updates <= kBufferUpdatesMax, path, "must be from 1 to 10,000");
  complaints.Require(triggers != PresetTraits::Triggers::kEveryUpdate || updates == 1, path,
                     "must be 1 with " + Config::Preset_Name(config.preset()) +
                         ", which merges every update as it comes");
  const double share = config.trigger().buffer().live_share_min();
  const std::string share_path = "aggregation.trigger.buffer.live_share_min";
  complaints.Require(share >= 0 && share <= 1, share_path, "must be from 0 to 1");
  complaints.Require(!(share > 0) || config.has_fairness(), share_path,
                     "needs aggregation.fairness, whose window says which sites are live; give "
                     "trigger.buffer.updates instead");
}

void CheckGroups(const v1::Trigger::Groups& groups, Complaints& complaints) {
  const std::string path = "aggregation.trigger.groups";
  complaints.Require(groups.local_steps_max() <= limits::kLocalStepsMax, path + ".local_steps_max",
                     "must be from 1 to 1,000,000");
  complaints.Require(groups.local_steps_min() <= groups.local_steps_max(),
                     path + ".local_steps_min", "must be at most local_steps_max");
  complaints.Require(groups.latest_factor() >= 1 && groups.latest_factor() <= 100,
                     path + ".latest_factor", "must be from 1 to 100");
  complaints.Require(groups.speed_decay() > 0 && groups.speed_decay() < 1, path + ".speed_decay",
                     "must be above 0 and below 1");
}

void CheckTrigger(const Config& config, const PresetTraits& traits, Complaints& complaints) {
  const std::string path = "aggregation.trigger";
  const v1::Trigger& trigger = config.trigger();
  const bool is_grouped = traits.triggers == PresetTraits::Triggers::kGroups;
  if (is_grouped != trigger.has_groups()) {
    complaints.Add(path, is_grouped ? "must be groups with FEDCOMPASS; without them it would be "
                                      "another rule"
                                    : "groups belongs to FEDCOMPASS only");
    return;
  }
  if (is_grouped) {
    CheckGroups(trigger.groups(), complaints);
    return;
  }
  const bool is_bounded = traits.triggers == PresetTraits::Triggers::kBounded;
  if (is_bounded != trigger.has_bounded()) {
    complaints.Add(path, is_bounded ? "must be bounded with STALE_SYNCHRONOUS; without a bound on "
                                      "who is ahead it would be another rule"
                                    : "bounded belongs to STALE_SYNCHRONOUS only");
  } else if (traits.triggers == PresetTraits::Triggers::kBarrier && !trigger.has_barrier()) {
    complaints.Add(path, "must be a barrier with " + Config::Preset_Name(config.preset()) +
                             ", whose sites keep something from round to round; remove it");
  } else if (trigger.has_bounded()) {
    complaints.Require(trigger.bounded().updates_ahead_max() <= kUpdatesAheadLimit,
                       path + ".bounded.updates_ahead_max", "must be from 1 to 1,000,000");
  } else if (trigger.has_barrier()) {
    CheckBarrier(config, traits.triggers, complaints);
  } else if (trigger.has_interval()) {
    complaints.Require(traits.triggers != PresetTraits::Triggers::kEveryUpdate, path + ".interval",
                       Config::Preset_Name(config.preset()) +
                           " merges every update as it comes, so it can not wait; take FEDBUFF");
    const uint32_t interval_ms = trigger.interval().interval_ms();
    complaints.Require(interval_ms >= 1 && interval_ms <= kIntervalMsMax,
                       path + ".interval.interval_ms", "must be from 1 to 86,400,000");
  } else if (trigger.has_buffer()) {
    CheckBuffer(config, traits.triggers, complaints);
  }
}

void CheckConcurrency(const Config& config, Complaints& complaints) {
  if (!config.has_concurrency()) return;
  const std::string path = "aggregation.concurrency";
  const uint32_t sites_max = config.concurrency().sites_max();
  complaints.Require(sites_max >= 1 && sites_max <= limits::kSitesMax, path + ".sites_max",
                     "must be given, from 1 to 10,000; without the block all train at once");
  complaints.Require(config.concurrency().deadline_ms() > 0, path + ".deadline_ms",
                     "must be given: who has not answered for so long gives its slot to another");
  complaints.Require(!config.trigger().has_barrier(), path,
                     "has no place with a barrier; how many train in a round is "
                     "trigger.barrier.sites_per_round");
  complaints.Require(!config.trigger().has_groups(), path,
                     "has no place with FEDCOMPASS, which has all sites train so that groups of "
                     "them arrive together");
  complaints.Require(
      !config.has_fairness(), path,
      "has no place with a fairness contract, which says itself who trains, and which "
      "ADAPTIVE, the default, has; take FEDBUFF");
  complaints.Require(!config.transform().has_zeno(), path,
                     "has no place with ZENO, whose validator trains whenever updates wait for it");
}

void CheckStaleness(const Config& config, const PresetTraits& traits, Complaints& complaints) {
  const std::string path = "aggregation.staleness";
  const v1::Staleness& staleness = config.staleness();
  complaints.Require(
      staleness.has_constant() || staleness.has_functional() || !config.trigger().has_barrier(),
      path,
      "has no effect with a barrier, where every update has the round's own base; "
      "remove it");
  complaints.Require(
      staleness.has_functional() == (config.preset() == Config::ASYNCFEDED), path,
      "functional and ASYNCFEDED belong together, which has no s(τ); change one of them");
  complaints.Require(
      staleness.has_constant() || staleness.has_functional() ||
          traits.staleness != PresetTraits::StalenessRule::kAbsent,
      path,
      "has no place in " + Config::Preset_Name(config.preset()) +
          "'s rule, which deals with old updates in its own way or not at all; remove it");
  complaints.Require(config.preset() != Config::FEDBUFF_NVFLARE || !staleness.has_hinge(), path,
                     "is 1/(1 + (1+τ)^exponent) or constant with FEDBUFF_NVFLARE; take one of the "
                     "two");
  if (staleness.has_polynomial()) {
    const double exponent = staleness.polynomial().exponent();
    complaints.Require(exponent > 0 && exponent <= 10, path + ".polynomial.exponent",
                       "must be above 0 and at most 10");
  } else if (staleness.has_functional()) {
    complaints.Require(
        IsPositive(staleness.functional().lambda()) && IsPositive(staleness.functional().epsilon()),
        path + ".functional", "lambda and epsilon must be above 0");
  } else if (staleness.has_hinge()) {
    complaints.Require(IsPositive(staleness.hinge().slope()), path + ".hinge.slope",
                       "must be above 0");
    complaints.Require(IsNotNegative(staleness.hinge().free()), path + ".hinge.free",
                       "must be 0 or more");
  }
}

void CheckSgd(const v1::ServerSgd& sgd, Complaints& complaints) {
  const std::string path = "aggregation.server.sgd";
  const double begin = sgd.learning_rate();
  const double end = sgd.learning_rate_final();
  complaints.Require(IsPositive(begin) && begin <= 100, path + ".learning_rate",
                     "must be above 0 and at most 100");
  complaints.Require(IsShare(sgd.momentum()), path + ".momentum", "must be at least 0 and below 1");
  complaints.Require(IsPositive(end) && end <= begin, path + ".learning_rate_final",
                     "must be above 0, at most learning_rate, and given where decay_versions is");
  complaints.Require(sgd.decay_versions() > 0 || end == begin, path + ".decay_versions",
                     "must be given where learning_rate_final is");
  complaints.Require(sgd.decay_versions() <= kDecayVersionsMax, path + ".decay_versions",
                     "must be at most 1,000,000");
}

void CheckAdam(const v1::ServerAdam& adam, const std::string& path, Complaints& complaints) {
  complaints.Require(IsPositive(adam.learning_rate()) && adam.learning_rate() <= 100,
                     path + ".learning_rate", "must be above 0 and at most 100");
  complaints.Require(IsShare(adam.beta1()), path + ".beta1", "must be at least 0 and below 1");
  complaints.Require(IsShare(adam.beta2()), path + ".beta2", "must be at least 0 and below 1");
  complaints.Require(IsPositive(adam.epsilon()), path + ".epsilon", "must be above 0");
  complaints.Require(v1::ServerAdam::BiasCorrection_IsValid(adam.bias_correction()),
                     path + ".bias_correction", "must be NONE or AS_ADAM");
}

void CheckAdagrad(const v1::ServerAdagrad& adagrad, Complaints& complaints) {
  const std::string path = "aggregation.server.adagrad";
  complaints.Require(IsPositive(adagrad.learning_rate()) && adagrad.learning_rate() <= 100,
                     path + ".learning_rate", "must be above 0 and at most 100");
  complaints.Require(IsShare(adagrad.beta1()), path + ".beta1", "must be at least 0 and below 1");
  complaints.Require(IsPositive(adagrad.epsilon()), path + ".epsilon", "must be above 0");
}

void CheckDelayAdaptive(const Config& config, Complaints& complaints) {
  if (!config.server().has_delay_adaptive()) return;
  const std::string path = "aggregation.server.delay_adaptive";
  const v1::DelayAdaptive& delay = config.server().delay_adaptive();
  complaints.Require(!config.trigger().has_barrier(), path,
                     "has no effect with a barrier, where no update is old; remove it");
  complaints.Require(v1::DelayAdaptive::Of_IsValid(delay.of()), path + ".of",
                     "must be GREATEST or MEAN");
  complaints.Require(IsNotNegative(delay.staleness_free()), path + ".staleness_free",
                     "must be 0 or more");
}

bool IsPlainSum(const v1::ServerOptimizer& server) {
  const v1::ServerSgd& sgd = server.sgd();
  return server.has_sgd() && sgd.learning_rate() == 1 && sgd.momentum() == 0 &&
         sgd.learning_rate_final() == 1 && !server.has_delay_adaptive();
}

void CheckServer(const Config& config, const PresetTraits& traits, Complaints& complaints) {
  const v1::ServerOptimizer& server = config.server();
  const std::string name = Config::Preset_Name(config.preset());
  if (traits.servers == PresetTraits::Server::kPlainSum) {
    complaints.Require(IsPlainSum(server), "aggregation.server",
                       name +
                           " mixes models and takes no step of its own; remove the block and "
                           "set mixing_alpha");
    return;
  }
  complaints.Require(
      traits.servers == PresetTraits::Server::kAny || server.kind_case() == traits.server,
      "aggregation.server",
      name +
          " is named after its server optimizer; set that one's numbers, or take FEDAVG or "
          "FEDBUFF");
  if (server.has_sgd()) CheckSgd(server.sgd(), complaints);
  if (server.has_adam()) CheckAdam(server.adam(), "aggregation.server.adam", complaints);
  if (server.has_yogi()) CheckAdam(server.yogi(), "aggregation.server.yogi", complaints);
  if (server.has_amsgrad()) CheckAdam(server.amsgrad(), "aggregation.server.amsgrad", complaints);
  if (server.has_adagrad()) CheckAdagrad(server.adagrad(), complaints);
  CheckDelayAdaptive(config, complaints);
}

void CheckRateCorrection(const Config& config, const PresetTraits& traits, Complaints& complaints) {
  if (!config.has_rate_correction()) return;
  const std::string path = "aggregation.rate_correction";
  const v1::RateCorrection& correction = config.rate_correction();
  complaints.Require(traits.rates != PresetTraits::Rates::kEqual, path,
                     "a table gives each site its share already; remove it or take FEDBUFF");
  complaints.Require(traits.rates != PresetTraits::Rates::kAsTheyAre, path,
                     "has no place in " + Config::Preset_Name(config.preset()) +
                         "'s rule; remove it or take FEDBUFF");
  complaints.Require(!config.trigger().has_barrier(), path,
                     "with a barrier all sites deliver equally often; remove it");
  const bool of_contract = config.has_fairness() && correction.cap() == 0;
  complaints.Require(of_contract || (std::isfinite(correction.cap()) && correction.cap() >= 1),
                     path + ".cap", "must be 1 or more");
  complaints.Require(IsPositive(correction.kappa_per_site()), path + ".kappa_per_site",
                     "must be above 0");
  complaints.Require(correction.decay() > 0 && correction.decay() <= 1, path + ".decay",
                     "must be above 0 and at most 1");
  complaints.Require(
      config.preset() != Config::FEDASYNC || config.mixing_alpha() * correction.cap() <= 1,
      path + ".cap",
      "times mixing_alpha must be at most 1, or a rare site would overshoot its "
      "own model");
}

// Numbers that belong to one preset.
void CheckOwnNumbers(const Config& config, const PresetTraits& traits, Complaints& complaints) {
  const bool mixes = traits.mixing_alpha != 0;
  const double alpha = config.mixing_alpha();
  complaints.Require(
      mixes ? alpha > 0 && alpha <= 1 : alpha == 0, "aggregation.mixing_alpha",
      mixes ? "must be above 0 and at most 1" : "belongs to FEDASYNC and FEDBUFF_APPFL only");
  complaints.Require(config.preset() == Config::ACED || config.entry_age_versions_max() == 0,
                     "aggregation.entry_age_versions_max", "belongs to ACED only");
  const double compensation = config.transform().delay_compensation();
  if (config.preset() == Config::DC_ASGD) {
    complaints.Require(IsPositive(compensation), "aggregation.transform.delay_compensation",
                       "must be above 0");
  } else {
    complaints.Require(compensation == 0, "aggregation.transform.delay_compensation",
                       "belongs to DC_ASGD only");
  }
}

}  // namespace

void CheckAggregation(const Config& config, Complaints& complaints) {
  complaints.Require(IsNotNegative(config.limits().update_norm_max()),
                     "aggregation.limits.update_norm_max", "must be 0 or more");
  complaints.Require(config.limits().site_examples_max() <= kSiteExamplesLimit,
                     "aggregation.limits.site_examples_max", "must be at most 1,000,000,000,000");
  const PresetTraits* const traits = TraitsOf(config.preset());
  if (traits == nullptr) {
    complaints.Add("aggregation.preset", "must be one that this build knows");
    return;
  }
  CheckTrigger(config, *traits, complaints);
  CheckConcurrency(config, complaints);
  CheckStaleness(config, *traits, complaints);
  CheckServer(config, *traits, complaints);
  CheckRateCorrection(config, *traits, complaints);
  CheckOwnNumbers(config, *traits, complaints);
  CheckFairness(config, complaints);
}

void CheckTrainingFits(const Config& config, const v1::TrainingConfig& training,
                       Complaints& complaints) {
  const bool plain_sgd =
      training.optimizer().has_sgd() && training.optimizer().sgd().momentum() == 0;
  switch (config.preset()) {
    case Config::FEDPROX:
      complaints.Require(training.proximal_mu() > 0, "training.proximal_mu",
                         "must be above 0 with FEDPROX; without it the rule is FEDAVG");
      return;
    case Config::FEDNOVA:
      complaints.Require(plain_sgd && training.proximal_mu() == 0, "training.optimizer",
                         "must be sgd without momentum, and proximal_mu 0, with FEDNOVA: the "
                         "number of steps measures how far a site has gone for plain SGD only");
      return;
    case Config::SCAFFOLD:
      complaints.Require(
          plain_sgd && training.proximal_mu() == 0, "training.optimizer",
          "must be sgd without momentum, and proximal_mu 0, with SCAFFOLD: (x − y)/η "
          "is the sum of a site's gradients for plain SGD only");
      return;
    case Config::DC_ASGD:
      complaints.Require(plain_sgd, "training.optimizer",
                         "must be sgd without momentum with DC_ASGD, which takes the mean gradient "
                         "out of a delta");
      return;
    default:
      return;
  }
}

}  // namespace consilium
