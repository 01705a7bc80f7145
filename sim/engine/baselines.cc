#include "sim/engine/baselines.h"

#include <limits>
#include <utility>

#include "models/metrics/metrics.h"
#include "models/spec/initial_values.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "sim/report/scores.h"

namespace consilium {
namespace {

void Append(const Examples& from, Examples& to) {
  to.features = from.features;
  to.values.insert(to.values.end(), from.values.begin(), from.values.end());
  to.labels.insert(to.labels.end(), from.labels.begin(), from.labels.end());
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

}  // namespace

absl::StatusOr<Baselines> TrainBaselines(const v1::RunPlan& plan, const FederationData& data,
                                         Trainer& trainer) {
  Baselines baselines;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::Standardisation everyone, StandardisationOver(plan, data));
  SplitExamples all;
  std::map<SiteId, SplitExamples> as_pooled;
  for (const auto& [site, site_data] : data) {
    CONSILIUM_ASSIGN_OR_RETURN(const v1::Standardisation own,
                               StandardisationOver(plan, {{site, site_data}}));
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples examples, EncodeSite(plan, own, site_data));
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> weights,
                               TrainToTheEnd(plan, site, examples, trainer));
    CONSILIUM_ASSIGN_OR_RETURN(baselines.alone[site],
                               trainer.Evaluate({&plan, weights, &examples.test}));
    CONSILIUM_ASSIGN_OR_RETURN(as_pooled[site], EncodeSite(plan, everyone, site_data));
    Append(as_pooled[site].train, all.train);
    Append(as_pooled[site].validation, all.validation);
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> weights,
                             TrainToTheEnd(plan, SiteId("pooled"), all, trainer));
  for (const auto& [site, examples] : as_pooled) {
    CONSILIUM_ASSIGN_OR_RETURN(baselines.pooled[site],
                               trainer.Evaluate({&plan, weights, &examples.test}));
  }
  return baselines;
}

}  // namespace consilium
