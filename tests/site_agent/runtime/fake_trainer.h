// A trainer without LibTorch: its delta depends on base and task alone, and on what the site keeps
// where the plan has it keep something, so that a retraining gives the same update; its scores on
// that too. And it counts how often it was asked.

#ifndef CONSILIUM_TESTS_SITE_AGENT_RUNTIME_FAKE_TRAINER_H_
#define CONSILIUM_TESTS_SITE_AGENT_RUNTIME_FAKE_TRAINER_H_

#include <atomic>

#include "models/spec/personal_layers.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "site_agent/core/trainer.h"

namespace consilium::site {

class FakeTrainer final : public Trainer {
 public:
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override {
    ++trainings;
    TrainOutput output;
    output.steps = input.local_steps;
    output.mean_loss = 0.5;
    output.patients = patients_seen;
    for (const float weight : input.base) {
      output.delta.push_back(weight + static_cast<float>(input.task.value()));
    }
    if (KeptBySites(input.plan->config()) == SiteKeeps::kNothing) return output;
    if (KeptBySites(input.plan->config()) == SiteKeeps::kPersonalLayers) {
      if (!leaks) EraseOwn(*input.plan, output.delta);
      output.kept = {static_cast<float>(input.task.value())};
      return output;
    }
    // Whose number was kept shows in the hundreds, the control variate in the thousands.
    for (size_t i = 0; i < output.delta.size(); ++i) {
      if (!input.kept.empty()) output.delta[i] += 100 * input.kept[i];
      if (!input.control.empty()) output.delta[i] += 1000 * input.control[i];
      output.kept.push_back(static_cast<float>(input.task.value()));
    }
    return output;
  }

  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override {
    ++evaluations;
    v1::MetricSums metrics;
    metrics.set_examples(input.examples->count());
    const double own = input.kept.empty() ? 0 : input.kept[0];
    metrics.set_log_loss_sum(static_cast<double>(input.examples->count()) * (0.25 + own));
    return metrics;
  }

  std::atomic<uint64_t> patients_seen{1000};
  std::atomic<int> trainings{0};
  std::atomic<int> evaluations{0};
  std::atomic<bool> leaks{false};  // What is personal, into its updates.

 private:
  static void EraseOwn(const v1::RunPlan& plan, std::vector<float>& delta) {
    const absl::StatusOr<ModelGraph> graph = GraphOf(plan);
    if (!graph.ok()) return;
    for (const ElementRange& range : PersonalRanges(*graph)) {
      for (size_t i = range.begin; i < range.end; ++i) delta[i] = 0;
    }
  }
};

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_RUNTIME_FAKE_TRAINER_H_
