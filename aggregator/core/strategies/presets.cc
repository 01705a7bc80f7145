#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "aggregator/core/strategies/functional_staleness.h"
#include "aggregator/core/strategies/stages.h"
#include "protocol/core/status_macros.h"

namespace consilium::federation {
namespace {

constexpr uint32_t kEntryAgeVersionsMax = 10;  // τ_algo of ACED.
constexpr double kDelayCompensation = 0.04;    // λ of DC-ASGD.

struct PresetRow {
  v1::AggregationConfig::Preset preset;
  TriggerStage trigger;
  uint32_t buffer_updates;
  DirectionStage direction;
  CombineStage combine;
  SizeStage size;
  StalenessStage staleness_of;
  NormalisationStage normalisation;
  double mixing = 0;  // α where aggregation.mixing_alpha is absent; 0: the rule has none.
};

constexpr PresetRow RobustRow(v1::AggregationConfig::Preset preset) {
  return {preset,
          TriggerStage::kBarrier,
          0,
          DirectionStage::kOwnBase,
          CombineStage::kBuffer,
          SizeStage::kNone,
          StalenessStage::kVersions,
          NormalisationStage::kCount};
}

constexpr PresetRow kPresets[] = {
    {v1::AggregationConfig::STALENESS_WEIGHTED_TABLE, TriggerStage::kBuffer, 2,
     DirectionStage::kOwnBase, CombineStage::kTable, SizeStage::kShare,
     StalenessStage::kBeyondUsual, NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDAVG, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDASYNC, TriggerStage::kBuffer, 1, DirectionStage::kCurrent,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions, NormalisationStage::kCount,
     0.6},
    {v1::AggregationConfig::FEDBUFF, TriggerStage::kBuffer, 10, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions,
     NormalisationStage::kCount},
    // The paper's uniform means over all N sites; a site without an entry counts as h_i = 0.
    {v1::AggregationConfig::CA2FL, TriggerStage::kBuffer, 2, DirectionStage::kOwnBase,
     CombineStage::kCalibratedTable, SizeStage::kNone, StalenessStage::kNone,
     NormalisationStage::kMembersAndCount},
    // FedAvg's stages; the server optimizer and μ are the plan's (models/spec/preset_traits.cc).
    {v1::AggregationConfig::FEDADAM, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDYOGI, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDADAGRAD, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDAMSGRAD, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDPROX, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    // FedAvg's stages, with control variates beside them.
    {v1::AggregationConfig::SCAFFOLD, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    // FedAvg's stages: what is personal is at the sites, and zeros in their updates.
    {v1::AggregationConfig::FEDBN, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDPER, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::DITTO, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
    {v1::AggregationConfig::FEDNOVA, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kLocalSteps},
    // The paper's server begins when all have delivered; here the mean is over those that have.
    {v1::AggregationConfig::ACE, TriggerStage::kBuffer, 1, DirectionStage::kOwnBase,
     CombineStage::kTable, SizeStage::kNone, StalenessStage::kNone, NormalisationStage::kCount},
    {v1::AggregationConfig::ACED, TriggerStage::kBuffer, 1, DirectionStage::kOwnBase,
     CombineStage::kTable, SizeStage::kNone, StalenessStage::kNone, NormalisationStage::kCount},
    {v1::AggregationConfig::FADAS, TriggerStage::kBuffer, 2, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kNone, NormalisationStage::kCount},
    {v1::AggregationConfig::DC_ASGD, TriggerStage::kBuffer, 1, DirectionStage::kCompensated,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kNone, NormalisationStage::kCount},
    {v1::AggregationConfig::STALE_SYNCHRONOUS, TriggerStage::kBounded, 1, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions,
     NormalisationStage::kCount},
    // What others call FedBuff (docs/aggregation.md).
    {v1::AggregationConfig::FEDBUFF_FLSIM, TriggerStage::kBuffer, 10, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kOverOne, NormalisationStage::kSum},
    {v1::AggregationConfig::FEDBUFF_NVFLARE, TriggerStage::kBuffer, 10, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kReciprocal,
     NormalisationStage::kCount},
    {v1::AggregationConfig::FEDBUFF_APPFL, TriggerStage::kBuffer, 10, DirectionStage::kCurrent,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions,
     NormalisationStage::kMembers, 0.9},
    {v1::AggregationConfig::FEDBUFF_PLATO, TriggerStage::kBuffer, 10, DirectionStage::kCurrent,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kNone, NormalisationStage::kCount},
    {v1::AggregationConfig::ASYNCFEDED, TriggerStage::kBuffer, 1, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kFunctional,
     NormalisationStage::kCount},
    // A robust rule takes the place of the mean (robust_rule.h), with every site's word worth the
    // same: one that says it has many examples is not believed more.
    RobustRow(v1::AggregationConfig::COORDINATE_MEDIAN),
    RobustRow(v1::AggregationConfig::TRIMMED_MEAN),
    RobustRow(v1::AggregationConfig::KRUM),
    RobustRow(v1::AggregationConfig::MULTI_KRUM),
    RobustRow(v1::AggregationConfig::GEOMETRIC_MEDIAN),
    // Scored by the validator's update (zeno.h); a mean of those that count.
    {v1::AggregationConfig::ZENO, TriggerStage::kBuffer, 1, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions,
     NormalisationStage::kCount},
    {v1::AggregationConfig::BASGD, TriggerStage::kBuffer, 1, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions,
     NormalisationStage::kCount},
    // A group's updates by their shares of all patients, as the paper adds them.
    {v1::AggregationConfig::FEDCOMPASS, TriggerStage::kGroups, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kShare, StalenessStage::kVersions, NormalisationStage::kSum},
    // FEDBUFF; the contract, its rate correction, its share in K and the server's step are the
    // plan's.
    {v1::AggregationConfig::ADAPTIVE, TriggerStage::kBuffer, 2, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kNone, StalenessStage::kVersions,
     NormalisationStage::kCount},
    // FEDAVG with transform.clip_norm.
    {v1::AggregationConfig::NORM_BOUND, TriggerStage::kBarrier, 0, DirectionStage::kOwnBase,
     CombineStage::kBuffer, SizeStage::kExamples, StalenessStage::kVersions,
     NormalisationStage::kWeights},
};

absl::Status OverrideTrigger(const v1::Trigger& trigger, Stages& stages) {
  if (trigger.has_buffer()) {
    stages.trigger = TriggerStage::kBuffer;
    if (trigger.buffer().updates() != 0) stages.buffer_updates = trigger.buffer().updates();
    if (stages.buffer_updates == 0) {
      return absl::InvalidArgumentError("aggregation.trigger.buffer.updates: must be given");
    }
    stages.buffer_live_share_min = trigger.buffer().live_share_min();
    if (!(stages.buffer_live_share_min >= 0 && stages.buffer_live_share_min <= 1)) {
      return absl::InvalidArgumentError(
          "aggregation.trigger.buffer.live_share_min: must be from 0 to 1");
    }
  } else if (trigger.has_barrier()) {
    stages.trigger = TriggerStage::kBarrier;
    stages.round_deadline = absl::Milliseconds(trigger.barrier().deadline_ms());
    stages.round_sites_min = std::max<uint32_t>(trigger.barrier().sites_min(), 1);
    stages.round_sites = trigger.barrier().sites_per_round();
  } else if (trigger.has_bounded()) {
    stages.trigger = TriggerStage::kBounded;
    if (trigger.bounded().updates_ahead_max() != 0) {
      stages.updates_ahead_max = trigger.bounded().updates_ahead_max();
    }
  } else if (trigger.has_interval()) {
    stages.trigger = TriggerStage::kInterval;
    stages.interval = absl::Milliseconds(trigger.interval().interval_ms());
    if (stages.interval == absl::ZeroDuration()) {
      return absl::InvalidArgumentError("aggregation.trigger.interval.interval_ms: must be given");
    }
  }
  return absl::OkStatus();
}

// Arrival groups are FEDCOMPASS's, and its rule has no other trigger.
absl::Status OverrideGroups(const v1::AggregationConfig& config, Stages& stages) {
  const bool compass = config.preset() == v1::AggregationConfig::FEDCOMPASS;
  const v1::Trigger& trigger = config.trigger();
  const bool given = trigger.kind_case() != v1::Trigger::KIND_NOT_SET;
  if (compass ? given && !trigger.has_groups() : trigger.has_groups()) {
    return absl::InvalidArgumentError("aggregation.trigger: groups and FEDCOMPASS belong together");
  }
  if (!compass) return absl::OkStatus();
  const v1::Trigger::Groups& groups = trigger.groups();
  GroupRule rule;
  if (groups.local_steps_min() != 0) rule.local_steps_min = groups.local_steps_min();
  if (groups.local_steps_max() != 0) rule.local_steps_max = groups.local_steps_max();
  if (groups.latest_factor() != 0) rule.latest_factor = groups.latest_factor();
  if (groups.speed_decay() != 0) rule.speed_decay = groups.speed_decay();
  const bool in_range = rule.local_steps_min <= rule.local_steps_max && rule.latest_factor >= 1 &&
                        std::isfinite(rule.latest_factor) && rule.speed_decay > 0 &&
                        rule.speed_decay < 1;
  if (!in_range) return absl::InvalidArgumentError("aggregation.trigger.groups: out of range");
  stages.groups = rule;
  return absl::OkStatus();
}

// After the trigger, on which it depends.
absl::Status OverrideConcurrency(const v1::AggregationConfig& config, Stages& stages) {
  if (!config.has_concurrency()) return absl::OkStatus();
  const v1::Concurrency& concurrency = config.concurrency();
  if (concurrency.sites_max() == 0 || concurrency.deadline_ms() == 0) {
    return absl::InvalidArgumentError(
        "aggregation.concurrency: sites_max and deadline_ms must be given");
  }
  if (stages.trigger == TriggerStage::kBarrier || stages.trigger == TriggerStage::kGroups ||
      config.has_fairness() || config.transform().has_zeno()) {
    return absl::InvalidArgumentError("aggregation.concurrency: this rule says itself who trains");
  }
  stages.concurrency = ConcurrencyRule{.sites_max = concurrency.sites_max(),
                                       .deadline = absl::Milliseconds(concurrency.deadline_ms())};
  return absl::OkStatus();
}

absl::Status OverrideStaleness(const v1::AggregationConfig& config, Stages& stages) {
  stages.staleness = StalenessFunctionOf(config.staleness());
  if (stages.staleness_of == StalenessStage::kNone &&
      stages.staleness.kind != StalenessFunction::Kind::kConstant) {
    return absl::InvalidArgumentError("aggregation.staleness: this preset's rule has no s(τ)");
  }
  return absl::OkStatus();
}

// Functional staleness is ASYNCFEDED's, and its rule has no other.
absl::Status OverrideFunctional(const v1::AggregationConfig& config, Stages& stages) {
  if (stages.staleness_of != StalenessStage::kFunctional) {
    if (!config.staleness().has_functional()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "aggregation.staleness.functional: belongs to ASYNCFEDED only");
  }
  if (stages.staleness.kind != StalenessFunction::Kind::kConstant) {
    return absl::InvalidArgumentError("aggregation.staleness: ASYNCFEDED has functional only");
  }
  CONSILIUM_ASSIGN_OR_RETURN(stages.functional, FunctionalStalenessOf(config.staleness()));
  return absl::OkStatus();
}

// After the trigger, which must bring several updates to compare.
absl::Status OverrideCombine(const v1::AggregationConfig& config, Stages& stages) {
  CONSILIUM_ASSIGN_OR_RETURN(stages.robust, RobustRuleOf(config));
  if (!stages.robust.has_value()) return absl::OkStatus();
  if (KeepsTable(stages) || stages.direction != DirectionStage::kOwnBase ||
      stages.functional.has_value() || config.has_rate_correction()) {
    return absl::InvalidArgumentError(
        "aggregation.combine: a robust rule takes the place of a mean over equal updates");
  }
  const bool waits = stages.trigger == TriggerStage::kBarrier;
  if (!waits && stages.trigger != TriggerStage::kBuffer) {
    return absl::InvalidArgumentError(
        "aggregation.trigger: a robust rule compares the updates of a buffer or a barrier");
  }
  const bool buckets = stages.robust->kind == RobustRule::Kind::kBuckets;
  if (!waits && !buckets && stages.buffer_updates < UpdatesMin(*stages.robust)) {
    return absl::InvalidArgumentError(
        "aggregation.trigger.buffer.updates: the rule needs more to compare");
  }
  if (!waits && !buckets && stages.buffer_updates > kStepVectorsMax) {
    return absl::InvalidArgumentError("aggregation.trigger.buffer.updates: too many to compare");
  }
  if (waits && buckets) {
    return absl::InvalidArgumentError("aggregation.trigger: buckets fill without a barrier");
  }
  stages.size = SizeStage::kNone;
  stages.normalisation = NormalisationStage::kCount;
  return absl::OkStatus();
}

absl::Status OverrideTransform(const v1::AggregationConfig& config, Stages& stages) {
  stages.clip_norm = config.transform().clip_norm();
  if (!(stages.clip_norm >= 0) || !std::isfinite(stages.clip_norm)) {
    return absl::InvalidArgumentError("aggregation.transform.clip_norm: must be 0 or more");
  }
  if (config.preset() == v1::AggregationConfig::NORM_BOUND && stages.clip_norm == 0) {
    return absl::InvalidArgumentError("aggregation.transform.clip_norm: must be given");
  }
  if (stages.clip_norm > 0 && stages.direction != DirectionStage::kOwnBase) {
    return absl::InvalidArgumentError(
        "aggregation.transform.clip_norm: has no place where models are mixed or updates "
        "compensated");
  }
  return absl::OkStatus();
}

absl::Status OverrideMixing(const v1::AggregationConfig& config, double of_row, Stages& stages) {
  if (of_row == 0) return absl::OkStatus();
  stages.mixing = config.mixing_alpha() == 0 ? of_row : config.mixing_alpha();
  if (*stages.mixing > 0 && *stages.mixing <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError("aggregation.mixing_alpha: must lie in (0, 1]");
}

// What single presets have of their own.
absl::Status FillOwnNumbers(const v1::AggregationConfig& config, Stages& stages) {
  if (config.preset() == v1::AggregationConfig::ACED) {
    const uint32_t given = config.entry_age_versions_max();
    stages.entry_age_max = given == 0 ? kEntryAgeVersionsMax : given;
  }
  if (config.preset() == v1::AggregationConfig::SCAFFOLD) {
    stages.control = ControlStage::kVariates;
    if (stages.trigger != TriggerStage::kBarrier || stages.robust.has_value() ||
        stages.clip_norm > 0) {
      return absl::InvalidArgumentError(
          "aggregation.preset: SCAFFOLD has a barrier, and takes updates as they are");
    }
  }
  if (config.preset() == v1::AggregationConfig::ZENO) {
    CONSILIUM_ASSIGN_OR_RETURN(stages.zeno, ZenoRuleOf(config.transform().zeno()));
    if (stages.robust.has_value() || stages.clip_norm > 0) {
      return absl::InvalidArgumentError(
          "aggregation.transform.zeno: has no other rule beside it, and a length of its own");
    }
  } else if (config.transform().has_zeno()) {
    return absl::InvalidArgumentError("aggregation.transform.zeno: belongs to ZENO only");
  }
  if (stages.direction == DirectionStage::kCompensated) {
    const double given = config.transform().delay_compensation();
    stages.delay_compensation = given == 0 ? kDelayCompensation : given;
    if (!(stages.delay_compensation > 0) || !std::isfinite(stages.delay_compensation)) {
      return absl::InvalidArgumentError(
          "aggregation.transform.delay_compensation: must be above 0");
    }
  }
  return absl::OkStatus();
}

// After the mixing, on which it depends.
absl::Status OverrideRateCorrection(const v1::AggregationConfig& config, Stages& stages) {
  if (!config.has_rate_correction()) return absl::OkStatus();
  if (KeepsTable(stages) || stages.trigger == TriggerStage::kBarrier) {
    return absl::InvalidArgumentError(
        "aggregation.rate_correction: a table or a barrier gives each site its share already");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const RateCorrectionRule rule,
                             RateCorrectionRuleOf(config.rate_correction()));
  if (stages.mixing.has_value() && *stages.mixing * rule.cap > 1) {
    return absl::InvalidArgumentError(
        "aggregation.rate_correction.cap: times mixing_alpha must be at most 1");
  }
  stages.rate_correction = rule;
  stages.size = SizeStage::kShare;
  return absl::OkStatus();
}

// Last: it must know what it has to work with.
absl::Status OverrideFairness(const v1::AggregationConfig& config, Stages& stages) {
  if (!config.has_fairness()) {
    if (stages.buffer_live_share_min == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "aggregation.trigger.buffer.live_share_min: needs aggregation.fairness");
  }
  const bool waits = stages.trigger == TriggerStage::kBarrier;
  const bool has_shares = KeepsTable(stages) ? stages.size == SizeStage::kShare
                          : waits            ? stages.size == SizeStage::kExamples
                                             : stages.rate_correction.has_value() &&
                                        stages.normalisation == NormalisationStage::kCount &&
                                        stages.direction == DirectionStage::kOwnBase;
  if (!has_shares || stages.robust.has_value() || stages.clip_norm > 0 || UsesLocalSteps(stages) ||
      stages.trigger == TriggerStage::kBounded) {
    return absl::InvalidArgumentError("aggregation.fairness: this rule can not keep a contract");
  }
  CONSILIUM_ASSIGN_OR_RETURN(stages.fairness, FairnessRuleOf(config.fairness()));
  if (stages.rate_correction.has_value() && config.rate_correction().cap() == 0) {
    stages.rate_correction->cap = std::numeric_limits<double>::infinity();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Stages> StagesOf(const v1::AggregationConfig& config) {
  const auto preset = config.preset() == v1::AggregationConfig::PRESET_UNSPECIFIED
                          ? v1::AggregationConfig::ADAPTIVE
                          : config.preset();
  const auto row = std::find_if(std::begin(kPresets), std::end(kPresets),
                                [preset](const PresetRow& r) { return r.preset == preset; });
  if (row == std::end(kPresets)) {
    return absl::InvalidArgumentError("aggregation.preset: must be one that this build knows");
  }
  Stages stages;
  stages.trigger = row->trigger;
  stages.buffer_updates = row->buffer_updates;
  stages.direction = row->direction;
  stages.combine = row->combine;
  stages.size = row->size;
  stages.staleness_of = row->staleness_of;
  stages.normalisation = row->normalisation;
  CONSILIUM_RETURN_IF_ERROR(OverrideTrigger(config.trigger(), stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideGroups(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideConcurrency(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideStaleness(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideFunctional(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideCombine(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideTransform(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideMixing(config, row->mixing, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideRateCorrection(config, stages));
  CONSILIUM_RETURN_IF_ERROR(FillOwnNumbers(config, stages));
  CONSILIUM_RETURN_IF_ERROR(OverrideFairness(config, stages));
  CONSILIUM_ASSIGN_OR_RETURN(stages.server, ServerRuleOf(config.server()));
  return stages;
}

}  // namespace consilium::federation
