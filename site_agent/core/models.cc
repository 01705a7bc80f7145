#include "site_agent/core/models.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/wire/limits.h"
#include "site_agent/core/retry.h"

namespace consilium::site {
namespace {

using Where = ModelState::Where;

// A slow evaluation does not fill the disk: so many models may wait for theirs.
constexpr size_t kModelsAwaitingEvaluationMax = 2;

bool HasEvaluation(const ModelState& model) {
  return !model.evaluations_wanted.empty() || !model.evaluations_running.empty();
}

bool IsWanted(const RunState& run, Version version, const ModelState& model) {
  return !model.evaluations_wanted.empty() || (!run.ended() && run.newest == version);
}

bool IsBaseOfTraining(const StepContext& step, const RunId& id, const RunState& run,
                      Version version) {
  if (!step.site.training.has_value() || step.site.training->first != id) return false;
  return run.tasks.find(step.site.training->second)->second.base == version;
}

// What stands against an announcement, besides what is known of its version.
struct Objection {
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  absl::string_view why;
};
Objection ObjectionTo(const RunState& run, const ModelAvailable& event) {
  // No model can be checked or evaluated here before; asked again and again, it never could where
  // the run ended first.
  if (run.standardisation == nullptr) {
    return {v1::MALFORMED, "a model is announced of a run that has not started here"};
  }
  if (event.payload_bytes > limits::kPayloadBytesMax) {
    return {v1::OVERSIZE, "a model is announced that is larger than any may be"};
  }
  // Each version is a question about this site's patients; the plan says how many there are.
  if (!run.ended() && event.version.value() > run.plan->config().stop().versions_max()) {
    return {v1::NOT_APPROVED, "a version is announced that the approved plan does not have"};
  }
  if (event.evaluate != v1::SPLIT_UNSPECIFIED && event.evaluate != v1::VALIDATION &&
      event.evaluate != v1::TEST) {
    return {v1::MALFORMED, "an evaluation is asked for on neither validation nor test patients"};
  }
  if (event.evaluate == v1::TEST && run.tested.value_or(event.version) != event.version) {
    return {v1::NOT_APPROVED, "the test patients have answered for another version"};
  }
  return {};
}

// Remembers the version. False, with an alarm, where it was announced with another content, or is
// so old that nobody knows any more.
bool Remember(StepContext& step, RunState& run, const ModelAvailable& event) {
  const auto known = run.announced.find(event.version);
  if (known != run.announced.end()) {
    const AnnouncedVersion& before = known->second;
    if (before.model_id == event.model_id && before.payload_bytes == event.payload_bytes) {
      return true;
    }
    step.Warn(v1::HASH_MISMATCH, event.run,
              absl::StrCat("version ", event.version.value(),
                           " is announced again as another model; the first one stands"));
    return false;
  }
  // The result may be a version of long ago; which it is, is asked once (run.tested).
  const bool is_result = event.evaluate == v1::TEST;
  if (!is_result && run.forgotten.has_value() && event.version <= *run.forgotten) {
    step.Warn(v1::VERSION_UNKNOWN, event.run,
              absl::StrCat("version ", event.version.value(), " is announced long after its time"));
    return false;
  }
  AnnouncedVersion& announced = run.announced[event.version];
  announced.model_id = event.model_id;
  announced.payload_bytes = event.payload_bytes;
  if (run.announced.size() > limits::kSiteVersionsKnownMax) {
    auto oldest = run.announced.begin();
    if (is_result && oldest->first == event.version) ++oldest;
    run.forgotten = std::max(run.forgotten.value_or(oldest->first), oldest->first);
    run.announced.erase(oldest);
  }
  return run.announced.contains(event.version);
}

ModelState& TrackedModel(RunState& run, const ModelAvailable& event) {
  ModelState& model = run.models[event.version];
  model.model_id = event.model_id;
  model.payload_bytes = event.payload_bytes;
  return model;
}

void WantEvaluation(StepContext& step, RunState& run, const ModelAvailable& event) {
  if (event.evaluate == v1::TEST) run.tested = event.version;
  const auto known = run.announced.find(event.version);
  if (known != run.announced.end()) {
    const auto report = known->second.reports.find(event.evaluate);
    if (report != known->second.reports.end()) {
      step.Emit(ReportEvaluation{report->second});
      return;
    }
  }
  if (!run.models.contains(event.version) && run.models.size() >= limits::kSiteModelsWantedMax) {
    step.Warn(v1::BUSY, event.run, "more evaluations are asked for than can wait");
    return;
  }
  ModelState& model = TrackedModel(run, event);
  if (!model.evaluations_running.contains(event.evaluate)) {
    model.evaluations_wanted.insert(event.evaluate);
  }
}

bool MayBeFetched(const StepContext& step, const ModelState& model) {
  return model.where == Where::kAnnounced && model.retry_at <= step.now();
}

// The newest version first: training waits for it. Then the oldest that is to be evaluated.
std::optional<Version> NextToFetch(const StepContext& step, const RunState& run) {
  std::optional<Version> next;
  size_t awaiting = 0;  // Models here whose evaluation is not done, up to `next`.
  for (const auto& [version, model] : run.models) {
    if (model.where == Where::kFetching) return std::nullopt;
    if (next.has_value()) continue;
    if (model.where == Where::kHere && HasEvaluation(model)) ++awaiting;
    if (MayBeFetched(step, model) && IsWanted(run, version, model)) next = version;
  }
  if (run.newest.has_value() && !run.ended()) {
    const auto newest = run.models.find(*run.newest);
    if (newest != run.models.end() && MayBeFetched(step, newest->second)) return newest->first;
  }
  return awaiting < kModelsAwaitingEvaluationMax ? next : std::nullopt;
}

void StartFetch(StepContext& step, const RunId& id, RunState& run) {
  if (step.site.link != SiteState::Link::kUp) return;
  const std::optional<Version> next = NextToFetch(step, run);
  if (!next.has_value()) return;
  ModelState& model = run.models.find(*next)->second;
  model.where = Where::kFetching;
  step.Emit(Fetch{id, *next, model.model_id, model.payload_bytes});
}

// One at a time and older versions first: a report then says that all before it are in, and which
// version is chosen as the result does not hang on how fast a site was.
void StartEvaluations(StepContext& step, const RunId& id, RunState& run) {
  for (const auto& [version, model] : run.models) {
    if (!model.evaluations_running.empty()) return;
  }
  for (auto& [version, model] : run.models) {
    if (model.evaluations_wanted.empty()) continue;
    if (model.where != Where::kHere) return;
    const v1::Split split = *model.evaluations_wanted.begin();
    model.evaluations_wanted.erase(split);
    model.evaluations_running.insert(split);
    if (IsPersonal(run.keeps)) run.evaluated_with = NewestKept(run);
    step.Emit(Evaluate{id, version, split, run.evaluated_with});
    return;
  }
}

void DropUnneeded(StepContext& step, const RunId& id, RunState& run) {
  const std::optional<Version> newest_here = NewestHere(run);
  for (auto entry = run.models.begin(); entry != run.models.end();) {
    const auto& [version, model] = *entry;
    bool needed = IsWanted(run, version, model) || model.where == Where::kFetching;
    if (model.where == Where::kHere) {
      needed = needed || HasEvaluation(model) || IsBaseOfTraining(step, id, run, version) ||
               (run.approved() && version == (run.ended() ? run.result : newest_here));
      if (!needed) step.Emit(DropModel{id, version});
    }
    entry = needed ? std::next(entry) : run.models.erase(entry);
  }
}

}  // namespace

void OnModelAvailable(StepContext& step, const ModelAvailable& event) {
  RunState* const run = step.ExpectApproved(event.run);
  if (run == nullptr) return;
  if (run->ended() && (event.version != *run->result || event.evaluate != v1::TEST)) return;
  if (const Objection found = ObjectionTo(*run, event); found.reason != v1::REASON_UNSPECIFIED) {
    step.Warn(found.reason, event.run, std::string(found.why));
    return;
  }
  if (!Remember(step, *run, event)) return;
  if (event.evaluate != v1::SPLIT_UNSPECIFIED) WantEvaluation(step, *run, event);
  if (!run->ended() && (!run->newest.has_value() || event.version > *run->newest)) {
    run->newest = event.version;
    TrackedModel(*run, event);
  }
}

void OnModelFetched(StepContext& step, const ModelFetched& event) {
  RunState* const run = step.FindRun(event.run);
  if (run != nullptr) {
    const auto model = run->models.find(event.version);
    if (model != run->models.end()) {
      // SettleModels drops it at once where it is not needed any more.
      model->second.where = Where::kHere;
      model->second.fetches_failed = 0;
      return;
    }
  }
  step.Emit(DropModel{event.run, event.version});
}

void OnFetchFailed(StepContext& step, const FetchFailed& event) {
  RunState* const run = step.FindRun(event.run);
  if (run == nullptr) return;
  const auto found = run->models.find(event.version);
  if (found == run->models.end() || found->second.where != Where::kFetching) return;
  if (IsFinal(event.error)) {
    step.Warn(event.error.reason(), event.run,
              absl::StrCat("version ", event.version.value(),
                           " can not be fetched: ", event.error.message()));
    run->models.erase(found);
    return;
  }
  ModelState& model = found->second;
  model.where = Where::kAnnounced;
  ++model.fetches_failed;
  model.retry_at = step.now() + RetryDelay({.failures = model.fetches_failed,
                                            .retry_after_ms = event.error.retry_after_ms(),
                                            .jitter = event.jitter});
  step.Emit(SetTimer{{event.run, Timer::Kind::kRetryFetch, event.version.value()}, model.retry_at});
}

void OnEvaluationComputed(StepContext& step, const EvaluationComputed& event) {
  RunState* const run = step.FindRun(event.run);
  if (run == nullptr) return;
  const auto model = run->models.find(event.version);
  if (model == run->models.end() || model->second.evaluations_running.erase(event.split) == 0) {
    return;
  }
  ReleaseEvaluatedWith(step, *run);
  const bool is_awaited =
      !run->ended() || (event.version == *run->result && event.split == v1::TEST);
  if (event.metrics == nullptr || !is_awaited) return;
  auto report = std::make_shared<v1::EvaluationReport>();
  report->set_run_id(event.run.value());
  report->set_version(event.version.value());
  report->set_split(event.split);
  *report->mutable_metrics() = *event.metrics;
  const auto known = run->announced.find(event.version);
  if (known != run->announced.end()) known->second.reports[event.split] = report;
  step.Emit(ReportEvaluation{std::move(report)});
}

std::optional<Version> NewestHere(const RunState& run) {
  for (auto entry = run.models.rbegin(); entry != run.models.rend(); ++entry) {
    if (entry->second.where == Where::kHere) return entry->first;
  }
  return std::nullopt;
}

void EvaluateResult(RunState& run) {
  for (auto& [version, model] : run.models) model.evaluations_wanted.clear();
  const auto known = run.announced.find(*run.result);
  if (known == run.announced.end() || known->second.reports.contains(v1::TEST)) return;
  if (run.tested.value_or(*run.result) != *run.result) return;
  run.tested = run.result;
  ModelState& model = run.models[*run.result];
  model.model_id = known->second.model_id;
  model.payload_bytes = known->second.payload_bytes;
  if (!model.evaluations_running.contains(v1::TEST)) model.evaluations_wanted.insert(v1::TEST);
}

void ForgetEvaluations(StepContext& step, RunState& run) {
  ReleaseEvaluatedWith(step, run);
  run.newest.reset();
  for (auto& [version, model] : run.models) {
    model.evaluations_wanted.clear();
    model.evaluations_running.clear();
  }
}

void ResumeModels(StepContext& step, const RunId& id, RunState& run) {
  ReleaseEvaluatedWith(step, run);
  for (auto& [version, model] : run.models) {
    if (model.where == Where::kFetching) model.where = Where::kAnnounced;
    model.evaluations_wanted.merge(model.evaluations_running);
    model.evaluations_running.clear();
    if (model.where == Where::kAnnounced && model.retry_at > step.now()) {
      step.Emit(SetTimer{{id, Timer::Kind::kRetryFetch, version.value()}, model.retry_at});
    }
  }
}

void SettleModels(StepContext& step, const RunId& id, RunState& run) {
  StartEvaluations(step, id, run);
  DropUnneeded(step, id, run);
  StartFetch(step, id, run);
}

}  // namespace consilium::site
