// Layers of images, signals and codes against LibTorch's functional API in f64, written out by hand
// next to each spec: loss and gradient of a training step, batch norm's running statistics after
// it, and the outputs in evaluation with these.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/spec/model_graph.h"
#include "models/torch/torch_model.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

namespace F = torch::nn::functional;
using torch::Tensor;
using Tensors = std::vector<Tensor>;
using Floats = std::vector<float>;

// One model, written twice.
struct Case {
  const char* name;
  const char* spec;
  std::vector<std::vector<int64_t>> parameters;  // Shapes in the layout's order.
  int64_t channels;                              // Of its one batch norm.
  std::vector<int64_t> input;                    // With the batch.
  Floats inputs;
  Floats labels;
  // Of parameters, running mean and variance, and the inputs.
  std::function<Tensor(const Tensors& w, const Tensors& running, const Tensor& x, bool training)>
      forward;
  std::function<Tensor(const Tensor& outputs, const Tensor& labels)> loss;
};

Floats Wave(size_t count, double step, double scale) {
  Floats values;
  for (size_t k = 0; k < count; ++k) {
    values.push_back(static_cast<float>(scale * std::sin(step * static_cast<double>(k) + 0.3)));
  }
  return values;
}

Tensor InDouble(const Floats& values, const std::vector<int64_t>& shape) {
  return torch::tensor(values, torch::kFloat).to(torch::kDouble).reshape(shape);
}

Floats Flat(const Tensor& tensor) {
  const Tensor flat = tensor.detach().to(torch::kFloat).flatten().contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

Case Image() {
  const char* spec = R"(
    name: "image" parameters { name: "width" default_value: 4 }
    input_shape: ["2", "9", "8"]
    layers { name: "c1" conv { channels: "width" kernel: "3" stride: "2" padding: "1" } }
    layers { name: "n1" batch_norm {} }
    layers { name: "a1" activation { function: RELU } }
    layers { name: "c2" conv { channels: "width + 2" kernel: "2" groups: "2" } }
    layers { name: "n2" group_norm { groups: "3" } }
    layers { name: "high" pool { kind: MAX kernel: "2" stride: "1" } }
    layers { name: "mean" inputs: "n2" pool { kind: AVERAGE kernel: "2" stride: "1" } }
    layers { name: "both" inputs: ["high", "mean"] concat {} }
    layers { name: "all" pool { kind: GLOBAL_AVERAGE } }
    layers { name: "out" linear { units: "3" } }
    loss { kind: CROSS_ENTROPY })";
  const auto forward = [](const Tensors& w, const Tensors& running, Tensor x, bool training) {
    x = F::conv2d(x, w[0], F::Conv2dFuncOptions().bias(w[1]).stride(2).padding(1));
    x = F::relu(F::batch_norm(
        x, running[0], running[1],
        F::BatchNormFuncOptions().weight(w[2]).bias(w[3]).training(training).momentum(0.1).eps(
            1e-5)));
    x = F::conv2d(x, w[4], F::Conv2dFuncOptions().bias(w[5]).groups(2));
    x = F::group_norm(x, F::GroupNormFuncOptions(3).weight(w[6]).bias(w[7]).eps(1e-5));
    x = torch::cat({F::max_pool2d(x, F::MaxPool2dFuncOptions(2).stride(1)),
                    F::avg_pool2d(x, F::AvgPool2dFuncOptions(2).stride(1))},
                   1);
    return F::linear(x.mean({2, 3}), w[8], w[9]);
  };
  return {"image",
          spec,
          {{4, 2, 3, 3}, {4}, {4}, {4}, {6, 2, 2, 2}, {6}, {6}, {6}, {3, 12}, {3}},
          4,
          {5, 2, 9, 8},
          Wave(5 * 2 * 9 * 8, 0.9, 1),
          {0, 2, 1, 1, 0},
          forward,
          [](const Tensor& z, const Tensor& y) { return F::cross_entropy(z, y.to(torch::kLong)); }};
}

Case Signal() {
  const char* spec = R"(
    name: "signal" input_shape: ["3", "10"]
    layers { name: "c" conv { channels: "6" kernel: "4" padding: "2" groups: "3" bias: false } }
    layers { name: "n" batch_norm { epsilon: 1e-3 momentum: 0.3 } }
    layers { name: "a" activation { function: GELU } }
    layers { name: "p" pool { kind: AVERAGE kernel: "2" } }
    layers { name: "m" pool { kind: MAX kernel: "3" stride: "2" } }
    layers { name: "f" flatten {} }
    layers { name: "out" linear { units: "1" } }
    loss { kind: MSE })";
  const auto forward = [](const Tensors& w, const Tensors& running, Tensor x, bool training) {
    x = F::conv1d(x, w[0], F::Conv1dFuncOptions().padding(2).groups(3));
    x = F::gelu(F::batch_norm(
        x, running[0], running[1],
        F::BatchNormFuncOptions().weight(w[1]).bias(w[2]).training(training).momentum(0.3).eps(
            1e-3)));
    x = F::avg_pool1d(x, F::AvgPool1dFuncOptions(2));
    x = F::max_pool1d(x, F::MaxPool1dFuncOptions(3).stride(2));
    return F::linear(x.flatten(1), w[3], w[4]);
  };
  return {"signal",
          spec,
          {{6, 1, 4}, {6}, {6}, {1, 12}, {1}},
          6,
          {4, 3, 10},
          Wave(4 * 3 * 10, 0.7, 1),
          {0.5, -1, 2, 0.25},
          forward,
          [](const Tensor& z, const Tensor& y) { return F::mse_loss(z.flatten(), y); }};
}

Case Codes() {
  const char* spec = R"(
    name: "codes" input_shape: "4"
    layers { name: "e" embedding { entries: "7" units: "3" } }
    layers { name: "n" batch_norm {} }
    layers { name: "f" flatten {} }
    layers { name: "out" linear { units: "1" } }
    loss { kind: BCE_WITH_LOGITS })";
  const auto forward = [](const Tensors& w, const Tensors& running, Tensor x, bool training) {
    x = F::embedding(x.to(torch::kLong), w[0]);
    x = F::batch_norm(
        x, running[0], running[1],
        F::BatchNormFuncOptions().weight(w[1]).bias(w[2]).training(training).momentum(0.1).eps(
            1e-5));
    return F::linear(x.flatten(1), w[3], w[4]);
  };
  return {"codes",
          spec,
          {{7, 3}, {4}, {4}, {1, 12}, {1}},
          4,
          {3, 4},
          {0, 6, 3, 3, 1, 2, 4, 5, 6, 6, 0, 1},
          {1, 0, 1},
          forward,
          [](const Tensor& z, const Tensor& y) {
            return F::binary_cross_entropy_with_logits(z.flatten(), y);
          }};
}

ModelGraph GraphOf(const std::string& text) {
  v1::ModelSpec spec;
  EXPECT_THAT(ParseTextFormat(text, "spec", spec), IsOk());
  absl::StatusOr<ModelGraph> graph = BuildModelGraph(spec, {});
  EXPECT_THAT(graph, IsOk());
  return *std::move(graph);
}

std::unique_ptr<TorchModel> ModelOf(const std::string& text) {
  absl::StatusOr<std::unique_ptr<TorchModel>> model = TorchModel::Create(GraphOf(text));
  EXPECT_THAT(model, IsOk());
  return *std::move(model);
}

void ExpectNear(std::span<const float> found, const Floats& expected, const char* what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 2e-5 * (1 + std::abs(expected[i]))) << what << " " << i;
  }
}

TEST(LayersTest, TrainAndEvaluateAsTheFunctionsThatTheyName) {
  for (const Case& c : {Image(), Signal(), Codes()}) {
    SCOPED_TRACE(c.name);
    Tensors parameters;
    Floats weights;
    for (const std::vector<int64_t>& shape : c.parameters) {
      int64_t size = 1;
      for (const int64_t dimension : shape) size *= dimension;
      const Floats values =
          Wave(static_cast<size_t>(size), 1.7 + 0.1 * static_cast<double>(parameters.size()), 0.4);
      weights.insert(weights.end(), values.begin(), values.end());
      parameters.push_back(InDouble(values, shape).requires_grad_(true));
    }
    const size_t trained = weights.size();
    const Floats mean = Wave(static_cast<size_t>(c.channels), 2.1, 0.4);
    Floats var = Wave(static_cast<size_t>(c.channels), 1.3, 0.4);
    for (float& value : var) value += 1;
    weights.insert(weights.end(), mean.begin(), mean.end());
    weights.insert(weights.end(), var.begin(), var.end());
    const Tensors running = {InDouble(mean, {c.channels}), InDouble(var, {c.channels})};

    const Tensor x = InDouble(c.inputs, c.input);
    const Tensor labels = InDouble(c.labels, {static_cast<int64_t>(c.labels.size())});
    const Tensor loss = c.loss(c.forward(parameters, running, x, true), labels);
    loss.backward();

    const std::unique_ptr<TorchModel> model = ModelOf(c.spec);
    ASSERT_EQ(model->weights().size(), weights.size());
    EXPECT_EQ(model->trained_elements(), trained);
    std::copy(weights.begin(), weights.end(), model->weights().begin());
    RandomStream dropout(SeedPath{1, "layers_test", "", 0});
    const absl::StatusOr<double> found = model->LossAndGradient({c.inputs, c.labels}, dropout);
    ASSERT_THAT(found, IsOk());
    EXPECT_NEAR(*found, loss.item<double>(), 1e-5);
    Floats gradient;
    for (const Tensor& parameter : parameters) {
      const Floats part = Flat(parameter.grad());
      gradient.insert(gradient.end(), part.begin(), part.end());
    }
    ExpectNear(model->gradient().first(trained), gradient, "gradient");
    Floats statistics = Flat(running[0]);
    const Floats variances = Flat(running[1]);
    statistics.insert(statistics.end(), variances.begin(), variances.end());
    EXPECT_NE(statistics[0], mean[0]);
    ExpectNear(model->weights().subspan(trained), statistics, "running statistics");
    for (const float value : model->gradient().subspan(trained)) EXPECT_EQ(value, 0);
    EXPECT_TRUE(std::equal(weights.begin(), weights.begin() + static_cast<int64_t>(trained),
                           model->weights().begin()));

    const absl::StatusOr<Floats> outputs = model->Outputs(c.inputs);
    ASSERT_THAT(outputs, IsOk());
    ExpectNear(*outputs, Flat(c.forward(parameters, running, x, false)), "outputs");
  }
}

constexpr char kNormOfTwo[] = R"(
  name: "norm" input_shape: "2"
  layers { name: "n" batch_norm {} }
  layers { name: "out" linear { units: "1" } }
  loss { kind: MSE })";

// PyTorch refuses such a batch; a site whose last batch has one patient must not fail by it.
TEST(BatchNormTest, OneValueAChannelIsNormalisedByTheRunningStatistics) {
  const std::unique_ptr<TorchModel> model = ModelOf(kNormOfTwo);
  // weight, bias, out.weight, out.bias; mean, variance.
  const Floats weights = {1, 1, 0, 0, 1, 1, 0, 3, 4, 4, 9};
  std::copy(weights.begin(), weights.end(), model->weights().begin());
  RandomStream dropout(SeedPath{1, "layers_test", "", 0});
  // (5 − 3)/2 + (1 − 4)/3 = 0.
  const auto loss = model->LossAndGradient({Floats{5, 1}, Floats{2}}, dropout);
  ASSERT_THAT(loss, IsOk());
  EXPECT_NEAR(*loss, 4, 1e-4);
  EXPECT_TRUE(std::equal(weights.begin(), weights.end(), model->weights().begin()));
}

TEST(BatchNormTest, AVarianceBelowZeroCountsAsZero) {
  const std::unique_ptr<TorchModel> model = ModelOf(kNormOfTwo);
  const Floats weights = {1, 1, 0, 0, 1, 1, 0, 5, 1, -1, 1};
  std::copy(weights.begin(), weights.end(), model->weights().begin());
  const auto outputs = model->Outputs(Floats{5, 2});
  ASSERT_THAT(outputs, IsOk());
  EXPECT_NEAR((*outputs)[0], 1, 1e-4);
}

TEST(EmbeddingTest, RefusesWhatIsNoEntry) {
  const std::unique_ptr<TorchModel> model = ModelOf(Codes().spec);
  RandomStream dropout(SeedPath{1, "layers_test", "", 0});
  for (const float code : {7.0f, -1.0f, 0.5f, std::nanf(""), 1e30f}) {
    const Floats values = {0, 1, 2, code};
    const char* words = "an embedding has no such entry";
    EXPECT_THAT(model->Outputs(values), IsError(absl::StatusCode::kInvalidArgument, words));
    EXPECT_THAT(model->LossAndGradient({values, Floats{1}}, dropout),
                IsError(absl::StatusCode::kInvalidArgument, words));
  }
}

}  // namespace
}  // namespace consilium
