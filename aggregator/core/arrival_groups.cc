#include "aggregator/core/arrival_groups.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace consilium::federation {
namespace {

// Whole steps until `at`. What is missing to a whole one by rounding is not missing.
double StepsUntil(absl::Time at, absl::Time now, double seconds_per_step) {
  return std::floor(absl::ToDoubleSeconds(at - now) / seconds_per_step + 1e-6);
}

absl::Duration Lasting(double steps, double seconds_per_step) {
  return absl::Seconds(steps * seconds_per_step);
}

struct Place {
  uint64_t group = 0;
  double steps = 0;
};

// The earliest of those with the most steps.
std::optional<Place> FindGroup(const RunState& run, absl::Time now, double pace) {
  const GroupRule& rule = *run.stages.groups;
  std::optional<Place> best;
  for (const auto& [number, group] : run.groups) {
    const double steps = StepsUntil(group.expected, now, pace);
    if (steps < rule.local_steps_min || steps > rule.local_steps_max) continue;
    if (!best.has_value() || steps > best->steps) best = {number, steps};
  }
  return best;
}

// Of a new group: as many as bring it together with what a group of now may bring next, when its
// fastest member has come at the latest time and trained Q_max steps more.
double StepsAlone(const RunState& run, absl::Time now, double pace) {
  const GroupRule& rule = *run.stages.groups;
  double steps = -1;
  for (const auto& [number, group] : run.groups) {
    const absl::Time next = group.latest + Lasting(rule.local_steps_max, group.fastest);
    const double fitting = StepsUntil(next, now, pace);
    if (fitting <= rule.local_steps_max) steps = std::max(steps, fitting);
  }
  return steps < 0 ? rule.local_steps_max : std::max<double>(steps, rule.local_steps_min);
}

Place OpenGroup(StepContext& step, RunState& run, double pace) {
  const double steps = StepsAlone(run, step.now(), pace);
  const uint64_t number = ++run.groups_made;
  ArrivalGroup& group = run.groups[number];
  const absl::Duration expected = Lasting(steps, pace);
  group.expected = step.now() + expected;
  group.latest = step.now() + run.stages.groups->latest_factor * expected;
  group.fastest = pace;
  step.Arm(run, Timer::Kind::kGroupLatest, number, group.latest);
  return {number, steps};
}

void CloseIfComplete(RunState& run, uint64_t number) {
  const auto found = run.groups.find(number);
  if (found != run.groups.end() && found->second.awaited.empty()) CloseGroup(run, number);
}

}  // namespace

uint32_t JoinGroup(StepContext& step, RunState& run, const SiteId& site) {
  Participant& participant = run.participants.find(site)->second;
  if (!participant.seconds_per_step.has_value()) return run.stages.groups->local_steps_min;
  const double pace = *participant.seconds_per_step;
  std::optional<Place> place = FindGroup(run, step.now(), pace);
  if (!place.has_value()) place = OpenGroup(step, run, pace);
  ArrivalGroup& group = run.groups.find(place->group)->second;
  group.awaited.insert(site);
  group.fastest = std::min(group.fastest, pace);
  participant.group = place->group;
  return static_cast<uint32_t>(place->steps);
}

bool WaitsForVersion(const Participant& participant) {
  const auto newest = participant.tasks.find(participant.newest_task);
  return newest != participant.tasks.end() && newest->second.phase == TaskPhase::kAccepted;
}

void LearnPace(const StepContext& step, const RunState& run, Participant& participant,
               const TaskState& task) {
  if (!run.stages.groups.has_value()) return;
  // Above 0, whatever a clock says.
  const double seconds = std::max(1e-9, absl::ToDoubleSeconds(step.now() - participant.granted_at));
  const double now = seconds / task.local_steps;
  const double decay = run.stages.groups->speed_decay;
  participant.seconds_per_step = participant.seconds_per_step.has_value()
                                     ? decay * *participant.seconds_per_step + (1 - decay) * now
                                     : now;
}

void ArriveInGroup(RunState& run, const SiteId& site, TaskId task) {
  Participant& participant = run.participants.find(site)->second;
  if (!participant.group.has_value()) {
    run.buffer.emplace_back(site, task);
    return;
  }
  const uint64_t number = *std::exchange(participant.group, std::nullopt);
  ArrivalGroup& group = run.groups.find(number)->second;
  group.awaited.erase(site);
  group.arrived.emplace_back(site, task);
  CloseIfComplete(run, number);
}

void MissGroup(RunState& run, const SiteId& site) {
  Participant& participant = run.participants.find(site)->second;
  if (!participant.group.has_value()) return;
  const uint64_t number = *std::exchange(participant.group, std::nullopt);
  run.groups.find(number)->second.awaited.erase(site);
  CloseIfComplete(run, number);
}

void CloseGroup(RunState& run, uint64_t number) {
  const auto found = run.groups.find(number);
  if (found == run.groups.end()) return;
  for (const SiteId& late : found->second.awaited)
    run.participants.find(late)->second.group.reset();
  for (auto& arrived : found->second.arrived) run.buffer.push_back(std::move(arrived));
  run.groups.erase(found);
  run.timers.erase({.run = run.run, .kind = Timer::Kind::kGroupLatest, .number = number});
}

void CloseGroups(RunState& run) {
  while (!run.groups.empty()) CloseGroup(run, run.groups.begin()->first);
}

}  // namespace consilium::federation
