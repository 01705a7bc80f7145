#include "site_agent/train/fused_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"
#include "site_agent/train/cpu_trainer.h"
#include "site_agent/train/matrix_product.h"

namespace consilium {
namespace {

constexpr size_t kFeatures = 5;

struct Case {
  std::string name;
  std::string layers;
  std::string loss;
  int classes = 2;  // 0: the label is a number.
  std::string training = "batch_examples: 6 optimizer { sgd { learning_rate: 0.2 } }";
  std::string config = "";    // More of the run config.
  std::string contract = "";  // Of the label.
  std::string input_shape = "'5'";
  size_t features = kFeatures;  // As many as the shape has elements.
};

constexpr char kRelu[] = "activation { function: RELU }";
constexpr char kTanh[] = "activation { function: TANH }";
constexpr char kSigmoid[] = "activation { function: SIGMOID }";
constexpr char kFlatten[] = "flatten {}";
constexpr char kOneOutput[] = "linear { units: '1' }";

// A model spec's layers of these kinds, one upon the other.
std::string Chain(const std::vector<std::string>& kinds) {
  std::string layers;
  for (const std::string& kind : kinds) {
    absl::StrAppend(&layers, "layers { name: 'layer", layers.size(), "' ", kind, " } ");
  }
  return layers;
}

// As ResolvePlan leaves them, as far as a trainer reads them.
v1::RunPlan PlanOf(const Case& c) {
  v1::RunPlan plan;
  const absl::Status status = ParseTextFormat(
      absl::StrCat("spec { name: 'm' input_shape: [", c.input_shape, "] ", c.layers,
                   " loss { kind: ", c.loss, " } } config { seed: 11 training {", c.training, "} ",
                   c.config, " } contract { label { ", c.contract, " } }"),
      "plan", plan);
  EXPECT_TRUE(status.ok()) << status;
  return plan;
}

Examples ExamplesOf(const Case& c, int count = 20) {
  RandomStream random(SeedPath{5, "examples", "", 0});
  Examples examples;
  examples.features = c.features;
  for (int i = 0; i < count; ++i) {
    for (size_t f = 0; f < c.features; ++f) {
      examples.values.push_back(static_cast<float>(random.NextNormal()));
    }
    examples.labels.push_back(
        c.classes == 0 ? static_cast<float>(random.NextNormal())
                       : static_cast<float>(random.NextBelow(static_cast<uint64_t>(c.classes))));
    examples.patients.push_back(static_cast<uint32_t>(i / 2));
  }
  return examples;
}

std::vector<float> BaseOf(const v1::RunPlan& plan) {
  RandomStream random(SeedPath{5, "base", "", 0});
  std::vector<float> base(GraphOf(plan)->layout.elements());
  for (float& weight : base) weight = 0.5f * static_cast<float>(random.NextNormal());
  return base;
}

// Of what is handed in, which outlives it.
TrainInput InputOf(const v1::RunPlan& plan, const Examples& examples,
                   const std::vector<float>& base, uint32_t steps) {
  TrainInput input;
  input.plan = &plan;
  input.site = SiteId("north");
  input.task = TaskId(3);
  input.base = base;
  input.local_steps = steps;
  input.examples = &examples;
  return input;
}

template <typename Output>
struct Both {
  absl::StatusOr<Output> fused;
  absl::StatusOr<Output> plain;
};

Both<TrainOutput> TrainBoth(const v1::RunPlan& plan, const Examples& examples,
                            const std::vector<float>& base, uint32_t steps = 30) {
  const TrainInput input = InputOf(plan, examples, base, steps);
  return {FusedTrainer().Train(input), CpuTrainer().Train(input)};
}

Both<v1::MetricSums> EvaluateBoth(const v1::RunPlan& plan, const Examples& examples) {
  const std::vector<float> base = BaseOf(plan);
  EvaluateInput input;
  input.plan = &plan;
  input.weights = base;
  input.examples = &examples;
  return {FusedTrainer().Evaluate(input), CpuTrainer().Evaluate(input)};
}

double Norm(const std::vector<float>& values) {
  double sum = 0;
  for (const float x : values) sum += double{x} * x;
  return std::sqrt(sum);
}

const Case kCases[] = {
    {"logistic", Chain({kOneOutput}), "BCE_WITH_LOGITS"},
    {"without_bias", Chain({"linear { units: '9' bias: false }", kRelu, kOneOutput}),
     "BCE_WITH_LOGITS"},
    {"two_hidden",
     Chain({"linear { units: '17' }", kRelu, "linear { units: '8' }", kTanh,
            "linear { units: '3' }"}),
     "CROSS_ENTROPY", 3,
     "batch_examples: 7 proximal_mu: 0.1 optimizer { adam { learning_rate: 0.01 beta1: 0.9 beta2: "
     "0.999 epsilon: 1e-8 weight_decay: 0.01 } }"},
    {"regression", Chain({"linear { units: '6' }", kSigmoid, kOneOutput}), "MSE", 0,
     "batch_examples: 4 optimizer { sgd { learning_rate: 0.05 momentum: 0.9 weight_decay: 0.1 } }"},
    // Colours, sides of two lengths, padding, a stride, squares that overlap and leave a rest.
    {.name = "convolutions",
     .layers = Chain({"conv { channels: '5' kernel: '3' padding: '1' }", kRelu,
                      "pool { kind: MAX kernel: '3' stride: '2' }",
                      "conv { channels: '9' kernel: '2' stride: '2' padding: '1' bias: false }",
                      kTanh, kFlatten, "linear { units: '4' }"}),
     .loss = "CROSS_ENTROPY",
     .classes = 4,
     .training = "batch_examples: 7 optimizer { sgd { learning_rate: 0.02 momentum: 0.5 } }",
     .input_shape = "'3', '9', '8'",
     .features = 216},
    {.name = "averages",
     .layers = Chain({"conv { channels: '8' kernel: '3' padding: '2' }", kSigmoid,
                      "pool { kind: AVERAGE kernel: '2' }", "conv { channels: '3' kernel: '2' }",
                      "pool { kind: GLOBAL_AVERAGE }", kOneOutput}),
     .loss = "BCE_WITH_LOGITS",
     .input_shape = "'1', '6', '6'",
     .features = 36},
    {.name = "along_a_line",
     .layers = Chain({"conv { channels: '4' kernel: '5' stride: '2' padding: '3' }", kRelu,
                      "pool { kind: MAX kernel: '2' }", "conv { channels: '16' kernel: '1' }",
                      "pool { kind: AVERAGE kernel: '3' stride: '1' }", kFlatten,
                      "linear { units: '3' }"}),
     .loss = "CROSS_ENTROPY",
     .classes = 3,
     .input_shape = "'2', '21'",
     .features = 42},
    // Kernels of which some columns, or rows, never meet the input.
    {.name = "wider_than_the_map",
     .layers = Chain({"conv { channels: '3' kernel: '5' padding: '2' }", kTanh,
                      "conv { channels: '2' kernel: '7' padding: '3' stride: '2' }", kFlatten,
                      kOneOutput}),
     .loss = "BCE_WITH_LOGITS",
     .input_shape = "'2', '2', '1'",
     .features = 4},
    {.name = "longer_than_the_line",
     .layers = Chain({"conv { channels: '3' kernel: '9' padding: '4' }", kTanh,
                      "conv { channels: '2' kernel: '7' padding: '6' }", kFlatten, kOneOutput}),
     .loss = "BCE_WITH_LOGITS",
     .input_shape = "'1', '3'",
     .features = 3},
    {.name = "images_to_a_perceptron",
     .layers = Chain({kFlatten, "linear { units: '7' }", kRelu, kOneOutput}),
     .loss = "BCE_WITH_LOGITS",
     .input_shape = "'2', '3', '4'",
     .features = 24},
};

// ADR 0007 states the tolerance: a hundred thousandth of the update's norm in thirty steps.
TEST(FusedTrainer, TrainsWhatLibTorchTrainsWithinTheStatedTolerance) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const v1::RunPlan plan = PlanOf(c);
    EXPECT_TRUE(*FusedTrainer().TakesOver(plan));
    const Both<TrainOutput> both = TrainBoth(plan, ExamplesOf(c), BaseOf(plan));
    ASSERT_TRUE(both.fused.ok()) << both.fused.status();
    ASSERT_TRUE(both.plain.ok()) << both.plain.status();
    std::vector<float> difference;
    for (size_t i = 0; i < both.plain->delta.size(); ++i) {
      difference.push_back(both.fused->delta[i] - both.plain->delta[i]);
    }
    EXPECT_GT(Norm(both.plain->delta), 0.1);
    EXPECT_LT(Norm(difference), 1e-5 * Norm(both.plain->delta));
    EXPECT_NEAR(both.fused->mean_loss, both.plain->mean_loss, 1e-6);
    EXPECT_EQ(both.fused->steps, both.plain->steps);
    EXPECT_EQ(both.fused->patients, both.plain->patients);
  }
}

TEST(FusedTrainer, EvaluatesWhatLibTorchEvaluates) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const v1::RunPlan plan = PlanOf(c);
    // More than go forward at once.
    const auto [fused, plain] = EvaluateBoth(plan, ExamplesOf(c, 600));
    ASSERT_TRUE(fused.ok()) << fused.status();
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(fused->examples(), plain->examples());
    EXPECT_NEAR(fused->log_loss_sum(), plain->log_loss_sum(), 1e-6 * 600);
    EXPECT_NEAR(fused->squared_error_sum(), plain->squared_error_sum(), 1e-5 * 600);
  }
}

const Case kPooled = {.name = "pooled",
                      .layers = Chain({"conv { channels: '3' kernel: '1' }",
                                       "pool { kind: MAX kernel: '2' }", kFlatten, kOneOutput}),
                      .loss = "BCE_WITH_LOGITS",
                      .input_shape = "'2', '4', '4'",
                      .features = 32};

// Kernels of zeros give the same everywhere; whose patch the gradient is of is seen by it alone.
TEST(FusedTrainer, OfEqualValuesTheFirstIsTheLargest) {
  const v1::RunPlan plan = PlanOf(kPooled);
  std::vector<float> base = BaseOf(plan);
  std::fill_n(base.begin(), 6, 0.0f);
  const auto [fused, plain] = TrainBoth(plan, ExamplesOf(kPooled), base, 1);
  ASSERT_TRUE(fused.ok() && plain.ok()) << fused.status() << plain.status();
  for (size_t i = 0; i < base.size(); ++i) EXPECT_NEAR(fused->delta[i], plain->delta[i], 1e-7) << i;
}

TEST(FusedTrainer, PoolingHidesNothingThatIsNoNumber) {
  const v1::RunPlan plan = PlanOf(kPooled);
  Examples examples = ExamplesOf(kPooled);
  examples.values[5] = std::numeric_limits<float>::quiet_NaN();  // The last of its square.
  const auto [fused, plain] = EvaluateBoth(plan, examples);
  ASSERT_TRUE(fused.ok() && plain.ok()) << fused.status() << plain.status();
  EXPECT_NEAR(fused->log_loss_sum(), plain->log_loss_sum(), 1e-4);
}

// The same task gives the same bits, whatever was trained before it.
TEST(FusedTrainer, IsAFunctionOfTheTaskAlone) {
  const v1::RunPlan plan = PlanOf(kCases[2]);
  const v1::RunPlan other = PlanOf(kCases[1]);
  const Examples examples = ExamplesOf(kCases[2]);
  const Examples others = ExamplesOf(kCases[1]);
  const std::vector<float> base = BaseOf(plan);
  const std::vector<float> base_of_other = BaseOf(other);
  TrainInput input = InputOf(plan, examples, base, 5);
  const TrainInput before = InputOf(other, others, base_of_other, 5);
  FusedTrainer trainer;
  const absl::StatusOr<TrainOutput> first = trainer.Train(input);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(trainer.Train(before).ok());
  input.site = SiteId("south");
  ASSERT_TRUE(trainer.Train(input).ok());
  input.site = SiteId("north");
  const absl::StatusOr<TrainOutput> again = trainer.Train(input);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->delta, first->delta);
  EXPECT_EQ(again->mean_loss, first->mean_loss);
}

TEST(FusedTrainer, LeavesAllElseToLibTorchBitByBit) {
  const Case others[] = {
      {"dropout", Chain({"linear { units: '4' }", "dropout { probability: 0.5 }", kOneOutput}),
       "BCE_WITH_LOGITS"},
      {"residual",
       "layers { name: 'a' linear { units: '5' } } layers { name: 's' inputs: ['a', 'input'] add "
       "{} } layers { name: 'b' linear { units: '1' } }",
       "BCE_WITH_LOGITS"},
      {.name = "groups",
       .layers = Chain({"conv { channels: '4' kernel: '3' groups: '2' }", kFlatten, kOneOutput}),
       .loss = "BCE_WITH_LOGITS",
       .input_shape = "'2', '4', '4'",
       .features = 32},
      {.name = "pooling first",
       .layers = Chain({"pool { kind: MAX kernel: '2' }", kFlatten, kOneOutput}),
       .loss = "BCE_WITH_LOGITS",
       .input_shape = "'2', '4', '4'",
       .features = 32},
      {"gelu", Chain({"linear { units: '4' }", "activation { function: GELU }", kOneOutput}),
       "BCE_WITH_LOGITS"},
      {.name = "a rule with steps of its own",
       .layers = Chain({kOneOutput}),
       .loss = "BCE_WITH_LOGITS",
       .config = "aggregation { preset: DITTO }"},
      {.name = "another loss",
       .layers = Chain({"linear { units: '2' }"}),
       .loss = "DISCRETE_HAZARD",
       .contract = "survival { interval_ends: [0.5, 2] }"},
  };
  for (const Case& c : others) {
    SCOPED_TRACE(c.name);
    const v1::RunPlan plan = PlanOf(c);
    const absl::StatusOr<bool> takes = FusedTrainer().TakesOver(plan);
    ASSERT_TRUE(takes.ok()) << takes.status();
    EXPECT_FALSE(*takes);
    const Both<TrainOutput> both = TrainBoth(plan, ExamplesOf(c), BaseOf(plan));
    ASSERT_TRUE(both.plain.ok()) << both.plain.status();
    EXPECT_EQ(both.fused->delta, both.plain->delta);
  }
}

TEST(FusedTrainer, RefusesWhatDoesNotFitWithTheSameKindOfError) {
  const Case& c = kCases[0];
  const v1::RunPlan plan = PlanOf(c);
  const std::vector<float> base = BaseOf(plan);
  Examples wild = ExamplesOf(c);
  wild.values[3] = std::numeric_limits<float>::infinity();
  Examples mislabelled = ExamplesOf(c);
  mislabelled.labels[7] = 2;
  Examples narrow = ExamplesOf(c);
  narrow.features = 4;
  Examples none;
  none.features = kFeatures;
  for (const Examples& examples : {wild, mislabelled, narrow, none}) {
    const Both<TrainOutput> both = TrainBoth(plan, examples, base);
    EXPECT_FALSE(both.fused.ok());
    EXPECT_EQ(both.fused.status().code(), both.plain.status().code()) << both.plain.status();
  }
  EXPECT_EQ(TrainBoth(plan, ExamplesOf(c), {1, 2}).fused.status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Tiles and instruction sets must not show.
TEST(MatrixProduct, HasTheSameBitsByEveryWay) {
  RandomStream random(SeedPath{1, "product", "", 0});
  for (const size_t rows : {1u, 3u, 4u, 9u}) {
    for (const size_t columns : {8u, 16u, 40u}) {
      constexpr size_t kInner = 7;
      std::vector<float> a(rows * kInner);
      std::vector<float> b(kInner * columns);
      std::vector<float> c(rows * columns);
      for (std::vector<float>* values : {&a, &b, &c}) {
        for (float& x : *values) x = static_cast<float>(random.NextNormal());
      }
      std::vector<float> expected = c;
      for (size_t r = 0; r < rows; ++r) {
        for (size_t j = 0; j < columns; ++j) {
          float sum = c[r * columns + j];
          for (size_t i = 0; i < kInner; ++i) sum += a[i * rows + r] * b[i * columns + j];
          expected[r * columns + j] = sum;
        }
      }
      // `a` lies transposed.
      ProductOperands operands = {.a = a.data(),
                                  .a_row = 1,
                                  .a_column = rows,
                                  .b = b.data(),
                                  .b_row = columns,
                                  .c_row = columns,
                                  .rows = rows,
                                  .inner = kInner,
                                  .columns = columns};
      for (auto* product : {&AddProduct, &AddProductPortable}) {
        std::vector<float> result = c;
        operands.c = result.data();
        product(operands);
        EXPECT_EQ(std::memcmp(result.data(), expected.data(), expected.size() * sizeof(float)), 0)
            << rows << " × " << columns;
      }
    }
  }
}

}  // namespace
}  // namespace consilium
