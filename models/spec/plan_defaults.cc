#include "models/spec/plan_defaults.h"

#include "models/spec/fairness_checks.h"
#include "models/spec/personal_layers.h"
#include "models/spec/preset_traits.h"
#include "models/spec/robust_checks.h"
#include "models/spec/run_plan.h"
#include "models/spec/spec_defaults.h"
#include "models/spec/zeno_checks.h"

namespace consilium {
namespace {

using Config = v1::AggregationConfig;

constexpr uint32_t kUpdatesAheadMax = 4;
constexpr uint32_t kEntryAgeVersionsMax = 10;
constexpr double kDelayCompensation = 0.04;  // arXiv:1609.08326, CIFAR-10.

void FillData(uint64_t run_seed, v1::DataConfig& data) {
  if (data.standardise() == v1::DataConfig::STANDARDISE_UNSPECIFIED) {
    data.set_standardise(v1::DataConfig::FEDERATED);
  }
  v1::SplitConfig& split = *data.mutable_split();
  if (!split.has_validation()) split.set_validation(0.15);
  if (!split.has_test()) split.set_test(0.25);
  if (split.by() == v1::SplitConfig::BY_UNSPECIFIED) split.set_by(v1::SplitConfig::PATIENT);
  if (!split.has_seed()) split.set_seed(run_seed);
}

void FillTrigger(const PresetTraits& traits, v1::Trigger& trigger) {
  if (trigger.kind_case() == v1::Trigger::KIND_NOT_SET) {
    if (traits.trigger == v1::Trigger::kBarrier) trigger.mutable_barrier();
    if (traits.trigger == v1::Trigger::kBuffer) trigger.mutable_buffer();
    if (traits.trigger == v1::Trigger::kBounded) trigger.mutable_bounded();
    if (traits.trigger == v1::Trigger::kGroups) trigger.mutable_groups();
  }
  if (trigger.has_buffer() && trigger.buffer().updates() == 0) {
    v1::Trigger::Buffer& buffer = *trigger.mutable_buffer();
    buffer.set_updates(traits.buffer_updates);
    if (traits.buffer_live_share_min > 0 && !buffer.has_live_share_min()) {
      buffer.set_live_share_min(traits.buffer_live_share_min);
    }
  }
  if (trigger.has_barrier() && trigger.barrier().sites_min() == 0) {
    trigger.mutable_barrier()->set_sites_min(1);
  }
  if (trigger.has_bounded() && trigger.bounded().updates_ahead_max() == 0) {
    trigger.mutable_bounded()->set_updates_ahead_max(kUpdatesAheadMax);
  }
  if (trigger.has_groups()) {
    v1::Trigger::Groups& groups = *trigger.mutable_groups();
    if (groups.local_steps_min() == 0) groups.set_local_steps_min(20);
    if (groups.local_steps_max() == 0) groups.set_local_steps_max(100);
    if (groups.latest_factor() == 0) groups.set_latest_factor(1.5);
    if (groups.speed_decay() == 0) groups.set_speed_decay(0.1);
  }
}

// After the trigger, on which it depends.
void FillStaleness(const PresetTraits& traits, const v1::Trigger& trigger,
                   v1::Staleness& staleness) {
  if (staleness.kind_case() == v1::Staleness::KIND_NOT_SET) {
    if (trigger.has_barrier() || traits.staleness != PresetTraits::StalenessRule::kPolynomial) {
      staleness.mutable_constant();
    } else {
      staleness.mutable_polynomial();
    }
  }
  if (staleness.has_polynomial() && staleness.polynomial().exponent() == 0) {
    staleness.mutable_polynomial()->set_exponent(0.5);
  }
  if (staleness.has_hinge()) {
    v1::Staleness::Hinge& hinge = *staleness.mutable_hinge();
    if (hinge.slope() == 0) hinge.set_slope(10);
    if (!hinge.has_free()) hinge.set_free(4);
  }
}

// With the preset's own numbers, where the config does not say.
void ChooseServer(const PresetTraits& traits, v1::ServerOptimizer& server) {
  switch (traits.server) {
    case v1::ServerOptimizer::kAdam:
      server.mutable_adam();
      return;
    case v1::ServerOptimizer::kYogi:
      server.mutable_yogi();
      return;
    case v1::ServerOptimizer::kAmsgrad:
      server.mutable_amsgrad();
      return;
    case v1::ServerOptimizer::kAdagrad:
      server.mutable_adagrad();
      return;
    default:
      break;
  }
  v1::ServerSgd& sgd = *server.mutable_sgd();
  if (traits.preset == Config::STALENESS_WEIGHTED_TABLE) {
    sgd.set_learning_rate_final(0.3);
    sgd.set_decay_versions(40);
  }
}

void FillAdam(const PresetTraits& traits, v1::ServerAdam& adam) {
  if (adam.learning_rate() == 0) adam.set_learning_rate(0.01);
  if (!adam.has_beta1()) adam.set_beta1(0.9);
  if (!adam.has_beta2()) adam.set_beta2(0.99);
  if (adam.epsilon() == 0) adam.set_epsilon(1e-3);
  if (adam.bias_correction() == v1::ServerAdam::BIAS_CORRECTION_UNSPECIFIED) {
    // The presets that are named after their optimizer are as their papers have it.
    const bool of_paper = traits.servers == PresetTraits::Server::kThisOne;
    adam.set_bias_correction(of_paper ? v1::ServerAdam::NONE : v1::ServerAdam::AS_ADAM);
  }
}

void FillServer(const PresetTraits& traits, const v1::Trigger& trigger,
                v1::ServerOptimizer& server) {
  if (server.kind_case() == v1::ServerOptimizer::KIND_NOT_SET) ChooseServer(traits, server);
  if (server.has_sgd()) {
    v1::ServerSgd& sgd = *server.mutable_sgd();
    if (sgd.learning_rate() == 0) sgd.set_learning_rate(1);
    if (sgd.learning_rate_final() == 0 && sgd.decay_versions() == 0) {
      sgd.set_learning_rate_final(sgd.learning_rate());
    }
  }
  if (server.has_adam()) FillAdam(traits, *server.mutable_adam());
  if (server.has_yogi()) FillAdam(traits, *server.mutable_yogi());
  if (server.has_amsgrad()) FillAdam(traits, *server.mutable_amsgrad());
  if (server.has_adagrad()) {
    v1::ServerAdagrad& adagrad = *server.mutable_adagrad();
    if (adagrad.learning_rate() == 0) adagrad.set_learning_rate(0.1);
    if (!adagrad.has_beta1()) adagrad.set_beta1(0);
    if (adagrad.epsilon() == 0) adagrad.set_epsilon(1e-3);
  }
  const bool adaptive = traits.preset == Config::ADAPTIVE;
  const bool is_delayed = adaptive || traits.preset == Config::FADAS;
  if (is_delayed && !trigger.has_barrier()) server.mutable_delay_adaptive();
  if (server.has_delay_adaptive()) {
    v1::DelayAdaptive& delay = *server.mutable_delay_adaptive();
    if (delay.of() == v1::DelayAdaptive::OF_UNSPECIFIED) {
      delay.set_of(adaptive ? v1::DelayAdaptive::MEAN : v1::DelayAdaptive::GREATEST);
    }
    if (!delay.has_staleness_free()) delay.set_staleness_free(adaptive ? 10 : 1);
  }
}

void FillOwnNumbers(const PresetTraits& traits, Config& config) {
  if (config.mixing_alpha() == 0) config.set_mixing_alpha(traits.mixing_alpha);
  if (traits.preset == Config::ACED && config.entry_age_versions_max() == 0) {
    config.set_entry_age_versions_max(kEntryAgeVersionsMax);
  }
  if (traits.preset == Config::DC_ASGD && config.transform().delay_compensation() == 0) {
    config.mutable_transform()->set_delay_compensation(kDelayCompensation);
  }
  FillZeno(config);
}

void FillAggregation(Config& config) {
  if (config.preset() == Config::PRESET_UNSPECIFIED) {
    config.set_preset(Config::ADAPTIVE);
  }
  FillRobustStages(config);
  // A number that names none is refused later; until then it is as good as FEDAVG.
  const PresetTraits* const row = TraitsOf(config.preset());
  const PresetTraits traits = row == nullptr ? PresetTraits() : *row;
  FillTrigger(traits, *config.mutable_trigger());
  FillStaleness(traits, config.trigger(), *config.mutable_staleness());
  FillServer(traits, config.trigger(), *config.mutable_server());
  FillOwnNumbers(traits, config);
  FillFairness(config);
  if (config.has_rate_correction()) {
    v1::RateCorrection& correction = *config.mutable_rate_correction();
    // With a contract, 0: the cap follows from it.
    if (correction.cap() == 0 && !config.has_fairness()) correction.set_cap(10);
    if (correction.kappa_per_site() == 0) correction.set_kappa_per_site(2);
    if (correction.decay() == 0) correction.set_decay(0.98);
  }
  v1::UpdateLimits& limits = *config.mutable_limits();
  if (!limits.has_staleness_versions_max()) limits.set_staleness_versions_max(50);
}

// After the trigger, on which it depends.
void FillTraining(const Config& aggregation, v1::TrainingConfig& training) {
  if (training.batch_examples() == 0) training.set_batch_examples(32);
  if (training.local_steps() == 0) training.set_local_steps(20);
  if (training.tasks_in_flight_max() == 0) {
    const v1::Trigger& trigger = aggregation.trigger();
    const bool one = trigger.has_barrier() || trigger.has_groups() || aggregation.has_concurrency();
    training.set_tasks_in_flight_max(one ? 1 : 2);
  }
  if (!training.optimizer().has_adam()) return;
  v1::LocalAdam& adam = *training.mutable_optimizer()->mutable_adam();
  if (!adam.has_beta1()) adam.set_beta1(0.9);
  if (!adam.has_beta2()) adam.set_beta2(0.999);
  if (adam.epsilon() == 0) adam.set_epsilon(1e-8);
}

void FillStop(v1::Loss::Kind loss, v1::StopConfig& stop) {
  if (stop.versions_max() == 0) stop.set_versions_max(100);
  if (stop.closing_deadline_ms() == 0) stop.set_closing_deadline_ms(60'000);
  if (stop.select_by() == v1::METRIC_UNSPECIFIED) {
    stop.set_select_by(loss == v1::Loss::MSE   ? v1::METRIC_MSE
                       : loss == v1::Loss::COX ? v1::COX_LOSS
                                               : v1::LOG_LOSS);
  }
}

void FillContract(v1::DataContract& contract) {
  v1::CsvFormat& csv = *contract.mutable_csv();
  if (csv.header() == v1::CsvFormat::HEADER_UNSPECIFIED) csv.set_header(v1::CsvFormat::PRESENT);
  if (csv.delimiter().empty()) csv.set_delimiter(",");
  for (v1::Column& column : *contract.mutable_columns()) {
    v1::Missing& missing = *column.mutable_missing();
    if (missing.rule() == v1::Missing::RULE_UNSPECIFIED) missing.set_rule(v1::Missing::REFUSE_ROW);
  }
}

void FillModelParameters(const v1::ModelSpec& spec, const v1::DataContract& contract,
                         v1::ModelConfig& model) {
  auto& given = *model.mutable_parameters();
  for (const v1::Parameter& parameter : spec.parameters()) {
    if (given.contains(parameter.name())) continue;
    if (parameter.name() == "features") {
      given[parameter.name()] = static_cast<int64_t>(FeatureCount(contract));
    } else if (parameter.name() == "classes" && contract.label().has_classes()) {
      given[parameter.name()] = contract.label().classes().values_size();
    } else if (parameter.name() == "intervals" &&
               !contract.label().survival().interval_ends().empty()) {
      given[parameter.name()] = contract.label().survival().interval_ends_size();
    } else if (parameter.has_default_value()) {
      given[parameter.name()] = parameter.default_value();
    }
  }
}

}  // namespace

void FillPlanDefaults(v1::RunPlan& plan) {
  v1::RunConfig& config = *plan.mutable_config();
  FillSpecDefaults(*plan.mutable_spec());
  FillContract(*plan.mutable_contract());
  FillModelParameters(plan.spec(), plan.contract(), *config.mutable_model());
  FillData(config.seed(), *config.mutable_data());
  FillAggregation(*config.mutable_aggregation());
  FillTraining(config.aggregation(), *config.mutable_training());
  FillPersonal(plan.spec(), config);
  FillStop(plan.spec().loss().kind(), *config.mutable_stop());
  if (config.retention() == v1::RETENTION_UNSPECIFIED) config.set_retention(v1::KEEP_FOR_RUN);
}

}  // namespace consilium
