// Personal layers and models against personal_reference.py: sites that train for real, from what
// they kept, over rounds that one of them misses; their updates merged by their patients.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "models/metrics/metrics.h"
#include "models/spec/initial_values.h"
#include "models/spec/personal_layers.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "site_agent/train/cpu_trainer.h"

namespace consilium {
namespace {

struct Row {
  absl::string_view name;
  // The shared model, what a site keeps, its log-loss with the model that serves it: after a round;
  // after round 0, what the first one begins with.
  enum Kind { kModel, kKept, kLoss } kind;
  int round;
  size_t site;
  std::vector<double> values;
};
const std::vector<Row>& Reference() {
  static const auto* const rows = new std::vector<Row>{
#include "tests/conformance/personal_reference.inc"
  };
  return *rows;
}

constexpr std::array<size_t, 3> kRows = {6, 4, 5};
constexpr int kRounds = 3;

Examples ExamplesOf(size_t site) {
  Examples examples;
  examples.features = 2;
  for (size_t i = 0; i < 2 * kRows[site]; ++i) {
    examples.values.push_back(static_cast<float>(
        std::sin(1.7 * static_cast<double>(i) + static_cast<double>(site) + 0.3)));
  }
  for (size_t i = 0; i < kRows[site]; ++i) {
    examples.labels.push_back(i * (site + 2) % 3 == 0 ? 1.0F : 0.0F);
  }
  return examples;
}

struct PlanText {
  const char* config;  // Of the preset.
  const char* middle;  // The layers between body and head.
};

class PersonalReference {
 public:
  PersonalReference(absl::string_view name, const PlanText& text) : name_(name) {
    const absl::Status parsed = ParseTextFormat(absl::StrCat(R"(config { seed: 5 training {
                          batch_examples: 32 local_steps: 2
                          optimizer { sgd { learning_rate: 0.5 } } } }
                        spec {
                          name: "small" input_shape: "2"
                          layers { name: "body" linear { units: "2" } } )",
                                                             text.middle, R"(
                          layers { name: "head" linear { units: "1" } }
                          loss { kind: BCE_WITH_LOGITS } })"),
                                                "plan", plan_);
    EXPECT_TRUE(parsed.ok()) << parsed;
    const absl::Status merged = MergeTextFormat(text.config, "config", *plan_.mutable_config());
    EXPECT_TRUE(merged.ok()) << merged;
    for (size_t site = 0; site < kRows.size(); ++site) examples_.push_back(ExamplesOf(site));
  }

  void Follow() {
    model_ = Begin(Row::kModel, 0);
    for (size_t site = 0; site < kRows.size(); ++site) kept_[site] = Begin(Row::kKept, site);
    ASSERT_FALSE(model_.empty());
    for (int round = 1; round <= kRounds; ++round) {
      TrainRound(round);
      Compare(round);
    }
    EXPECT_EQ(compared_, kRounds * 7);
  }

  const v1::RunPlan& plan() const { return plan_; }

 private:
  // Empty where the reference has none.
  std::vector<float> Begin(Row::Kind kind, size_t site) const {
    for (const Row& row : Reference()) {
      if (row.name == name_ && row.kind == kind && row.round == 0 && row.site == site) {
        return {row.values.begin(), row.values.end()};
      }
    }
    return {};
  }

  void TrainRound(int round) {
    const absl::StatusOr<ModelGraph> graph = GraphOf(plan_);
    ASSERT_TRUE(graph.ok()) << graph.status();
    std::vector<double> sum(model_.size());
    double patients = 0;
    for (size_t site = 0; site < kRows.size(); ++site) {
      if (site == 1 && round == 2) continue;
      TrainInput input;
      input.plan = &plan_;
      input.site = SiteId(absl::StrCat("s", site));
      input.task = TaskId(static_cast<uint64_t>(round));
      input.base = model_;
      input.local_steps = 2;
      input.examples = &examples_[site];
      input.kept = kept_[site];
      absl::StatusOr<TrainOutput> output = trainer_.Train(input);
      ASSERT_TRUE(output.ok()) << output.status();
      EXPECT_TRUE(CheckNothingPersonal(*graph, output->delta).ok());
      const auto weight = static_cast<double>(kRows[site]);
      patients += weight;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * output->delta[i];
      kept_[site] = std::move(output->kept);
    }
    for (size_t i = 0; i < sum.size(); ++i) model_[i] += static_cast<float>(sum[i] / patients);
  }

  void Compare(int round) {
    for (const Row& row : Reference()) {
      if (row.name != name_ || row.round != round) continue;
      const std::string where = absl::StrCat(name_, ", round ", round, ", site ", row.site);
      ++compared_;
      if (row.kind == Row::kLoss) {
        ExpectLoss(row, where);
        continue;
      }
      const std::vector<float>& values = row.kind == Row::kModel ? model_ : kept_[row.site];
      ASSERT_EQ(values.size(), row.values.size()) << where;
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(values[i], row.values[i], 1e-5) << where << ", " << row.kind << ", " << i;
      }
    }
  }

  void ExpectLoss(const Row& row, const std::string& where) {
    const absl::StatusOr<v1::MetricSums> sums = trainer_.Evaluate({.plan = &plan_,
                                                                   .weights = model_,
                                                                   .examples = &examples_[row.site],
                                                                   .kept = kept_[row.site]});
    ASSERT_TRUE(sums.ok()) << sums.status();
    EXPECT_NEAR(LogLoss(*sums).value_or(-1), row.values.at(0), 1e-5) << where;
  }

  const std::string name_;
  v1::RunPlan plan_;
  CpuTrainer trainer_;
  std::vector<Examples> examples_;
  std::vector<float> model_;
  std::array<std::vector<float>, kRows.size()> kept_;
  int compared_ = 0;
};

constexpr char kTanh[] = "layers { name: 'tanh' activation { function: TANH } }";
constexpr char kTanhAndDropout[] =
    "layers { name: 'tanh' activation { function: TANH } } "
    "layers { name: 'drop' dropout { probability: 0.5 } }";
constexpr char kDittoConfig[] = "aggregation { preset: DITTO } training { ditto_lambda: 0.4 }";
constexpr PlanText kFedPer = {
    "aggregation { preset: FEDPER } training { personal { layers: 'head' } }", kTanh};
constexpr PlanText kFedBn = {
    "aggregation { preset: FEDBN } training { personal { layers: 'norm' } }",
    "layers { name: 'norm' batch_norm { epsilon: 1e-5 momentum: 0.1 } }"};

TEST(Personal, FedPerIsThePapers) { PersonalReference("fedper", kFedPer).Follow(); }

TEST(Personal, FedBnIsThePapers) { PersonalReference("fedbn", kFedBn).Follow(); }

TEST(Personal, DittoIsThePapers) { PersonalReference("ditto", {kDittoConfig, kTanh}).Follow(); }

// Its update is FEDAVG's, whatever λ is and whatever the site keeps.
TEST(Personal, DittoLeavesTheSharedModelAlone) {
  const PersonalReference fedavg("", {"aggregation { preset: FEDAVG }", kTanhAndDropout});
  const PersonalReference ditto("", {kDittoConfig, kTanhAndDropout});
  const Examples examples = ExamplesOf(2);
  const std::vector<float> base(9, 0.25F);
  const std::vector<float> kept(9, -2);
  CpuTrainer trainer;
  TrainInput input;
  input.plan = &fedavg.plan();
  input.site = SiteId("s");
  input.task = TaskId(3);
  input.base = base;
  input.local_steps = 4;
  input.examples = &examples;
  const absl::StatusOr<TrainOutput> shared = trainer.Train(input);
  input.plan = &ditto.plan();
  input.kept = kept;
  const absl::StatusOr<TrainOutput> beside = trainer.Train(input);
  ASSERT_TRUE(shared.ok() && beside.ok()) << beside.status();
  EXPECT_EQ(beside->delta, shared->delta);
  EXPECT_EQ(beside->mean_loss, shared->mean_loss);
  EXPECT_TRUE(shared->kept.empty());
  EXPECT_EQ(beside->kept.size(), 9U);
  const std::vector<float> wrong(8);
  input.kept = wrong;
  EXPECT_EQ(trainer.Train(input).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(trainer.Evaluate({input.plan, base, &examples, wrong}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Nothing that the site has of its own can be told from what it sends: with other values of its own
// layers, other patients' labels and any number of steps, their places are +0, bit by bit.
TEST(Personal, NoBitOfAPersonalTensorIsInAnUpdate) {
  for (const bool norm : {false, true}) {
    const PersonalReference reference("", norm ? kFedBn : kFedPer);
    const absl::StatusOr<ModelGraph> graph = GraphOf(reference.plan());
    ASSERT_TRUE(graph.ok()) << graph.status();
    const std::vector<ElementRange> ranges = PersonalRanges(*graph);
    size_t personal = 0;
    for (const ElementRange& range : ranges) personal += range.end - range.begin;
    EXPECT_EQ(personal, norm ? 8U : 3U);
    CpuTrainer trainer;
    for (uint32_t steps = 1; steps <= 5; ++steps) {
      Examples examples = ExamplesOf(steps % 3);
      if (steps % 2 == 0) {
        for (float& label : examples.labels) label = 1 - label;
      }
      std::vector<float> base(graph->layout.elements(), 0.25F);
      std::vector<float> kept(personal, 0.5F * static_cast<float>(steps));
      TrainInput input;
      input.plan = &reference.plan();
      input.site = SiteId("s");
      input.task = TaskId(steps);
      input.base = base;
      input.local_steps = steps;
      input.examples = &examples;
      input.kept = kept;
      const absl::StatusOr<TrainOutput> output = trainer.Train(input);
      ASSERT_TRUE(output.ok()) << output.status();
      EXPECT_NE(output->kept, kept);
      for (const ElementRange& range : ranges) {
        for (size_t i = range.begin; i < range.end; ++i) {
          EXPECT_TRUE(output->delta[i] == 0 && !std::signbit(output->delta[i])) << i;
        }
      }
      // Nor does what came in those places of the shared model reach anything.
      for (const ElementRange& range : ranges) {
        for (size_t i = range.begin; i < range.end; ++i) base[i] = 1e6F;
      }
      const absl::StatusOr<TrainOutput> poisoned = trainer.Train(input);
      ASSERT_TRUE(poisoned.ok()) << poisoned.status();
      EXPECT_EQ(poisoned->delta, output->delta);
      EXPECT_EQ(poisoned->kept, output->kept);
    }
  }
}

// Who keeps nothing yet has what version 0 has, whatever the version at hand has there.
TEST(Personal, BeginsWithTheFirstVersionsValues) {
  const PersonalReference reference("", kFedPer);
  const absl::StatusOr<ModelGraph> graph = GraphOf(reference.plan());
  ASSERT_TRUE(graph.ok()) << graph.status();
  std::vector<float> first = InitialValues(*graph, 5);
  const Examples examples = ExamplesOf(0);
  CpuTrainer trainer;
  TrainInput input;
  input.plan = &reference.plan();
  input.site = SiteId("s");
  input.task = TaskId(1);
  input.local_steps = 2;
  input.examples = &examples;
  input.base = first;
  const absl::StatusOr<TrainOutput> honest = trainer.Train(input);
  std::vector<float> later = first;
  for (size_t i = 6; i < 9; ++i) later[i] = -3;
  input.base = later;
  const absl::StatusOr<TrainOutput> begun = trainer.Train(input);
  ASSERT_TRUE(honest.ok() && begun.ok());
  EXPECT_EQ(begun->kept, honest->kept);
  EXPECT_EQ(begun->delta, honest->delta);
  const std::vector<float> wrong(2);
  input.kept = wrong;
  EXPECT_EQ(trainer.Train(input).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(trainer.Evaluate({input.plan, later, &examples, wrong}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace consilium
