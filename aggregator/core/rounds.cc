#include "aggregator/core/rounds.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/strategies/robust_combine.h"
#include "aggregator/core/task_grants.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/hash.h"

namespace consilium::federation {
namespace {

bool IsOpen(const RunState& run) {
  return run.stages.trigger == TriggerStage::kBarrier && !run.pending.has_value();
}

Timer TimerOf(const RunState& run, Timer::Kind kind) {
  return {.run = run.run, .kind = kind, .number = run.current().value()};
}

bool IsDeadlineOver(const RunState& run) {
  return run.stages.round_deadline != absl::ZeroDuration() &&
         !run.timers.contains(TimerOf(run, Timer::Kind::kBarrierDeadline));
}

// In the round that is open, whatever came of it.
bool WasAsked(const RunState& run, const SiteId& site) {
  if (run.awaited.contains(site)) return true;
  const Participant& participant = run.participants.find(site)->second;
  const auto newest = participant.tasks.find(participant.newest_task);
  return newest != participant.tasks.end() && newest->second.base_min == run.current();
}

// How many of the site's newest tasks are of the open round and were refused, up to
// kRefusalsCountedMax. What was withdrawn since, because the site left and came back, does not part
// them.
size_t RefusedInARow(const RunState& run, const SiteId& site) {
  const Participant& participant = run.participants.find(site)->second;
  size_t refused = 0;
  for (auto task = participant.tasks.rbegin();
       task != participant.tasks.rend() && refused < kRefusalsCountedMax; ++task) {
    if (task->second.base_min != run.current()) break;
    if (task->second.phase == TaskPhase::kWithdrawn) continue;
    if (task->second.phase != TaskPhase::kRefused) break;
    ++refused;
  }
  return refused;
}

bool HasToWait(const RunState& run, const SiteId& site) {
  return RefusedInARow(run, site) >= kTriesAtOnceMax;
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

void ArmDeadline(StepContext& step, RunState& run) {
  if (run.stages.round_deadline == absl::ZeroDuration()) return;
  step.Arm(run, Timer::Kind::kBarrierDeadline, run.current().value(),
           step.now() + run.stages.round_deadline);
}

absl::Duration WaitAfter(const RunState& run, size_t refusals) {
  const absl::Duration first = std::max(run.stages.round_deadline, kRetryWaitMin);
  const absl::Duration longest = std::max(run.stages.round_deadline, kRetryWaitMax);
  return std::min(first * (int64_t{1} << (refusals - kTriesAtOnceMax)), longest);
}

// One wait for all who have to, if any: as long as the one has to who was refused least.
void WaitToRetry(StepContext& step, RunState& run) {
  if (run.timers.contains(TimerOf(run, Timer::Kind::kRetryWait))) return;
  size_t least = kRefusalsCountedMax + 1;
  for (const SiteId& site : run.members) {
    const size_t refused = RefusedInARow(run, site);
    if (refused >= kTriesAtOnceMax) least = std::min(least, refused);
  }
  if (least > kRefusalsCountedMax) return;
  step.Arm(run, Timer::Kind::kRetryWait, run.current().value(), step.now() + WaitAfter(run, least));
}

enum class Retry : uint8_t {
  kAtOnce,     // Of those who do not have to wait.
  kAfterWait,  // Of all.
};

// Of a round that too few have answered: others in the place of those who are late or were refused;
// the refused again where there is nobody else. Who is late keeps its task, which it would train on
// in any case: where tasks take longer than the deadline, the first that end make the round. Looked
// at again after as long, since who comes back is no reason to look.
void DrawOthers(StepContext& step, RunState& run, Retry retry) {
  Unasked others = UnaskedOf(step, run);
  others.away.clear();
  if (others.here.empty()) {
    std::copy_if(run.members.begin(), run.members.end(), std::back_inserter(others.here),
                 [&](const SiteId& site) {
                   return step.IsAttached(site) && WaitingOf(run, site) == 0 &&
                          run.participants.find(site)->second.open.empty() &&
                          (retry == Retry::kAfterWait || !HasToWait(run, site));
                 });
  }
  if (others.here.empty()) {
    WaitToRetry(step, run);
  } else {
    run.awaited.clear();
    DrawRound(step, run, std::move(others));
    GrantToAll(step, run);
  }
  ArmDeadline(step, run);
}

// The same where all train in each round.
void AskAgain(StepContext& step, RunState& run, Retry retry) {
  for (const SiteId& site : run.members) {
    if (RefusedInARow(run, site) == 0) continue;
    if (retry == Retry::kAtOnce && HasToWait(run, site)) continue;
    if (run.awaited.insert(site).second) GrantTasks(step, run, site);
  }
  WaitToRetry(step, run);
}

void TryAgain(StepContext& step, RunState& run, Retry retry) {
  if (run.stages.round_sites > 0) {
    DrawOthers(step, run, retry);
  } else {
    AskAgain(step, run, retry);
  }
}

}  // namespace

void BeginRound(StepContext& step, RunState& run) {
  if (run.stages.trigger != TriggerStage::kBarrier) return;
  if (run.stages.round_sites == 0) {
    run.awaited = run.members;
  } else {
    DrawRound(step, run, UnaskedOf(step, run));
  }
  ArmDeadline(step, run);
}

void RefillRound(StepContext& step, RunState& run) {
  if (run.phase != RunPhase::kRunning || !IsOpen(run)) return;
  if (run.stages.round_sites == 0 || RoomInRound(run) == 0) return;
  DrawRound(step, run, UnaskedOf(step, run));
  GrantToAll(step, run);
}

void JoinRound(RunState& run, const SiteId& site) {
  if (!IsOpen(run) || HasToWait(run, site)) return;
  if (run.stages.round_sites == 0 || RoomInRound(run) > 0) run.awaited.insert(site);
}

size_t RoundUpdatesMin(const RunState& run) {
  return run.stages.robust.has_value() ? UpdatesMin(*run.stages.robust) : 1;
}

bool IsRoundOver(const RunState& run) {
  // Where members have left, no more than are there.
  const size_t sites_min = std::min<size_t>(run.stages.round_sites_min, run.members.size());
  if (run.buffer.size() < std::max(RoundUpdatesMin(run), sites_min)) return false;
  return run.awaited.empty() || IsDeadlineOver(run) || IsRoundFull(run);
}

void CloseRound(StepContext& step, RunState& run) {
  if (run.stages.trigger != TriggerStage::kBarrier) return;
  for (const SiteId& site : run.members) WithdrawTasks(step, run, site, v1::ROUND_CLOSED);
  run.awaited.clear();
  std::erase_if(run.timers, [](const auto& entry) {
    return entry.first.kind == Timer::Kind::kBarrierDeadline ||
           entry.first.kind == Timer::Kind::kRetryWait;
  });
}

void RetryRefused(StepContext& step, RunState& run) {
  if (run.stages.trigger != TriggerStage::kBarrier) return;
  if (!run.awaited.empty() && !IsDeadlineOver(run)) return;
  TryAgain(step, run, Retry::kAtOnce);
}

// Whoever else the round awaits: the wait is not to be spent on nothing. No timer outlives its
// round, nor the run.
void EndRetryWait(StepContext& step, RunState& run) { TryAgain(step, run, Retry::kAfterWait); }

void TellOfRefusals(StepContext& step, const RunState& run, const SiteId& site, v1::Reason reason) {
  if (run.stages.trigger != TriggerStage::kBarrier) return;
  const size_t refused = RefusedInARow(run, site);
  if (refused < kTriesAtOnceMax) return;
  step.Emit(Alarm{reason, site, run.run,
                  absl::StrCat("version ", run.current().next().value(),
                               " waits for more updates, and those of this site are refused time ",
                               "and again: it is asked again in ",
                               absl::FormatDuration(WaitAfter(run, refused)),
                               ", then after longer waits; mend it, or remove it")});
}

}  // namespace consilium::federation
