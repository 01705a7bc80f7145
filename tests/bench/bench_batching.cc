// Local steps of many small sites in LibTorch: one site after another, beside all sites in one call
// (a product of matrices in batches for linear layers, a grouped convolution for convolutions).
// Both compute the same gradients; the ratio says what calling LibTorch once for many sites is
// worth. docs/adr/0007-fused-training.md says why Consilium trains small sites otherwise.

#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "models/torch/torch_model.h"
#include "tests/bench/by_turns.h"

namespace consilium::bench {
namespace {

using Tensors = std::vector<torch::Tensor>;

constexpr double kLearningRate = 0.01;
constexpr int64_t kHidden = 64;
constexpr int64_t kClasses = 10;

struct Options {
  int repetitions = kRepetitions;
  std::string json;
};

// Two convolutions with pooling and a hidden layer (models/zoo/small_cnn.textproto), or without
// channels a perceptron of the same inputs.
struct Shape {
  int64_t sites = 0;
  int64_t batch = 0;
  int64_t side = 0;      // Pixels of an edge; a multiple of 4.
  int64_t channels = 0;  // Of the first convolution; the second has twice as many.
};

// All tensors of all sites, the site first.
struct Sites {
  Tensors weights;
  torch::Tensor examples;  // [site, batch, side · side]
  torch::Tensor classes;   // [site, batch]
};

Sites SitesOf(const Shape& shape) {
  const auto draw = [&](std::vector<int64_t> sizes, double scale) {
    sizes.insert(sizes.begin(), shape.sites);
    return torch::randn(sizes) * scale;
  };
  Sites sites;
  int64_t features = shape.side * shape.side;
  if (shape.channels > 0) {
    sites.weights.push_back(draw({shape.channels, 1, 3, 3}, 0.1));
    sites.weights.push_back(draw({2 * shape.channels, shape.channels, 3, 3}, 0.1));
    features = 2 * shape.channels * (shape.side / 4) * (shape.side / 4);
  }
  sites.weights.push_back(draw({kHidden, features}, 0.05));
  sites.weights.push_back(draw({kClasses, kHidden}, 0.1));
  sites.examples = draw({shape.batch, shape.side * shape.side}, 1);
  sites.classes = torch::randint(kClasses, {shape.sites, shape.batch}, torch::kLong);
  return sites;
}

torch::Tensor Convolved(const torch::Tensor& x, const torch::Tensor& kernels, int64_t groups) {
  return torch::max_pool2d(torch::relu(torch::conv2d(x, kernels, {}, 1, 1, 1, groups)), 2);
}

torch::Tensor LossOfOne(const Shape& shape, const Tensors& weights, const torch::Tensor& examples,
                        const torch::Tensor& classes) {
  torch::Tensor x = examples;
  if (shape.channels > 0) {
    x = x.reshape({shape.batch, 1, shape.side, shape.side});
    x = Convolved(Convolved(x, weights[0], 1), weights[1], 1).flatten(1);
  }
  x = torch::relu(torch::linear(x, weights[weights.size() - 2]));
  return torch::cross_entropy_loss(torch::linear(x, weights.back()), classes);
}

// The sum of the sites' losses, whose gradients are each site's own.
torch::Tensor LossOfAll(const Shape& shape, const Tensors& weights, const Sites& sites) {
  torch::Tensor x = sites.examples;
  if (shape.channels > 0) {
    x = x.transpose(0, 1).reshape({shape.batch, shape.sites, shape.side, shape.side});
    x = Convolved(x, weights[0].flatten(0, 1), shape.sites);
    x = Convolved(x, weights[1].flatten(0, 1), shape.sites);
    x = x.reshape({shape.batch, shape.sites, -1}).transpose(0, 1);
  }
  x = torch::relu(torch::bmm(x, weights[weights.size() - 2].transpose(1, 2)));
  x = torch::bmm(x, weights.back().transpose(1, 2)).flatten(0, 1);
  const torch::Tensor sum =
      torch::cross_entropy_loss(x, sites.classes.flatten(), {}, at::Reduction::Sum);
  return sum / shape.batch;
}

Tensors Leaves(const Tensors& values) {
  Tensors leaves;
  for (const torch::Tensor& value : values) leaves.push_back(value.detach().requires_grad_(true));
  return leaves;
}

void Descend(const torch::Tensor& loss, Tensors& weights) {
  loss.backward();
  const torch::NoGradGuard guard;
  for (torch::Tensor& weight : weights) weight.sub_(weight.grad(), kLearningRate);
}

absl::Duration OneByOne(const Shape& shape, const Sites& sites) {
  const absl::Time begin = absl::Now();
  for (int64_t i = 0; i < shape.sites; ++i) {
    Tensors own;
    for (const torch::Tensor& weight : sites.weights) own.push_back(weight[i]);
    Tensors weights = Leaves(own);
    Descend(LossOfOne(shape, weights, sites.examples[i], sites.classes[i]), weights);
  }
  return absl::Now() - begin;
}

absl::Duration AllAtOnce(const Shape& shape, const Sites& sites) {
  const absl::Time begin = absl::Now();
  Tensors weights = Leaves(sites.weights);
  Descend(LossOfAll(shape, weights, sites), weights);
  return absl::Now() - begin;
}

void Run(const Options& options) {
  torch::set_num_threads(1);
  torch::manual_seed(1);
  Comparison comparison("batching");
  struct Kind {
    Shape shape;
    Sites sites;
    Series* one = nullptr;
    Series* all = nullptr;
  };
  std::deque<Kind> kinds;
  for (const Shape& shape : {Shape{64, 8, 4, 0}, Shape{64, 32, 4, 0}, Shape{64, 8, 8, 8},
                             Shape{64, 32, 8, 8}, Shape{16, 8, 28, 8}, Shape{16, 32, 28, 8}}) {
    Kind& kind = kinds.emplace_back(Kind{shape, SitesOf(shape)});
    const std::string name =
        absl::StrCat(shape.channels > 0 ? "convolutions" : "perceptron", ", ", shape.side, " × ",
                     shape.side, ", batches of ", shape.batch, ", ", shape.sites, " sites");
    kind.one = &comparison.Measure(absl::StrCat("one by one, ", name), 0);
    kind.all = &comparison.Measure(absl::StrCat("in one call, ", name), 0);
    comparison.Compare(name, *kind.all, *kind.one);
  }
  comparison.Run(options.repetitions, [&] {
    for (const Kind& kind : kinds) {
      kind.one->Note(OneByOne(kind.shape, kind.sites));
      kind.all->Note(AllAtOnce(kind.shape, kind.sites));
    }
  });
  comparison.Report(options.json);
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  consilium::bench::Options options;
  CLI::App app("What one call of LibTorch for many small sites is worth beside a call for each.");
  app.add_option("--repetitions", options.repetitions, "Counted ones")->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  consilium::InitialiseTorch();
  consilium::bench::Run(options);
}
