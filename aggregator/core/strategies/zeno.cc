#include "aggregator/core/strategies/zeno.h"

#include <algorithm>
#include <optional>

#include "aggregator/core/strategies/contributions.h"
#include "aggregator/core/strategies/staleness.h"
#include "aggregator/core/validator.h"

namespace consilium::federation {
namespace {

using Contributions = std::vector<Contribution>;
using Kind = WeightFactor::Kind;

const TaskState& TaskOf(const RunState& run, const Contribution& entry) {
  return run.participants.find(entry.site)->second.tasks.find(entry.task)->second;
}

// v of a version: the validator's newest update in it, else the one that scored the last.
const TaskState& ReferenceOf(const RunState& run, const Contributions& contributions) {
  const auto own =
      std::find_if(contributions.rbegin(), contributions.rend(),
                   [&run](const Contribution& entry) { return IsValidator(run, entry.site); });
  if (own != contributions.rend()) return TaskOf(run, *own);
  const Participant& validator = run.participants.find(run.stages.zeno->validator)->second;
  return validator.tasks.find(*validator.latest_folded)->second;
}

}  // namespace

Contributions CombineScored(const RunState& run, std::span<const std::pair<SiteId, TaskId>> batch) {
  Contributions out;
  out.reserve(batch.size());
  for (const auto& [site, task] : batch) {
    Contribution entry = ContributionOf(run, site, task, Contribution::Role::kNew);
    entry.factors.reserve(4);
    if (IsValidator(run, site)) {
      entry.factors.push_back({Kind::kValidator, 0});
    } else {
      entry.factors.push_back(
          {Kind::kStaleness,
           StalenessWeight(run.stages.staleness, static_cast<double>(entry.staleness))});
    }
    out.push_back(std::move(entry));
  }
  return out;
}

void AppendScoreSteps(const RunState& run, const Contributions& contributions,
                      VectorProgram& program) {
  const VectorName reference = VectorName::Update(ReferenceOf(run, contributions).update);
  for (const Contribution& entry : contributions) {
    if (IsValidator(run, entry.site)) continue;
    VectorStep step;
    step.op = VectorStep::Op::kDot;
    step.x = reference;
    step.y = VectorName::Update(entry.update);
    program.steps.push_back(std::move(step));
  }
}

void DecideByScores(const RunState& run, std::span<const double> products,
                    PendingProgram& pending) {
  const double validator_norm = ReferenceOf(run, pending.contributions).norm;
  std::vector<std::optional<double>> scales;
  for (const Contribution& entry : pending.contributions) {
    if (IsValidator(run, entry.site)) continue;
    scales.push_back(ZenoScaleOf(*run.stages.zeno, {.product = products[scales.size()],
                                                    .norm = TaskOf(run, entry).norm,
                                                    .validator_norm = validator_norm}));
  }
  const auto accepted =
      std::count_if(scales.begin(), scales.end(), [](const auto& s) { return s.has_value(); });
  auto scale = scales.begin();
  for (Contribution& entry : pending.contributions) {
    if (IsValidator(run, entry.site)) continue;
    const double share = scale->has_value() ? 1 / static_cast<double>(accepted) : 0;
    if (scale->has_value()) entry.factors.push_back({Kind::kRescale, **scale});
    entry.factors.push_back({Kind::kRobust, share});
    AppendLearningRate(run.stages, pending.server_learning_rate, entry);
    SetCoefficient(entry);
    ++scale;
  }
  for (Contribution& entry : pending.contributions) {
    if (IsValidator(run, entry.site)) SetCoefficient(entry);
  }
}

}  // namespace consilium::federation
