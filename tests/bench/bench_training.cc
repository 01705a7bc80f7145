// Local training of one small site after another, as a simulation of many sites has it: the fused
// trainer beside the LibTorch trainer, on the same tasks. Prints site steps a second of both and
// the ratio.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "models/spec/run_plan.h"
#include "models/torch/torch_model.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"
#include "site_agent/train/cpu_trainer.h"
#include "site_agent/train/fused_trainer.h"
#include "tests/bench/by_turns.h"

namespace consilium::bench {
namespace {

constexpr uint32_t kLocalSteps = 20;
constexpr int kExamplesPerSite = 64;

struct Options {
  int sites = 100;
  int repetitions = kRepetitions;
  std::string json;
};

// A perceptron of two hidden layers of `first` and `second` units, or where there are `channels`
// two convolutions (models/zoo/small_cnn.textproto) and then a hidden layer of `first`.
struct Shape {
  std::string input;  // As input_shape has it.
  int features = 0;
  int channels = 0;
  int first = 0;
  int second = 0;
  int batch = 0;

  std::string name() const {
    return channels > 0 ? absl::StrCat("convolutions of ", channels, " and ", 2 * channels,
                                       " channels, ", first, " units, ", features, " pixels")
                        : absl::StrCat(features, "–", first, "–", second, "–1");
  }
};

std::string LinearLayer(absl::string_view name, int units) {
  return absl::StrCat("layers { name: '", name, "' linear { units: '", units, "' } } ");
}
std::string ConvLayer(absl::string_view name, int channels) {
  return absl::StrCat("layers { name: '", name, "' conv { channels: '", channels,
                      "' kernel: '3' padding: '1' } } layers { name: 'r", name,
                      "' activation { function: RELU } } layers { name: 'p", name,
                      "' pool { kind: MAX kernel: '2' } } ");
}
std::string LayersOf(const Shape& shape) {
  const std::string relu = " activation { function: RELU } } ";
  if (shape.channels == 0) {
    return absl::StrCat(LinearLayer("a", shape.first), "layers { name: 'r'", relu,
                        LinearLayer("b", shape.second), "layers { name: 's'", relu,
                        LinearLayer("c", 1));
  }
  return absl::StrCat(ConvLayer("a", shape.channels), ConvLayer("b", 2 * shape.channels),
                      "layers { name: 'f' flatten {} } ", LinearLayer("c", shape.first),
                      "layers { name: 's'", relu, LinearLayer("d", 1));
}

v1::RunPlan PlanOf(const Shape& shape) {
  v1::RunPlan plan;
  Must(ParseTextFormat(
           absl::StrCat("spec { name: 'small' input_shape: [", shape.input, "] ", LayersOf(shape),
                        " loss { kind: BCE_WITH_LOGITS } } config { "
                        "seed: 1 training { batch_examples: ",
                        shape.batch, " optimizer { sgd { learning_rate: 0.05 } } } }"),
           "plan", plan),
       "reading the plan");
  return plan;
}

Examples ExamplesOf(const Shape& shape, uint64_t site) {
  RandomStream random(SeedPath{site, "examples", "", 0});
  Examples examples;
  examples.features = static_cast<size_t>(shape.features);
  for (int i = 0; i < kExamplesPerSite * shape.features; ++i) {
    examples.values.push_back(static_cast<float>(random.NextNormal()));
  }
  for (int i = 0; i < kExamplesPerSite; ++i) {
    examples.labels.push_back(static_cast<float>(random.NextBelow(2)));
  }
  return examples;
}

absl::Duration TrainAll(Trainer& trainer, const v1::RunPlan& plan,
                        const std::vector<Examples>& sites, const std::vector<float>& base) {
  const absl::Time begin = absl::Now();
  for (size_t i = 0; i < sites.size(); ++i) {
    TrainInput input;
    input.plan = &plan;
    input.site = SiteId(absl::StrCat("site-", i));
    input.task = TaskId(1);
    input.base = base;
    input.local_steps = kLocalSteps;
    input.examples = &sites[i];
    Must(trainer.Train(input), "training");
  }
  return absl::Now() - begin;
}

void Run(const Options& options) {
  Comparison comparison("training");
  comparison.State("sites", options.sites);
  comparison.State("local_steps", kLocalSteps);
  struct Kind {
    std::string name;
    v1::RunPlan plan;
    std::vector<Examples> sites;
    std::vector<float> base;
    Series* fused = nullptr;
    Series* plain = nullptr;
  };
  std::vector<Kind> kinds;
  for (const Shape& shape :
       {Shape{"'8'", 8, 0, 16, 8, 8}, Shape{"'30'", 30, 0, 32, 16, 16},
        Shape{"'30'", 30, 0, 64, 32, 32}, Shape{"'1', '8', '8'", 64, 8, 32, 0, 8},
        Shape{"'1', '8', '8'", 64, 8, 32, 0, 32}, Shape{"'1', '28', '28'", 784, 8, 64, 0, 32}}) {
    Kind kind;
    kind.name = absl::StrCat(shape.name(), ", batches of ", shape.batch);
    kind.plan = PlanOf(shape);
    for (int i = 0; i < options.sites; ++i) {
      kind.sites.push_back(ExamplesOf(shape, static_cast<uint64_t>(i)));
    }
    kind.base.resize(Must(GraphOf(kind.plan), "sizing the model").layout.elements());
    RandomStream random(SeedPath{1, "base", "", 0});
    for (float& weight : kind.base) weight = 0.2f * static_cast<float>(random.NextNormal());
    kind.plain = &comparison.Measure(absl::StrCat("LibTorch, ", kind.name), 0);
    kind.fused = &comparison.Measure(absl::StrCat("fused, ", kind.name), 0);
    comparison.Compare(kind.name, *kind.fused, *kind.plain);
    kinds.push_back(std::move(kind));
  }
  CpuTrainer plain;
  FusedTrainer fused;
  comparison.Run(options.repetitions, [&] {
    for (const Kind& kind : kinds) {
      kind.plain->Note(TrainAll(plain, kind.plan, kind.sites, kind.base));
      kind.fused->Note(TrainAll(fused, kind.plan, kind.sites, kind.base));
    }
  });
  comparison.Report(options.json);
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  consilium::bench::Options options;
  CLI::App app("How fast small sites train one after another, with LibTorch and without.");
  app.add_option("--sites", options.sites, "How many")->check(CLI::Range(1, 100'000));
  app.add_option("--repetitions", options.repetitions, "Counted ones")->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  consilium::InitialiseTorch();
  consilium::bench::Run(options);
}
