#include "site_agent/core/engine.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "site_agent/core/models.h"
#include "site_agent/core/outbox.h"
#include "site_agent/core/runs.h"
#include "site_agent/core/site_state.h"
#include "site_agent/core/tasks.h"

namespace consilium::site {
namespace {

// Asks the shell for what the run's state now calls for.
void SettleRun(StepContext& step, const RunId& id, RunState& run) {
  ReleaseTrained(step, id, run);
  SendReady(step, id, run);
  SettleModels(step, id, run);
  SettlePlan(step, run);
}

void SettleAll(StepContext& step) {
  for (auto& [id, run] : step.site.runs) SettleRun(step, id, run);
}

void OnStarted(StepContext& step, const Started& event) {
  step.site.incarnation = event.incarnation;
  step.site.link = SiteState::Link::kDown;
  for (auto& [id, run] : step.site.runs) {
    ResumeRun(step, id, run);
    ResumeModels(step, id, run);
    ResumeTasks(step, id, run);
    ResumeOutbox(step, id, run);
  }
  SettleAll(step);
}

void OnLinkUp(StepContext& step) {
  step.site.link = SiteState::Link::kUp;
  for (auto& [id, run] : step.site.runs) RepeatRefusal(step, run);
  SettleAll(step);
}

// Each part's answer to its events.
void Dispatch(StepContext& step, const RunOffered& event) { OnRunOffered(step, event); }
void Dispatch(StepContext& step, const RunStarted& event) { OnRunStarted(step, event); }
void Dispatch(StepContext& step, const TaskOffered& event) { OnTaskOffered(step, event); }
void Dispatch(StepContext& step, const ModelAvailable& event) { OnModelAvailable(step, event); }
void Dispatch(StepContext& step, const UpdateRefused& event) { OnUpdateRefused(step, event); }
void Dispatch(StepContext& step, const RunEnded& event) { OnRunEnded(step, event); }
void Dispatch(StepContext& step, const RunWithdrawn& event) { OnRunWithdrawn(step, event); }
void Dispatch(StepContext& step, const PlanChecked& event) { OnPlanChecked(step, event); }
void Dispatch(StepContext& step, const StatisticsComputed& event) {
  OnStatisticsComputed(step, event);
}
void Dispatch(StepContext& step, const ModelFetched& event) { OnModelFetched(step, event); }
void Dispatch(StepContext& step, const FetchFailed& event) { OnFetchFailed(step, event); }
void Dispatch(StepContext& step, const TrainDone& event) { OnTrainDone(step, event); }
void Dispatch(StepContext& step, const TrainFailed& event) { OnTrainFailed(step, event); }
void Dispatch(StepContext& step, const EvaluationComputed& event) {
  OnEvaluationComputed(step, event);
}
void Dispatch(StepContext& step, const SendFailed& event) { OnSendFailed(step, event); }

void SettleById(StepContext& step, const RunId& id) {
  const auto run = step.site.runs.find(id);
  if (run != step.site.runs.end()) SettleRun(step, run->first, run->second);
}

struct Visitor {
  StepContext& step;

  void operator()(const Started& event) const { OnStarted(step, event); }
  void operator()(const LinkUp&) const { OnLinkUp(step); }
  void operator()(const LinkDown&) const { step.site.link = SiteState::Link::kDown; }
  void operator()(const TimerFired& event) const {
    // Whatever was due is found by the time alone; the timer only wakes the engine.
    SettleById(step, event.timer.run);
  }
  void operator()(const ReceiptReceived& event) const {
    OnReceiptReceived(step, event);
    if (event.receipt != nullptr) SettleById(step, RunId(event.receipt->run_id()));
  }
  template <typename E>
  void operator()(const E& event) const {
    Dispatch(step, event);
    SettleById(step, event.run);
  }
};

bool NeedsUpdateOf(const RunState& run, const Digest& update) {
  for (const std::set<TaskId>* tasks : {&run.open, &run.held}) {
    for (const TaskId task : *tasks) {
      const TaskState& state = run.tasks.find(task)->second;
      if (state.blob == TaskState::Blob::kInOutbox && state.update == update) return true;
    }
  }
  return false;
}

// A journal keeps nanoseconds.
absl::Time InNanoseconds(absl::Time time) { return absl::FromUnixNanos(absl::ToUnixNanos(time)); }

}  // namespace

class SiteEngine::Impl {
 public:
  SiteState state;
};

SiteEngine::SiteEngine(SiteId site, SiteOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->state.id = std::move(site);
  // A release at a part of a nanosecond would be after the time at which its timer fires.
  options.task_duration_min = absl::Ceil(options.task_duration_min, absl::Nanoseconds(1));
  impl_->state.options = options;
}
SiteEngine::~SiteEngine() = default;
SiteEngine::SiteEngine(SiteEngine&&) noexcept = default;
SiteEngine& SiteEngine::operator=(SiteEngine&&) noexcept = default;

std::vector<Action> SiteEngine::Step(absl::Time now, const Event& event) {
  SiteState& state = impl_->state;
  state.sequence = state.sequence.next();
  state.now = std::max(state.now, InNanoseconds(now));
  std::vector<Action> actions;
  StepContext step{state, actions};
  std::visit(Visitor{step}, event);
  StartTraining(step);
  return actions;
}

bool SiteEngine::WouldLookAt(const RunOffered& event) const {
  return !impl_->state.runs.contains(event.run) &&
         ReasonAgainst(impl_->state, event) == v1::REASON_UNSPECIFIED;
}

Sequence SiteEngine::sequence() const { return impl_->state.sequence; }

const std::map<RunId, RunState>& SiteEngine::runs() const { return impl_->state.runs; }

bool SiteEngine::NeedsUpdate(const Digest& update) const {
  for (const auto& [id, run] : impl_->state.runs) {
    if (NeedsUpdateOf(run, update)) return true;
  }
  return false;
}

bool SiteEngine::NeedsKept(const Digest& update) const {
  for (const auto& [id, run] : impl_->state.runs) {
    for (const auto& [version, kept] : run.kept) {
      if (kept == update) return true;
    }
    if (run.evaluated_with == update) return true;
    if (run.keeps != SiteKeeps::kNothing && NeedsUpdateOf(run, update)) return true;
  }
  return false;
}

bool SiteEngine::NeedsModel(const RunId& run, Version version) const {
  const auto found = impl_->state.runs.find(run);
  if (found == impl_->state.runs.end()) return false;
  const auto model = found->second.models.find(version);
  return model != found->second.models.end() && model->second.where == ModelState::Where::kHere;
}

std::vector<v1::HeldReceipt> SiteEngine::HeldReceipts() const {
  std::vector<std::pair<uint64_t, v1::HeldReceipt>> held;
  for (const auto& [id, run] : impl_->state.runs) {
    for (const TaskId task : run.held) {
      const TaskState& state = run.tasks.find(task)->second;
      v1::HeldReceipt receipt;
      receipt.set_run_id(id.value());
      receipt.set_task_id(task.value());
      receipt.set_update_id(ToBytes(state.update));
      held.emplace_back(state.acceptance->sequence(), std::move(receipt));
    }
  }
  std::stable_sort(held.begin(), held.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  if (held.size() > limits::kHeldReceiptsMax) held.resize(limits::kHeldReceiptsMax);
  std::vector<v1::HeldReceipt> receipts;
  receipts.reserve(held.size());
  for (auto& [sequence, receipt] : held) receipts.push_back(std::move(receipt));
  return receipts;
}

std::vector<v1::RunProgress> SiteEngine::Progress() const {
  std::vector<v1::RunProgress> progress;
  for (const auto& [id, run] : impl_->state.runs) {
    if (run.ended() || !run.approved()) continue;
    v1::RunProgress& entry = progress.emplace_back();
    entry.set_run_id(id.value());
    entry.set_newest_task_id(run.tasks.empty() ? 0 : run.tasks.rbegin()->first.value());
  }
  return progress;
}

Digest SiteEngine::StateDigest() const { return StateDigestOf(impl_->state); }

}  // namespace consilium::site
