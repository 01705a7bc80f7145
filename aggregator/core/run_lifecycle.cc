#include "aggregator/core/run_lifecycle.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/core/admission.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/evaluation.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/retention.h"
#include "aggregator/core/rounds.h"
#include "aggregator/core/task_grants.h"
#include "aggregator/core/training_slots.h"
#include "aggregator/core/update_intake.h"
#include "aggregator/core/validator.h"
#include "aggregator/core/version_folding.h"
#include "models/spec/run_plan.h"
#include "models/spec/standardisation.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"

namespace consilium::federation {
namespace {

bool IsOver(const RunState& run) {
  return run.phase == RunPhase::kEnded || run.phase == RunPhase::kPurged;
}

bool WantsStatistics(const RunState& run) {
  return run.plan->config().data().standardise() != v1::DataConfig::NONE;
}

bool IsReady(const RunState& run, const Participant& participant) {
  return participant.decision == Participant::Decision::kApproved &&
         (!WantsStatistics(run) || participant.statistics != nullptr);
}

Timer StartDeadlineOf(const RunState& run) {
  return {.run = run.run, .kind = Timer::Kind::kStartDeadline, .number = 0};
}

Timer ClosingDeadlineOf(const RunState& run) {
  return {.run = run.run,
          .kind = Timer::Kind::kClosingDeadline,
          .number = run.phase == RunPhase::kClosingValidation ? 1u : 2u};
}

// Older versions are asked for too: the result is chosen among them, and a report on the last one
// can overtake one that a broken stream lost and that is asked for again.
bool IsValidated(RunState& run) {
  const uint64_t current = run.current().value();
  for (uint64_t v = current - std::min(current, kEvaluationsAskedAgainMax - 1); v <= current; ++v) {
    if (run.versions[v].stored == VersionState::Stored::kKept &&
        !IsComplete(run, Version(v), v1::VALIDATION)) {
      return false;
    }
  }
  return true;
}

void End(StepContext& step, RunState& run) {
  run.phase = RunPhase::kEnded;
  run.ended_at = step.now();
  run.timers.clear();
  for (const SiteId& site : run.members) {
    if (!step.IsAttached(site)) continue;
    step.Emit(
        EndRun{site, run.run, run.current(), run.result.value_or(run.current()), run.why_ended});
  }
  ForgetAtEnd(step, run);
}

absl::StatusOr<RunState> NewRun(const StepContext& step, const RunSubmitted& event) {
  if (step.federation.runs.contains(event.run)) {
    return absl::AlreadyExistsError("a run of this id was submitted before");
  }
  if (step.federation.runs.size() >= limits::kRunsMax) {
    return absl::ResourceExhaustedError("the federation has its largest number of runs");
  }
  if (event.plan == nullptr) return absl::InvalidArgumentError("there is no plan");
  RunState run;
  run.run = event.run;
  run.plan = event.plan;
  CONSILIUM_ASSIGN_OR_RETURN(run.stages, StagesOf(event.plan->config().aggregation()));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*event.plan));
  run.plan_hash = PlanHash(*event.plan);
  run.layout_hash = graph.layout.Hash();
  run.elements = graph.layout.elements();
  run.submitted_at = step.now();
  const auto& listed = event.plan->config().participation().sites();
  for (const std::string& site : listed) {
    const auto known = step.federation.sites.find(SiteId(site));
    Participant& participant = run.participants[SiteId(site)];
    if (known != step.federation.sites.end() && known->second.link == SiteState::Link::kRemoved) {
      participant.decision = Participant::Decision::kRefused;
      participant.refusal_reason = v1::SITE_REVOKED;
    }
  }
  for (const auto& [id, site] : step.federation.sites) {
    if (listed.empty() && site.link != SiteState::Link::kRemoved) run.participants[id];
  }
  if (run.stages.zeno.has_value() && !run.participants.contains(run.stages.zeno->validator)) {
    return absl::InvalidArgumentError(
        absl::StrCat("aggregation.transform.zeno.validator: ", run.stages.zeno->validator.value(),
                     " is none of the sites of the run"));
  }
  if (run.stages.robust.has_value() && run.stages.trigger == TriggerStage::kBarrier &&
      run.participants.size() > kStepVectorsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("aggregation: a robust rule compares the updates of up to ", kStepVectorsMax,
                     " sites; take a buffer or BASGD"));
  }
  if (KeepsTable(run.stages) && run.participants.size() > limits::kTableSitesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("aggregation.preset: a table of latest updates is for up to ",
                     limits::kTableSitesMax, " sites"));
  }
  return run;
}

void BeginDrawing(StepContext& step, RunState& run) {
  if (WantsStatistics(run)) {
    std::map<SiteId, v1::StatisticsReport> reports;
    for (const auto& [id, participant] : run.participants) {
      if (IsReady(run, participant)) reports[id] = *participant.statistics;
    }
    absl::StatusOr<v1::Standardisation> folded = FoldStatistics(run.plan->contract(), reports);
    if (!folded.ok()) {
      run.why_ended = absl::StrCat("the statistics do not fold: ", folded.status().message());
      End(step, run);
      return;
    }
    run.standardisation = std::make_shared<const v1::Standardisation>(*std::move(folded));
  } else {
    // Numbers go to the model as they are.
    auto identity = std::make_shared<v1::Standardisation>();
    const int features = static_cast<int>(FeatureCount(run.plan->contract()));
    identity->mutable_means()->Resize(features, 0);
    identity->mutable_deviations()->Resize(features, 1);
    run.standardisation = std::move(identity);
  }
  run.standardisation_hash = StandardisationHash(*run.standardisation);
  run.phase = RunPhase::kDrawing;
  run.timers.erase(StartDeadlineOf(run));
  PendingProgram draw;
  draw.program = ++run.programs;
  draw.makes = Version(0);
  step.Emit(DrawInitialModel{run.run, draw.program});
  run.pending = std::move(draw);
}

// Whether the beginning waits for that participant, as long as there is no deadline that is over.
bool IsWaitedFor(const RunState& run, const Participant& participant) {
  return !IsReady(run, participant) && participant.decision != Participant::Decision::kRefused;
}

// Whether the beginning waits for any participant. Looks on from the one for whom it waited last,
// so that all the decisions together cost one look at each; then from the first, because one before
// may have changed its mind.
bool WaitsForAny(RunState& run) {
  const auto is_waited_for = [&run](const auto& entry) { return IsWaitedFor(run, entry.second); };
  const auto end = run.participants.end();
  const auto last = run.participants.lower_bound(run.begin_waits_for);
  auto next = std::find_if(last, end, is_waited_for);
  if (next == end) {
    next = std::find_if(run.participants.begin(), last, is_waited_for);
    if (next == last) return false;
  }
  run.begin_waits_for = next->first;
  return true;
}

// Begins when every expected site has refused, or is ready; after the deadline with those that
// are ready, if they are enough. Never without its validator, where it has one.
void TryBegin(StepContext& step, RunState& run) {
  if (run.phase != RunPhase::kOffered) return;
  const v1::ParticipationConfig& config = run.plan->config().participation();
  const bool too_late =
      config.start_deadline_ms() > 0 && !run.timers.contains(StartDeadlineOf(run));
  const bool all = !WaitsForAny(run);
  if (!all && !too_late) return;
  const auto ready = static_cast<uint32_t>(
      std::count_if(run.participants.begin(), run.participants.end(),
                    [&run](const auto& entry) { return IsReady(run, entry.second); }));
  const Participant* const validator =
      run.stages.zeno.has_value() ? &run.participants.find(run.stages.zeno->validator)->second
                                  : nullptr;
  const bool can_score = validator == nullptr || IsReady(run, *validator);
  const bool has_refused =
      validator != nullptr && validator->decision == Participant::Decision::kRefused;
  const bool enough = ready >= std::max<uint32_t>(config.sites_min(), 1) && can_score;
  if (enough && (all || too_late)) {
    BeginDrawing(step, run);
  } else if (all || (too_late && has_refused)) {
    run.why_ended = has_refused ? WhyNothingIsScored(run)
                                : absl::StrCat("only ", ready, " of the sites take part");
    End(step, run);
  }
}

// Whether the run had to stop because those who are left can make no version.
bool StopIfTooFew(StepContext& step, RunState& run) {
  if (run.members.empty()) {
    StopRun(step, run, "every site has left");
    return true;
  }
  if (const std::string why = WhyNothingIsScored(run); !why.empty()) {
    StopRun(step, run, why);
    return true;
  }
  const bool has_rounds = run.stages.trigger == TriggerStage::kBarrier;
  if (!has_rounds || run.members.size() >= RoundUpdatesMin(run)) return false;
  StopRun(step, run,
          absl::StrCat("only ", run.members.size(), " sites are left, and the rule compares the ",
                       "updates of at least ", RoundUpdatesMin(run)));
  return true;
}

void TellStarted(StepContext& step, const RunState& run, const SiteId& site) {
  step.Emit(StartRun{site, run.run, run.layout_hash, run.standardisation});
  AnnounceMissed(step, run, site);
}

// A member that has no grant yet.
void BeginTraining(StepContext& step, RunState& run, const SiteId& site) {
  if (step.IsAttached(site)) TellStarted(step, run, site);
  GrantTasks(step, run, site);
}

Alarm TooManyExamples(const RunState& run, const SiteId& site) {
  return {v1::TOO_MANY_EXAMPLES, site, run.run,
          absl::StrCat("the site states more training examples than the ", SiteExamplesMax(run),
                       " that the run takes from one site (aggregation.limits.site_examples_max)")};
}

void Refuses(StepContext& step, RunState& run, const SiteId& site, v1::Reason reason) {
  Participant& participant = run.participants[site];
  participant.refusal_reason = reason;
  LeaveRun(step, run, site, reason);
}

void Approves(StepContext& step, RunState& run, const RunDecided& event) {
  Participant& participant = run.participants[event.site];
  if (participant.decision == Participant::Decision::kApproved) return;  // Said again.
  participant.decision = Participant::Decision::kApproved;
  participant.refusal_reason = v1::REASON_UNSPECIFIED;
  participant.train_examples = event.train_examples;
  run.members.insert(event.site);
  run.members_memo = MembersMemo();
  if (run.phase == RunPhase::kRunning) {
    ForgetShare(run, participant);
    JoinRound(run, event.site);
    JoinLevel(run, event.site);
    BeginTraining(step, run, event.site);
  }
  TryBegin(step, run);
}

}  // namespace

void OnRunSubmitted(StepContext& step, const RunSubmitted& event) {
  absl::StatusOr<RunState> created = NewRun(step, event);
  if (!created.ok()) {
    step.Emit(
        Alarm{v1::SPEC_REFUSED, SiteId(), event.run, std::string(created.status().message())});
    return;
  }
  RunState& run = step.federation.runs[event.run] = *std::move(created);
  for (const auto& [site, participant] : run.participants) {
    if (!step.federation.sites.contains(site)) {
      step.Emit(Alarm{v1::SITE_UNKNOWN, site, run.run,
                      "the run expects a site that was not added to the federation yet"});
    }
    if (step.IsAttached(site)) step.Emit(OfferRun{site, run.run, run.plan, run.plan_hash});
  }
  const uint32_t deadline_ms = run.plan->config().participation().start_deadline_ms();
  if (deadline_ms > 0) {
    step.Arm(run, Timer::Kind::kStartDeadline, 0, step.now() + absl::Milliseconds(deadline_ms));
  }
  TryBegin(step, run);
}

void OnRunDecided(StepContext& step, const RunDecided& event) {
  RunState* run = step.FindRun(event.run);
  if (run == nullptr || !run->participants.contains(event.site)) {
    step.Emit(Alarm{v1::RUN_UNKNOWN, event.site, event.run,
                    "a site decided about a run that was not offered to it"});
    return;
  }
  const auto site = step.federation.sites.find(event.site);
  if (site == step.federation.sites.end() || site->second.link == SiteState::Link::kRemoved) return;
  if (event.plan_hash != run->plan_hash) {
    step.Emit(Alarm{v1::MALFORMED, event.site, event.run,
                    "a site decided about another plan than the one that was offered"});
    return;
  }
  if (run->phase >= RunPhase::kClosingValidation) {
    if (IsOver(*run) && step.IsAttached(event.site)) {
      step.Emit(EndRun{event.site, run->run, run->current(), run->result.value_or(run->current()),
                       run->why_ended});
    }
    return;
  }
  if (event.answer == RunDecided::Answer::kRefused) {
    Refuses(step, *run, event.site, event.reason);
  } else if (event.train_examples == 0) {
    Refuses(step, *run, event.site, v1::TOO_FEW_EXAMPLES);
  } else if (event.train_examples > SiteExamplesMax(*run)) {
    step.Emit(TooManyExamples(*run, event.site));
    Refuses(step, *run, event.site, v1::TOO_MANY_EXAMPLES);
  } else {
    Approves(step, *run, event);
  }
}

void OnStatisticsReported(StepContext& step, const StatisticsReported& event) {
  if (event.report == nullptr) return;
  const RunId run_id(event.report->run_id());
  RunState* run = step.FindRun(run_id);
  if (run == nullptr || !run->participants.contains(event.site)) {
    step.Emit(Alarm{v1::RUN_UNKNOWN, event.site, run_id,
                    "a site sent statistics for a run that was not offered to it"});
    return;
  }
  Participant& participant = run->participants[event.site];
  if (run->phase != RunPhase::kOffered || !WantsStatistics(*run) ||
      participant.statistics != nullptr ||
      participant.decision == Participant::Decision::kRefused) {
    return;  // Said again, or too late to count.
  }
  if (absl::Status status = CheckStatistics(run->plan->contract(), *event.report); !status.ok()) {
    step.Emit(Alarm{v1::MALFORMED, event.site, run_id, std::string(status.message())});
    Refuses(step, *run, event.site, v1::MALFORMED);
    return;
  }
  const auto& counts = event.report->counts();
  if (std::any_of(counts.begin(), counts.end(),
                  [run](uint64_t count) { return count > SiteExamplesMax(*run); })) {
    step.Emit(TooManyExamples(*run, event.site));
    Refuses(step, *run, event.site, v1::TOO_MANY_EXAMPLES);
    return;
  }
  participant.statistics = event.report;
  TryBegin(step, *run);
}

void OnTimerFired(StepContext& step, const TimerFired& event) {
  RunState* run = step.FindRun(event.timer.run);
  if (run == nullptr || run->timers.erase(event.timer) == 0) return;
  switch (event.timer.kind) {
    case Timer::Kind::kStartDeadline:
      TryBegin(step, *run);
      break;
    case Timer::Kind::kBarrierDeadline:
    case Timer::Kind::kInterval:
      TryFold(step, *run);
      break;
    case Timer::Kind::kGroupLatest:
      CloseGroup(*run, event.timer.number);
      TryFold(step, *run);
      break;
    case Timer::Kind::kRest:
      if (const SiteId site = EndRest(*run, event.timer.number); !site.empty()) {
        GrantTasks(step, *run, site);
      }
      break;
    case Timer::Kind::kSlot:
      EndLateSlots(step, *run, event.timer.number);
      GrantToAll(step, *run);
      break;
    case Timer::Kind::kRetryWait:
      EndRetryWait(step, *run);
      break;
    case Timer::Kind::kClosingDeadline:
      AdvanceClosing(step, *run);
      break;
  }
}

void OnStopRequested(StepContext& step, const StopRequested& event) {
  RunState* run = step.FindRun(event.run);
  if (run == nullptr) {
    step.Emit(Alarm{v1::RUN_UNKNOWN, SiteId(), event.run, "there is no such run to stop"});
    return;
  }
  if (run->phase >= RunPhase::kClosingValidation) return;
  StopRun(step, *run, absl::StrCat("stopped by ", event.operator_name));
}

void OnPurgeRequested(StepContext& step, const PurgeRequested& event) {
  RunState* run = step.FindRun(event.run);
  if (run == nullptr || !IsOver(*run)) {
    step.Emit(Alarm{v1::RUN_UNKNOWN, SiteId(), event.run, "only a run that has ended is purged"});
    return;
  }
  if (run->phase == RunPhase::kPurged) return;
  run->phase = RunPhase::kPurged;
  step.Emit(PurgeRun{run->run});
}

void ResumeRun(StepContext& step, RunState& run) {
  if (IsOver(run)) return;
  for (const auto& [timer, at] : run.timers) step.Emit(SetTimer{timer, at});
  if (!run.pending.has_value()) return;
  if (run.phase == RunPhase::kDrawing) {
    step.Emit(DrawInitialModel{run.run, run.pending->program});
  } else {
    AskForPending(step, run);
  }
}

void TellRun(StepContext& step, const RunState& run, const SiteId& site) {
  const auto found = run.participants.find(site);
  if (found == run.participants.end() || IsOver(run)) return;
  const Participant& participant = found->second;
  const bool undecided = participant.decision == Participant::Decision::kPending;
  const bool unready = run.phase == RunPhase::kOffered && !IsReady(run, participant) &&
                       participant.decision != Participant::Decision::kRefused;
  if ((undecided && run.phase <= RunPhase::kRunning) || unready) {
    step.Emit(OfferRun{site, run.run, run.plan, run.plan_hash});
  }
  if (!run.members.contains(site) || run.phase < RunPhase::kRunning) return;
  TellStarted(step, run, site);
  OfferOpenTasks(step, run, site);
}

v1::Reason AnswerProgress(StepContext& step, const SiteId& site,
                          const SiteAttached::Progress& progress) {
  const RunState* run = step.FindRun(progress.run);
  if (run == nullptr) return v1::RUN_UNKNOWN;
  const auto found = run->participants.find(site);
  if (found == run->participants.end()) return v1::REASON_UNSPECIFIED;
  TellEndsAgain(step, site, *run, progress.newest_task);
  if (IsOver(*run)) {
    step.Emit(EndRun{site, run->run, run->current(), run->result.value_or(run->current()),
                     run->why_ended});
  }
  return progress.newest_task > found->second.newest_task ? v1::TASK_UNKNOWN
                                                          : v1::REASON_UNSPECIFIED;
}

void LeaveRun(StepContext& step, RunState& run, const SiteId& site, v1::Reason reason) {
  const auto found = run.participants.find(site);
  if (found == run.participants.end() || IsOver(run)) return;
  found->second.decision = Participant::Decision::kRefused;
  if (found->second.refusal_reason == v1::REASON_UNSPECIFIED) {
    found->second.refusal_reason = reason;
  }
  const bool was_member = run.members.erase(site) > 0;
  run.members_memo = MembersMemo();
  TryBegin(step, run);
  if (!was_member) return;
  ForgetShare(run, found->second);
  MissGroup(run, site);
  WithdrawTasks(step, run, site, v1::RUN_ENDED);
  DropBuffered(step, run, site);
  run.awaited.erase(site);
  if (run.phase == RunPhase::kRunning && StopIfTooFew(step, run)) return;
  // Others may have waited for this one, or for its slot.
  if (run.stages.trigger == TriggerStage::kBounded || run.stages.concurrency.has_value()) {
    GrantToAll(step, run);
  }
  RefillRound(step, run);
  TryFold(step, run);
  AfterMembersChanged(step, run);
}

void BeginRunning(StepContext& step, RunState& run) {
  if (StopIfTooFew(step, run)) return;
  run.phase = RunPhase::kRunning;
  BeginInterval(step, run);
  BeginRound(step, run);
  if (run.stages.concurrency.has_value()) {
    // Whoever is drawn must have heard of the start.
    for (const SiteId& site : run.members) {
      if (step.IsAttached(site)) TellStarted(step, run, site);
    }
    GrantToAll(step, run);
    return;
  }
  for (const SiteId& site : run.members) BeginTraining(step, run, site);
}

void StopRun(StepContext& step, RunState& run, std::string why) {
  run.why_ended = std::move(why);
  run.timers.clear();
  for (const SiteId& site : run.members) WithdrawTasks(step, run, site, v1::RUN_ENDED);
  GiveUpPending(step, run);
  run.awaited.clear();
  // Nobody has heard of a version: there is nothing to evaluate.
  if (run.phase < RunPhase::kRunning) {
    End(step, run);
    return;
  }
  run.phase = RunPhase::kClosingValidation;
  const uint32_t wait_ms = run.plan->config().stop().closing_deadline_ms();
  step.Arm(run, Timer::Kind::kClosingDeadline, 1, step.now() + absl::Milliseconds(wait_ms));
  AdvanceClosing(step, run);
}

void AdvanceClosing(StepContext& step, RunState& run) {
  const auto is_late = [&run] { return !run.timers.contains(ClosingDeadlineOf(run)); };
  if (run.phase == RunPhase::kClosingValidation && (is_late() || IsValidated(run))) {
    run.timers.erase(ClosingDeadlineOf(run));
    run.result = ChooseResult(step, run);
    run.phase = RunPhase::kClosingTest;
    const uint32_t wait_ms = run.plan->config().stop().closing_deadline_ms();
    step.Arm(run, Timer::Kind::kClosingDeadline, 2, step.now() + absl::Milliseconds(wait_ms));
    AnnounceToAll(step, run, *run.result, v1::TEST);
  }
  if (run.phase == RunPhase::kClosingTest &&
      (is_late() || IsComplete(run, *run.result, v1::TEST))) {
    End(step, run);
  }
}

}  // namespace consilium::federation
