#include "models/spec/run_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "models/spec/field_checks.h"
#include "models/spec/local_steps.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/temp_folder.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

v1::RunPlan Parse(absl::string_view text) {
  v1::RunPlan plan;
  const absl::Status parsed = ParseTextFormat(text, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed << text;
  return plan;
}

// kPlanText with `from` replaced, which must be there.
v1::RunPlan Changed(absl::string_view from, absl::string_view to) {
  const std::string text = absl::StrReplaceAll(kPlanText, {{from, to}});
  EXPECT_NE(text, kPlanText) << from;
  return Parse(text);
}

v1::RunPlan WithAggregation(absl::string_view stages) {
  return Changed("seed: 42", absl::StrCat("seed: 42 aggregation { ", stages, " }"));
}

v1::RunPlan Resolved(const v1::RunPlan& plan) {
  auto resolved = ResolvePlan(plan);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? *resolved : v1::RunPlan();
}

std::string AggregationText(absl::string_view stages) {
  v1::AggregationConfig config = Resolved(WithAggregation(stages)).config().aggregation();
  config.clear_limits();
  return config.ShortDebugString();
}

TEST(ResolvePlan, FillsInWhatThePersonLeftOut) {
  const v1::RunPlan plan = Resolved(Parse(kPlanText));
  const v1::RunConfig& config = plan.config();
  EXPECT_EQ(config.model().parameters().at("features"), 5);  // 1 + 1 + 3.
  EXPECT_EQ(config.model().parameters().at("units"), 8);
  EXPECT_EQ(config.data().standardise(), v1::DataConfig::FEDERATED);
  EXPECT_EQ(config.data().split().validation(), 0.15);
  EXPECT_EQ(config.data().split().test(), 0.25);
  EXPECT_EQ(config.data().split().by(), v1::SplitConfig::PATIENT);
  EXPECT_EQ(config.data().split().seed(), 42u);
  EXPECT_EQ(config.training().batch_examples(), 32u);
  EXPECT_EQ(config.training().local_steps(), 20u);
  EXPECT_EQ(config.training().tasks_in_flight_max(), 2u);
  EXPECT_EQ(config.aggregation().limits().staleness_versions_max(), 50u);
  EXPECT_EQ(config.stop().versions_max(), 100u);
  EXPECT_EQ(config.stop().select_by(), v1::LOG_LOSS);
  EXPECT_EQ(config.stop().closing_deadline_ms(), 60000u);
  EXPECT_EQ(config.retention(), v1::KEEP_FOR_RUN);
  EXPECT_EQ(plan.contract().csv().delimiter(), ",");
  EXPECT_EQ(plan.contract().csv().header(), v1::CsvFormat::PRESENT);
  EXPECT_EQ(plan.contract().columns(0).missing().rule(), v1::Missing::REFUSE_ROW);
  EXPECT_THAT(plan.spec().layers(1).inputs(), ElementsAre("hidden"));

  const v1::RunPlan adam = Resolved(Changed("sgd {", "adam {"));
  EXPECT_EQ(adam.config().training().optimizer().adam().ShortDebugString(),
            "learning_rate: 0.05 beta1: 0.9 beta2: 0.999 epsilon: 1e-08");
}

TEST(ResolvePlan, WhatThePersonSaidStays) {
  const v1::RunPlan plan = Resolved(Parse(absl::StrReplaceAll(
      kPlanText, {{"data {", "data { split { validation: 0 test: 0 seed: 0 }"},
                  {"sgd { learning_rate: 0.05 }", "adam { learning_rate: 1 beta1: 0 }"},
                  {"seed: 42",
                   "seed: 42 aggregation { limits { staleness_versions_max: 0 } "
                   "staleness { hinge { free: 0 } } }"}})));
  EXPECT_EQ(plan.config().data().split().validation(), 0);
  EXPECT_EQ(plan.config().data().split().test(), 0);
  EXPECT_EQ(plan.config().data().split().seed(), 0u);
  EXPECT_EQ(plan.config().training().optimizer().adam().beta1(), 0);
  EXPECT_EQ(plan.config().aggregation().limits().staleness_versions_max(), 0u);
  EXPECT_EQ(plan.config().aggregation().staleness().hinge().free(), 0);
  EXPECT_EQ(plan.config().aggregation().staleness().hinge().slope(), 10);
}

TEST(ResolvePlan, PresetsAreTablesOfStages) {
  EXPECT_EQ(AggregationText(""),
            "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 2 } } staleness { "
            "polynomial { exponent: 0.5 } } server { sgd { learning_rate: 1 learning_rate_final: "
            "0.3 decay_versions: 40 } }");
  EXPECT_EQ(AggregationText("preset: FEDAVG"),
            "preset: FEDAVG trigger { barrier { sites_min: 1 } } staleness { constant { } } server "
            "{ sgd { learning_rate: 1 learning_rate_final: 1 } }");
  EXPECT_EQ(AggregationText("preset: FEDASYNC"),
            "preset: FEDASYNC trigger { buffer { updates: 1 } } staleness { polynomial { exponent: "
            "0.5 } } server { sgd { learning_rate: 1 learning_rate_final: 1 } } mixing_alpha: 0.6");
  EXPECT_EQ(AggregationText("preset: FEDBUFF"),
            "preset: FEDBUFF trigger { buffer { updates: 10 } } staleness { polynomial { exponent: "
            "0.5 } } server { sgd { learning_rate: 1 learning_rate_final: 1 } }");
  EXPECT_EQ(AggregationText("preset: CA2FL"),
            "preset: CA2FL trigger { buffer { updates: 2 } } staleness { constant { } } server { "
            "sgd { learning_rate: 1 learning_rate_final: 1 } }");
  EXPECT_EQ(
      AggregationText("preset: FEDYOGI"),
      "preset: FEDYOGI trigger { barrier { sites_min: 1 } } staleness { constant { } } server "
      "{ yogi { learning_rate: 0.01 beta1: 0.9 beta2: 0.99 epsilon: 0.001 bias_correction: "
      "NONE } }");
  EXPECT_EQ(AggregationText("preset: FEDADAGRAD"),
            "preset: FEDADAGRAD trigger { barrier { sites_min: 1 } } staleness { constant { } } "
            "server { adagrad { learning_rate: 0.1 beta1: 0 epsilon: 0.001 } }");
  EXPECT_EQ(
      AggregationText("preset: ACED"),
      "preset: ACED trigger { buffer { updates: 1 } } staleness { constant { } } server { sgd "
      "{ learning_rate: 1 learning_rate_final: 1 } } entry_age_versions_max: 10");
  EXPECT_EQ(AggregationText("preset: FADAS"),
            "preset: FADAS trigger { buffer { updates: 2 } } staleness { constant { } } server { "
            "amsgrad { learning_rate: 0.01 beta1: 0.9 beta2: 0.99 epsilon: 0.001 bias_correction: "
            "NONE } delay_adaptive { of: GREATEST staleness_free: 1 } }");
  EXPECT_THAT(AggregationText("preset: DC_ASGD"),
              HasSubstr("transform { delay_compensation: 0.04 }"));
  EXPECT_THAT(AggregationText("preset: STALE_SYNCHRONOUS"),
              HasSubstr("trigger { bounded { updates_ahead_max: 4 } } staleness { constant { } }"));
  EXPECT_THAT(AggregationText("preset: FEDBUFF_APPFL"),
              AllOf(HasSubstr("buffer { updates: 10 }"), HasSubstr("mixing_alpha: 0.9")));
}

TEST(ResolvePlan, AStageReplacesThePresets) {
  EXPECT_EQ(AggregationText("server { adam {} }"),
            "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 2 } } staleness { "
            "polynomial { exponent: 0.5 } } server { adam { learning_rate: 0.01 beta1: 0.9 beta2: "
            "0.99 epsilon: 0.001 bias_correction: AS_ADAM } }");
  // A step that the person chose does not decay unless the person says so.
  EXPECT_THAT(AggregationText("server { sgd { learning_rate: 0.5 } }"),
              HasSubstr("sgd { learning_rate: 0.5 learning_rate_final: 0.5 }"));
  EXPECT_THAT(AggregationText("trigger { barrier { deadline_ms: 5 } }"),
              AllOf(HasSubstr("barrier { deadline_ms: 5 sites_min: 1 } } staleness { constant")));
  EXPECT_THAT(AggregationText("preset: FEDBUFF rate_correction { cap: 3 }"),
              HasSubstr("rate_correction { cap: 3 kappa_per_site: 2 decay: 0.98 }"));
}

TEST(ResolvePlan, AFairnessContractBringsItsCorrection) {
  EXPECT_THAT(AggregationText("preset: FEDBUFF fairness {}"),
              AllOf(HasSubstr("rate_correction { kappa_per_site: 0.5 decay: 0.98 }"),
                    HasSubstr("fairness { epsilon: 0.25 window_versions: 50 "
                              "local_steps_share_min: 0.25 }")));
  EXPECT_THAT(AggregationText("preset: FEDBUFF fairness {} rate_correction { cap: 3 }"),
              HasSubstr("rate_correction { cap: 3 kappa_per_site: 0.5 decay: 0.98 }"));
  EXPECT_THAT(AggregationText("fairness {}"), Not(HasSubstr("rate_correction")));
}

TEST(ResolvePlan, AdaptiveHasItsContract) {
  EXPECT_EQ(
      AggregationText("preset: ADAPTIVE"),
      "preset: ADAPTIVE trigger { buffer { updates: 2 } } staleness { polynomial { exponent: "
      "0.5 } } server { sgd { learning_rate: 1 learning_rate_final: 1 } delay_adaptive { of: MEAN "
      "staleness_free: 10 } } rate_correction { kappa_per_site: 0.5 decay: 0.98 } fairness { "
      "epsilon: 0.25 window_versions: 50 "
      "local_steps_share_min: 0.25 }");
  EXPECT_THAT(AggregationText("preset: ADAPTIVE fairness { window_versions: 9 } rate_correction { "
                              "cap: 3 } server { adam {} }"),
              AllOf(HasSubstr("window_versions: 9"), HasSubstr("rate_correction { cap: 3 "),
                    HasSubstr("server { adam { learning_rate: 0.01")));
}

TEST(ResolvePlan, FedCompassHasItsGroupsAndOneTask) {
  EXPECT_THAT(AggregationText("preset: FEDCOMPASS"),
              HasSubstr("groups { local_steps_min: 20 local_steps_max: 100 latest_factor: 1.5 "
                        "speed_decay: 0.1 } } staleness { polynomial { exponent: 0.5 } }"));
  const v1::RunPlan plan = Resolved(WithAggregation("preset: FEDCOMPASS"));
  EXPECT_EQ(plan.config().training().tasks_in_flight_max(), 1u);
  EXPECT_EQ(LocalStepsOf(plan.config()).min, 20u);
  EXPECT_EQ(LocalStepsOf(plan.config()).max, 100u);
}

TEST(LocalSteps, AreThePlansUnlessAContractLetsThemBeFewer) {
  v1::RunConfig config = Resolved(WithAggregation("preset: FEDBUFF")).config();
  config.mutable_training()->set_local_steps(30);
  EXPECT_EQ(LocalStepsOf(config).min, 30u);
  config = Resolved(WithAggregation("fairness { local_steps_share_min: 0.25 }")).config();
  config.mutable_training()->set_local_steps(30);
  EXPECT_EQ(LocalStepsOf(config).min, 8u);  // 7.5, rounded up.
  EXPECT_EQ(LocalStepsOf(config).max, 30u);
  EXPECT_EQ(StepsAtShare(30, 0), 1u);
}

TEST(ResolvePlan, ABarrierGrantsOneTask) {
  const v1::RunPlan plan = Resolved(WithAggregation("preset: FEDAVG"));
  EXPECT_EQ(plan.config().training().tasks_in_flight_max(), 1u);
}

TEST(ResolvePlan, ClassesComeFromTheContract) {
  const v1::RunPlan plan = Resolved(Parse(absl::StrReplaceAll(
      kPlanText,
      {{"parameters { name: \"units\" default_value: 8 }",
        "parameters { name: \"classes\" } parameters { name: \"units\" default_value: 8 }"},
       {"linear { units: \"1\" }", "linear { units: \"classes\" }"},
       {"BCE_WITH_LOGITS", "CROSS_ENTROPY"},
       {"binary { positive: \"1\" negative: \"0\" }",
        "classes { values: \"a\" values: \"b\" values: \"c\" }"}})));
  EXPECT_EQ(plan.config().model().parameters().at("classes"), 3);
  const auto graph = GraphOf(plan);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->output_shape(), ElementsAre(3));
}

// Each case is a change that breaks exactly one rule, so exactly one sentence comes back.
struct Refusal {
  const char* from;
  const char* to;
  const char* sentence;  // Its beginning.
};

void ExpectRefusals(const std::vector<Refusal>& cases) {
  for (const Refusal& c : cases) {
    const absl::Status status = ResolvePlan(Changed(c.from, c.to)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.to;
    const std::vector<std::string> sentences = absl::StrSplit(status.message(), '\n');
    EXPECT_THAT(sentences, ElementsAre(AllOf(StartsWith(c.sentence), testing::EndsWith("."))))
        << c.to;
  }
}

TEST(Complaints, OfConfigAndTraining) {
  ExpectRefusals({
      {"name: \"heart\"", "name: \"Heart\"", "name: "},
      {"name: \"heart\"", "name: \"-heart\"", "name: "},
      {"name: \"heart\"", "", "name: "},
      {"seed: 42", "privacy {}", "privacy: is not built yet; remove the block."},
      {"seed: 42", "privacy { patient_level { epsilon_max: 8 } }", "privacy: is not built yet"},
      {"seed: 42", "retention: 9", "retention: "},
      {"seed: 42", "participation { sites: \"St Mary\" sites: \"south\" }",
       "participation.sites: \"St Mary\" is no site id: "},
      {"seed: 42", "participation { sites: \"north\" sites: \"north\" }",
       "participation.sites: names \"north\" twice"},
      {"seed: 42", "participation { sites: \"north\" sites: \"south\" sites_min: 3 }",
       "participation.sites_min: must be at most 2, the number of sites that are named"},
      {"seed: 42", "participation { sites_min: 10001 }",
       "participation.sites_min: must be at most 10000"},
      {"data {", "data { split { validation: 0.6 }", "data.split.validation: "},
      {"data {", "data { split { test: -0.1 }", "data.split.test: "},
      {"data {", "data { split { test: nan }", "data.split.test: "},
      {"data {", "data { split { validation: 0.45 test: 0.45 }", "data.split: validation and test"},
      {"data {", "data { split { by: 7 }", "data.split.by: "},
      {"data {", "data { standardise: 9", "data.standardise: must be"},
      {"optimizer { sgd { learning_rate: 0.05 } }", "", "training.optimizer: must be sgd or adam"},
      {"learning_rate: 0.05", "learning_rate: 0", "training.optimizer.sgd.learning_rate: "},
      {"learning_rate: 0.05", "learning_rate: inf", "training.optimizer.sgd.learning_rate: "},
      {"learning_rate: 0.05", "learning_rate: 1 momentum: 1", "training.optimizer.sgd.momentum: "},
      {"learning_rate: 0.05", "learning_rate: 1 weight_decay: -1",
       "training.optimizer.sgd.weight_decay: "},
      {"sgd { learning_rate: 0.05 }", "adam {}", "training.optimizer.adam.learning_rate: "},
      {"sgd { learning_rate: 0.05 }", "adam { learning_rate: 1 beta1: 1 }",
       "training.optimizer.adam.beta1: "},
      {"sgd { learning_rate: 0.05 }", "adam { learning_rate: 1 beta2: -1 }",
       "training.optimizer.adam.beta2: "},
      {"sgd { learning_rate: 0.05 }", "adam { learning_rate: 1 epsilon: -1 }",
       "training.optimizer.adam.epsilon: "},
      {"sgd { learning_rate: 0.05 }", "adam { learning_rate: 1 weight_decay: nan }",
       "training.optimizer.adam.weight_decay: "},
      {"training {", "training { batch_examples: 65537", "training.batch_examples: "},
      {"training {", "training { local_steps: 1000001", "training.local_steps: "},
      {"training {", "training { tasks_in_flight_max: 3", "training.tasks_in_flight_max: must be"},
      {"training {", "training { proximal_mu: -1", "training.proximal_mu: "},
      {"seed: 42", "stop { versions_max: 1000001 }", "stop.versions_max: "},
      {"seed: 42", "stop { patience_versions: 1000001 }", "stop.patience_versions: "},
      {"seed: 42", "stop { select_by: METRIC_MSE }", "stop.select_by: must be one that the loss"},
      {"seed: 42", "stop { target { metric: METRIC_MSE value: 0.5 } }", "stop.target.metric: "},
      {"seed: 42", "stop { target { value: 0.5 } }", "stop.target.metric: "},
      {"seed: 42", "stop { target { metric: AUROC value: 85 } }", "stop.target.value: "},
      {"seed: 42", "stop { target { metric: LOG_LOSS value: 0 } }", "stop.target.value: "},
      {"data {", "stop { patience_versions: 3 } data { split { validation: 0 }",
       "stop.patience_versions: needs data.split.validation"},
      {"data {", "stop { target { metric: AUROC value: 0.9 } } data { split { validation: 0 }",
       "stop.target: needs data.split.validation"},
  });
}

TEST(Complaints, OfAggregation) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"preset: 77", "aggregation.preset: "},
      {"preset: FEDASYNC trigger { barrier {} }", "aggregation.trigger.barrier: FEDASYNC"},
      {"preset: FEDBUFF trigger { barrier {} }", "aggregation.trigger.barrier: FEDBUFF"},
      {"preset: FEDASYNC trigger { buffer { updates: 2 } }",
       "aggregation.trigger.buffer.updates: must be 1 with FEDASYNC"},
      {"trigger { buffer { updates: 10001 } }", "aggregation.trigger.buffer.updates: "},
      {"trigger { barrier { sites_min: 10001 } }", "aggregation.trigger.barrier.sites_min: "},
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
      {"rate_correction {}", "aggregation.rate_correction: a table gives"},
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
      {"combine { coordinate_median {} } trigger { buffer { updates: 5 } }",
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

TEST(Complaints, OfTheContract) {
  ExpectRefusals({
      {"name: \"heart-disease\"", "name: \"Heart\"", "contract.name: "},
      {"csv {", "csv { header: 9", "contract.csv.header: "},
      {"csv {", "csv { header: ABSENT", "contract.csv.column_names: must be given where"},
      {"csv {", "csv { column_names: \"age\"", "contract.csv.column_names: must be given where"},
      {"csv {", "csv { header: ABSENT column_names: ['age', 'pain', 'disease']",
       "contract.columns.name: column \"sex\" is not in csv.column_names"},
      {"csv {", "csv { header: ABSENT column_names: ['age', 'sex', 'pain', 'disease', 'sex']",
       "contract.csv.column_names: a name is there twice"},
      {"csv {", "csv { delimiter: \";;\"", "contract.csv.delimiter: "},
      {"csv {", "csv { delimiter: \"5\"", "contract.csv.delimiter: "},
      {"csv {", "csv { delimiter: \"\\n\"", "contract.csv.delimiter: "},
      {"csv {", "csv { missing_tokens: \"\"", "contract.csv.missing_tokens: a token"},
      {"name: \"sex\"", "name: \"age\"", "contract.columns.name: column \"age\" is used twice"},
      {"column: \"disease\"", "column: \"age\"", "contract.label.column: column \"age\" is used"},
      {"column: \"disease\"", "", "contract.label.column: must have"},
      {"column: \"disease\"", "column: \"a\\nb\"", "contract.label.column: must have"},
      {"csv {", "patient_id_column: \"sex\" csv {", "contract.patient_id_column: column \"sex\""},
      {"min: 0 max: 120", "min: 0", "contract.columns.age.number: min and max"},
      {"min: 0 max: 120", "min: 1 max: inf", "contract.columns.age.number: min and max"},
      {"values: \"1\" values: \"2\" values: \"none\"", "values: \"1\"",
       "contract.columns.pain.category.values: must be 2 to 256, not 1"},
      {"values: \"none\"", "values: \" 2.0 \"",
       "contract.columns.pain.category.values: \" 2.0 \" is there twice"},
      {"values: \"none\"", "values: \"?\"",
       "contract.columns.pain.category.values: \"?\" is one of csv.missing_tokens"},
      {"values: \"none\"", "values: \"\"", "contract.columns.pain.category.values: a value must"},
      {"name: \"age\"", "name: \"age\" missing { rule: 8 }", "contract.columns.age.missing.rule: "},
      {"name: \"age\"", "name: \"age\" missing { rule: MEAN constant: 3 }",
       "contract.columns.age.missing.constant: belongs to CONSTANT only"},
      {"name: \"age\"", "name: \"age\" missing { rule: CONSTANT constant: 121 }",
       "contract.columns.age.missing.constant: must be within"},
      {"name: \"age\"", "name: \"age\" missing { rule: CONSTANT constant: 1.5 }",
       "contract.columns.age.missing.constant: must be a whole number"},
      {"number { min: 0 max: 120 integer: true }", "tensor { min: 0 max: 1 }",
       "contract.columns.age.tensor.shape: must have 1 to 8 dimensions"},
      {"number { min: 0 max: 120 integer: true }", "tensor { shape: [3, 0] min: 0 max: 1 }",
       "contract.columns.age.tensor.shape: must have 1 to 8 dimensions"},
      {"number { min: 0 max: 120 integer: true }",
       "tensor { shape: [4000000000, 4000000000] max: 1 }",
       "contract.columns: must give the model 1 to 65536 features"},
      {"number { min: 0 max: 120 integer: true }", "tensor { shape: [3] max: nan }",
       "contract.columns.age.tensor: min and max"},
      {"number { min: 0 max: 120 integer: true }", "tensor { shape: [3] max: 1 mean: inf }",
       "contract.columns.age.tensor.mean: must be finite"},
      {"number { min: 0 max: 120 integer: true }", "tensor { shape: [3] max: 1 deviation: 0 }",
       "contract.columns.age.tensor.deviation: must be above 0"},
      {"number { min: 0 max: 120 integer: true }",
       "tensor { shape: [3] max: 1 } missing { rule: MEAN }",
       "contract.columns.age.missing: must be REFUSE_ROW"},
      {"name: \"pain\"", "name: \"pain\" missing { rule: CONSTANT constant: 3 }",
       "contract.columns.pain.missing.constant: must be one of"},
      {"binary { positive: \"1\" negative: \"0\" }", "binary { positive: \"1\" }",
       "contract.label.binary: needs"},
      {"binary { positive: \"1\" negative: \"0\" }", "binary { positive: \"1\" negative: \"1.0\" }",
       "contract.label.binary: \"1.0\" is there twice"},
      {"binary { positive: \"1\" negative: \"0\" }", "", "contract.label: must be binary"},
  });
}

TEST(Complaints, OfTheModelAndHowItFits) {
  ExpectRefusals({
      {"linear { units: \"units\" }", "linear { units: \"units / 0\" }",
       "spec.layers.hidden.linear.units: expression \"units / 0\": a division by zero"},
      {"model {", "model { parameters { key: \"units\" value: 0 }", "spec.parameters.units: is 0"},
      {"model {", "model { parameters { key: \"unit\" value: 3 }", "spec.parameters: there is no"},
      {"model {", "model { parameters { key: \"features\" value: 7 }",
       "spec.input_shape: has room for 7 numbers, but the contract gives 5 features."},
      {"binary { positive: \"1\" negative: \"0\" }", "classes { values: \"a\" values: \"b\" }",
       "contract.label: must be binary for a spec with loss BCE_WITH_LOGITS"},
      {"binary { positive: \"1\" negative: \"0\" }", "real { max: 1 }",
       "contract.label: must be binary"},
      {"BCE_WITH_LOGITS", "MSE", "contract.label: must be real for a spec with loss MSE"},
      {"data {", "data { standardise: NONE split { by: 3 }", "data.split.by: "},
  });
}

TEST(Complaints, OfClassesThatAreNotTheOutputs) {
  const std::string text =
      absl::StrReplaceAll(kPlanText, {{"linear { units: \"1\" }", "linear { units: \"3\" }"},
                                      {"BCE_WITH_LOGITS", "CROSS_ENTROPY"}});
  EXPECT_EQ(ResolvePlan(Parse(text)).status().message(),
            "contract.label: must have 3 classes, one for each output of the spec.");
}

TEST(Complaints, OfMissingMeansThatNobodyExchanges) {
  const std::string text =
      absl::StrReplaceAll(kPlanText, {{"data {", "data { standardise: NONE"},
                                      {"name: \"age\"", "name: \"age\" missing { rule: MEAN }"}});
  EXPECT_THAT(std::string(ResolvePlan(Parse(text)).status().message()),
              StartsWith("data.standardise: NONE exchanges no means"));
  // A category's missing value needs no mean.
  EXPECT_TRUE(
      ResolvePlan(Parse(absl::StrReplaceAll(
                      kPlanText, {{"data {", "data { standardise: NONE"},
                                  {"name: \"sex\"", "name: \"sex\" missing { rule: MEAN }"}})))
          .ok());
}

TEST(Complaints, AllOfThemComeAtOnceAndTheirNumberIsBounded) {
  v1::RunPlan plan = Parse(kPlanText);
  plan.mutable_config()->set_name("");
  plan.mutable_config()->mutable_privacy();
  EXPECT_EQ(
      std::vector<std::string>(absl::StrSplit(ResolvePlan(plan).status().message(), '\n')).size(),
      2u);
  for (int i = 0; i < 5000; ++i) plan.mutable_contract()->add_columns();
  const std::vector<std::string> sentences =
      absl::StrSplit(ResolvePlan(plan).status().message(), '\n');
  EXPECT_EQ(sentences.size(), 101u);
  EXPECT_THAT(sentences.back(), HasSubstr("more complaints"));
}

TEST(Complaints, OfAFieldFromANewerBuild) {
  v1::RunPlan plan = Parse(kPlanText);
  plan.mutable_config()
      ->mutable_aggregation()
      ->GetReflection()
      ->MutableUnknownFields(plan.mutable_config()->mutable_aggregation())
      ->AddVarint(99, 1);
  EXPECT_THAT(std::string(ResolvePlan(plan).status().message()),
              StartsWith("consilium.v1.AggregationConfig: has a field that this build"));
}

// A file in Latin-1, as old spreadsheets write: protobuf's parser takes it, a peer's would not.
TEST(Complaints, OfTextThatIsNotUtf8) {
  EXPECT_EQ(ResolvePlan(Changed("\"none\"", "\"gew\xF6hnlich\"")).status().message(),
            "consilium.v1.Category.values: is not UTF-8; save the file as UTF-8.");
  EXPECT_TRUE(ResolvePlan(Changed("\"none\"", "\"gewöhnlich\"")).ok());
}

TEST(IsUtf8, FollowsRfc3629) {
  for (const char* text : {"", "a", "ö", "€", "\U0001F3E5", "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* text :
       {"\x80", "\xC3", "\xC0\xAF", "\xE0\x80\xAF", "\xF0\x80\x80\xAF", "\xED\xA0\x80",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xE2\x82", "\xC3z"}) {
    EXPECT_FALSE(IsUtf8(text)) << absl::CHexEscape(text);
  }
}

TEST(Complaints, OfAPlanThatNoMessageCanCarry) {
  v1::RunPlan plan = Parse(kPlanText);
  plan.mutable_spec()->set_description(std::string(5 << 20, 'x'));
  EXPECT_THAT(std::string(ResolvePlan(plan).status().message()), StartsWith("plan: config, spec"));
}

TEST(Zoo, ItsContractsAndModelsFit) {
  for (const char* contract : {"heart_disease", "wdbc"}) {
    for (const char* model : {"logistic_regression", "mlp", "residual_mlp"}) {
      v1::RunPlan plan = Parse(kPlanText);
      const std::string zoo = CONSILIUM_ZOO_FOLDER;
      ASSERT_TRUE(
          ReadTextFormatFile(absl::StrCat(zoo, "/", model, ".textproto"), *plan.mutable_spec())
              .ok());
      ASSERT_TRUE(
          ReadTextFormatFile(absl::StrCat(zoo, "/contracts/", contract, ".contract.textproto"),
                             *plan.mutable_contract())
              .ok());
      const auto resolved = ResolvePlan(plan);
      EXPECT_TRUE(resolved.ok()) << contract << ", " << model << ": " << resolved.status();
    }
  }
}

class LoadRunPlanTest : public testing::Test {
 protected:
  LoadRunPlanTest() {
    std::filesystem::create_directories(folder_.File("zoo"));
    const v1::RunPlan plan = Parse(kPlanText);
    Write("zoo/m.textproto", plan.spec().DebugString());
    Write("c.textproto", plan.contract().DebugString());
    v1::RunConfig config = plan.config();
    config.mutable_model()->set_spec_file("zoo/m.textproto");
    Write("run.textproto", config.DebugString());
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.File(name)) << text;
  }
  absl::Status Load() const { return LoadRunPlan(folder_.File("run.textproto")).status(); }

  const TempFolder folder_;
};

TEST_F(LoadRunPlanTest, ReadsTheFilesThatTheConfigNames) {
  const auto plan = LoadRunPlan(folder_.File("run.textproto"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->spec().name(), "logistic");
  EXPECT_EQ(plan->contract().name(), "heart-disease");
  EXPECT_EQ(plan->config().training().local_steps(), 20u);
}

TEST_F(LoadRunPlanTest, ErrorsNameFileLineAndColumn) {
  Write("zoo/m.textproto", "name: \"m\"\ninput_shape: \"features\"\n  lerning_rate: 3\n");
  const absl::Status status = Load();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/zoo/m.textproto:3:"), HasSubstr("lerning_rate")));
}

TEST_F(LoadRunPlanTest, AMissingFileNamesTheFieldThatNamesIt) {
  std::filesystem::remove(folder_.File("c.textproto"));
  EXPECT_EQ(Load().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Load().message()), StartsWith("data.contract_file: "));
  Write("run.textproto", "name: \"heart\"");
  EXPECT_THAT(std::string(Load().message()), StartsWith("model.spec_file: must name a file."));
}

TEST(FeatureCount, CountsTheOneHotWidth) {
  v1::DataContract contract = Parse(kPlanText).contract();
  EXPECT_EQ(FeatureCount(contract), 5u);
  contract.mutable_columns(1)->mutable_category()->set_drop_first(false);
  EXPECT_EQ(FeatureCount(contract), 6u);
  v1::Tensor& tensor = *contract.add_columns()->mutable_tensor();
  for (const uint32_t size : {3, 4}) tensor.add_shape(size);
  EXPECT_EQ(FeatureCount(contract), 18u);
  EXPECT_EQ(FeatureCount(v1::DataContract()), 0u);
}

}  // namespace
}  // namespace consilium
