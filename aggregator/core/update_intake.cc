#include "aggregator/core/update_intake.h"

#include <algorithm>
#include <utility>

#include "aggregator/core/admission.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/retention.h"
#include "aggregator/core/rounds.h"
#include "aggregator/core/task_grants.h"
#include "aggregator/core/training_slots.h"
#include "aggregator/core/validator.h"
#include "aggregator/core/version_folding.h"

namespace consilium::federation {
namespace {

bool HasTerminalReceipt(TaskPhase phase) {
  return phase == TaskPhase::kIncluded || phase == TaskPhase::kNotIncluded;
}

bool WasAccepted(TaskPhase phase) {
  return phase == TaskPhase::kAccepted || HasTerminalReceipt(phase);
}

void Refuse(StepContext& step, const UpdateStaged& update, v1::Reason reason, RunState* run,
            const TaskState* task) {
  if (run != nullptr) ++run->refusals[reason];
  step.Emit(RefuseUpdate{update.site, update.run, update.task, update.update, reason,
                         SentenceFor(reason, run, task)});
}

// What stands against the process that sent it.
v1::Reason ReasonAgainstSender(const StepContext& step, const UpdateStaged& update) {
  const auto site = step.federation.sites.find(update.site);
  if (site == step.federation.sites.end()) return v1::SITE_UNKNOWN;
  const SiteState& state = site->second;
  if (state.link == SiteState::Link::kRemoved) return v1::SITE_REVOKED;
  if (state.link == SiteState::Link::kNeverSeen || update.incarnation > state.incarnation) {
    return v1::NOT_ATTACHED;
  }
  if (update.incarnation < state.incarnation) return v1::INCARNATION_FENCED;
  return v1::REASON_UNSPECIFIED;
}

void Record(const StepContext& step, const RunState& run, const UpdateStaged& update,
            TaskState& task) {
  task.update = update.update;
  task.base = update.base;
  task.examples = update.examples;
  task.steps = update.steps;
  task.training_loss = update.training_loss;
  task.norm = update.norm;
  task.accepted = step.sequence();
  if (update.base <= run.current()) {
    task.staleness = run.current().value() - update.base.value();
  }
}

// Where an accepted update waits for its version.
void Queue(RunState& run, const SiteId& site, TaskId task) {
  if (run.stages.zeno.has_value()) {
    WaitForScores(run, site, task);
  } else {
    ArriveInGroup(run, site, task);
  }
}

// The first update for an open grant.
void Decide(StepContext& step, RunState& run, Participant& participant, TaskState& task,
            const UpdateStaged& update) {
  participant.open.erase(std::find(participant.open.begin(), participant.open.end(), update.task));
  run.awaited.erase(update.site);
  LeaveSlot(run, update.site);
  ++participant.answered;
  const v1::Reason reason = ReasonAgainst(run, task, update);
  Record(step, run, update, task);
  LearnPace(step, run, participant, task);
  if (reason == v1::REASON_UNSPECIFIED) {
    task.phase = TaskPhase::kAccepted;
    Queue(run, update.site, update.task);
    step.Emit(AcceptanceReceipt(update.site, run, update.task, task));
  } else {
    MissGroup(run, update.site);
    task.phase = TaskPhase::kRefused;
    task.reason = reason;
    task.ended = step.sequence();
    Refuse(step, update, reason, &run, &task);
    TellOfRefusals(step, run, update.site, reason);
  }
  RestAfterAnswer(step, run, update.site);
  GrantAfterAnswer(step, run, update.site);
  TryFold(step, run);
}

// An update for a task that has had its answer.
void AnswerAgain(StepContext& step, RunState& run, const TaskState& task,
                 const UpdateStaged& update) {
  if (task.phase == TaskPhase::kWithdrawn) {
    Refuse(step, update, task.reason, &run, &task);
    return;
  }
  if (task.update != update.update) {
    step.Emit(Alarm{v1::TASK_CONFLICT, update.site, run.run,
                    SentenceFor(v1::TASK_CONFLICT, &run, &task)});
    Refuse(step, update, v1::TASK_CONFLICT, &run, &task);
    return;
  }
  ++run.duplicates_absorbed;
  if (task.phase == TaskPhase::kRefused) {
    step.Emit(RefuseUpdate{update.site, run.run, update.task, update.update, task.reason,
                           SentenceFor(task.reason, &run, &task)});
    return;
  }
  step.Emit(AcceptanceReceipt(update.site, run, update.task, task));
  // Who asks again may have missed the end as well.
  if (HasTerminalReceipt(task.phase)) {
    step.Emit(TerminalReceipt(update.site, run, update.task, task));
  }
}

}  // namespace

void OnUpdateStaged(StepContext& step, const UpdateStaged& update) {
  RunState* run = step.FindRun(update.run);
  if (const v1::Reason reason = ReasonAgainstSender(step, update);
      reason != v1::REASON_UNSPECIFIED) {
    Refuse(step, update, reason, run, nullptr);
    return;
  }
  if (run == nullptr) {
    Refuse(step, update, v1::RUN_UNKNOWN, nullptr, nullptr);
    return;
  }
  const auto participant = run->participants.find(update.site);
  if (participant == run->participants.end()) {
    Refuse(step, update, v1::TASK_UNKNOWN, run, nullptr);
    return;
  }
  const auto task = participant->second.tasks.find(update.task);
  if (task == participant->second.tasks.end()) {
    Refuse(step, update, v1::TASK_UNKNOWN, run, nullptr);
  } else if (task->second.phase == TaskPhase::kGranted) {
    Decide(step, *run, participant->second, task->second, update);
  } else {
    AnswerAgain(step, *run, task->second, update);
  }
}

bool AnswerHeldReceipt(StepContext& step, const SiteId& site, const SiteAttached::Held& held) {
  const RunState* run = step.FindRun(held.run);
  const TaskState* state = nullptr;
  if (run != nullptr) {
    const auto participant = run->participants.find(site);
    if (participant != run->participants.end()) {
      const auto task = participant->second.tasks.find(held.task);
      if (task != participant->second.tasks.end()) state = &task->second;
    }
  }
  if (state == nullptr || !WasAccepted(state->phase) || state->update != held.update) {
    return false;
  }
  if (HasTerminalReceipt(state->phase)) {
    step.Emit(TerminalReceipt(site, *run, held.task, *state));
  }
  return true;
}

void TellEndsAgain(StepContext& step, const SiteId& site, const RunState& run, TaskId newest_task) {
  const auto participant = run.participants.find(site);
  if (participant == run.participants.end()) return;
  const std::map<TaskId, TaskState>& tasks = participant->second.tasks;
  auto task = tasks.upper_bound(newest_task);
  for (size_t told = 0; task != tasks.begin() && told < kEndsToldAgain; ++told) {
    --task;
    if (HasTerminalReceipt(task->second.phase)) {
      step.Emit(TerminalReceipt(site, run, task->first, task->second));
    }
  }
}

SendReceipt AcceptanceReceipt(const SiteId& site, const RunState& run, TaskId task,
                              const TaskState& state) {
  SendReceipt receipt;
  receipt.site = site;
  receipt.kind = v1::Receipt::ACCEPTED;
  receipt.run = run.run;
  receipt.task = task;
  receipt.update = state.update;
  receipt.sequence = state.accepted;
  return receipt;
}

SendReceipt TerminalReceipt(const SiteId& site, const RunState& run, TaskId task,
                            const TaskState& state) {
  SendReceipt receipt = AcceptanceReceipt(site, run, task, state);
  receipt.sequence = state.ended;
  if (state.phase == TaskPhase::kIncluded) {
    receipt.kind = v1::Receipt::INCLUDED;
    receipt.version = state.included_in;
    receipt.coefficient = state.coefficient;
  } else {
    receipt.kind = v1::Receipt::NOT_INCLUDED;
  }
  return receipt;
}

void EndNotIncluded(StepContext& step, RunState& run, const SiteId& site, TaskId task) {
  TaskState& state = run.participants.find(site)->second.tasks.find(task)->second;
  state.phase = TaskPhase::kNotIncluded;
  state.ended = step.sequence();
  step.Emit(TerminalReceipt(site, run, task, state));
  ForgetUpdate(step, run, state.update);
}

namespace {

void DropOf(StepContext& step, RunState& run, const SiteId& site,
            std::vector<std::pair<SiteId, TaskId>>& updates) {
  std::vector<std::pair<SiteId, TaskId>> kept;
  for (auto& [owner, task] : updates) {
    if (owner == site) {
      EndNotIncluded(step, run, owner, task);
    } else {
      kept.emplace_back(std::move(owner), task);
    }
  }
  updates = std::move(kept);
}

}  // namespace

void DropBuffered(StepContext& step, RunState& run, const SiteId& site) {
  DropOf(step, run, site, run.buffer);
  for (auto& [number, group] : run.groups) DropOf(step, run, site, group.arrived);
}

}  // namespace consilium::federation
