#include "aggregator/core/task_grants.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/core/admission.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/strategies/robust_combine.h"
#include "aggregator/core/training_slots.h"
#include "aggregator/core/validator.h"
#include "models/spec/preset_traits.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"

namespace consilium::federation {
namespace {

// No older base can be admitted now, so none is worth training on.
Version BaseMin(const RunState& run) {
  if (run.stages.trigger == TriggerStage::kBarrier) return run.current();
  return Version(run.current().value() - std::min(run.current().value(), StalenessMax(run)));
}

Timer RoundDeadlineOf(const RunState& run) {
  return {.run = run.run, .kind = Timer::Kind::kBarrierDeadline, .number = run.current().value()};
}

bool IsDeadlineOver(const RunState& run) {
  return run.stages.round_deadline != absl::ZeroDuration() &&
         !run.timers.contains(RoundDeadlineOf(run));
}

// In the round that is open, whatever came of it.
bool WasAsked(const RunState& run, const SiteId& site) {
  if (run.awaited.contains(site)) return true;
  const Participant& participant = run.participants.find(site)->second;
  const auto newest = participant.tasks.find(participant.newest_task);
  return newest != participant.tasks.end() && newest->second.base_min == run.current();
}

bool WasRefused(const RunState& run, const SiteId& site) {
  const Participant& participant = run.participants.find(site)->second;
  const auto newest = participant.tasks.find(participant.newest_task);
  return WasAsked(run, site) && newest != participant.tasks.end() &&
         newest->second.phase == TaskPhase::kRefused;
}

// Where members are drawn.
size_t RoomInRound(const RunState& run) {
  const size_t taken = run.awaited.size() + run.buffer.size();
  return run.stages.round_sites - std::min<size_t>(run.stages.round_sites, taken);
}

// Where members are drawn: some of those who have delivered were late, and replaced already.
bool IsRoundFull(const RunState& run) {
  return run.stages.round_sites > 0 && run.buffer.size() >= run.stages.round_sites;
}

// Members that the round has not asked yet.
struct Unasked {
  std::vector<SiteId> here;
  std::vector<SiteId> away;
};
Unasked UnaskedOf(const StepContext& step, const RunState& run) {
  Unasked unasked;
  for (const SiteId& site : run.members) {
    if (!WasAsked(run, site)) (step.IsAttached(site) ? unasked.here : unasked.away).push_back(site);
  }
  return unasked;
}

// Moves `count` of `sites`, or all where there are not so many, each as likely as the others, into
// the round.
void DrawInto(RunState& run, size_t count, std::vector<SiteId> sites, RandomStream& random) {
  for (size_t i = 0; i < std::min(count, sites.size()); ++i) {
    std::swap(sites[i], sites[i + random.NextBelow(sites.size() - i)]);
    run.awaited.insert(sites[i]);
  }
}

// Who is away would hold the round up, and is drawn only where the others are too few. No site can
// know the model before the draw, and so none can choose when to be there.
void DrawRound(const StepContext& step, RunState& run, Unasked unasked) {
  const std::string model = ToHex(run.versions.back().model_id);
  RandomStream random(SeedPath{run.plan->config().seed(), "round", model, step.sequence().value()});
  DrawInto(run, RoomInRound(run), std::move(unasked.here), random);
  DrawInto(run, RoomInRound(run), std::move(unasked.away), random);
}

void ArmRoundDeadline(StepContext& step, RunState& run) {
  if (run.stages.round_deadline == absl::ZeroDuration()) return;
  step.Arm(run, Timer::Kind::kBarrierDeadline, run.current().value(),
           step.now() + run.stages.round_deadline);
}

// Of a round that too few have answered: others in the place of those who are late or were refused;
// the refused again where there is nobody else. Who is late keeps its task, which it would train on
// in any case: where tasks take longer than the deadline, the first that end make the round. Looked
// at again after as long, since who comes back is no reason to look.
void DrawOthers(StepContext& step, RunState& run) {
  Unasked others = UnaskedOf(step, run);
  others.away.clear();
  if (others.here.empty()) {
    std::copy_if(run.members.begin(), run.members.end(), std::back_inserter(others.here),
                 [&](const SiteId& site) {
                   return step.IsAttached(site) && WaitingOf(run, site) == 0 &&
                          run.participants.find(site)->second.open.empty();
                 });
  }
  if (!others.here.empty()) {
    run.awaited.clear();
    DrawRound(step, run, std::move(others));
    GrantToAll(step, run);
  }
  ArmRoundDeadline(step, run);
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

size_t RoundUpdatesMin(const RunState& run) {
  return run.stages.robust.has_value() ? UpdatesMin(*run.stages.robust) : 1;
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

void BeginRound(StepContext& step, RunState& run) {
  if (run.stages.trigger == TriggerStage::kInterval) {
    step.Arm(run, Timer::Kind::kInterval, run.current().value(), step.now() + run.stages.interval);
  }
  if (run.stages.trigger != TriggerStage::kBarrier) return;
  if (run.stages.round_sites == 0) {
    run.awaited = run.members;
  } else {
    DrawRound(step, run, UnaskedOf(step, run));
  }
  ArmRoundDeadline(step, run);
}

void RefillRound(StepContext& step, RunState& run) {
  const bool open = run.stages.trigger == TriggerStage::kBarrier && !run.pending.has_value();
  if (run.phase != RunPhase::kRunning || !open || run.stages.round_sites == 0) return;
  if (RoomInRound(run) == 0) return;
  DrawRound(step, run, UnaskedOf(step, run));
  GrantToAll(step, run);
}

void JoinRound(RunState& run, const SiteId& site) {
  ForgetShare(run, run.participants.find(site)->second);
  const bool open = run.stages.trigger == TriggerStage::kBarrier && !run.pending.has_value();
  if (open && (run.stages.round_sites == 0 || RoomInRound(run) > 0)) run.awaited.insert(site);
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

bool IsRoundOver(const RunState& run) {
  // Where members have left, no more than are there.
  const size_t sites_min = std::min<size_t>(run.stages.round_sites_min, run.members.size());
  if (run.buffer.size() < std::max(RoundUpdatesMin(run), sites_min)) return false;
  return run.awaited.empty() || IsDeadlineOver(run) || IsRoundFull(run);
}

void RetryRefused(StepContext& step, RunState& run) {
  if (!run.awaited.empty() && !IsDeadlineOver(run)) return;
  if (run.stages.round_sites > 0) {
    DrawOthers(step, run);
    return;
  }
  for (const SiteId& site : run.members) {
    if (WasRefused(run, site) && run.awaited.insert(site).second) GrantTasks(step, run, site);
  }
}

}  // namespace consilium::federation
