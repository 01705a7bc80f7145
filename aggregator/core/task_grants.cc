#include "aggregator/core/task_grants.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "aggregator/core/admission.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/strategies/robust_combine.h"
#include "aggregator/core/training_slots.h"
#include "aggregator/core/validator.h"
#include "models/spec/preset_traits.h"
#include "protocol/wire/limits.h"

namespace consilium::federation {
namespace {

// No older base can be admitted now, so none is worth training on.
Version BaseMin(const RunState& run) {
  if (run.stages.trigger == TriggerStage::kBarrier) return run.current();
  return Version(run.current().value() - std::min(run.current().value(), StalenessMax(run)));
}

// The fewest tasks that a member has answered; 0 where nobody asks.
uint64_t SlowestOf(const RunState& run) {
  if (run.stages.trigger != TriggerStage::kBounded || run.members.empty()) return 0;
  uint64_t slowest = std::numeric_limits<uint64_t>::max();
  for (const SiteId& site : run.members) {
    slowest = std::min(slowest, run.participants.find(site)->second.answered);
  }
  return slowest;
}

bool MayHaveMore(const RunState& run, const SiteId& site, const Participant& participant,
                 uint64_t slowest) {
  const size_t open_max = OpenTasksMax(run);
  if (participant.open.size() >= OpenTasksNow(run, participant, open_max)) return false;
  if (!ScoringAllowsTask(run, site, open_max)) return false;
  switch (run.stages.trigger) {
    case TriggerStage::kBuffer:
    case TriggerStage::kInterval: {
      const std::optional<size_t> most = WaitingMax(run);
      return !most.has_value() || participant.open.size() + WaitingOf(run, site) < *most;
    }
    case TriggerStage::kBarrier:
      return run.awaited.contains(site);
    case TriggerStage::kBounded:
      return participant.answered + participant.open.size() <
             slowest + run.stages.updates_ahead_max;
    case TriggerStage::kGroups:
      return !WaitsForVersion(participant);
  }
  return false;
}

void GrantUpTo(StepContext& step, RunState& run, const SiteId& site, uint64_t slowest) {
  if (run.phase != RunPhase::kRunning) return;
  const auto found = run.participants.find(site);
  if (found == run.participants.end()) return;
  Participant& participant = found->second;
  if (participant.decision != Participant::Decision::kApproved) return;  // No member.
  while (MayHaveMore(run, site, participant, slowest)) {
    participant.newest_task = participant.newest_task.next();
    TaskState task;
    task.base_min = BaseMin(run);
    participant.granted_at = step.now();
    task.local_steps = run.stages.groups.has_value() ? JoinGroup(step, run, site)
                                                     : LocalStepsFor(run, participant);
    step.Emit(OfferTask{site, run.run, participant.newest_task, task.base_min, task.local_steps});
    participant.tasks.emplace_hint(participant.tasks.end(), participant.newest_task,
                                   std::move(task));
    participant.open.push_back(participant.newest_task);
  }
}

// Where slots are few, in place of a grant to each member that may have one.
void GrantFreeSlots(StepContext& step, RunState& run) {
  if (run.phase != RunPhase::kRunning || FreeSlots(run) == 0) return;
  const uint64_t slowest = SlowestOf(run);
  const auto may_train = [&](const SiteId& site) {
    return step.IsAttached(site) &&
           MayHaveMore(run, site, run.participants.find(site)->second, slowest);
  };
  while (FreeSlots(run) > 0) {
    const std::optional<SiteId> next = DrawForSlot(step, run, may_train);
    if (!next.has_value()) return;
    TakeSlot(step, run, *next);
    GrantUpTo(step, run, *next, slowest);
  }
}

}  // namespace

size_t WaitingOf(const RunState& run, const SiteId& site) {
  return static_cast<size_t>(
      std::count_if(run.buffer.begin(), run.buffer.end(),
                    [&site](const auto& entry) { return entry.first == site; }));
}

size_t OpenTasksMax(const RunState& run) {
  if (run.stages.trigger == TriggerStage::kBarrier) return 1;
  if (run.stages.trigger == TriggerStage::kGroups) return 1;
  if (run.stages.concurrency.has_value()) return 1;
  return std::clamp<uint32_t>(run.plan->config().training().tasks_in_flight_max(), 1,
                              limits::kTasksInFlightMax);
}

std::optional<size_t> WaitingMax(const RunState& run) {
  if (run.stages.trigger == TriggerStage::kInterval) return kWaitingUpdatesOfSiteMax;
  if (!HasBuckets(run)) return std::nullopt;
  return std::max(run.stages.buffer_updates, kWaitingUpdatesOfSiteMax);
}

void GrantTasks(StepContext& step, RunState& run, const SiteId& site) {
  if (run.stages.concurrency.has_value()) return GrantFreeSlots(step, run);
  GrantUpTo(step, run, site, SlowestOf(run));
}

void GrantToAll(StepContext& step, RunState& run) {
  if (run.stages.concurrency.has_value()) return GrantFreeSlots(step, run);
  const uint64_t slowest = SlowestOf(run);
  for (const SiteId& site : run.members) GrantUpTo(step, run, site, slowest);
}

void GrantAfterAnswer(StepContext& step, RunState& run, const SiteId& site) {
  if (run.stages.trigger == TriggerStage::kBounded || IsValidator(run, site)) {
    GrantToAll(step, run);  // The others may have waited for this one.
  } else {
    GrantTasks(step, run, site);
  }
}

void OfferOpenTasks(StepContext& step, const RunState& run, const SiteId& site) {
  const Participant& participant = run.participants.find(site)->second;
  for (const TaskId task : participant.open) {
    const TaskState& state = participant.tasks.find(task)->second;
    step.Emit(OfferTask{site, run.run, task, state.base_min, state.local_steps});
  }
}

void WithdrawTasks(StepContext& step, RunState& run, const SiteId& site, v1::Reason reason) {
  Participant& participant = run.participants.find(site)->second;
  for (const TaskId task : participant.open) {
    TaskState& state = participant.tasks.find(task)->second;
    state.phase = TaskPhase::kWithdrawn;
    state.reason = reason;
    state.ended = step.sequence();
  }
  participant.open.clear();
  LeaveSlot(run, site);
}

void BeginInterval(StepContext& step, RunState& run) {
  if (run.stages.trigger != TriggerStage::kInterval) return;
  step.Arm(run, Timer::Kind::kInterval, run.current().value(), step.now() + run.stages.interval);
}

void JoinLevel(RunState& run, const SiteId& site) {
  if (run.stages.trigger != TriggerStage::kBounded) return;
  Participant& joined = run.participants.find(site)->second;
  const uint64_t own = std::exchange(joined.answered, std::numeric_limits<uint64_t>::max());
  const uint64_t slowest = SlowestOf(run);
  joined.answered = run.members.size() > 1 ? std::max(own, slowest) : own;
}

bool IsIntervalOver(const RunState& run) {
  return !run.timers.contains(
      {.run = run.run, .kind = Timer::Kind::kInterval, .number = run.current().value()});
}

}  // namespace consilium::federation
