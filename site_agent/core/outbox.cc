#include "site_agent/core/outbox.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/wire/hash.h"
#include "site_agent/core/retry.h"
#include "site_agent/core/tasks.h"

namespace consilium::site {
namespace {

bool HasEnding(TaskPhase phase) {
  return phase == TaskPhase::kIncluded || phase == TaskPhase::kNotIncluded;
}

// Whether a receipt can speak of this task's update: it was trained, and is the one named.
bool Fits(const StepContext& step, const TaskState& task, const v1::Receipt& receipt) {
  const std::optional<Digest> update = DigestFromBytes(receipt.update_id());
  return receipt.site_id() == step.site.id.value() && task.blob != TaskState::Blob::kAbsent &&
         update == task.update;
}

void Contradict(StepContext& step, const TaskRef& ref, absl::string_view what) {
  step.Warn(v1::TASK_CONFLICT, ref.run_id,
            absl::StrCat("task ", ref.id.value(), ": ", what, "; what came first stands"));
}

void TakeAcceptance(StepContext& step, const TaskRef& ref,
                    const std::shared_ptr<const v1::Receipt>& receipt) {
  if (ref.task.acceptance != nullptr) {
    if (ref.task.acceptance->sequence() != receipt->sequence()) {
      Contradict(step, ref, "accepted twice");
    }
    return;
  }
  ref.task.acceptance = receipt;
  // Its end may have overtaken it; then there is nothing to wait for.
  if (!HasEnding(ref.task.phase)) SetPhase(step, ref, TaskPhase::kAccepted);
}

void TakeEnding(StepContext& step, const TaskRef& ref,
                const std::shared_ptr<const v1::Receipt>& receipt) {
  if (ref.task.ending != nullptr) {
    if (ref.task.ending->kind() != receipt->kind() ||
        ref.task.ending->version() != receipt->version()) {
      Contradict(step, ref, "ended in two ways");
    }
    return;
  }
  ref.task.ending = receipt;
  SetPhase(
      step, ref,
      receipt->kind() == v1::Receipt::INCLUDED ? TaskPhase::kIncluded : TaskPhase::kNotIncluded);
}

struct Failure {
  v1::ErrorDetail error;
  double jitter = 0;
};

void Refuse(StepContext& step, const TaskRef& ref, const v1::ErrorDetail& error) {
  SetPhase(step, ref, TaskPhase::kRefused);
  if (error.reason() == v1::TASK_CONFLICT || error.reason() == v1::IDENTITY_MISMATCH) {
    step.Warn(
        error.reason(), ref.run_id,
        absl::StrCat("the update of task ", ref.id.value(), " was refused: ", error.message()));
  }
}

void TryLater(StepContext& step, const TaskRef& ref, const Failure& failure) {
  SetPhase(step, ref, TaskPhase::kReady);
  ++ref.task.sends_failed;
  ref.task.retry_at = step.now() + RetryDelay({.failures = ref.task.sends_failed,
                                               .retry_after_ms = failure.error.retry_after_ms(),
                                               .jitter = failure.jitter});
  step.Emit(SetTimer{{ref.run_id, Timer::Kind::kRetrySend, ref.id.value()}, ref.task.retry_at});
}

void TakeFailure(StepContext& step, const TaskRef& ref, const Failure& failure) {
  if (IsFinal(failure.error)) {
    Refuse(step, ref, failure.error);
  } else if (!ref.run.goes_on()) {
    WithdrawTask(step, ref);
  } else {
    TryLater(step, ref, failure);
  }
}

}  // namespace

void OnReceiptReceived(StepContext& step, const ReceiptReceived& event) {
  if (event.receipt == nullptr) return;
  const v1::Receipt& receipt = *event.receipt;
  const std::optional<TaskRef> ref =
      step.ExpectTask(RunId(receipt.run_id()), TaskId(receipt.task_id()));
  if (!ref.has_value()) return;
  if (!Fits(step, ref->task, receipt)) {
    Contradict(step, *ref, "a receipt names an update that is not this site's");
    return;
  }
  switch (receipt.kind()) {
    case v1::Receipt::ACCEPTED:
      return TakeAcceptance(step, *ref, event.receipt);
    case v1::Receipt::INCLUDED:
    case v1::Receipt::NOT_INCLUDED:
      return TakeEnding(step, *ref, event.receipt);
    default:
      step.Warn(v1::MALFORMED, ref->run_id, "a receipt of no known kind");
  }
}

void OnUpdateRefused(StepContext& step, const UpdateRefused& event) {
  const std::optional<TaskRef> ref = step.ExpectTask(event.run, event.task);
  if (!ref.has_value() || IsTerminal(ref->task.phase)) return;
  if (ref->task.phase != TaskPhase::kReady && ref->task.phase != TaskPhase::kSending) {
    Contradict(step, *ref, "refused without being sent, or after it was accepted");
    return;
  }
  Failure failure;
  failure.error.set_reason(event.reason);
  failure.error.set_message(event.message);
  failure.jitter = 1;  // The longest wait, where the refusal is of the link and not of the update.
  TakeFailure(step, *ref, failure);
}

void OnSendFailed(StepContext& step, const SendFailed& event) {
  const std::optional<TaskRef> ref = step.ExpectTask(event.run, event.task);
  if (!ref.has_value() || ref->task.phase != TaskPhase::kSending) return;
  TakeFailure(step, *ref, {event.error, event.jitter});
}

void ResumeOutbox(StepContext& step, const RunId& id, RunState& run) {
  const std::set<TaskId> open = run.open;
  for (const TaskId task : open) {
    const TaskRef ref = {id, run, task, run.tasks.find(task)->second};
    if (ref.task.phase == TaskPhase::kSending) {
      if (!run.goes_on()) {
        WithdrawTask(step, ref);
        continue;
      }
      SetPhase(step, ref, TaskPhase::kReady);
    }
    if (ref.task.phase == TaskPhase::kReady && ref.task.retry_at > step.now()) {
      step.Emit(SetTimer{{id, Timer::Kind::kRetrySend, task.value()}, ref.task.retry_at});
    }
  }
}

void SendReady(StepContext& step, const RunId& id, RunState& run) {
  if (step.site.link != SiteState::Link::kUp) return;
  for (const TaskId task : run.open) {
    TaskState& state = run.tasks.find(task)->second;
    if (state.phase != TaskPhase::kReady || state.retry_at > step.now()) continue;
    // Whoever sends it is this process, whichever process trained it.
    auto header = std::make_shared<v1::UpdateHeader>(*state.header);
    header->set_incarnation(step.site.incarnation.value());
    SetPhase(step, {id, run, task, state}, TaskPhase::kSending);
    step.Emit(Send{id, task, state.update, std::move(header)});
  }
}

}  // namespace consilium::site
