#include "site_agent/train/fused_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "models/metrics/metrics.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/identity.h"
#include "site_agent/core/not_finite.h"
#include "site_agent/train/batch_order.h"
#include "site_agent/train/local_optimizer.h"

namespace consilium {
namespace {

// Rules whose local steps are more than the plan's training says.
bool HasPlainSteps(const v1::RunConfig& config) {
  switch (config.aggregation().preset()) {
    case v1::AggregationConfig::SCAFFOLD:
    case v1::AggregationConfig::FEDBN:
    case v1::AggregationConfig::FEDPER:
    case v1::AggregationConfig::DITTO:
      return false;
    default:
      return !config.training().has_personal();
  }
}

absl::Status CheckTask(const TrainInput& input, const FusedChain& model) {
  const Examples& examples = *input.examples;
  if (input.base.size() != model.elements()) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", input.base.size(),
                                                   " weights, the model has ", model.elements()));
  }
  if (examples.features != model.input_elements() ||
      examples.values.size() != examples.count() * examples.features ||
      (!examples.patients.empty() && examples.patients.size() != examples.count())) {
    return absl::InvalidArgumentError(absl::StrCat("the examples have ", examples.features,
                                                   " features, the model takes ",
                                                   model.input_elements()));
  }
  if (examples.count() == 0) {
    return absl::FailedPreconditionError("there are no examples to train on");
  }
  if (input.local_steps == 0 || input.plan->config().training().batch_examples() == 0) {
    return absl::InvalidArgumentError("a task has at least one step of at least one example");
  }
  return absl::OkStatus();
}

// The examples of a step, copied together, and whose rows have been seen.
class StepExamples {
 public:
  explicit StepExamples(const Examples& examples)
      : examples_(examples), seen_(examples.count(), false) {}

  Batch Gather(std::span<const size_t> indices) {
    values_.clear();
    labels_.clear();
    for (const size_t index : indices) {
      const std::span<const float> row = examples_.row(index);
      values_.insert(values_.end(), row.begin(), row.end());
      labels_.push_back(examples_.labels[index]);
      seen_[index] = true;
    }
    return {values_, labels_};
  }

  uint64_t PatientsSeen() const {
    std::vector<size_t> patients;
    for (size_t i = 0; i < seen_.size(); ++i) {
      if (seen_[i]) patients.push_back(examples_.patient(i));
    }
    std::sort(patients.begin(), patients.end());
    return static_cast<uint64_t>(std::unique(patients.begin(), patients.end()) - patients.begin());
  }

 private:
  const Examples& examples_;
  std::vector<bool> seen_;
  std::vector<float> values_;
  std::vector<float> labels_;
};

// ∇ of μ/2‖w − w_base‖² (FedProx, arXiv:1812.06127).
void AddProximal(float mu, std::span<const float> base, FusedChain& model) {
  const std::span<const float> weights = model.weights();
  const std::span<float> gradient = model.gradient();
  for (size_t i = 0; i < base.size(); ++i) gradient[i] += mu * (weights[i] - base[i]);
}

}  // namespace

absl::StatusOr<FusedChain*> FusedTrainer::ModelOf(const v1::RunPlan& plan) {
  const Digest hash = PlanHash(plan);
  if (plan_hash_ != hash) {
    plan_hash_.reset();
    model_.reset();
    CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
    absl::StatusOr<FusedChain> model = FusedChain::Create(graph);
    if (!model.ok() && !absl::IsUnimplemented(model.status())) return model.status();
    if (model.ok() && HasPlainSteps(plan.config())) model_ = *std::move(model);
    plan_hash_ = hash;
  }
  return model_.has_value() ? &*model_ : nullptr;
}

absl::StatusOr<bool> FusedTrainer::TakesOver(const v1::RunPlan& plan) {
  CONSILIUM_ASSIGN_OR_RETURN(const FusedChain* model, ModelOf(plan));
  return model != nullptr;
}

absl::StatusOr<TrainOutput> FusedTrainer::Train(const TrainInput& input) {
  CONSILIUM_ASSIGN_OR_RETURN(FusedChain * model, ModelOf(*input.plan));
  if (model == nullptr) return others_.Train(input);
  CONSILIUM_RETURN_IF_ERROR(CheckTask(input, *model));
  const v1::RunConfig& config = input.plan->config();
  const v1::TrainingConfig& training = config.training();
  model->Load(input.base);
  const float mu = static_cast<float>(training.proximal_mu());
  std::vector<float> base;  // In the model's own order.
  if (mu != 0) base.assign(model->weights().begin(), model->weights().end());
  CONSILIUM_ASSIGN_OR_RETURN(LocalOptimizer optimizer,
                             LocalOptimizer::Create(training.optimizer(), model->weights().size()));
  BatchOrder order(
      {input.examples->count(), training.batch_examples()},
      RandomStream(SeedPath{config.seed(), "shuffle", input.site.value(), input.task.value()}));
  StepExamples examples(*input.examples);
  double loss_sum = 0;
  for (uint32_t step = 1; step <= input.local_steps; ++step) {
    CONSILIUM_ASSIGN_OR_RETURN(const double loss,
                               model->LossAndGradient(examples.Gather(order.Next())));
    if (!std::isfinite(loss)) return NotFinite("loss", step);
    loss_sum += loss;
    AddProximal(mu, base, *model);
    optimizer.Step(model->gradient(), model->weights());
  }

  TrainOutput output;
  output.steps = input.local_steps;
  output.mean_loss = loss_sum / input.local_steps;
  output.patients = examples.PatientsSeen();
  output.delta.resize(input.base.size());
  model->Store(output.delta);
  for (size_t i = 0; i < output.delta.size(); ++i) {
    output.delta[i] -= input.base[i];
    if (!std::isfinite(output.delta[i])) return NotFinite("update", input.local_steps);
  }
  return output;
}

absl::StatusOr<v1::MetricSums> FusedTrainer::Evaluate(const EvaluateInput& input) {
  CONSILIUM_ASSIGN_OR_RETURN(FusedChain * model, ModelOf(*input.plan));
  const bool fits = model != nullptr && input.weights.size() == model->elements() &&
                    input.examples->features == model->input_elements();
  if (!fits) return others_.Evaluate(input);  // Which has the words for what does not fit.
  model->Load(input.weights);
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> outputs,
                             model->Outputs(input.examples->values));
  Predictions predictions;
  predictions.outputs = outputs;
  predictions.width = model->output_elements();
  predictions.labels = input.examples->labels;
  return MetricSumsOf(input.plan->spec().loss().kind(), predictions);
}

}  // namespace consilium
