#include "site_agent/train/cpu_trainer.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/metrics/metrics.h"
#include "models/spec/standardisation.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/ingest/encode.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;

constexpr char kLogisticRegression[] = R"(
  name: "logistic" input_shape: "3"
  layers { name: "logit" linear { units: "1" bias: true } }
  loss { kind: BCE_WITH_LOGITS })";

// Plans here are as ResolvePlan leaves them, as far as a trainer reads them.
v1::RunPlan Plan(const std::string& spec, const std::string& training) {
  v1::RunPlan plan;
  absl::Status status = ParseTextFormat(
      absl::StrCat("spec {", spec, "} config { seed: 11 training {", training, "} }"), "plan",
      plan);
  EXPECT_TRUE(status.ok()) << status;
  return plan;
}

// The examples of tests/site_agent/train/reference_steps.py.
Examples ReferenceExamples() {
  Examples examples;
  examples.features = 3;
  for (int i = 0; i < 24; ++i) {
    examples.values.push_back(static_cast<float>(std::sin(1.3 * i + 0.2)));
  }
  examples.labels = {1, 0, 0, 1, 1, 0, 1, 1};
  return examples;
}

const std::vector<float> kBase = {0.5f, -0.25f, 0.125f, 0.75f};

struct Task {
  v1::RunPlan plan;
  Examples examples = ReferenceExamples();
  std::vector<float> base = kBase;
  uint64_t task = 1;
  uint32_t local_steps = 3;
  std::string site = "north";
};

absl::StatusOr<TrainOutput> Train(CpuTrainer& trainer, const Task& task) {
  TrainInput input;
  input.plan = &task.plan;
  input.site = SiteId(task.site);
  input.task = TaskId(task.task);
  input.base = task.base;
  input.local_steps = task.local_steps;
  input.examples = &task.examples;
  return trainer.Train(input);
}

void ExpectSteps(const std::string& training, const std::vector<double>& delta, double mean_loss) {
  CpuTrainer trainer;
  const Task task = {.plan = Plan(kLogisticRegression, training)};
  absl::StatusOr<TrainOutput> output = Train(trainer, task);
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->steps, 3u);
  EXPECT_NEAR(output->mean_loss, mean_loss, 1e-6);
  ASSERT_EQ(output->delta.size(), delta.size());
  for (size_t i = 0; i < delta.size(); ++i) EXPECT_NEAR(output->delta[i], delta[i], 1e-6) << i;
}

TEST(CpuTrainer, ThreeStepsOfTheReference) {
  ExpectSteps("batch_examples: 8 optimizer { sgd { learning_rate: 0.5 } }",
              {-0.198641231, -0.018318539, 0.188840851, -0.071541266}, 0.6937261699182162);
  // A batch of more than there are takes all.
  ExpectSteps(
      "batch_examples: 32 proximal_mu: 0.2 "
      "optimizer { sgd { learning_rate: 0.5 momentum: 0.9 weight_decay: 0.1 } }",
      {-0.446315127, 0.030674758, 0.276358219, -0.283454447}, 0.685632060561317);
  ExpectSteps(
      "batch_examples: 8 optimizer { adam { learning_rate: 0.05 beta1: 0.8 beta2: 0.95 "
      "epsilon: 1e-3 weight_decay: 0.1 } }",
      {-0.148521033, 0.092674479, 0.147247295, -0.147360232}, 0.6984049908302489);
}

constexpr char kScaffold[] =
    "batch_examples: 8 optimizer { sgd { learning_rate: 0.5 weight_decay: 0.1 } }";

absl::StatusOr<TrainOutput> TrainScaffold(const std::vector<float>& control,
                                          const std::vector<float>& kept) {
  CpuTrainer trainer;
  const Examples examples = ReferenceExamples();
  v1::RunPlan plan = Plan(kLogisticRegression, kScaffold);
  plan.mutable_config()->mutable_aggregation()->set_preset(v1::AggregationConfig::SCAFFOLD);
  TrainInput input;
  input.plan = &plan;
  input.site = SiteId("north");
  input.task = TaskId(1);
  input.base = kBase;
  input.local_steps = 3;
  input.examples = &examples;
  input.control = control;
  input.kept = kept;
  return trainer.Train(input);
}

void ExpectNear(const std::vector<float>& values, const std::vector<double>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-6) << i;
}

TEST(CpuTrainer, ScaffoldStepsByTheCorrectedGradient) {
  const auto first = TrainScaffold({}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  ExpectNear(first->delta, {-0.257324196, 0.017979007, 0.158726283, -0.163336141});
  ExpectNear(first->kept, {0.171549464, -0.011986004, -0.105817522, 0.108890761});
  const auto later = TrainScaffold({0.1f, -0.2f, 0.3f, -0.4f}, {-0.3f, 0.2f, 0.1f, 0.25f});
  ASSERT_TRUE(later.ok()) << later.status();
  ExpectNear(later->delta, {-0.819883869, 0.571427405, -0.143586648, 0.670848479});
  ExpectNear(later->kept, {0.146589233, 0.019048403, -0.104275578, 0.202767687});
  for (const auto& [control, kept] :
       {std::pair<std::vector<float>, std::vector<float>>{{1, 2}, {}}, {{}, {1, 2, 3, 4, 5}}}) {
    EXPECT_EQ(TrainScaffold(control, kept).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(CpuTrainer, OtherPlansKeepNothing) {
  CpuTrainer trainer;
  const auto output = Train(trainer, {.plan = Plan(kLogisticRegression, kScaffold)});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_TRUE(output->kept.empty());
}

// Batch norm's running statistics take their own step, whatever optimizer, weight decay and
// proximal term do to what is trained.
TEST(CpuTrainer, NoOptimizerStepsOverRunningStatistics) {
  const char* spec = R"(
    name: "norm" input_shape: "3"
    layers { name: "norm" batch_norm { momentum: 0.25 } }
    layers { name: "logit" linear { units: "1" bias: true } }
    loss { kind: BCE_WITH_LOGITS })";
  for (const char* optimizer :
       {"sgd { learning_rate: 0.5 momentum: 0.9 weight_decay: 0.1 }",
        "adam { learning_rate: 0.05 beta1: 0.8 beta2: 0.95 epsilon: 1e-3 weight_decay: 0.1 }"}) {
    Task task = {.plan = Plan(spec, absl::StrCat("batch_examples: 8 proximal_mu: 0.2 optimizer { ",
                                                 optimizer, " }"))};
    // Scale, shift, weights, bias; means, variances.
    task.base = {1, 1, 1, 0, 0, 0, 0.5f, -0.25f, 0.125f, 0.75f, 4, 4, 4, 2, 2, 2};
    task.local_steps = 2;
    CpuTrainer trainer;
    const absl::StatusOr<TrainOutput> output = Train(trainer, task);
    ASSERT_TRUE(output.ok()) << output.status();
    const std::vector<float>& delta = output->delta;
    ASSERT_EQ(delta.size(), 16u);
    for (size_t f = 0; f < 3; ++f) {
      double mean = 0, variance = 0;
      for (size_t i = 0; i < 8; ++i) mean += task.examples.row(i)[f] / 8;
      for (size_t i = 0; i < 8; ++i) variance += std::pow(task.examples.row(i)[f] - mean, 2) / 7;
      // Two steps over all examples: 1 − 0.75² of the way.
      EXPECT_NEAR(delta[10 + f], 0.4375 * (mean - 4), 1e-5) << optimizer;
      EXPECT_NEAR(delta[13 + f], 0.4375 * (variance - 2), 1e-5) << optimizer;
      EXPECT_NE(delta[f], 0);
    }
  }
}

// Everything random in one model: small batches, dropout, momentum.
Task RandomTask() {
  Task task;
  task.plan = Plan(R"(
      name: "mlp" input_shape: "3"
      layers { name: "hidden" linear { units: "16" bias: true } }
      layers { name: "relu" activation { function: RELU } }
      layers { name: "drop" dropout { probability: 0.25 } }
      layers { name: "logit" linear { units: "1" bias: true } }
      loss { kind: BCE_WITH_LOGITS })",
                   "batch_examples: 3 optimizer { sgd { learning_rate: 0.1 momentum: 0.9 } }");
  task.local_steps = 25;
  task.base.clear();
  for (int i = 0; i < 16 * 3 + 16 + 16 + 1; ++i) {
    task.base.push_back(static_cast<float>(std::sin(0.7 * i)));
  }
  return task;
}

std::vector<float> DeltaOf(CpuTrainer& trainer, const Task& task) {
  absl::StatusOr<TrainOutput> output = Train(trainer, task);
  EXPECT_TRUE(output.ok()) << output.status();
  return output.ok() ? output->delta : std::vector<float>();
}

TEST(CpuTrainer, RetrainingGivesTheSameBits) {
  CpuTrainer trainer;
  const Task task = RandomTask();
  const std::vector<float> delta = DeltaOf(trainer, task);
  // Whatever the same trainer did between: another task, another model.
  Task between = RandomTask();
  between.task = 2;
  DeltaOf(trainer, between);
  EXPECT_EQ(DeltaOf(trainer, task), delta);
  DeltaOf(trainer, {.plan = Plan(kLogisticRegression,
                                 "batch_examples: 2 optimizer { sgd { learning_rate: 0.5 } }")});
  EXPECT_EQ(DeltaOf(trainer, task), delta);
  // And another trainer, on another thread.
  std::vector<float> elsewhere;
  std::jthread([&] {
    CpuTrainer other;
    elsewhere = DeltaOf(other, task);
  }).join();
  EXPECT_EQ(elsewhere, delta);
}

TEST(CpuTrainer, SeedSiteAndTaskEachDrawTheirOwn) {
  CpuTrainer trainer;
  const std::vector<float> delta = DeltaOf(trainer, RandomTask());
  Task other = RandomTask();
  other.task = 2;
  EXPECT_NE(DeltaOf(trainer, other), delta);
  other = RandomTask();
  other.site = "south";
  EXPECT_NE(DeltaOf(trainer, other), delta);
  other = RandomTask();
  other.plan.mutable_config()->set_seed(12);
  EXPECT_NE(DeltaOf(trainer, other), delta);
}

TEST(CpuTrainer, CountsThePatientsThatItsStepsHaveSeen) {
  CpuTrainer trainer;
  Task task = RandomTask();  // Batches of 3 of 8 rows.
  const auto seen = [&](uint32_t steps) {
    task.local_steps = steps;
    const absl::StatusOr<TrainOutput> output = Train(trainer, task);
    EXPECT_TRUE(output.ok()) << output.status();
    return output.ok() ? output->patients : 0;
  };
  EXPECT_EQ(seen(1), 3u);
  EXPECT_EQ(seen(2), 6u);
  EXPECT_EQ(seen(3), 8u);
  EXPECT_EQ(seen(25), 8u);
  task.examples.patients = {7, 7, 7, 7, 7, 7, 2, 2};
  EXPECT_EQ(seen(25), 2u);
  EXPECT_LE(seen(1), 2u);
}

// Of a discrete hazard, those who add to the interval that the fewest, but some, add to.
TEST(CpuTrainer, CountsThePatientsOfTheThinnestInterval) {
  CpuTrainer trainer;
  Task task = {.plan = Plan(R"(
      name: "hazard" input_shape: "3"
      layers { name: "logits" linear { units: "3" bias: true } }
      loss { kind: DISCRETE_HAZARD })",
                            "batch_examples: 8 optimizer { sgd { learning_rate: 0.1 } }")};
  auto& survival = *task.plan.mutable_contract()->mutable_label()->mutable_survival();
  for (const double end : {1.0, 2.0, 3.0}) survival.add_interval_ends(end);
  task.base.assign(12, 0.5f);
  const auto seen = [&](const std::vector<float>& labels) {
    task.examples.labels = labels;
    const absl::StatusOr<TrainOutput> output = Train(trainer, task);
    EXPECT_TRUE(output.ok()) << output.status();
    return output.ok() ? output->patients : 0;
  };
  EXPECT_EQ(seen({0.5f, 0.5f, -1, -1, 1.5f, -2, -3, 2.5f}), 2u);
  EXPECT_EQ(seen({0.5f, 0.5f, -1, -1, 1.5f, -2, -2, 2.5f}), 1u);
  // Nobody adds to the last one, and then to none.
  EXPECT_EQ(seen({0.5f, 0.5f, -1, -1, 1.5f, -2, -2, 1.5f}), 4u);
  EXPECT_EQ(seen(std::vector<float>(8, -0.25f)), 8u);
  task.examples.patients = {0, 1, 2, 3, 4, 5, 6, 6};
  EXPECT_EQ(seen({0.5f, 0.5f, -1, -1, 1.5f, -2, -3, 2.5f}), 1u);
  // Of whose rows the steps have seen: not those who wait for the next batch.
  task.examples.patients.clear();
  task.plan.mutable_config()->mutable_training()->set_batch_examples(3);
  task.local_steps = 1;
  EXPECT_EQ(seen(std::vector<float>(8, -3)), 3u);
}

// The optimizer starts afresh with every task: two tasks of one step are not one task of two.
TEST(CpuTrainer, MomentumDoesNotOutliveATask) {
  CpuTrainer trainer;
  Task task = {.plan = Plan(kLogisticRegression,
                            "batch_examples: 8 "
                            "optimizer { sgd { learning_rate: 0.5 momentum: 0.9 } }")};
  task.local_steps = 1;
  const std::vector<float> first = DeltaOf(trainer, task);
  EXPECT_EQ(DeltaOf(trainer, task), first);
}

TEST(CpuTrainer, EvaluatesAllExamplesWithoutDropout) {
  CpuTrainer trainer;
  const Task task = RandomTask();
  const auto evaluate = [&] {
    return trainer.Evaluate({.plan = &task.plan, .weights = task.base, .examples = &task.examples});
  };
  absl::StatusOr<v1::MetricSums> sums = evaluate();
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(sums->examples(), 8u);
  EXPECT_EQ(sums->auroc_comparable(), 15);
  EXPECT_TRUE(sums->has_log_loss_sum());
  EXPECT_EQ(evaluate()->SerializeAsString(), sums->SerializeAsString());

  // Against the reference's first loss: mean of step 1 of a full batch.
  const v1::RunPlan logistic =
      Plan(kLogisticRegression, "batch_examples: 8 optimizer { sgd { learning_rate: 0.5 } }");
  Task one_step = {.plan = logistic};
  one_step.local_steps = 1;
  absl::StatusOr<TrainOutput> output = Train(trainer, one_step);
  ASSERT_TRUE(output.ok());
  absl::StatusOr<v1::MetricSums> base =
      trainer.Evaluate({.plan = &logistic, .weights = kBase, .examples = &one_step.examples});
  ASSERT_TRUE(base.ok());
  EXPECT_NEAR(*LogLoss(*base), output->mean_loss, 1e-6);

  Examples none;
  none.features = 3;
  sums = trainer.Evaluate({.plan = &logistic, .weights = kBase, .examples = &none});
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(sums->examples(), 0u);
  EXPECT_FALSE(sums->has_log_loss_sum());
}

TEST(CpuTrainer, RefusesWhatItCanNotTrain) {
  CpuTrainer trainer;
  const auto status = [&](const auto& change) {
    Task task = RandomTask();
    change(task);
    return Train(trainer, task).status();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto precondition = absl::StatusCode::kFailedPrecondition;
  EXPECT_TRUE(status([](Task&) {}).ok());
  EXPECT_EQ(status([](Task& t) { t.base.pop_back(); }).code(), invalid);
  EXPECT_EQ(status([](Task& t) { t.local_steps = 0; }).code(), invalid);
  EXPECT_EQ(status([](Task& t) { t.examples.features = 4; }).code(), invalid);
  EXPECT_EQ(status([](Task& t) { t.examples.values.pop_back(); }).code(), invalid);
  EXPECT_EQ(status([](Task& t) { t.examples.labels.assign(8, 2); }).code(), invalid);
  EXPECT_EQ(status([](Task& t) { t.examples.patients = {1, 2}; }).code(), invalid);
  EXPECT_EQ(status([](Task& t) {
              t.plan.mutable_config()->mutable_training()->clear_optimizer();
            }).code(),
            invalid);
  EXPECT_EQ(status([](Task& t) { t.plan.mutable_spec()->clear_layers(); }).code(), invalid);
  EXPECT_EQ(status([](Task& t) {
              t.examples.values.clear();
              t.examples.labels.clear();
            }).code(),
            precondition);
  EXPECT_EQ(status([](Task& t) { t.examples.values[4] = std::nanf(""); }).code(), precondition);
  EXPECT_EQ(status([](Task& t) { t.base[0] = std::numeric_limits<float>::infinity(); }).code(),
            precondition);
  // Diverges: the last step's weights are not finite, whatever the loss before it was.
  const absl::Status diverged = status([](Task& t) {
    t.local_steps = 1;
    t.plan.mutable_config()
        ->mutable_training()
        ->mutable_optimizer()
        ->mutable_sgd()
        ->set_learning_rate(3e38);
    for (float& value : t.examples.values) value *= 1e3f;
  });
  EXPECT_EQ(diverged.code(), precondition);
  EXPECT_THAT(std::string(diverged.message()), HasSubstr("learning rate"));
  EXPECT_TRUE(status([](Task&) {}).ok());
}

// From the published table through contract, statistics, standardisation and encoding to the
// optimum that Newton's method finds (reference_optimum.py).
TEST(RealFiles, LogisticRegressionReachesTheOptimumOnWdbc) {
  v1::DataContract contract;
  std::string text = R"(
    csv { header: ABSENT }
    label { column: "c30" binary { positive: "0" negative: "1" } })";
  for (int c : {0, 1, 4, 7, 21}) {
    absl::StrAppend(&text, "columns { name: \"c", c, "\" number { min: 0 max: 1e4 } }");
  }
  ASSERT_TRUE(ParseTextFormat(text, "contract", contract).ok());
  for (int c = 0; c <= 30; ++c) contract.mutable_csv()->add_column_names(absl::StrCat("c", c));
  if (!std::ifstream(CONSILIUM_WDBC_FILE).is_open()) {
    GTEST_SKIP() << "scripts/setup has not put the table there";
  }
  std::vector<RawRow> rows;
  absl::StatusOr<ImportReport> report =
      ImportCsvFile(CONSILIUM_WDBC_FILE, contract, [&rows](const RawRow& row) {
        rows.push_back(row);
        return absl::OkStatus();
      });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->rows_refused, 1u);  // scikit-learn's first line, which counts the rows.
  ASSERT_EQ(rows.size(), 569u);
  const std::vector<v1::Split> parts(rows.size(), v1::TRAIN);
  absl::StatusOr<v1::StatisticsReport> statistics = StatisticsOf(contract, {rows, parts});
  ASSERT_TRUE(statistics.ok()) << statistics.status();
  absl::StatusOr<v1::Standardisation> standardisation =
      FoldStatistics(contract, {{SiteId("all"), *statistics}});
  ASSERT_TRUE(standardisation.ok());
  absl::StatusOr<SplitExamples> examples = EncodeRows(contract, *standardisation, {rows, parts});
  ASSERT_TRUE(examples.ok()) << examples.status();

  Task task = {.plan = Plan(R"(name: "logistic" input_shape: "5"
                               layers { name: "logit" linear { units: "1" bias: true } }
                               loss { kind: BCE_WITH_LOGITS })",
                            "batch_examples: 569 optimizer { sgd { learning_rate: 1 "
                            "momentum: 0.9 weight_decay: 0.05 } }")};
  task.examples = examples->train;
  task.base.assign(6, 0.0f);
  task.local_steps = 1000;
  CpuTrainer trainer;
  const std::vector<float> weights = DeltaOf(trainer, task);
  const std::vector<double> optimum = {1.078869842, 0.268742939, 0.367853736,
                                       1.119588577, 0.533998515, -0.467291266};
  ASSERT_EQ(weights.size(), optimum.size());
  for (size_t i = 0; i < optimum.size(); ++i) EXPECT_NEAR(weights[i], optimum[i], 1e-4) << i;
  absl::StatusOr<v1::MetricSums> sums =
      trainer.Evaluate({.plan = &task.plan, .weights = weights, .examples = &task.examples});
  ASSERT_TRUE(sums.ok());
  EXPECT_NEAR(*LogLoss(*sums), 0.20256047658286336, 1e-5);
}

}  // namespace
}  // namespace consilium
