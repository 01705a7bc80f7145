#include "sim/check/fake_trainer.h"

#include <cmath>
#include <cstddef>
#include <span>
#include <utility>

#include "models/spec/personal_layers.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

constexpr float kPull = 0.1f;
constexpr float kCorrection = 0.01f;
constexpr float kNoise = 0.1f;
constexpr double kLossMin = 0.2;

// What is not there yet counts as zeros; what is shorter than the model begins anew.
float At(std::span<const float> values, size_t i) {
  return values.empty() ? 0 : values[i % values.size()];
}

// Leaves the site its own elements and the update zeros in their place.
absl::Status KeepLayers(const TrainInput& input, TrainOutput& output) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*input.plan));
  for (const ElementRange& range : PersonalRanges(graph)) {
    for (size_t i = range.begin; i < range.end; ++i) {
      const float own = input.kept.empty() ? input.base[i] : input.kept[output.kept.size()];
      output.kept.push_back(own + std::exchange(output.delta[i], 0.0f));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainOutput> FakeTrainer::Train(const TrainInput& input) {
  RandomStream random(
      SeedPath{input.plan->config().seed(), "fake update", input.site.value(), input.task.value()});
  TrainOutput output;
  const SiteKeeps keeps = KeptBySites(input.plan->config());
  const bool keeps_model =
      keeps == SiteKeeps::kControlVariate || keeps == SiteKeeps::kPersonalModel;
  output.delta.reserve(input.base.size());
  for (size_t i = 0; i < input.base.size(); ++i) {
    const float correction = At(input.control, i) - At(input.kept, i);
    output.delta.push_back(-kPull * input.base[i] + kCorrection * correction +
                           kNoise * static_cast<float>(random.NextNormal()));
    if (keeps_model) output.kept.push_back(At(input.kept, i) + output.delta.back());
  }
  if (keeps == SiteKeeps::kPersonalLayers) {
    CONSILIUM_RETURN_IF_ERROR(KeepLayers(input, output));
  }
  output.steps = input.local_steps;
  output.mean_loss = random.NextUnit();
  output.patients = input.examples->count();
  return output;
}

absl::StatusOr<v1::MetricSums> FakeTrainer::Evaluate(const EvaluateInput& input) {
  double sum = 0;
  for (const float weight : input.weights) sum += std::abs(weight);
  for (const float own : input.kept) sum += std::abs(own);
  v1::MetricSums sums;
  sums.set_examples(input.examples->count());
  sums.set_log_loss_sum((kLossMin + sum - std::floor(sum)) *
                        static_cast<double>(input.examples->count()));
  return sums;
}

}  // namespace consilium
