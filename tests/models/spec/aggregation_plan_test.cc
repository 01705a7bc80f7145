// Aggregation blocks that can not work, and what is said of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "models/spec/run_plan.h"
#include "tests/models/spec/plan_changes.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(Complaints, OfAggregation) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"preset: 77", "aggregation.preset: "},
      {"preset: FEDASYNC trigger { barrier {} }", "aggregation.trigger.barrier: FEDASYNC"},
      {"preset: FEDBUFF trigger { barrier {} }", "aggregation.trigger.barrier: FEDBUFF"},
      {"preset: FEDASYNC trigger { buffer { updates: 2 } }",
       "aggregation.trigger.buffer.updates: must be 1 with FEDASYNC"},
      {"trigger { buffer { updates: 10001 } }", "aggregation.trigger.buffer.updates: "},
      {"preset: FEDAVG trigger { barrier { sites_min: 10001 } }",
       "aggregation.trigger.barrier.sites_min: "},
      {"preset: CA2FL staleness { hinge {} }", "aggregation.staleness: has no place in CA2FL"},
      {"preset: FEDAVG staleness { polynomial {} }", "aggregation.staleness: has no effect with a"},
      {"staleness { polynomial { exponent: -1 } }", "aggregation.staleness.polynomial.exponent: "},
      {"staleness { hinge { slope: -1 } }", "aggregation.staleness.hinge.slope: "},
      {"staleness { hinge { free: -1 } }", "aggregation.staleness.hinge.free: "},
      {"server { sgd { learning_rate: 101 } }", "aggregation.server.sgd.learning_rate: "},
      {"server { sgd { momentum: 1 } }", "aggregation.server.sgd.momentum: "},
      {"server { sgd { decay_versions: 5 } }", "aggregation.server.sgd.learning_rate_final: "},
      {"server { sgd { learning_rate_final: 0.5 } }", "aggregation.server.sgd.decay_versions: "},
      {"server { sgd { learning_rate_final: 2 decay_versions: 5 } }",
       "aggregation.server.sgd.learning_rate_final: "},
      {"server { sgd { learning_rate_final: 0.5 decay_versions: 1000001 } }",
       "aggregation.server.sgd.decay_versions: "},
      {"server { adam { learning_rate: -1 } }", "aggregation.server.adam.learning_rate: "},
      {"server { adam { beta1: 1 } }", "aggregation.server.adam.beta1: "},
      {"server { adam { beta2: nan } }", "aggregation.server.adam.beta2: "},
      {"server { adam { epsilon: -1 } }", "aggregation.server.adam.epsilon: "},
      {"preset: FEDASYNC server { adam {} }", "aggregation.server: FEDASYNC mixes"},
      {"preset: FEDASYNC server { sgd { learning_rate: 0.5 } }", "aggregation.server: FEDASYNC"},
      {"preset: STALENESS_WEIGHTED_TABLE rate_correction {}",
       "aggregation.rate_correction: a table gives"},
      {"preset: CA2FL rate_correction {}", "aggregation.rate_correction: a table gives"},
      {"preset: FEDAVG rate_correction {}", "aggregation.rate_correction: with a barrier"},
      {"preset: FEDBUFF rate_correction { cap: 0.5 }",
       "aggregation.rate_correction.cap: must be 1"},
      {"preset: FEDBUFF rate_correction { kappa_per_site: -1 }",
       "aggregation.rate_correction.kappa_per_site: "},
      {"preset: FEDBUFF rate_correction { decay: 1.5 }", "aggregation.rate_correction.decay: "},
      {"preset: FEDASYNC rate_correction {}",
       "aggregation.rate_correction.cap: times mixing_alpha"},
      {"preset: FEDASYNC mixing_alpha: 1.5", "aggregation.mixing_alpha: must be above 0"},
      {"mixing_alpha: 0.5", "aggregation.mixing_alpha: belongs to FEDASYNC and FEDBUFF_APPFL"},
      {"preset: SCAFFOLD trigger { buffer { updates: 2 } }",
       "aggregation.trigger: must be a barrier with SCAFFOLD"},
      {"preset: SCAFFOLD trigger { interval { interval_ms: 5 } }",
       "aggregation.trigger: must be a barrier with SCAFFOLD"},
      {"preset: SCAFFOLD combine { krum {} }", "aggregation.combine: replaces a mean"},
      {"preset: SCAFFOLD transform { clip_norm: 1 }",
       "aggregation.transform.clip_norm: has no place with SCAFFOLD"},
      {"preset: ZENO", "aggregation.transform.zeno.validator: must name a site with ZENO"},
      {"preset: ZENO transform { zeno { validator: 'A b' } }",
       "aggregation.transform.zeno.validator: is no site id"},
      {"transform { zeno { validator: 'a' } }", "aggregation.transform.zeno: belongs to ZENO only"},
      {"preset: ZENO transform { zeno { validator: 'a' gamma: -1 } }",
       "aggregation.transform.zeno.gamma: "},
      {"preset: ZENO transform { zeno { validator: 'a' rho: nan } }",
       "aggregation.transform.zeno.rho: "},
      {"preset: ZENO transform { zeno { validator: 'a' epsilon: -1 } }",
       "aggregation.transform.zeno.epsilon: "},
      {"preset: ZENO transform { clip_norm: 1 zeno { validator: 'a' } }",
       "aggregation.transform.clip_norm: has no place in ZENO"},
      {"preset: ZENO combine { krum {} } trigger { buffer { updates: 3 } } "
       "transform { zeno { validator: 'a' } }",
       "aggregation.combine: replaces a mean"},
      {"preset: ZENO rate_correction {} transform { zeno { validator: 'a' } }",
       "aggregation.rate_correction: has no place in ZENO"},
      {"preset: ZENO fairness {} transform { zeno { validator: 'a' } }",
       "aggregation.fairness: has no place in ZENO"},
      {"preset: FEDBUFF_PLATO trigger { barrier {} }",
       "aggregation.trigger.barrier: FEDBUFF_PLATO divides"},
      {"preset: DC_ASGD trigger { barrier {} }", "aggregation.trigger.barrier: DC_ASGD merges"},
      {"preset: DC_ASGD trigger { interval { interval_ms: 5 } }",
       "aggregation.trigger.interval: DC_ASGD merges"},
      {"preset: DC_ASGD trigger { buffer { updates: 3 } }",
       "aggregation.trigger.buffer.updates: must be 1 with DC_ASGD"},
      {"preset: STALE_SYNCHRONOUS trigger { buffer {} }",
       "aggregation.trigger: must be bounded with"},
      {"trigger { bounded {} }", "aggregation.trigger: bounded belongs to STALE_SYNCHRONOUS only"},
      {"trigger { interval {} }", "aggregation.trigger.interval.interval_ms: must be from 1"},
      {"trigger { interval { interval_ms: 86400001 } }",
       "aggregation.trigger.interval.interval_ms: must be from 1"},
      {"preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 1000001 } }",
       "aggregation.trigger.bounded.updates_ahead_max: "},
      {"preset: ACE staleness { hinge {} }", "aggregation.staleness: has no place in ACE"},
      {"preset: FEDBUFF_NVFLARE staleness { hinge {} }", "aggregation.staleness: is 1/("},
      {"preset: FEDYOGI server { adam {} }", "aggregation.server: FEDYOGI is named after"},
      {"preset: FEDYOGI server { sgd {} }", "aggregation.server: FEDYOGI is named after"},
      {"server { yogi { beta1: 1 } }", "aggregation.server.yogi.beta1: "},
      {"server { amsgrad { bias_correction: 7 } }",
       "aggregation.server.amsgrad.bias_correction: must be"},
      {"server { adagrad { epsilon: -1 } }", "aggregation.server.adagrad.epsilon: "},
      {"server { delay_adaptive { of: 9 } }", "aggregation.server.delay_adaptive.of: "},
      {"server { delay_adaptive { staleness_free: -1 } }",
       "aggregation.server.delay_adaptive.staleness_free: "},
      {"preset: FEDAVG server { delay_adaptive {} }",
       "aggregation.server.delay_adaptive: has no effect"},
      {"preset: FEDASYNC server { delay_adaptive {} }", "aggregation.server: FEDASYNC mixes"},
      {"preset: ACE rate_correction {}", "aggregation.rate_correction: a table gives"},
      {"preset: FEDBUFF_FLSIM rate_correction {}",
       "aggregation.rate_correction: has no place in FEDBUFF_FLSIM"},
      {"entry_age_versions_max: 3", "aggregation.entry_age_versions_max: belongs to ACED"},
      {"transform { delay_compensation: 1 }",
       "aggregation.transform.delay_compensation: belongs to DC_ASGD only"},
      {"preset: DC_ASGD transform { delay_compensation: -1 }",
       "aggregation.transform.delay_compensation: must be above 0"},
      {"fairness { epsilon: 1.5 }", "aggregation.fairness.epsilon: "},
      {"fairness { window_versions: 10001 }", "aggregation.fairness.window_versions: "},
      {"fairness { local_steps_share_min: -1 }", "aggregation.fairness.local_steps_share_min: "},
      {"preset: CA2FL fairness {}", "aggregation.fairness: has no place in CA2FL"},
      {"preset: FEDASYNC fairness {}", "aggregation.fairness: has no place in FEDASYNC"},
      {"preset: FEDNOVA fairness {}", "aggregation.fairness: has no place in FEDNOVA"},
      {"preset: FEDAVG trigger { buffer { updates: 3 } } fairness {}",
       "aggregation.fairness: can not be kept by FEDAVG without a barrier"},
      {"preset: FEDBUFF fairness {} transform { clip_norm: 1 }",
       "aggregation.fairness: would undo what transform.clip_norm"},
      {"preset: FEDBUFF fairness {} rate_correction { cap: 0.5 }",
       "aggregation.rate_correction.cap: must be 1"},
      {"preset: ADAPTIVE transform { clip_norm: 1 }",
       "aggregation.transform.clip_norm: has no place in ADAPTIVE"},
      {"preset: ADAPTIVE trigger { buffer { updates: 3 } } combine { krum {} }",
       "aggregation.combine: has no place in ADAPTIVE"},
      {"preset: ADAPTIVE trigger { barrier {} }", "aggregation.trigger.barrier: ADAPTIVE divides"},
      {"preset: ADAPTIVE trigger { bounded {} }", "aggregation.trigger: bounded belongs to"},
      {"preset: ADAPTIVE trigger { buffer { live_share_min: 1.5 } }",
       "aggregation.trigger.buffer.live_share_min: must be from 0 to 1"},
      {"preset: ADAPTIVE trigger { buffer { live_share_min: nan } }",
       "aggregation.trigger.buffer.live_share_min: must be from 0 to 1"},
      {"preset: FEDBUFF trigger { buffer { live_share_min: 0.5 } }",
       "aggregation.trigger.buffer.live_share_min: needs aggregation.fairness"},
      {"preset: ADAPTIVE mixing_alpha: 0.5", "aggregation.mixing_alpha: belongs to FEDASYNC"},
      {"preset: ADAPTIVE rate_correction { cap: 0.5 }",
       "aggregation.rate_correction.cap: must be 1"},
      {"preset: FEDCOMPASS trigger { buffer {} }", "aggregation.trigger: must be groups with"},
      {"preset: FEDBUFF trigger { groups {} }",
       "aggregation.trigger: groups belongs to FEDCOMPASS only"},
      {"preset: FEDCOMPASS trigger { groups { local_steps_min: 101 } }",
       "aggregation.trigger.groups.local_steps_min: "},
      {"preset: FEDCOMPASS trigger { groups { local_steps_max: 1000001 } }",
       "aggregation.trigger.groups.local_steps_max: "},
      {"preset: FEDCOMPASS trigger { groups { latest_factor: 0.5 } }",
       "aggregation.trigger.groups.latest_factor: "},
      {"preset: FEDCOMPASS trigger { groups { speed_decay: 1 } }",
       "aggregation.trigger.groups.speed_decay: "},
      {"preset: FEDCOMPASS rate_correction {}", "aggregation.rate_correction: has no place in"},
      {"preset: FEDPROX", "training.proximal_mu: must be above 0 with FEDPROX"},
      {"limits { update_norm_max: -1 }", "aggregation.limits.update_norm_max: "},
      {"preset: ASYNCFEDED trigger { barrier {} } staleness { functional {} }",
       "aggregation.trigger.barrier: ASYNCFEDED"},
      {"preset: ASYNCFEDED trigger { buffer { updates: 2 } }",
       "aggregation.trigger.buffer.updates: must be 1 with ASYNCFEDED"},
      {"preset: ASYNCFEDED staleness { polynomial {} }", "aggregation.staleness: functional"},
      {"preset: FEDBUFF staleness { functional {} }", "aggregation.staleness: functional"},
      {"preset: ASYNCFEDED staleness { functional { lambda: -1 } }",
       "aggregation.staleness.functional: "},
      {"preset: KRUM combine { krum { hostile_max: 2 } } trigger { buffer { updates: 6 } }",
       "aggregation.trigger.buffer.updates: must be at least 7: Krum needs 2·hostile_max + 3"},
      {"preset: FEDBUFF combine { coordinate_median {} } trigger { buffer { updates: 2 } }",
       "aggregation.trigger.buffer.updates: must be at least 3"},
      {"preset: TRIMMED_MEAN trigger { buffer { updates: 513 } }",
       "aggregation.trigger.buffer.updates: must be at most 512"},
      {"preset: TRIMMED_MEAN combine { trimmed_mean { share: 0.5 } }",
       "aggregation.combine.trimmed_mean.share: "},
      {"preset: KRUM combine { krum { hostile_max: 255 } }",
       "aggregation.combine.krum.hostile_max: must be at most 254"},
      {"preset: GEOMETRIC_MEDIAN combine { geometric_median { iterations: 33 } }",
       "aggregation.combine.geometric_median.iterations: "},
      {"preset: GEOMETRIC_MEDIAN combine { geometric_median { smoothing: -1 } }",
       "aggregation.combine.geometric_median.smoothing: "},
      {"preset: KRUM combine { coordinate_median {} }",
       "aggregation.combine: is another rule than the preset's"},
      {"preset: FEDBUFF combine { band_versions: 2 }", "aggregation.combine: must name a rule"},
      {"preset: STALENESS_WEIGHTED_TABLE combine { coordinate_median {} } trigger { buffer { "
       "updates: 5 } }",
       "aggregation.combine: replaces a mean"},
      {"preset: CA2FL combine { krum {} } trigger { buffer { updates: 5 } }",
       "aggregation.combine: replaces a mean"},
      {"preset: FEDBUFF rate_correction {} combine { coordinate_median {} }",
       "aggregation.rate_correction: has no place with a robust rule"},
      {"preset: BASGD", "aggregation.combine.buckets.buckets: must be given"},
      // More means than a step compares: the run's first version could not be made.
      {"preset: BASGD combine { buckets { buckets: 513 } }",
       "aggregation.combine.buckets.buckets: must be given, from 2 to 512"},
      {"preset: BASGD combine { buckets { buckets: 3 } band_versions: 1 }",
       "aggregation.combine.band_versions: "},
      {"preset: BASGD combine { buckets { buckets: 3 } } trigger { barrier {} }",
       "aggregation.trigger.barrier: has no place with buckets"},
      {"preset: NORM_BOUND", "aggregation.transform.clip_norm: must be given"},
      {"preset: FEDAVG transform { clip_norm: -1 }", "aggregation.transform.clip_norm: "},
      {"preset: FEDASYNC transform { clip_norm: 1 }", "aggregation.transform.clip_norm: has no"},
  };
  for (const auto& [stages, sentence] : cases) {
    const absl::Status status = ResolvePlan(WithAggregation(stages)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << stages;
    const std::vector<std::string> sentences = absl::StrSplit(status.message(), '\n');
    EXPECT_THAT(sentences, ElementsAre(StartsWith(sentence))) << stages;
  }
  v1::RunPlan four = WithAggregation("preset: KRUM combine { krum { hostile_max: 1 } }");
  for (const char* site : {"a", "b", "c", "d"}) {
    four.mutable_config()->mutable_participation()->add_sites(site);
  }
  EXPECT_THAT(std::string(ResolvePlan(four).status().message()),
              StartsWith("participation.sites: must be at least 5: Krum needs"));
  v1::RunPlan plan = WithAggregation("preset: FEDAVG");
  plan.mutable_config()->mutable_training()->set_tasks_in_flight_max(2);
  EXPECT_THAT(std::string(ResolvePlan(plan).status().message()),
              StartsWith("training.tasks_in_flight_max: must be 1 with a barrier"));
  for (const char* preset : {"preset: FEDNOVA", "preset: DC_ASGD", "preset: SCAFFOLD"}) {
    plan = WithAggregation(preset);
    EXPECT_TRUE(ResolvePlan(plan).ok()) << preset;
    plan.mutable_config()->mutable_training()->mutable_optimizer()->mutable_sgd()->set_momentum(.5);
    EXPECT_THAT(std::string(ResolvePlan(plan).status().message()),
                StartsWith("training.optimizer: must be sgd without momentum"));
    plan.mutable_config()
        ->mutable_training()
        ->mutable_optimizer()
        ->mutable_adam()
        ->set_learning_rate(0.1);
    EXPECT_THAT(std::string(ResolvePlan(plan).status().message()),
                StartsWith("training.optimizer: must be sgd without momentum"));
  }
  EXPECT_TRUE(
      ResolvePlan(WithAggregation("preset: FEDASYNC mixing_alpha: 0.2 rate_correction { cap: 5 }"))
          .ok());
}

TEST(Complaints, AValidatorTakesPartBesideOthersAndScoresDirections) {
  const auto with = [](const std::vector<std::string>& sites) {
    v1::RunPlan plan = WithAggregation("preset: ZENO transform { zeno { validator: 'a' } }");
    for (const std::string& site : sites) {
      plan.mutable_config()->mutable_participation()->add_sites(site);
    }
    return plan;
  };
  for (const v1::RunPlan& fine : {with({}), with({"b", "a"})}) {
    const auto resolved = ResolvePlan(fine);
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    const v1::AggregationConfig& aggregation = resolved->config().aggregation();
    EXPECT_EQ(aggregation.transform().zeno().gamma(), 0.1);
    EXPECT_EQ(aggregation.transform().zeno().rho(), 0.002);
    EXPECT_EQ(aggregation.transform().zeno().epsilon(), 0);
    EXPECT_EQ(aggregation.trigger().buffer().updates(), 1u);
    EXPECT_TRUE(aggregation.staleness().has_constant());
  }
  EXPECT_THAT(std::string(ResolvePlan(with({"b", "c"})).status().message()),
              StartsWith("aggregation.transform.zeno.validator: must be one of participation"));
  EXPECT_THAT(std::string(ResolvePlan(with({"a"})).status().message()),
              StartsWith("participation.sites: must have a site beside the validator"));
  v1::RunPlan plan = with({});
  v1::Layer& norm = *plan.mutable_spec()->add_layers();
  norm.set_name("norm");
  norm.mutable_batch_norm();
  EXPECT_THAT(std::string(ResolvePlan(plan).status().message()),
              StartsWith("aggregation.preset: can not be ZENO for a spec with batch_norm"));
}

TEST(Complaints, RunningStatisticsTakeNoAdaptiveStep) {
  for (const char* stages : {"preset: FEDAVG", "preset: FEDBUFF", "preset: FEDASYNC"}) {
    v1::RunPlan plan = WithAggregation(stages);
    v1::Layer& norm = *plan.mutable_spec()->add_layers();
    norm.set_name("norm");
    norm.mutable_batch_norm();
    EXPECT_TRUE(ResolvePlan(plan).ok()) << stages << ResolvePlan(plan).status();
  }
  for (const char* stages :
       {"preset: FEDADAM", "preset: FADAS", "preset: FEDAVG server { sgd { momentum: 0.9 } }"}) {
    v1::RunPlan plan = WithAggregation(stages);
    EXPECT_TRUE(ResolvePlan(plan).ok()) << stages << ResolvePlan(plan).status();
    v1::Layer& norm = *plan.mutable_spec()->add_layers();
    norm.set_name("norm");
    norm.mutable_batch_norm();
    EXPECT_THAT(std::string(ResolvePlan(plan).status().message()),
                StartsWith("aggregation.server: must be sgd without momentum for a spec with"))
        << stages;
  }
}

}  // namespace
}  // namespace consilium
