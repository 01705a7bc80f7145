#include "site_agent/core/site_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/wire/hash.h"

namespace consilium::site {

Digest KeptBlobOf(const Digest& update) {
  return FieldHasher("consilium.kept_blob.v1").Add(update).Finish();
}

namespace {

bool IsOpen(TaskPhase phase) { return phase <= TaskPhase::kSending; }

void LeavePhase(SiteState& site, const TaskRef& ref) {
  switch (ref.task.phase) {
    case TaskPhase::kGranted:
      site.granted.erase({ref.task.granted, ref.run_id, ref.id});
      break;
    case TaskPhase::kTraining:
      site.training.reset();
      break;
    case TaskPhase::kAccepted:
      ref.run.held.erase(ref.id);
      break;
    default:
      break;
  }
  if (ref.task.phase == TaskPhase::kTrained) --site.pacing;
  if (IsInOutbox(ref.task.phase)) --site.in_outbox;
}

void EnterPhase(SiteState& site, const TaskRef& ref) {
  switch (ref.task.phase) {
    case TaskPhase::kGranted:
      site.granted.insert({ref.task.granted, ref.run_id, ref.id});
      break;
    case TaskPhase::kTraining:
      site.training.emplace(ref.run_id, ref.id);
      break;
    case TaskPhase::kAccepted:
      ref.run.held.insert(ref.id);
      break;
    default:
      break;
  }
  if (ref.task.phase == TaskPhase::kTrained) ++site.pacing;
  if (IsInOutbox(ref.task.phase)) ++site.in_outbox;
  // Callers walk over `open`: what stays open stays in its place.
  if (IsOpen(ref.task.phase)) {
    ref.run.open.insert(ref.id);
  } else {
    ref.run.open.erase(ref.id);
  }
}

// What the site keeps becomes what the update left where a version includes it, and not before: the
// server, too, counts it from then on.
void SettleKept(StepContext& step, const TaskRef& ref) {
  if (ref.run.keeps == SiteKeeps::kNothing) return;
  if (ref.task.phase != TaskPhase::kIncluded || !ref.run.plan->has_config()) {
    step.Emit(DropKept{ref.task.update});
    return;
  }
  DropAllKept(step, ref.run);
  ref.run.kept[Version(ref.task.ending->version())] = ref.task.update;
}

}  // namespace

RunState* StepContext::FindRun(const RunId& run) {
  const auto found = site.runs.find(run);
  return found == site.runs.end() ? nullptr : &found->second;
}

RunState* StepContext::ExpectRun(const RunId& run) {
  RunState* const found = FindRun(run);
  if (found == nullptr) {
    Warn(v1::RUN_UNKNOWN, run, "the aggregator speaks of a run that it has not offered here");
  }
  return found;
}

RunState* StepContext::ExpectApproved(const RunId& run) {
  RunState* const found = ExpectRun(run);
  if (found == nullptr || found->approved()) return found;
  Warn(v1::NOT_APPROVED, run, "the aggregator goes on with a run that was not approved here");
  return nullptr;
}

std::optional<TaskRef> StepContext::ExpectTask(const RunId& run, TaskId task) {
  const auto found_run = site.runs.find(run);
  if (found_run != site.runs.end()) {
    const auto found = found_run->second.tasks.find(task);
    if (found != found_run->second.tasks.end()) {
      return TaskRef{found_run->first, found_run->second, task, found->second};
    }
  }
  Warn(v1::TASK_UNKNOWN, run, absl::StrCat("nothing is known here of task ", task.value()));
  return std::nullopt;
}

void SetPhase(StepContext& step, const TaskRef& ref, TaskPhase phase) {
  // A new task is in kGranted, but in no view yet.
  LeavePhase(step.site, ref);
  ref.task.phase = phase;
  EnterPhase(step.site, ref);
  if (IsTerminal(phase) && ref.task.blob == TaskState::Blob::kInOutbox) {
    ref.task.blob = TaskState::Blob::kDropped;
    step.Emit(DropUpdate{ref.task.update});
    SettleKept(step, ref);
  }
}

void DropAllKept(StepContext& step, RunState& run) {
  for (const auto& [version, update] : run.kept) {
    if (update != run.evaluated_with) step.Emit(DropKept{update});
  }
  run.kept.clear();
}

std::optional<Digest> NewestKept(const RunState& run) {
  if (run.kept.empty()) return std::nullopt;
  return run.kept.rbegin()->second;
}

void ReleaseEvaluatedWith(StepContext& step, RunState& run) {
  const std::optional<Digest> update = std::exchange(run.evaluated_with, std::nullopt);
  if (update.has_value() && update != NewestKept(run)) step.Emit(DropKept{*update});
}

}  // namespace consilium::site
