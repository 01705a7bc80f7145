#include "aggregator/core/strategies/contributions.h"

#include "aggregator/core/strategies/stages.h"

namespace consilium::federation {

Contribution ContributionOf(const RunState& run, const SiteId& site, TaskId task,
                            Contribution::Role role) {
  const TaskState& state = run.participants.find(site)->second.tasks.find(task)->second;
  Contribution out;
  out.site = site;
  out.task = task;
  out.update = state.update;
  out.base = state.base;
  out.staleness = run.current().value() - state.base.value();
  out.role = role;
  return out;
}

void SetCoefficient(Contribution& contribution) {
  contribution.coefficient = 1;
  for (const WeightFactor& factor : contribution.factors) contribution.coefficient *= factor.value;
}

void AppendLearningRate(const Stages& stages, double learning_rate, Contribution& contribution) {
  if (PlaceOfLearningRate(stages.server) == LearningRatePlace::kInCoefficients) {
    contribution.factors.push_back({WeightFactor::Kind::kServerStep, learning_rate});
  }
}

void AppendClip(const RunState& run, Contribution& contribution) {
  if (run.stages.clip_norm == 0) return;
  const TaskState& task =
      run.participants.find(contribution.site)->second.tasks.find(contribution.task)->second;
  contribution.factors.push_back(
      {WeightFactor::Kind::kClip, ShorteningTo(run.stages.clip_norm, task.norm)});
  SetCoefficient(contribution);
}

void AppendShorterTask(const RunState& run, Contribution& contribution) {
  if (!run.stages.fairness.has_value()) return;
  const uint32_t steps = run.plan->config().training().local_steps();
  const TaskState& task =
      run.participants.find(contribution.site)->second.tasks.find(contribution.task)->second;
  if (task.local_steps == steps) return;
  contribution.factors.push_back(
      {WeightFactor::Kind::kShorterTask, static_cast<double>(steps) / task.local_steps});
}

double InfluenceOf(const Contribution& contribution) {
  double product = 1;
  for (const WeightFactor& factor : contribution.factors) {
    if (factor.kind == WeightFactor::Kind::kShorterTask) continue;
    if (factor.kind != WeightFactor::Kind::kRescale) product *= factor.value;
  }
  return product;
}

double FoldedAs(const RunState& run, const Contribution& contribution) {
  if (!run.stages.fairness.has_value()) return 1;
  double product = 1;
  for (const WeightFactor& factor : contribution.factors) {
    if (factor.kind == WeightFactor::Kind::kStaleness) product *= factor.value;
  }
  return product;
}

double ShorteningTo(double longest, double norm) { return norm > longest ? longest / norm : 1; }

}  // namespace consilium::federation
