#include "aggregator/core/training_slots.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/hash.h"

namespace consilium::federation {
namespace {

// Draws among all members that hit nobody who may train, before each member is looked at: where
// few of many train at once, most draws hit.
constexpr int kMissesMax = 32;

// One timer at a time, for the oldest slot: the others' deadlines come later.
bool IsTimerSet(const RunState& run) {
  const auto next = run.timers.lower_bound({.run = run.run, .kind = Timer::Kind::kSlot});
  return next != run.timers.end() && next->first.kind == Timer::Kind::kSlot;
}

absl::Time DeadlineOf(const RunState& run, const SiteId& holder) {
  // A holder has had no grant since.
  return run.participants.find(holder)->second.granted_at + run.stages.concurrency->deadline;
}

}  // namespace

size_t FreeSlots(const RunState& run) {
  if (!run.stages.concurrency.has_value()) return 0;
  const size_t slots = run.stages.concurrency->sites_max;
  return slots - std::min(slots, run.slots.size());
}

std::optional<SiteId> DrawForSlot(const StepContext& step, RunState& run,
                                  absl::FunctionRef<bool(const SiteId&)> may_train) {
  const std::vector<SiteId>& members = *ListOfMembers(run);
  if (members.empty()) return std::nullopt;
  const std::string slot = absl::StrCat("slot ", run.slots_given + 1);
  const std::string model = ToHex(run.versions.back().model_id);
  RandomStream random(SeedPath{run.plan->config().seed(), slot, model, step.sequence().value()});
  for (int misses = 0; misses < kMissesMax; ++misses) {
    const SiteId& site = members[random.NextBelow(members.size())];
    if (may_train(site)) return site;
  }
  std::vector<SiteId> able;
  std::copy_if(members.begin(), members.end(), std::back_inserter(able), may_train);
  if (able.empty()) return std::nullopt;
  return able[random.NextBelow(able.size())];
}

void TakeSlot(StepContext& step, RunState& run, const SiteId& site) {
  const uint64_t number = ++run.slots_given;
  run.slots[number] = site;
  run.participants.find(site)->second.slot = number;
  if (IsTimerSet(run)) return;
  step.Arm(run, Timer::Kind::kSlot, number, step.now() + run.stages.concurrency->deadline);
}

void LeaveSlot(RunState& run, const SiteId& site) {
  Participant& participant = run.participants.find(site)->second;
  if (!participant.slot.has_value()) return;
  run.slots.erase(*participant.slot);
  participant.slot.reset();
}

void EndLateSlots(StepContext& step, RunState& run, uint64_t number) {
  while (!run.slots.empty()) {
    const auto [oldest, holder] = *run.slots.begin();
    const absl::Time deadline = DeadlineOf(run, holder);
    if (oldest > number && deadline > step.now()) {
      step.Arm(run, Timer::Kind::kSlot, oldest, deadline);
      return;
    }
    LeaveSlot(run, holder);
  }
}

}  // namespace consilium::federation
