#include "aggregator/core/retention.h"

#include <algorithm>
#include <optional>

#include "aggregator/core/evaluation.h"
#include "aggregator/core/strategies/control_variates.h"
#include "aggregator/core/validator.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {
namespace {

bool KeepsAll(const RunState& run) { return run.plan->config().retention() != v1::UNTIL_DURABLE; }

void ForgetModel(StepContext& step, RunState& run, VersionState& version) {
  if (version.stored == VersionState::Stored::kForgotten) return;
  version.stored = VersionState::Stored::kForgotten;
  step.Emit(Forget{run.run, VectorName::Model(version.version)});
  const std::optional<VectorName> control = ControlOf(run, version.version);
  if (control.has_value()) step.Emit(Forget{run.run, *control});
}

// The oldest version that training or folding may still ask for.
Version OldestInUse(const RunState& run) {
  Version oldest = run.current();
  for (const SiteId& site : run.members) {
    const Participant& participant = run.participants.find(site)->second;
    for (const TaskId task : participant.open) {
      oldest = std::min(oldest, participant.tasks.find(task)->second.base_min);
    }
  }
  const auto count = [&](const std::vector<std::pair<SiteId, TaskId>>& updates) {
    for (const auto& [site, task] : updates) {
      oldest = std::min(oldest, run.participants.find(site)->second.tasks.find(task)->second.base);
    }
  };
  count(run.buffer);
  for (const auto& [number, group] : run.groups) count(group.arrived);
  return oldest;
}

}  // namespace

bool KeepsLatestOf(const RunState& run, const SiteId& site) {
  return KeepsTable(run.stages) || IsValidator(run, site);
}

void ForgetUpdate(StepContext& step, const RunState& run, const Digest& update) {
  if (!KeepsAll(run)) step.Emit(Forget{run.run, VectorName::Update(update)});
}

void ForgetOldModels(StepContext& step, RunState& run) {
  if (KeepsAll(run)) return;
  const uint64_t window = std::min(run.current().value(), kEvaluationsAskedAgainMax - 1);
  const Version keep_from = std::min(OldestInUse(run), Version(run.current().value() - window));
  for (uint64_t v = 0; v < keep_from.value(); ++v) {
    if (run.best == Version(v)) continue;
    ForgetModel(step, run, run.versions[v]);
  }
}

void ForgetAtEnd(StepContext& step, RunState& run) {
  if (KeepsAll(run) || run.versions.empty()) return;
  for (VersionState& version : run.versions) {
    if (version.version == run.current() || run.result == version.version) continue;
    ForgetModel(step, run, version);
  }
  for (const auto& [site, participant] : run.participants) {
    if (!KeepsLatestOf(run, site) || !participant.latest_folded.has_value()) continue;
    ForgetUpdate(step, run, participant.tasks.find(*participant.latest_folded)->second.update);
  }
}

}  // namespace consilium::federation
