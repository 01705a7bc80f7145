#include "models/torch/torch_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/model_graph.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;

// Every kind of layer but dropout; tests/models/torch/reference_forward.py has its equations.
std::string AllLayers(int units_out, absl::string_view loss) {
  return absl::StrCat(R"(
    name: "all-layers" input_shape: ["2", "3"]
    layers { name: "flat" flatten {} }
    layers { name: "a" linear { units: "4" } }
    layers { name: "b" layer_norm {} }
    layers { name: "c" activation { function: GELU } }
    layers { name: "d" linear { units: "4" bias: false } }
    layers { name: "e" activation { function: TANH } }
    layers { name: "f" inputs: ["c", "e"] add {} }
    layers { name: "g" activation { function: SIGMOID } }
    layers { name: "h" linear { units: "5" } }
    layers { name: "i" activation { function: RELU } }
    layers { name: "out" linear { units: ")",
                      units_out, "\" } }\n loss { kind: ", loss, " }");
}

std::unique_ptr<TorchModel> Model(const std::string& text) {
  v1::ModelSpec spec;
  absl::Status status = ParseTextFormat(text, "spec", spec);
  EXPECT_TRUE(status.ok()) << status;
  absl::StatusOr<ModelGraph> graph = BuildModelGraph(spec, {});
  EXPECT_TRUE(graph.ok()) << graph.status();
  absl::StatusOr<std::unique_ptr<TorchModel>> model = TorchModel::Create(*graph);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

void SetWeights(TorchModel& model) {
  std::span<float> weights = model.weights();
  for (size_t k = 0; k < weights.size(); ++k) {
    weights[k] = static_cast<float>(0.4 * std::sin(1.7 * static_cast<double>(k) + 0.3));
  }
}

std::vector<float> Inputs(size_t rows) {
  std::vector<float> values;
  for (size_t i = 0; i < rows * 6; ++i) {
    values.push_back(static_cast<float>(std::cos(0.9 * static_cast<double>(i) + 0.1)));
  }
  return values;
}

RandomStream Stream(uint64_t seed = 1) {
  return RandomStream(SeedPath{seed, "torch_model_test", "", 0});
}

double LossOf(TorchModel& model, const Batch& batch, uint64_t seed = 1) {
  RandomStream dropout = Stream(seed);
  absl::StatusOr<double> loss = model.LossAndGradient(batch, dropout);
  EXPECT_TRUE(loss.ok()) << loss.status();
  return loss.value_or(std::nan(""));
}

TEST(TorchModel, OutputsAndCrossEntropyOfTheReference) {
  std::unique_ptr<TorchModel> model = Model(AllLayers(3, "CROSS_ENTROPY"));
  SetWeights(*model);
  EXPECT_EQ(model->input_elements(), 6u);
  EXPECT_EQ(model->output_elements(), 3u);
  const std::vector<double> expected = {-0.248644176, 0.352700912,  0.190709901,  -0.252579480,
                                        0.349722163,  0.198231689,  -0.255976973, 0.347855977,
                                        0.203876113,  -0.253905341, 0.351104399,  0.197893305};
  absl::StatusOr<std::vector<float>> outputs = model->Outputs(Inputs(4));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(outputs->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR((*outputs)[i], expected[i], 1e-6);
  const std::vector<float> labels = {0, 2, 1, 1};
  EXPECT_NEAR(LossOf(*model, {Inputs(4), labels}), 1.0659783331015058, 1e-6);
}

TEST(TorchModel, BinaryAndSquaredLossOfTheReference) {
  const std::vector<float> values = Inputs(4);
  std::unique_ptr<TorchModel> bce = Model(AllLayers(1, "BCE_WITH_LOGITS"));
  SetWeights(*bce);
  EXPECT_NEAR(LossOf(*bce, {values, std::vector<float>{0, 1, 1, 0}}), 0.7046225869218339, 1e-6);
  std::unique_ptr<TorchModel> mse = Model(AllLayers(1, "MSE"));
  SetWeights(*mse);
  EXPECT_NEAR(LossOf(*mse, {values, std::vector<float>{0.5, -1, 2, 0.25}}), 1.1598914231055555,
              1e-6);
}

struct CoxReference {
  const char* name;
  std::vector<float> outputs;
  std::vector<float> labels;
  double concordant, comparable, loss_sum;  // For models/metrics.
  std::vector<float> gradient;              // Of the mean loss by the outputs.
};

// A weight for each example, which is one of the unit vectors: the outputs are the weights.
TEST(TorchModel, CoxLossAndGradientOfTheReference) {
  const std::vector<CoxReference> references = {
#include "tests/models/metrics/fixtures/survival_reference.inc"
  };
  for (const CoxReference& reference : references) {
    SCOPED_TRACE(reference.name);
    const size_t n = reference.labels.size();
    std::unique_ptr<TorchModel> model = Model(absl::StrCat(
        "name: \"cox\" input_shape: \"", n,
        "\" layers { name: \"out\" linear { units: \"1\" bias: false } } loss { kind: COX }"));
    std::copy(reference.outputs.begin(), reference.outputs.end(), model->weights().begin());
    std::vector<float> values(n * n, 0);
    for (size_t i = 0; i < n; ++i) values[i * n + i] = 1;
    const double expected = reference.loss_sum / static_cast<double>(n);
    EXPECT_NEAR(LossOf(*model, {values, reference.labels}), expected, 1e-6 * (1 + expected));
    for (size_t i = 0; i < n; ++i) EXPECT_NEAR(model->gradient()[i], reference.gradient[i], 1e-6);
  }
}

struct HazardReference {
  const char* name;
  std::vector<double> ends;
  std::vector<float> logits;
  std::vector<float> labels;
  double concordant, comparable, loss_sum;  // For models/metrics.
  std::vector<float> gradient;              // Of the mean loss by the logits.
};

ModelGraph HazardGraph(size_t patients, const std::vector<double>& ends) {
  v1::ModelSpec spec;
  const std::string text = absl::StrCat("name: \"hazard\" input_shape: \"", patients,
                                        "\" layers { name: \"out\" linear { units: \"", ends.size(),
                                        "\" bias: false } } loss { kind: DISCRETE_HAZARD }");
  EXPECT_TRUE(ParseTextFormat(text, "spec", spec).ok());
  absl::StatusOr<ModelGraph> graph = BuildModelGraph(spec, {});
  EXPECT_TRUE(graph.ok()) << graph.status();
  graph->interval_ends = ends;
  return *std::move(graph);
}

// As above: each example is a unit vector, so column i of the weights holds its logits.
TEST(TorchModel, DiscreteHazardLossAndGradientOfTheReference) {
  const std::vector<HazardReference> references = {
#include "tests/models/metrics/fixtures/discrete_hazard_reference.inc"
  };
  for (const HazardReference& reference : references) {
    SCOPED_TRACE(reference.name);
    const size_t n = reference.labels.size();
    const size_t width = reference.ends.size();
    auto model = TorchModel::Create(HazardGraph(n, reference.ends));
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<float> values(n * n, 0);
    for (size_t i = 0; i < n; ++i) {
      values[i * n + i] = 1;
      for (size_t k = 0; k < width; ++k) {
        (*model)->weights()[k * n + i] = reference.logits[i * width + k];
      }
    }
    const double expected = reference.loss_sum / static_cast<double>(n);
    EXPECT_NEAR(LossOf(**model, {values, reference.labels}), expected, 1e-6 * (1 + expected));
    for (size_t i = 0; i < n; ++i) {
      for (size_t k = 0; k < width; ++k) {
        EXPECT_NEAR((*model)->gradient()[k * n + i], reference.gradient[i * width + k], 1e-7);
      }
    }
  }
}

// Patients add up, whoever is in the batch with them: Cox's likelihood does not.
TEST(TorchModel, DiscreteHazardDecomposesOverPatients) {
  const std::vector<double> ends = {1, 2, 4};
  auto model = TorchModel::Create(HazardGraph(6, ends));
  ASSERT_TRUE(model.ok()) << model.status();
  SetWeights(**model);
  const std::vector<float> values = Inputs(4);
  const std::vector<float> labels = {0.5, -3, 1, 9};
  const double together = LossOf(**model, {values, labels});
  const std::vector<float> gradient((*model)->gradient().begin(), (*model)->gradient().end());
  double alone = 0;
  std::vector<double> sum(gradient.size(), 0);
  for (size_t i = 0; i < 4; ++i) {
    alone +=
        LossOf(**model, {std::span(values).subspan(i * 6, 6), std::span(labels).subspan(i, 1)});
    for (size_t k = 0; k < sum.size(); ++k) sum[k] += double{(*model)->gradient()[k]};
  }
  EXPECT_NEAR(together, alone / 4, 1e-12);
  for (size_t k = 0; k < sum.size(); ++k) EXPECT_NEAR(gradient[k], sum[k] / 4, 1e-7);
}

// Every number of the flat gradient against central differences of the loss, dropout included: the
// same stream draws the same masks.
TEST(TorchModel, GradientIsTheDerivativeOfTheLoss) {
  std::string text = AllLayers(3, "CROSS_ENTROPY");
  text += R"(layers { name: "drop" dropout { probability: 0.3 } }
             layers { name: "last" linear { units: "3" } })";
  std::unique_ptr<TorchModel> model = Model(text);
  SetWeights(*model);
  const std::vector<float> values = Inputs(16);
  std::vector<float> labels;
  for (int i = 0; i < 16; ++i) labels.push_back(static_cast<float>(i % 3));
  const Batch batch = {values, labels};
  LossOf(*model, batch);
  const std::vector<float> gradient(model->gradient().begin(), model->gradient().end());
  ASSERT_EQ(gradient.size(), model->weights().size());
  const float step = 1e-2f;
  int clearly_not_zero = 0;
  for (size_t k = 0; k < gradient.size(); ++k) {
    const float weight = model->weights()[k];
    model->weights()[k] = weight + step;
    const double above = LossOf(*model, batch);
    model->weights()[k] = weight - step;
    const double below = LossOf(*model, batch);
    model->weights()[k] = weight;
    EXPECT_NEAR(gradient[k], (above - below) / (2 * step), 2e-4) << "weight " << k;
    clearly_not_zero += std::abs(gradient[k]) > 2e-3;
  }
  EXPECT_GT(clearly_not_zero, 20);
}

TEST(TorchModel, SameWeightsBatchAndStreamGiveTheSameBits) {
  std::string text = AllLayers(3, "CROSS_ENTROPY");
  text += R"(layers { name: "drop" dropout { probability: 0.5 } }
             layers { name: "last" linear { units: "3" } })";
  std::unique_ptr<TorchModel> a = Model(text);
  std::unique_ptr<TorchModel> b = Model(text);
  SetWeights(*a);
  SetWeights(*b);
  const std::vector<float> values = Inputs(2);
  const std::vector<float> labels = {1, 2};
  const double first = LossOf(*a, {values, labels});
  const std::vector<float> gradient(a->gradient().begin(), a->gradient().end());
  LossOf(*a, {values, labels}, /*seed=*/2);  // Nothing of it may stay behind.
  EXPECT_EQ(LossOf(*a, {values, labels}), first);
  EXPECT_TRUE(std::equal(gradient.begin(), gradient.end(), a->gradient().begin()));
  EXPECT_EQ(LossOf(*b, {values, labels}), first);
  EXPECT_TRUE(std::equal(gradient.begin(), gradient.end(), b->gradient().begin()));
  EXPECT_NE(LossOf(*a, {values, labels}, /*seed=*/2), first);
}

TEST(TorchModel, DropoutKeepsTheMeanAndIsOffInEvaluation) {
  std::unique_ptr<TorchModel> model = Model(R"(
    name: "drop" input_shape: "6"
    layers { name: "drop" dropout { probability: 0.25 } }
    layers { name: "out" linear { units: "1" } }
    loss { kind: MSE })");
  std::fill(model->weights().begin(), model->weights().end(), 1.0f);
  model->weights()[6] = 0;
  absl::StatusOr<std::vector<float>> outputs = model->Outputs(std::vector<float>(6, 1.0f));
  ASSERT_TRUE(outputs.ok());
  EXPECT_EQ((*outputs)[0], 6);
  // z = Σ of six masks: each 0 or 4/3, so E[(z − 6)²] = 6·(1/3) = 2.
  const size_t rows = 20000;
  const std::vector<float> ones(6 * rows, 1.0f), sixes(rows, 6.0f);
  EXPECT_NEAR(LossOf(*model, {ones, sixes}), 2, 0.15);
  // The bias' gradient is 2·mean(z − 6).
  EXPECT_NEAR(model->gradient()[6], 0, 0.1);
}

TEST(TorchModel, ManyRowsAreEvaluatedInPieces) {
  std::unique_ptr<TorchModel> model = Model(AllLayers(1, "MSE"));
  SetWeights(*model);
  const std::vector<float> values = Inputs(4100);
  absl::StatusOr<std::vector<float>> outputs = model->Outputs(values);
  ASSERT_TRUE(outputs.ok());
  ASSERT_EQ(outputs->size(), 4100u);
  absl::StatusOr<std::vector<float>> last =
      model->Outputs(std::span<const float>(values).subspan(6 * 4099));
  ASSERT_TRUE(last.ok());
  EXPECT_NEAR((*outputs)[4099], (*last)[0], 1e-6);
  EXPECT_TRUE(model->Outputs({})->empty());
}

TEST(TorchModel, RefusesWhatDoesNotFit) {
  std::unique_ptr<TorchModel> model = Model(AllLayers(3, "CROSS_ENTROPY"));
  RandomStream dropout = Stream();
  const std::vector<float> values = Inputs(1);
  const auto code = [&](const Batch& batch) {
    return model->LossAndGradient(batch, dropout).status().code();
  };
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({values, std::vector<float>{2}}), absl::StatusCode::kOk);
  EXPECT_EQ(code({values, std::vector<float>{3}}), invalid);
  EXPECT_EQ(code({values, std::vector<float>{-1}}), invalid);
  EXPECT_EQ(code({values, std::vector<float>{0.5}}), invalid);
  EXPECT_EQ(code({values, std::vector<float>{std::nanf("")}}), invalid);
  EXPECT_EQ(code({values, std::vector<float>{0, 0}}), invalid);
  EXPECT_EQ(code({{}, {}}), invalid);
  EXPECT_EQ(model->Outputs(std::vector<float>(7)).status().code(), invalid);

  model = Model(AllLayers(1, "BCE_WITH_LOGITS"));
  EXPECT_EQ(code({values, std::vector<float>{1}}), absl::StatusCode::kOk);
  EXPECT_EQ(code({values, std::vector<float>{0.5}}), invalid);
  model = Model(AllLayers(1, "MSE"));
  EXPECT_EQ(code({values, std::vector<float>{-3.5}}), absl::StatusCode::kOk);
  EXPECT_EQ(code({values, std::vector<float>{std::numeric_limits<float>::infinity()}}), invalid);
}

TEST(TorchModel, WhatIsNotFiniteComesBackAsItIs) {
  std::unique_ptr<TorchModel> model = Model(AllLayers(1, "MSE"));
  SetWeights(*model);
  std::vector<float> values = Inputs(1);
  values[2] = std::nanf("");
  EXPECT_TRUE(std::isnan(LossOf(*model, {values, std::vector<float>{0}})));
}

TEST(TorchModel, CreateRefusesGraphsThatItCanNotRun) {
  v1::ModelSpec spec;
  ASSERT_TRUE(ParseTextFormat(AllLayers(1, "MSE"), "spec", spec).ok());
  absl::StatusOr<ModelGraph> graph = BuildModelGraph(spec, {});
  ASSERT_TRUE(graph.ok());
  ModelGraph unknown = *graph;
  unknown.layers[2].spec.clear_kind();
  EXPECT_THAT(std::string(TorchModel::Create(unknown).status().message()), HasSubstr("layer b"));
  unknown = *graph;
  unknown.loss = v1::Loss::KIND_UNSPECIFIED;
  EXPECT_FALSE(TorchModel::Create(unknown).ok());
  EXPECT_THAT(std::string(TorchModel::Create(HazardGraph(2, {1, 2})).status().message()), "");
  ModelGraph no_ends = HazardGraph(2, {1, 2});
  no_ends.interval_ends.pop_back();
  EXPECT_THAT(std::string(TorchModel::Create(no_ends).status().message()),
              HasSubstr("one interval_end for each output"));
  // Shapes that do not belong together: LibTorch's exception ends at our border.
  unknown = *graph;
  unknown.layout.tensors[0].shape = {3, 8};
  absl::StatusOr<std::unique_ptr<TorchModel>> model = TorchModel::Create(unknown);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->Outputs(Inputs(1)).status().code(), absl::StatusCode::kInternal);
  unknown.layout.tensors[0].shape = {int64_t{1} << 44};
  EXPECT_EQ(TorchModel::Create(unknown).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace consilium
