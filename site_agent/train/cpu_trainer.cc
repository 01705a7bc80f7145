#include "site_agent/train/cpu_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "models/metrics/metrics.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/identity.h"
#include "site_agent/core/interval_patients.h"
#include "site_agent/core/not_finite.h"
#include "site_agent/train/batch_order.h"
#include "site_agent/train/control_variates.h"
#include "site_agent/train/local_optimizer.h"

namespace consilium {
namespace {

absl::Status CheckExamples(const TorchModel& model, const Examples& examples) {
  if (examples.features != model.input_elements() ||
      examples.values.size() != examples.count() * examples.features ||
      (!examples.patients.empty() && examples.patients.size() != examples.count())) {
    return absl::InvalidArgumentError(absl::StrCat("the examples have ", examples.features,
                                                   " features, the model takes ",
                                                   model.input_elements()));
  }
  return absl::OkStatus();
}

// Which rows were seen, and whose.
class RowsSeen {
 public:
  explicit RowsSeen(const Examples& examples) : examples_(examples) {}
  void Add(std::span<const size_t> indices) { seen_.insert(indices.begin(), indices.end()); }
  // As TrainOutput::patients has it.
  uint64_t Patients(const v1::RunPlan& plan) const {
    absl::flat_hash_set<size_t> patients;
    Examples seen;
    for (const size_t index : seen_) {
      patients.insert(examples_.patient(index));
      seen.labels.push_back(examples_.labels[index]);
      seen.patients.push_back(static_cast<uint32_t>(examples_.patient(index)));
    }
    return site::FewestPatients(site::PatientsPerInterval(plan, seen), patients.size());
  }

 private:
  const Examples& examples_;
  absl::flat_hash_set<size_t> seen_;
};

// The examples of one step, copied together.
class BatchBuffer {
 public:
  Batch Gather(const Examples& examples, std::span<const size_t> indices) {
    values_.clear();
    labels_.clear();
    for (size_t index : indices) {
      const std::span<const float> row = examples.row(index);
      values_.insert(values_.end(), row.begin(), row.end());
      labels_.push_back(examples.labels[index]);
    }
    return {values_, labels_};
  }

 private:
  std::vector<float> values_;
  std::vector<float> labels_;
};

// ∇ of μ/2‖w − w_centre‖² (FedProx, arXiv:1812.06127), over what is trained.
struct Pull {
  float mu = 0;
  std::span<const float> centre;
};
void AddProximal(const Pull& pull, TorchModel& model) {
  if (pull.mu == 0) return;
  const std::span<const float> weights = model.weights().first(model.trained_elements());
  const std::span<float> gradient = model.gradient();
  for (size_t i = 0; i < weights.size(); ++i) {
    gradient[i] += pull.mu * (weights[i] - pull.centre[i]);
  }
}

// The steps of a task, from the weights that the model has.
struct Descent {
  absl::string_view dropout;  // The stream's purpose.
  Pull pull;
  const ControlVariates* control = nullptr;  // Null: none.
};
struct Descended {
  double loss_sum = 0;
  uint64_t patients = 0;
};
absl::StatusOr<Descended> Descend(const TrainInput& input, const Descent& descent,
                                  TorchModel& model) {
  const v1::TrainingConfig& training = input.plan->config().training();
  const size_t trained = model.trained_elements();
  CONSILIUM_ASSIGN_OR_RETURN(LocalOptimizer optimizer,
                             LocalOptimizer::Create(training.optimizer(), trained));
  const SeedPath path = {input.plan->config().seed(), "shuffle", input.site.value(),
                         input.task.value()};
  SeedPath dropout_path = path;
  dropout_path.purpose = descent.dropout;
  RandomStream dropout(dropout_path);
  BatchOrder order({input.examples->count(), training.batch_examples()}, RandomStream(path));
  BatchBuffer buffer;
  RowsSeen seen(*input.examples);
  Descended descended;
  for (uint32_t step = 1; step <= input.local_steps; ++step) {
    const std::span<const size_t> indices = order.Next();
    seen.Add(indices);
    const Batch batch = buffer.Gather(*input.examples, indices);
    CONSILIUM_ASSIGN_OR_RETURN(const double loss, model.LossAndGradient(batch, dropout));
    if (!std::isfinite(loss)) return NotFinite("loss", step);
    descended.loss_sum += loss;
    AddProximal(descent.pull, model);
    if (descent.control != nullptr) descent.control->Correct(model.gradient());
    optimizer.Step(model.gradient().first(trained), model.weights().first(trained));
  }
  descended.patients = seen.Patients(*input.plan);
  return descended;
}

// Ditto (arXiv:2012.04221, algorithm 1): v ← v − η(∇F(v) + λ(v − w_base)), by the plan's optimizer
// over the batches that the update was trained on. v begins as the first base that the site trains
// on.
absl::StatusOr<std::vector<float>> TrainBeside(const TrainInput& input, TorchModel& model) {
  const std::span<const float> start = input.kept.empty() ? input.base : input.kept;
  if (start.size() != input.base.size()) {
    return absl::InvalidArgumentError("what the site keeps is no model of the plan's");
  }
  std::copy(start.begin(), start.end(), model.weights().begin());
  const float lambda = static_cast<float>(input.plan->config().training().ditto_lambda());
  const Descent descent = {"personal dropout", {lambda, input.base}};
  CONSILIUM_RETURN_IF_ERROR(Descend(input, descent, model).status());
  std::vector<float> personal(model.weights().begin(), model.weights().end());
  const bool is_finite = std::all_of(personal.begin(), personal.end(),
                                     [](float value) { return std::isfinite(value); });
  if (!is_finite) return NotFinite("personal model", input.local_steps);
  return personal;
}

}  // namespace

absl::StatusOr<TorchModel*> CpuTrainer::Load(const v1::RunPlan& plan,
                                             std::span<const float> weights,
                                             std::span<const float> kept) {
  const Digest hash = PlanHash(plan);
  if (model_ == nullptr || plan_hash_ != hash) {
    CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
    CONSILIUM_ASSIGN_OR_RETURN(model_, TorchModel::Create(graph));
    personal_.emplace(graph, plan.config().seed());
    plan_hash_ = hash;
  }
  if (weights.size() != model_->weights().size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there are ", weights.size(), " weights, the model has ", model_->weights().size()));
  }
  std::copy(weights.begin(), weights.end(), model_->weights().begin());
  if (!personal_->empty()) {
    CONSILIUM_RETURN_IF_ERROR(personal_->PutInto(model_->weights(), kept));
  }
  return model_.get();
}

absl::StatusOr<TrainOutput> CpuTrainer::Train(const TrainInput& input) {
  const v1::RunConfig& config = input.plan->config();
  const v1::TrainingConfig& training = config.training();
  CONSILIUM_ASSIGN_OR_RETURN(TorchModel * model, Load(*input.plan, input.base, input.kept));
  CONSILIUM_RETURN_IF_ERROR(CheckExamples(*model, *input.examples));
  if (input.examples->count() == 0) {
    return absl::FailedPreconditionError("there are no examples to train on");
  }
  if (input.local_steps == 0 || training.batch_examples() == 0) {
    return absl::InvalidArgumentError("a task has at least one step of at least one example");
  }
  const std::vector<float> start(model->weights().begin(), model->weights().end());
  CONSILIUM_ASSIGN_OR_RETURN(const ControlVariates control, ControlVariates::Create(input));
  const Descent descent = {
      "dropout", {static_cast<float>(training.proximal_mu()), start}, &control};
  CONSILIUM_ASSIGN_OR_RETURN(const Descended descended, Descend(input, descent, *model));

  TrainOutput output;
  output.steps = input.local_steps;
  output.mean_loss = descended.loss_sum / input.local_steps;
  output.patients = descended.patients;
  output.delta.reserve(input.base.size());
  for (size_t i = 0; i < input.base.size(); ++i) {
    output.delta.push_back(model->weights()[i] - start[i]);
    if (!std::isfinite(output.delta.back())) return NotFinite("update", input.local_steps);
  }
  switch (KeptBySites(config)) {
    case SiteKeeps::kNothing:
      break;
    case SiteKeeps::kControlVariate:
      output.kept = control.After(output.delta);
      break;
    case SiteKeeps::kPersonalLayers:
      output.kept = personal_->TakeFrom(model->weights());
      personal_->Erase(output.delta);
      break;
    case SiteKeeps::kPersonalModel: {
      CONSILIUM_ASSIGN_OR_RETURN(output.kept, TrainBeside(input, *model));
      break;
    }
  }
  return output;
}

absl::StatusOr<v1::MetricSums> CpuTrainer::Evaluate(const EvaluateInput& input) {
  const bool is_own = KeptBySites(input.plan->config()) == SiteKeeps::kPersonalModel;
  const std::span<const float> weights = is_own && !input.kept.empty() ? input.kept : input.weights;
  CONSILIUM_ASSIGN_OR_RETURN(TorchModel * model, Load(*input.plan, weights, input.kept));
  CONSILIUM_RETURN_IF_ERROR(CheckExamples(*model, *input.examples));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> outputs,
                             model->Outputs(input.examples->values));
  Predictions predictions;
  predictions.outputs = outputs;
  predictions.width = model->output_elements();
  predictions.labels = input.examples->labels;
  const auto& ends = input.plan->contract().label().survival().interval_ends();
  predictions.interval_ends = {ends.data(), static_cast<size_t>(ends.size())};
  return MetricSumsOf(input.plan->spec().loss().kind(), predictions);
}

}  // namespace consilium
