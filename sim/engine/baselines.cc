#include "sim/engine/baselines.h"

#include <limits>
#include <utility>

#include "models/metrics/metrics.h"
#include "models/spec/initial_values.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "sim/report/scores.h"

namespace consilium {
namespace {

constexpr uint32_t kEpochsMax = 10'000;

// A model of one hospital, or of all patients as one, has nothing that is not its own.
v1::RunPlan WithoutPersonal(v1::RunPlan plan) {
  v1::RunConfig& config = *plan.mutable_config();
  if (!IsPersonal(KeptBySites(config))) return plan;
  // Nor a server, whose step might not suit running statistics that are shared.
  config.clear_aggregation();
  config.mutable_aggregation()->set_preset(v1::AggregationConfig::FEDAVG);
  config.mutable_training()->clear_personal();
  config.mutable_training()->clear_ditto_lambda();
  return plan;
}

absl::StatusOr<std::vector<float>> TrainEpochs(const v1::RunPlan& plan,
                                               const v1::BaselinesConfig& config,
                                               const SiteId& name, const Examples& examples,
                                               Trainer& trainer) {
  v1::RunPlan other = plan;
  v1::TrainingConfig& training = *other.mutable_config()->mutable_training();
  *training.mutable_optimizer() = config.optimizer();
  training.set_proximal_mu(0);
  CONSILIUM_ASSIGN_OR_RETURN(other, ResolvePlan(std::move(other)));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(other));
  std::vector<float> weights = InitialValues(graph, plan.config().seed());
  const size_t batch = plan.config().training().batch_examples();
  const size_t steps = config.epochs() * ((examples.count() + batch - 1) / batch);
  TrainInput input;
  input.plan = &other;
  input.site = name;
  input.task = TaskId(1);
  input.base = weights;
  input.local_steps = static_cast<uint32_t>(steps);
  input.examples = &examples;
  CONSILIUM_ASSIGN_OR_RETURN(const TrainOutput output, trainer.Train(input));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] += output.delta[i];
  return weights;
}

absl::StatusOr<std::vector<float>> TrainToTheEnd(const v1::RunPlan& plan, const SiteId& name,
                                                 const SplitExamples& examples, Trainer& trainer) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  std::vector<float> weights = InitialValues(graph, plan.config().seed());
  std::vector<float> best = weights;
  double best_loss = std::numeric_limits<double>::infinity();
  int best_task = 0;
  for (int task = 1; task <= kTasksMax && task - best_task <= kPatienceTasks; ++task) {
    TrainInput input;
    input.plan = &plan;
    input.site = name;
    input.task = TaskId(static_cast<uint64_t>(task));
    input.base = weights;
    input.local_steps = plan.config().training().local_steps();
    input.examples = &examples.train;
    CONSILIUM_ASSIGN_OR_RETURN(const TrainOutput output, trainer.Train(input));
    for (size_t i = 0; i < weights.size(); ++i) weights[i] += output.delta[i];
    // Without validation patients the training loss has to do.
    EvaluateInput check{&plan, weights,
                        examples.validation.count() > 0 ? &examples.validation : &examples.train};
    CONSILIUM_ASSIGN_OR_RETURN(const v1::MetricSums sums, trainer.Evaluate(check));
    const double loss = MeanLoss(sums);
    if (loss < best_loss) {
      best_loss = loss;
      best = weights;
      best_task = task;
    }
  }
  return best;
}

absl::StatusOr<std::vector<float>> TrainBaseline(const v1::RunPlan& plan,
                                                 const v1::BaselinesConfig& config,
                                                 const SiteId& name, const SplitExamples& examples,
                                                 Trainer& trainer) {
  if (!config.has_optimizer()) return TrainToTheEnd(plan, name, examples, trainer);
  return TrainEpochs(plan, config, name, examples.train, trainer);
}

}  // namespace

absl::StatusOr<Baselines> TrainBaselines(const v1::RunPlan& plan, const v1::BaselinesConfig& config,
                                         const FederationData& data, Trainer& trainer) {
  const v1::RunPlan plain = WithoutPersonal(plan);
  if (config.has_optimizer() && (config.epochs() == 0 || config.epochs() > kEpochsMax)) {
    return absl::InvalidArgumentError("baselines.epochs: must be from 1 to 10,000");
  }
  Baselines baselines;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::Standardisation everyone, StandardisationOver(plain, data));
  SplitExamples all;
  std::map<SiteId, SplitExamples> as_pooled;
  for (const auto& [site, site_data] : data) {
    CONSILIUM_ASSIGN_OR_RETURN(const v1::Standardisation own,
                               StandardisationOver(plain, {{site, site_data}}));
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples examples, EncodeSite(plain, own, site_data));
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> weights,
                               TrainBaseline(plain, config, site, examples, trainer));
    CONSILIUM_ASSIGN_OR_RETURN(baselines.alone[site],
                               trainer.Evaluate({&plain, weights, &examples.test}));
    CONSILIUM_ASSIGN_OR_RETURN(as_pooled[site], EncodePooled(plain, everyone, site_data));
    Append(as_pooled[site].train, all.train);
    Append(as_pooled[site].validation, all.validation);
    Append(as_pooled[site].test, all.test);
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> weights,
                             TrainBaseline(plain, config, SiteId("pooled"), all, trainer));
  for (const auto& [site, site_data] : data) {
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples examples,
                               EncodeSite(plain, everyone, site_data));
    CONSILIUM_ASSIGN_OR_RETURN(baselines.pooled[site],
                               trainer.Evaluate({&plain, weights, &examples.test}));
  }
  CONSILIUM_ASSIGN_OR_RETURN(baselines.pooled_over_all,
                             trainer.Evaluate({&plain, weights, &all.test}));
  return baselines;
}

}  // namespace consilium
