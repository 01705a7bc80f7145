#include "site_agent/core/runs.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "site_agent/core/models.h"
#include "site_agent/core/tasks.h"

namespace consilium::site {
namespace {

bool WantsStatistics(const RunState& run) {
  return run.plan->config().data().standardise() != v1::DataConfig::NONE;
}

bool IsOpen(const RunState& run) {
  return !run.ended() && (run.decision == nullptr || run.approved());
}

uint64_t PlanBytesHeld(const SiteState& site) {
  uint64_t bytes = 0;
  for (const auto& [id, run] : site.runs) bytes += run.plan->ByteSizeLong();
  return bytes;
}

// What the aggregator hears of a refusal. Sentences about this site's data stay here; those about
// the plan alone may help whoever wrote it.
std::string WordsFor(v1::Reason reason, const std::string& message) {
  switch (reason) {
    case v1::HASH_MISMATCH:
    case v1::SPEC_REFUSED:
      return message;
    case v1::NO_DATASET:
      return "this site has no data set for the run";
    case v1::TOO_FEW_EXAMPLES:
      return "this site's minimum count does not allow the run";
    case v1::NOT_APPROVED:
      return "this site takes no part in the run";
    default:
      return "this site can not take part in the run";
  }
}

void Refuse(StepContext& step, RunState& run, const PlanChecked& why) {
  auto decision = std::make_shared<v1::RunDecision>();
  decision->set_run_id(why.run.value());
  decision->set_plan_hash(ToBytes(run.plan_hash));
  decision->set_reason(why.reason == v1::REASON_UNSPECIFIED ? v1::NOT_APPROVED : why.reason);
  decision->set_message(WordsFor(decision->reason(), why.message));
  --step.site.runs_open;
  run.decision = std::move(decision);
  run.refusal = why.message;
  run.missing_data.clear();
  run.plan = std::make_shared<const v1::RunPlan>();
  DropAllKept(step, run);
  step.Emit(ReportDecision{run.decision});
}

void SayAgain(StepContext& step, const RunOffered& event, const RunState& run) {
  if (event.plan_hash != run.plan_hash) {
    step.Warn(v1::HASH_MISMATCH, event.run,
              "the aggregator offers a run again with another plan; the first one stands");
    return;
  }
  if (run.decision == nullptr) return;  // The answer to CheckPlan is on its way.
  step.Emit(ReportDecision{run.decision});
  if (run.statistics != nullptr) step.Emit(ReportStatistics{run.statistics});
}

bool IsUsable(const v1::Standardisation& standardisation) {
  const auto& means = standardisation.means();
  const auto& deviations = standardisation.deviations();
  return means.size() == deviations.size() &&
         std::all_of(means.begin(), means.end(), [](double x) { return std::isfinite(x); }) &&
         std::all_of(deviations.begin(), deviations.end(),
                     [](double x) { return std::isfinite(x) && x > 0; });
}

// Nothing that was not sent can be included any more. What is being sent waits for its answer: it
// may have been accepted.
void WithdrawUnsent(StepContext& step, const RunId& id, RunState& run) {
  const std::set<TaskId> open = run.open;
  for (const TaskId task : open) {
    TaskState& state = run.tasks.find(task)->second;
    if (state.phase == TaskPhase::kSending) continue;
    WithdrawTask(step, {id, run, task, state});
  }
}

}  // namespace

v1::Reason ReasonAgainst(const SiteState& site, const RunOffered& event) {
  if (!CheckRunId(event.run.value()).ok() || event.plan == nullptr) return v1::MALFORMED;
  // The decision names the hash; it has to be that of what is looked at.
  if (PlanHash(*event.plan) != event.plan_hash) return v1::HASH_MISMATCH;
  if (site.runs.size() >= limits::kRunsMax || site.runs_open >= limits::kSiteRunsOpenMax) {
    return v1::BUSY;
  }
  const uint64_t bytes = event.plan->ByteSizeLong();
  if (bytes + PlanBytesHeld(site) > kPlanBytesHeldMax ||
      bytes + site.plan_bytes_taken > kPlanBytesTakenMax) {
    return v1::BUSY;
  }
  return v1::REASON_UNSPECIFIED;
}

void OnRunOffered(StepContext& step, const RunOffered& event) {
  if (const RunState* run = step.FindRun(event.run); run != nullptr) {
    SayAgain(step, event, *run);
    return;
  }
  if (const v1::Reason reason = ReasonAgainst(step.site, event); reason != v1::REASON_UNSPECIFIED) {
    step.Warn(reason, event.run, "a run that was offered is not looked at");
    return;
  }
  RunState& run = step.site.runs[event.run];
  ++step.site.runs_open;
  run.plan = event.plan;
  run.plan_hash = event.plan_hash;
  run.keeps = KeptBySites(run.plan->config());
  step.site.plan_bytes_taken += run.plan->ByteSizeLong();
  step.Emit(CheckPlan{event.run, run.plan, run.plan_hash});
}

void OnPlanChecked(StepContext& step, const PlanChecked& event) {
  RunState* const run = step.ExpectRun(event.run);
  if (run == nullptr || run->decision != nullptr || run->ended()) return;
  run->missing_data.clear();
  if (event.answer == PlanChecked::Answer::kWaitsForPerson) return;
  if (event.answer == PlanChecked::Answer::kWaitsForData) {
    run->missing_data = event.message;
    return;
  }
  if (event.answer == PlanChecked::Answer::kRefused) return Refuse(step, *run, event);
  auto decision = std::make_shared<v1::RunDecision>();
  decision->set_run_id(event.run.value());
  decision->set_plan_hash(ToBytes(run->plan_hash));
  decision->set_approved(true);
  decision->set_train_examples(event.train_examples);
  run->decision = std::move(decision);
  step.Emit(ReportDecision{run->decision});
  if (WantsStatistics(*run)) step.Emit(ComputeStatistics{event.run});
}

void OnRunWithdrawn(StepContext& step, const RunWithdrawn& event) {
  RunState* const run = step.FindRun(event.run);
  if (run == nullptr || run->ended() || (run->decision != nullptr && !run->approved())) return;
  WithdrawUnsent(step, event.run, *run);
  ForgetEvaluations(step, *run);
  PlanChecked why;
  why.run = event.run;
  why.reason = v1::NOT_APPROVED;
  why.message = event.why;
  Refuse(step, *run, why);
}

void RepeatRefusal(StepContext& step, RunState& run) {
  if (run.decision != nullptr && !run.approved() && !run.ended()) {
    step.Emit(ReportDecision{run.decision});
  }
}

void SettlePlan(StepContext& step, RunState& run) {
  if (!run.ended() || !run.plan->has_config()) return;
  const auto result = run.announced.find(*run.result);
  const bool tested = result != run.announced.end() && result->second.reports.contains(v1::TEST);
  const bool may_be_tested = run.approved() && run.standardisation != nullptr && !tested;
  if (may_be_tested) return;
  run.plan = std::make_shared<const v1::RunPlan>();
  // A personal model is this site's result, and stays beside the run's.
  if (!IsPersonal(run.keeps)) DropAllKept(step, run);
}

void OnStatisticsComputed(StepContext& step, const StatisticsComputed& event) {
  RunState* const run = step.ExpectRun(event.run);
  if (run == nullptr || event.report == nullptr) return;
  if (!run->approved() || run->statistics != nullptr || run->ended()) return;
  run->statistics = event.report;
  step.Emit(ReportStatistics{run->statistics});
}

void OnRunStarted(StepContext& step, const RunStarted& event) {
  RunState* const run = step.ExpectApproved(event.run);
  if (run == nullptr || run->ended()) return;
  auto standardisation = event.standardisation;
  if (standardisation == nullptr) standardisation = std::make_shared<v1::Standardisation>();
  if (run->standardisation != nullptr) {
    if (run->layout_hash != event.layout_hash ||
        run->standardisation->SerializeAsString() != standardisation->SerializeAsString()) {
      step.Warn(v1::LAYOUT_MISMATCH, event.run,
                "the aggregator starts a run again with another layout or standardisation; the "
                "first one stands");
    }
    return;
  }
  if (!IsUsable(*standardisation)) {
    step.Warn(v1::MALFORMED, event.run, "the standardisation is not finite, or divides by zero");
    return;
  }
  run->layout_hash = event.layout_hash;
  run->standardisation = std::move(standardisation);
}

void OnRunEnded(StepContext& step, const RunEnded& event) {
  RunState* const run = step.ExpectRun(event.run);
  if (run == nullptr) return;
  if (run->ended()) {
    if (*run->result != event.result) {
      step.Warn(v1::MALFORMED, event.run,
                absl::StrCat("the run ended again, with version ", event.result.value(),
                             " as its result; the first one stands"));
    }
    return;
  }
  if (IsOpen(*run)) --step.site.runs_open;
  run->result = event.result;
  run->missing_data.clear();
  WithdrawUnsent(step, event.run, *run);
  if (run->approved()) EvaluateResult(*run);
}

void ResumeRun(StepContext& step, const RunId& id, RunState& run) {
  if (run.ended()) return;
  if (run.decision == nullptr) {
    step.Emit(CheckPlan{id, run.plan, run.plan_hash});
  } else if (run.approved() && run.statistics == nullptr && WantsStatistics(run)) {
    step.Emit(ComputeStatistics{id});
  }
}

}  // namespace consilium::site
