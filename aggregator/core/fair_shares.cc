#include "aggregator/core/fair_shares.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/core/strategies/combine.h"
#include "aggregator/core/strategies/contributions.h"
#include "models/spec/local_steps.h"

namespace consilium::federation {
namespace {

// Versions of the window that the member has been there for.
uint64_t AgeOf(const RunState& run, const Participant& participant) {
  return std::min<uint64_t>(run.current().value() - participant.fair.since.value(),
                            run.stages.fairness->window_versions);
}

// The versions of the window, oldest first; version 0 holds no update.
std::span<const VersionState> WindowOf(const RunState& run) {
  const size_t made = run.versions.size() - 1;
  const size_t count = std::min<size_t>(made, run.stages.fairness->window_versions);
  return std::span(run.versions).last(count);
}

void CountInfluence(RunState& run) {
  for (auto& [site, participant] : run.participants) {
    participant.fair.influence = 0;
    participant.fair.updates = 0;
  }
  for (const VersionState& version : WindowOf(run)) {
    for (const Contribution& entry : version.contributions) {
      FairShare& fair = run.participants.find(entry.site)->second.fair;
      if (version.version <= fair.since) continue;
      fair.influence += InfluenceOf(entry);
      if (entry.role == Contribution::Role::kNew) ++fair.updates;
    }
  }
}

// For each version of the window: what its live members' patients were worth in it, per example.
struct Worth {
  std::vector<double> mass_per_example;  // Σ influence over Σ n, as long as the window.
  double mean_mass = 0;                  // Of a version.
  double examples = 0;                   // Of the live members now.
};

Worth WorthOf(const RunState& run) {
  Worth worth;
  std::vector<const Participant*> late;  // Came within the window.
  for (const SiteId& site : run.members) {
    const Participant& participant = run.participants.find(site)->second;
    if (!IsLive(run, participant)) continue;
    worth.examples += static_cast<double>(participant.train_examples);
    if (participant.fair.since > Version(0)) late.push_back(&participant);
  }
  double total = 0;
  const std::span<const VersionState> window = WindowOf(run);
  for (const VersionState& version : window) {
    double mass = 0;
    for (const Contribution& entry : version.contributions) {
      const Participant& participant = run.participants.find(entry.site)->second;
      const bool counts = run.members.contains(entry.site) && IsLive(run, participant) &&
                          version.version > participant.fair.since;
      if (counts) mass += InfluenceOf(entry);
    }
    double examples = worth.examples;
    for (const Participant* participant : late) {
      if (participant->fair.since >= version.version) {
        examples -= static_cast<double>(participant->train_examples);
      }
    }
    worth.mass_per_example.push_back(examples > 0 ? mass / examples : 0);
    total += mass;
  }
  worth.mean_mass = window.empty() ? 0 : total / static_cast<double>(window.size());
  return worth;
}

// Versions that the window still lacks, and those before the member came, count as kept.
void MeasureShare(const RunState& run, const Worth& worth, Participant& participant) {
  FairShare& fair = participant.fair;
  const uint64_t age = AgeOf(run, participant);
  const double examples = static_cast<double>(participant.train_examples);
  fair.of_a_version = worth.mean_mass * examples / worth.examples;
  double due = 0;
  const size_t window = worth.mass_per_example.size();
  for (size_t i = window - std::min<size_t>(age, window); i < window; ++i) {
    due += worth.mass_per_example[i] * examples;
  }
  fair.lacking = due - fair.influence;
  const double kept =
      static_cast<double>(run.stages.fairness->window_versions - age) * fair.of_a_version;
  fair.deviation = due + kept > 0 ? (fair.influence + kept) / (due + kept) - 1 : 0;
}

// Who has no part at all is not above it, whoever else is there.
void MeasureNone(Participant& participant) {
  participant.fair.lacking = 0;
  participant.fair.of_a_version = 0;
  participant.fair.deviation = -1;
}

// Why a member's updates may weigh no more than they do; empty where they may.
std::string CapText(const RunState& run) {
  if (!run.stages.rate_correction.has_value()) return "";
  const FairCap cap = FairCapOfRun(run, {});
  const double plans = run.stages.rate_correction->cap;
  if (cap.needed <= std::min(plans, cap.bearable)) return "";
  return absl::StrFormat(
      "; an update may weigh %.3g times the mean, %s, and %.3g would be needed",
      std::min(plans, cap.bearable),
      plans < cap.bearable ? "as the plan says" : "or few of them would carry the model",
      cap.needed);
}

bool IsAbove(const RunState& run, const Participant& participant) {
  return run.stages.fairness.has_value() && participant.fair.rate == FairShare::Rate::kOften &&
         RestRatio(*run.stages.fairness, participant.fair.deviation) > 0;
}

std::string AlarmText(const RunState& run, const Participant& participant) {
  const FairnessRule& rule = *run.stages.fairness;
  const FairShare& fair = participant.fair;
  const bool goes_on = fair.told.has_value() && fair.broken_since <= fair.told;
  std::string text =
      goes_on ? "the fairness contract can not be kept: " : "the fairness contract is broken: ";
  if (fair.updates == 0) {
    return absl::StrCat(text, "none of the last ", rule.window_versions,
                        " versions holds an update of this site; it is kept among the others");
  }
  absl::StrAppendFormat(&text,
                        "this site had %.2f times its part of the last %d versions, where %.2f to "
                        "%.2f would do",
                        1 + fair.deviation, rule.window_versions, 1 - rule.epsilon,
                        1 + rule.epsilon);
  const absl::string_view link = goes_on ? ", although it " : "; it ";
  if (fair.deviation < 0) {
    absl::StrAppend(&text, link, "is asked for tasks of ", LocalStepsFor(run, participant),
                    " local steps", CapText(run));
  } else if (IsAbove(run, participant)) {
    absl::StrAppend(&text, link, "rests between its tasks");
  }
  return text;
}

void TellIfBroken(StepContext& step, RunState& run, const SiteId& site, Participant& participant) {
  FairShare& fair = participant.fair;
  const uint64_t window = run.stages.fairness->window_versions;
  const bool broken =
      AgeOf(run, participant) >= window &&
      (fair.updates == 0 || std::abs(fair.deviation) > run.stages.fairness->epsilon);
  if (!broken) {
    fair.broken_since.reset();
    return;
  }
  if (!fair.broken_since.has_value()) fair.broken_since = run.current();
  if (fair.told.has_value() && run.current().value() - fair.told->value() < window) return;
  step.Emit(Alarm{v1::REASON_UNSPECIFIED, site, run.run, AlarmText(run, participant)});
  fair.told = run.current();
}

void StopResting(RunState& run, Participant& participant) {
  if (!participant.fair.rest.has_value()) return;
  run.timers.erase({.run = run.run, .kind = Timer::Kind::kRest, .number = *participant.fair.rest});
  run.resting.erase(*participant.fair.rest);
  participant.fair.rest.reset();
}

}  // namespace

void MeasureShares(StepContext& step, RunState& run) {
  if (!run.stages.fairness.has_value()) return;
  run.members_memo.live.reset();
  CountInfluence(run);
  const Worth worth = WorthOf(run);
  double folded = 0;
  for (const SiteId& site : run.members)
    folded += run.participants.find(site)->second.folded_decayed;
  const double examples = ExamplesOfMembers(run);
  for (const SiteId& site : run.members) {
    Participant& participant = run.participants.find(site)->second;
    if (IsLive(run, participant)) {
      MeasureShare(run, worth, participant);
    } else {
      MeasureNone(participant);
    }
    // 0 > 0 where the rule does not correct rates.
    const bool often = participant.folded_decayed * examples >
                       static_cast<double>(participant.train_examples) * folded;
    participant.fair.rate = often ? FairShare::Rate::kOften : FairShare::Rate::kUsual;
    if (!IsAbove(run, participant)) StopResting(run, participant);
    TellIfBroken(step, run, site, participant);
  }
}

bool IsLive(const RunState& run, const Participant& participant) {
  return participant.fair.updates > 0 ||
         AgeOf(run, participant) < run.stages.fairness->window_versions;
}

size_t LiveMembers(RunState& run) {
  std::optional<size_t>& live = run.members_memo.live;
  if (!live.has_value()) {
    live = static_cast<size_t>(std::count_if(
        run.members.begin(), run.members.end(),
        [&run](const SiteId& site) { return IsLive(run, run.participants.find(site)->second); }));
  }
  return *live;
}

uint32_t LocalStepsFor(const RunState& run, const Participant& participant) {
  const uint32_t steps = run.plan->config().training().local_steps();
  if (!run.stages.fairness.has_value()) return steps;
  return StepsAtShare(steps, StepsShare(*run.stages.fairness, participant.fair.deviation));
}

size_t OpenTasksNow(const RunState& run, const Participant& participant, size_t otherwise) {
  if (participant.fair.rest.has_value()) return 0;
  return IsAbove(run, participant) ? 1 : otherwise;
}

void RestAfterAnswer(StepContext& step, RunState& run, const SiteId& site) {
  if (!run.stages.fairness.has_value()) return;
  Participant& participant = run.participants.find(site)->second;
  FairShare& fair = participant.fair;
  // It may have been away for most of the time since; then it did not work for as long.
  const absl::Duration now = step.now() - participant.granted_at;
  const absl::Duration worked = fair.worked.has_value() ? std::min(now, *fair.worked) : now;
  fair.worked = now;
  if (!IsAbove(run, participant) || fair.rest.has_value() || run.phase != RunPhase::kRunning) {
    return;
  }
  fair.rest = ++run.rests;
  run.resting[*fair.rest] = site;
  step.Arm(run, Timer::Kind::kRest, *fair.rest,
           step.now() + RestRatio(*run.stages.fairness, fair.deviation) * worked);
}

SiteId EndRest(RunState& run, uint64_t number) {
  const auto found = run.resting.find(number);
  if (found == run.resting.end()) return SiteId();
  const SiteId site = found->second;
  run.resting.erase(found);
  run.participants.find(site)->second.fair.rest.reset();
  return site;
}

void ForgetShare(RunState& run, Participant& participant) {
  if (!run.stages.fairness.has_value()) return;
  StopResting(run, participant);
  run.members_memo.live.reset();
  participant.fair = FairShare();
  participant.fair.since = run.current();
}

}  // namespace consilium::federation
