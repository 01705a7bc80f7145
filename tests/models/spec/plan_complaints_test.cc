// What is said of plans that can not work, but for their aggregation (aggregation_plan_test.cc).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "models/spec/field_checks.h"
#include "models/spec/run_plan.h"
#include "tests/models/spec/plan_changes.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

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

}  // namespace
}  // namespace consilium
