#include "site_agent/core/tasks.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "models/spec/local_steps.h"
#include "models/spec/preset_traits.h"
#include "protocol/wire/limits.h"
#include "site_agent/core/models.h"
#include "site_agent/core/retry.h"

namespace consilium::site {
namespace {

// What stands against a task that was not known before.
v1::Reason ReasonAgainst(const RunState& run, const TaskOffered& event) {
  if (event.task == TaskId()) return v1::MALFORMED;
  // What a person approved is the plan: neither shorter nor longer tasks than it says, nor more of
  // them.
  const LocalStepsRange steps = LocalStepsOf(run.plan->config());
  if (event.local_steps < steps.min || event.local_steps > steps.max) return v1::NOT_APPROVED;
  if (run.open.size() >= limits::kSiteGrantsOpenMax) return v1::BUSY;
  if (run.tasks.size() >= TasksMax(*run.plan)) return v1::NOT_APPROVED;
  return v1::REASON_UNSPECIFIED;
}

// With a barrier, a grant of a later round says that the rounds before it are closed: what was not
// trained for them would only be refused.
void CloseEarlierRounds(StepContext& step, const TaskRef& granted) {
  if (!granted.run.plan->config().aggregation().trigger().has_barrier()) return;
  const std::set<TaskId> open = granted.run.open;
  for (const TaskId id : open) {
    TaskState& task = granted.run.tasks.find(id)->second;
    if (task.phase > TaskPhase::kTraining) continue;
    if (task.base_min < granted.task.base_min) {
      WithdrawTask(step, {granted.run_id, granted.run, id, task});
    } else if (task.base_min > granted.task.base_min) {
      WithdrawTask(step, granted);
      return;
    }
  }
}

absl::Duration DurationMin(const SiteState& site, const RunState& run) {
  return std::max(site.options.task_duration_min,
                  absl::Milliseconds(run.plan->config().training().task_duration_min_ms()));
}

// The task in training, where it is the one named.
std::optional<TaskRef> InTraining(StepContext& step, const RunId& run, TaskId task) {
  if (step.site.training != std::make_pair(run, task)) return std::nullopt;
  return step.ExpectTask(run, task);
}

void GiveBack(StepContext& step, const TaskRef& ref, absl::string_view why) {
  SetPhase(step, ref, TaskPhase::kGranted);
  ++ref.task.trainings_failed;
  // Nobody else waits for this machine, so no jitter.
  ref.task.retry_at =
      step.now() +
      RetryDelay({.failures = ref.task.trainings_failed, .retry_after_ms = 0, .jitter = 1});
  step.Emit(SetTimer{{ref.run_id, Timer::Kind::kRelease, ref.id.value()}, ref.task.retry_at});
  step.Warn(v1::REASON_UNSPECIFIED, ref.run_id,
            absl::StrCat("training of task ", ref.id.value(), " failed: ", why));
}

// What the site keeps is what its included updates left. A task that has it as its input waits for
// the end of those before it, so that the journal of the aggregator alone says what it was.
bool KnowsWhatItKeeps(const RunState& run) {
  if (run.keeps == SiteKeeps::kNothing) return true;
  return run.held.empty() && std::none_of(run.open.begin(), run.open.end(), [&run](TaskId task) {
           return IsInOutbox(run.tasks.find(task)->second.phase);
         });
}

bool MayStart(const StepContext& step, const RunState& run, const TaskState& task) {
  if (!KnowsWhatItKeeps(run)) return false;
  if (run.ended() || run.standardisation == nullptr || task.retry_at > step.now()) return false;
  const std::optional<Version> base = NewestHere(run);
  return base.has_value() && *base >= task.base_min;
}

void Start(StepContext& step, const TaskRef& ref) {
  ref.task.base = *NewestHere(ref.run);
  ref.task.training_started = step.now();
  SetPhase(step, ref, TaskPhase::kTraining);
  step.Emit(Train{ref.run_id, ref.id, ref.task.base,
                  ref.run.models.find(ref.task.base)->second.model_id, ref.task.local_steps,
                  NewestKept(ref.run)});
}

}  // namespace

size_t TasksMax(const v1::RunPlan& plan) {
  const v1::AggregationConfig& aggregation = plan.config().aggregation();
  const v1::Trigger& trigger = aggregation.trigger();
  uint64_t updates = trigger.has_buffer()     ? trigger.buffer().updates()
                     : trigger.has_interval() ? kWaitingUpdatesOfSiteMax
                                              : 1;
  if (aggregation.combine().has_buckets() || trigger.buffer().live_share_min() > 0) {
    updates = std::max<uint64_t>(updates, kWaitingUpdatesOfSiteMax);
  }
  const uint64_t useful = 2 * updates * plan.config().stop().versions_max();
  return std::min(uint64_t{limits::kSiteTasksPerRunMax}, useful + limits::kSiteGrantsOpenMax);
}

void OnTaskOffered(StepContext& step, const TaskOffered& event) {
  RunState* const run = step.ExpectApproved(event.run);
  if (run == nullptr || run->ended()) return;
  if (const auto known = run->tasks.find(event.task); known != run->tasks.end()) {
    if (known->second.base_min != event.base_min ||
        known->second.local_steps != event.local_steps) {
      step.Warn(v1::TASK_CONFLICT, event.run, "a task is granted again with other terms");
    }
    return;
  }
  if (const v1::Reason reason = ReasonAgainst(*run, event); reason != v1::REASON_UNSPECIFIED) {
    step.Warn(reason, event.run,
              absl::StrCat("the grant of task ", event.task.value(), " is not taken"));
    return;
  }
  const TaskRef ref = {event.run, *run, event.task, run->tasks[event.task]};
  ref.task.granted = step.site.sequence;
  ref.task.base_min = event.base_min;
  ref.task.local_steps = event.local_steps;
  SetPhase(step, ref, TaskPhase::kGranted);
  CloseEarlierRounds(step, ref);
}

void OnTrainDone(StepContext& step, const TrainDone& event) {
  const std::optional<TaskRef> ref = InTraining(step, event.run, event.task);
  if (!ref.has_value()) {
    // It was stopped, but had just come to its end.
    const RunState* const run = step.FindRun(event.run);
    const auto task = run == nullptr ? std::map<TaskId, TaskState>::const_iterator()
                                     : run->tasks.find(event.task);
    const bool is_kept = run != nullptr && task != run->tasks.end() &&
                         task->second.blob == TaskState::Blob::kInOutbox &&
                         task->second.update == event.update;
    if (is_kept) return;
    step.Emit(DropUpdate{event.update});
    if (run != nullptr && run->keeps != SiteKeeps::kNothing) step.Emit(DropKept{event.update});
    return;
  }
  if (event.header == nullptr) {
    GiveBack(step, *ref, "there is no header");
    return;
  }
  ref->task.update = event.update;
  ref->task.header = event.header;
  ref->task.blob = TaskState::Blob::kInOutbox;
  ref->task.retry_at = absl::InfinitePast();
  ref->task.release_at = ref->task.training_started + DurationMin(step.site, ref->run);
  SetPhase(step, *ref, TaskPhase::kTrained);
  if (ref->task.release_at > step.now()) {
    step.Emit(
        SetTimer{{event.run, Timer::Kind::kRelease, event.task.value()}, ref->task.release_at});
  }
}

void OnTrainFailed(StepContext& step, const TrainFailed& event) {
  const std::optional<TaskRef> ref = InTraining(step, event.run, event.task);
  if (ref.has_value()) GiveBack(step, *ref, event.message);
}

void WithdrawTask(StepContext& step, const TaskRef& ref) {
  if (ref.task.phase == TaskPhase::kTraining) step.Emit(StopTraining{ref.run_id, ref.id});
  SetPhase(step, ref, TaskPhase::kWithdrawn);
}

void ResumeTasks(StepContext& step, const RunId& id, RunState& run) {
  const std::set<TaskId> open = run.open;
  for (const TaskId task : open) {
    const TaskRef ref = {id, run, task, run.tasks.find(task)->second};
    if (ref.task.phase == TaskPhase::kTraining) SetPhase(step, ref, TaskPhase::kGranted);
    const Timer timer = {id, Timer::Kind::kRelease, task.value()};
    if (ref.task.phase == TaskPhase::kGranted && ref.task.retry_at > step.now()) {
      step.Emit(SetTimer{timer, ref.task.retry_at});
    }
    if (ref.task.phase == TaskPhase::kTrained && ref.task.release_at > step.now()) {
      step.Emit(SetTimer{timer, ref.task.release_at});
    }
  }
}

void ReleaseTrained(StepContext& step, const RunId& id, RunState& run) {
  for (const TaskId task : run.open) {
    TaskState& state = run.tasks.find(task)->second;
    if (state.phase == TaskPhase::kTrained && state.release_at <= step.now()) {
      SetPhase(step, {id, run, task, state}, TaskPhase::kReady);
    }
  }
}

void StartTraining(StepContext& step) {
  SiteState& site = step.site;
  if (site.training.has_value() || site.pacing > 0) return;
  if (site.in_outbox >= limits::kTasksInFlightMax) return;
  for (const auto& [granted, id, task] : site.granted) {
    const auto run = site.runs.find(id);
    TaskState& state = run->second.tasks.find(task)->second;
    if (!MayStart(step, run->second, state)) continue;
    Start(step, {run->first, run->second, task, state});
    return;
  }
}

}  // namespace consilium::site
