#include "aggregator/core/validator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "aggregator/core/admission.h"
#include "aggregator/core/task_grants.h"

namespace consilium::federation {
namespace {

const Participant& ValidatorOf(const RunState& run) {
  return run.participants.find(run.stages.zeno->validator)->second;
}

// Its newest update that waits for a version or is in one; nullptr where there is none.
const TaskState* NewestOf(const Participant& validator) {
  const auto newest =
      std::find_if(validator.tasks.rbegin(), validator.tasks.rend(), [](const auto& entry) {
        return entry.second.phase == TaskPhase::kAccepted ||
               entry.second.phase == TaskPhase::kIncluded;
      });
  return newest == validator.tasks.rend() ? nullptr : &newest->second;
}

bool IsYoungEnough(const RunState& run, const TaskState& task) {
  return run.current().value() - task.base.value() <= StalenessMax(run);
}

}  // namespace

bool IsValidator(const RunState& run, const SiteId& site) {
  return run.stages.zeno.has_value() && run.stages.zeno->validator == site;
}

size_t ValidatorsWaiting(const RunState& run) {
  if (!run.stages.zeno.has_value()) return 0;
  const auto first_of_others =
      std::find_if(run.buffer.begin(), run.buffer.end(),
                   [&run](const auto& entry) { return !IsValidator(run, entry.first); });
  return static_cast<size_t>(first_of_others - run.buffer.begin());
}

void WaitForScores(RunState& run, const SiteId& site, TaskId task) {
  const size_t place = IsValidator(run, site) ? ValidatorsWaiting(run) : run.buffer.size();
  run.buffer.emplace(run.buffer.begin() + static_cast<std::ptrdiff_t>(place), site, task);
}

bool HasReference(const RunState& run) {
  const TaskState* const newest = NewestOf(ValidatorOf(run));
  return newest != nullptr && IsYoungEnough(run, *newest);
}

bool CanBeScored(const RunState& run, size_t updates) {
  if (!run.stages.zeno.has_value()) return true;
  return updates > ValidatorsWaiting(run) && HasReference(run);
}

bool ScoringAllowsTask(const RunState& run, const SiteId& site, size_t open_max) {
  // A round has one task of each.
  if (!run.stages.zeno.has_value() || run.stages.trigger == TriggerStage::kBarrier) return true;
  const Participant& participant = run.participants.find(site)->second;
  if (!IsValidator(run, site)) {
    return HasReference(run) || participant.open.size() + WaitingOf(run, site) < open_max;
  }
  if (!participant.open.empty()) return false;
  const TaskState* const newest = NewestOf(participant);
  return newest == nullptr || newest->phase == TaskPhase::kIncluded || !IsYoungEnough(run, *newest);
}

std::string WhyNothingIsScored(const RunState& run) {
  if (!run.stages.zeno.has_value()) return "";
  const SiteId& validator = run.stages.zeno->validator;
  if (!run.members.contains(validator)) {
    return absl::StrCat("its validator ", validator.value(), " takes no part");
  }
  return run.members.size() > 1 ? "" : "only its validator is left";
}

}  // namespace consilium::federation
