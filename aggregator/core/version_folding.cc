#include "aggregator/core/version_folding.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/evaluation.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/retention.h"
#include "aggregator/core/rounds.h"
#include "aggregator/core/run_lifecycle.h"
#include "aggregator/core/strategies/combine.h"
#include "aggregator/core/strategies/contributions.h"
#include "aggregator/core/strategies/measures.h"
#include "aggregator/core/strategies/robust_combine.h"
#include "aggregator/core/task_grants.h"
#include "aggregator/core/update_intake.h"
#include "aggregator/core/validator.h"
#include "models/spec/preset_traits.h"
#include "protocol/wire/identity.h"

namespace consilium::federation {
namespace {

// K.
size_t BufferUpdates(RunState& run) {
  const size_t updates = run.stages.buffer_updates;
  const double share = run.stages.buffer_live_share_min;
  if (share == 0) return updates;
  return std::max(updates,
                  static_cast<size_t>(std::ceil(share * static_cast<double>(LiveMembers(run)))));
}

// Whether who delivered last has as many updates in the buffer as a plan lets one site have. Looks
// at its newest tasks alone, so that what came of a run's many does not cost each arrival.
bool IsFilledByOne(const RunState& run) {
  if (run.buffer.empty()) return false;
  const Participant& last = run.participants.find(run.buffer.back().first)->second;
  size_t waiting = 0;
  size_t seen = 0;
  for (auto task = last.tasks.rbegin(); task != last.tasks.rend(); ++task) {
    if (task->second.phase == TaskPhase::kIncluded || ++seen > 2 * kWaitingUpdatesOfSiteMax) break;
    if (task->second.phase == TaskPhase::kAccepted) ++waiting;
  }
  return waiting >= kWaitingUpdatesOfSiteMax;
}

// How many of the buffer, from its front, the trigger would make the next version of; 0: not yet.
size_t TriggeredSize(RunState& run) {
  if (HasBuckets(run)) {
    const bool ready = run.buffer.size() >= run.stages.buffer_updates && AreBucketsReady(run);
    return ready ? run.buffer.size() : 0;
  }
  switch (run.stages.trigger) {
    case TriggerStage::kBuffer:
    case TriggerStage::kBounded: {
      const size_t updates = ValidatorsWaiting(run) + BufferUpdates(run);
      if (run.buffer.size() >= updates) return updates;
      return run.stages.buffer_live_share_min > 0 && IsFilledByOne(run) ? run.buffer.size() : 0;
    }
    case TriggerStage::kGroups:
      return run.buffer.size();
    case TriggerStage::kBarrier:
      return IsRoundOver(run) ? run.buffer.size() : 0;
    case TriggerStage::kInterval:
      if (run.buffer.size() >= kIntervalUpdatesMax) return kIntervalUpdatesMax;
      return IsIntervalOver(run) ? run.buffer.size() : 0;
  }
  return 0;
}

// How many of the buffer, from its front, the next version is made of; 0: not yet.
size_t BatchSize(RunState& run) {
  const size_t size = TriggeredSize(run);
  return CanBeScored(run, size) ? size : 0;
}

VersionState CommittedVersion(const StepContext& step, const RunState& run,
                              const ComputeDone& event) {
  VersionState version;
  version.version = run.pending->makes;
  version.payload_root = event.payload_root;
  version.model_id = ModelIdOf({.run = run.run,
                                .version = version.version,
                                .layout_hash = run.layout_hash,
                                .payload_root = event.payload_root,
                                .standardisation_hash = run.standardisation_hash});
  version.committed = step.sequence();
  version.committed_at = step.now();
  version.scalars = event.scalars;
  version.server_learning_rate = run.pending->server_learning_rate;
  return version;
}

// Each site's last update of the version becomes its latest one.
void EnterTable(StepContext& step, RunState& run, const VersionState& version) {
  std::map<SiteId, const Contribution*> last;
  for (const Contribution& entry : version.contributions) {
    if (entry.role != Contribution::Role::kNew) continue;
    const Contribution*& slot = last[entry.site];
    if (slot != nullptr) ForgetUpdate(step, run, slot->update);
    slot = &entry;
  }
  const uint64_t folded_at = version.version.value() - 1;
  for (const auto& [site, entry] : last) {
    Participant& participant = run.participants.find(site)->second;
    if (participant.latest_folded.has_value()) {
      const TaskState& replaced = participant.tasks.find(*participant.latest_folded)->second;
      participant.replaced_ages.push_back(folded_at - replaced.base.value());
      if (participant.replaced_ages.size() > kReplacedAgesMax) {
        participant.replaced_ages.pop_front();
      }
      if (KeepsLatestOf(run, site)) ForgetUpdate(step, run, replaced.update);
    }
    participant.latest_folded = entry->task;
    if (!KeepsLatestOf(run, site)) ForgetUpdate(step, run, entry->update);
  }
}

void CountFolded(RunState& run, const VersionState& version) {
  if (run.stages.rate_correction.has_value()) {
    for (auto& [site, participant] : run.participants) {
      participant.folded_decayed *= run.stages.rate_correction->decay;
    }
  }
  for (const Contribution& entry : version.contributions) {
    Participant& participant = run.participants.find(entry.site)->second;
    participant.influence += InfluenceOf(entry);
    if (entry.role == Contribution::Role::kNew && run.stages.rate_correction.has_value()) {
      participant.folded_decayed += FoldedAs(run, entry);
    }
  }
}

void Include(StepContext& step, RunState& run, const VersionState& version) {
  for (const Contribution& entry : version.contributions) {
    if (entry.role != Contribution::Role::kNew) continue;
    TaskState& task = run.participants.find(entry.site)->second.tasks.find(entry.task)->second;
    task.phase = TaskPhase::kIncluded;
    task.included_in = version.version;
    task.coefficient = entry.coefficient;
    task.ended = step.sequence();
    step.Emit(TerminalReceipt(entry.site, run, entry.task, task));
  }
}

bool AllFinite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

void GoOn(StepContext& step, RunState& run) {
  BeginInterval(step, run);
  BeginRound(step, run);
  AnnounceToAll(step, run, run.current(), v1::VALIDATION);
  ForgetOldModels(step, run);
  // Elsewhere each member has had its next grant with its last answer, unless it rested.
  const bool waited =
      run.stages.trigger == TriggerStage::kBarrier || run.stages.trigger == TriggerStage::kGroups;
  if (waited || run.stages.fairness.has_value()) GrantToAll(step, run);
  if (run.stages.zeno.has_value()) GrantTasks(step, run, run.stages.zeno->validator);
  TryFold(step, run);
}

void CommitVersion(StepContext& step, RunState& run, const ComputeDone& event) {
  VersionState version = CommittedVersion(step, run, event);
  version.contributions = std::move(run.pending->contributions);
  run.pending.reset();
  run.versions.push_back(std::move(version));
  if (run.current() == Version(0)) {
    BeginRunning(step, run);
    return;
  }
  const VersionState& committed = run.versions.back();
  ++run.optimizer_steps;
  Include(step, run, committed);
  EnterTable(step, run, committed);
  CountFolded(run, committed);
  MeasureShares(step, run);
  if (run.current().value() >= std::max<uint32_t>(run.plan->config().stop().versions_max(), 1)) {
    AnnounceToAll(step, run, run.current(), v1::VALIDATION);
    StopRun(step, run, absl::StrCat("version ", run.current().value(), " was to be the last"));
  } else {
    GoOn(step, run);
  }
}

// The numbers that the pending version was to be decided by have come: asks for the version.
void Decide(StepContext& step, RunState& run, const ComputeDone& event) {
  PendingProgram& pending = *run.pending;
  if (const absl::Status decided = DecideByMeasures(run, event.scalars, pending); !decided.ok()) {
    step.Emit(Alarm{v1::MALFORMED, SiteId(), run.run,
                    absl::StrCat("version ", pending.makes.value(),
                                 " can not be decided: ", decided.message())});
    StopRun(step, run, absl::StrCat("version ", pending.makes.value(), " could not be decided"));
    return;
  }
  pending.stage = PendingProgram::Stage::kMakes;
  pending.program = ++run.programs;
  AskForPending(step, run);
}

}  // namespace

void TryFold(StepContext& step, RunState& run) {
  if (run.phase != RunPhase::kRunning || run.pending.has_value()) return;
  const size_t size = BatchSize(run);
  if (size == 0) {
    RetryRefused(step, run);
    return;
  }
  CloseRound(step, run);
  PendingProgram pending;
  pending.program = ++run.programs;
  pending.makes = run.current().next();
  const auto batch = std::span(std::as_const(run.buffer)).first(size);
  run.members_memo.examples = ExamplesOfMembers(run);
  pending.server_learning_rate = LearningRateFor(run, batch);
  pending.contributions = Combine(run, batch, pending.server_learning_rate);
  pending.empty_buckets = EmptyBuckets(run, pending.contributions);
  if (MeasuresOf(run, pending).steps.empty()) {
    // Of no numbers; it can not fail.
    DecideByMeasures(run, {}, pending).IgnoreError();
  } else {
    pending.stage = PendingProgram::Stage::kMeasures;
  }
  run.buffer.erase(run.buffer.begin(), run.buffer.begin() + static_cast<std::ptrdiff_t>(size));
  // Here a member's grants hang on how many of its updates wait.
  if (WaitingMax(run).has_value()) GrantToAll(step, run);
  run.pending = std::move(pending);
  AskForPending(step, run);
}

void OnComputeDone(StepContext& step, const ComputeDone& event) {
  RunState* run = step.FindRun(event.run);
  if (run == nullptr || event.program > run->programs) {
    step.Emit(Alarm{v1::RUN_UNKNOWN, SiteId(), event.run,
                    "the result of a program came that was never asked for"});
    return;
  }
  if (!run->pending.has_value() || run->pending->program != event.program) return;
  if (!AllFinite(event.scalars)) {
    const std::string why =
        absl::StrCat("version ", run->pending->makes.value(), " would not be finite");
    step.Emit(Alarm{v1::NOT_FINITE, SiteId(), event.run,
                    absl::StrCat(why,
                                 ": training diverged; a smaller learning rate or server step "
                                 "(aggregation.server) may help")});
    StopRun(step, *run, why);
    return;
  }
  if (run->pending->stage == PendingProgram::Stage::kMeasures) {
    Decide(step, *run, event);
  } else {
    CommitVersion(step, *run, event);
  }
}

void AskForPending(StepContext& step, const RunState& run) {
  step.Emit(Compute{run.run, run.pending->program, ProgramOf(run, *run.pending)});
}

void GiveUpPending(StepContext& step, RunState& run) {
  if (run.pending.has_value()) {
    const std::vector<Contribution> contributions = std::move(run.pending->contributions);
    run.pending.reset();
    for (const Contribution& entry : contributions) {
      if (entry.role == Contribution::Role::kNew) {
        EndNotIncluded(step, run, entry.site, entry.task);
      }
    }
  }
  CloseGroups(run);
  for (const auto& [site, task] : std::exchange(run.buffer, {})) {
    EndNotIncluded(step, run, site, task);
  }
}

}  // namespace consilium::federation
