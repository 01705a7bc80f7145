#include "models/spec/run_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "models/spec/local_steps.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/temp_folder.h"
#include "tests/models/spec/plan_changes.h"

namespace consilium {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

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
  EXPECT_EQ(AggregationText(""), AggregationText("preset: ADAPTIVE"));
  EXPECT_EQ(AggregationText("preset: STALENESS_WEIGHTED_TABLE"),
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
  EXPECT_EQ(AggregationText("preset: STALENESS_WEIGHTED_TABLE server { adam {} }"),
            "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 2 } } staleness { "
            "polynomial { exponent: 0.5 } } server { adam { learning_rate: 0.01 beta1: 0.9 beta2: "
            "0.99 epsilon: 0.001 bias_correction: AS_ADAM } }");
  // A step that the person chose does not decay unless the person says so.
  EXPECT_THAT(AggregationText("server { sgd { learning_rate: 0.5 } }"),
              HasSubstr("sgd { learning_rate: 0.5 learning_rate_final: 0.5 }"));
  EXPECT_THAT(AggregationText("preset: FEDAVG trigger { barrier { deadline_ms: 5 } }"),
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
  EXPECT_THAT(AggregationText("preset: STALENESS_WEIGHTED_TABLE fairness {}"),
              Not(HasSubstr("rate_correction")));
}

TEST(ResolvePlan, AdaptiveHasItsContract) {
  EXPECT_EQ(AggregationText("preset: ADAPTIVE"),
            "preset: ADAPTIVE trigger { buffer { updates: 2 live_share_min: 0.5 } } staleness { "
            "polynomial { exponent: 0.5 } } server { sgd { learning_rate: 1 learning_rate_final: 1 "
            "} delay_adaptive { of: MEAN "
            "staleness_free: 10 } } rate_correction { kappa_per_site: 0.5 decay: 0.98 } fairness { "
            "epsilon: 0.25 window_versions: 50 "
            "local_steps_share_min: 0.25 }");
  // Who names a K has it.
  EXPECT_THAT(AggregationText("preset: ADAPTIVE trigger { buffer { updates: 3 } }"),
              HasSubstr("trigger { buffer { updates: 3 } }"));
  EXPECT_THAT(AggregationText("preset: ADAPTIVE trigger { buffer { live_share_min: 0 } }"),
              HasSubstr("trigger { buffer { updates: 2 live_share_min: 0 } }"));
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

TEST(Zoo, OneContractServesBothKindsOfSurvival) {
  const std::string zoo = CONSILIUM_ZOO_FOLDER;
  for (const auto& [model, outputs] :
       {std::pair{"cox_regression", 1}, std::pair{"discrete_hazard", 4}}) {
    v1::RunPlan plan = Parse(kPlanText);
    ASSERT_TRUE(
        ReadTextFormatFile(absl::StrCat(zoo, "/", model, ".textproto"), *plan.mutable_spec()).ok());
    ASSERT_TRUE(ReadTextFormatFile(zoo + "/contracts/tcga_brca.contract.textproto",
                                   *plan.mutable_contract())
                    .ok());
    const auto resolved = ResolvePlan(plan);
    ASSERT_TRUE(resolved.ok()) << model << ": " << resolved.status();
    EXPECT_EQ(GraphOf(*resolved)->output_shape(), std::vector<int64_t>{outputs}) << model;
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
