#include "aggregator/server/effects.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "aggregator/server/directives.h"
#include "aggregator/server/site_log.h"
#include "protocol/core/failpoint.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

// Whether the upload that caused an action is the one that it answers.
template <typename Answer>
bool Answers(const Answer& answer, const EngineInput& cause) {
  const auto* staged = std::get_if<federation::UpdateStaged>(&cause.event);
  return staged != nullptr && cause.answer != nullptr && staged->run == answer.run &&
         staged->site == answer.site && staged->task == answer.task &&
         staged->update == answer.update;
}

void Answer(EngineInput& cause, absl::StatusOr<v1::Receipt> answer) {
  std::exchange(cause.answer, nullptr)(std::move(answer));
}

}  // namespace

void Effects::Execute(const federation::Action& action, EngineInput& cause) {
  std::visit([this, &cause](const auto& a) { Do(a, cause); }, action);
}

bool Effects::IsForgotten(const RunId& run, const VectorName& vector) const {
  const auto it = forgotten_.find(run);
  return it != forgotten_.end() && it->second.contains(vector);
}

void Effects::NoteForgotten(const federation::Forget& forget) {
  forgotten_[forget.run].insert(forget.vector);
}

const federation::RunState* Effects::FindRun(const RunId& run) const {
  const auto it = parts_.engine.runs().find(run);
  return it == parts_.engine.runs().end() ? nullptr : &it->second;
}

void Effects::Send(const SiteId& site, v1::Directive directive) {
  if (const auto link = parts_.links.Find(site); link != nullptr) link->Send(std::move(directive));
}

void Effects::Do(const federation::Compute& compute, EngineInput&) {
  const federation::RunState* run = FindRun(compute.run);
  if (run == nullptr) return;
  auto vectors = parts_.vectors.Get(compute.run, run->elements);
  if (vectors.ok() && compute.code.result.kind == VectorName::Kind::kModel) {
    (*vectors)->NoteProgram(Version(compute.code.result.number), compute.code.state_slots);
  }
  parts_.programs.Run(compute, run->elements);
}

void Effects::Do(const federation::DrawInitialModel& draw, EngineInput&) {
  if (const federation::RunState* run = FindRun(draw.run); run != nullptr) {
    parts_.programs.Draw(draw, run->elements, run->plan);
  }
}

void Effects::Do(const federation::Welcome& welcome, EngineInput& cause) {
  if (cause.link == nullptr) return;
  parts_.links.Put(welcome.site, cause.link);
  if (cause.link->Welcome()) {
    LogOfSite(SiteLine::kInfo, welcome.site,
              absl::StrCat("attached (incarnation ", welcome.incarnation.value(), ")"));
    return;
  }
  // The stream ended while its attach was on the way to the journal, and could not say so.
  parts_.links.Remove(welcome.site, cause.link.get());
  EngineInput lost;
  lost.event = federation::SiteLost{welcome.site, welcome.incarnation};
  parts_.post(std::move(lost));
}

void Effects::Do(const federation::RefuseAttach& refusal, EngineInput& cause) {
  LogOfSite(
      SiteLine::kWarning, refusal.site,
      absl::StrCat("refused to attach: ", v1::Reason_Name(refusal.reason), ": ", refusal.message));
  if (cause.link != nullptr) cause.link->End(Refusal(refusal.reason, refusal.message));
}

void Effects::Do(const federation::Detach& detach, EngineInput&) {
  LogOfSite(SiteLine::kWarning, detach.site,
            absl::StrCat("detached: ", v1::Reason_Name(detach.reason), ": ", detach.message));
  const auto link = parts_.links.Find(detach.site);
  if (link == nullptr) return;
  parts_.links.Remove(detach.site, link.get());
  link->End(Refusal(detach.reason, detach.message));
}

void Effects::Do(const federation::OfferRun& offer, EngineInput&) {
  Send(offer.site, DirectiveOf(offer));
}

void Effects::Do(const federation::StartRun& start, EngineInput&) {
  Send(start.site, DirectiveOf(start));
}

void Effects::Do(const federation::OfferTask& offer, EngineInput&) {
  Send(offer.site, DirectiveOf(offer));
}

void Effects::Do(const federation::AnnounceModel& announcement, EngineInput&) {
  Send(announcement.site, DirectiveOf(announcement));
  Failpoint("aggregator.notice_sent");
}

void Effects::Do(const federation::AnnounceToMembers& announcement, EngineInput&) {
  const v1::Directive directive = DirectiveOf(announcement.model);
  for (const SiteId& site : *announcement.members) {
    Send(site, directive);
    Failpoint("aggregator.notice_sent");
  }
}

void Effects::Do(const federation::SendReceipt& receipt, EngineInput& cause) {
  // Signed only where somebody receives it: who is away asks again when it attaches, and gets the
  // same bytes.
  if (receipt.kind == v1::Receipt::ACCEPTED && Answers(receipt, cause)) {
    Answer(cause, parts_.receipts.Sign(receipt));
  } else if (const auto link = parts_.links.Find(receipt.site); link != nullptr) {
    v1::Directive directive;
    *directive.mutable_receipt() = parts_.receipts.Sign(receipt);
    link->Send(std::move(directive));
  }
  Failpoint("aggregator.receipt_sent");
}

void Effects::Do(const federation::RefuseUpdate& refusal, EngineInput& cause) {
  LogOfSite(SiteLine::kWarning, refusal.site,
            absl::StrCat("run ", refusal.run.value(), ": update for task ", refusal.task.value(),
                         " refused: ", v1::Reason_Name(refusal.reason), ": ", refusal.message));
  if (Answers(refusal, cause)) {
    Answer(cause, Refusal(refusal.reason, refusal.message));
  } else {
    Send(refusal.site, DirectiveOf(refusal));
  }
}

void Effects::Do(const federation::EndRun& end, EngineInput&) { Send(end.site, DirectiveOf(end)); }

void Effects::Do(const federation::SetTimer& timer, EngineInput&) {
  parts_.timers.Set(timer.timer, timer.at);
}

void Effects::Do(const federation::Forget& forget, EngineInput&) {
  NoteForgotten(forget);
  const federation::RunState* run = FindRun(forget.run);
  if (run == nullptr || run->phase == federation::RunPhase::kPurged) return;
  auto vectors = parts_.vectors.Get(forget.run, run->elements);
  const absl::Status status = vectors.ok() ? (*vectors)->Remove(forget.vector) : vectors.status();
  // The next start sweeps what stays.
  if (!status.ok()) {
    spdlog::error("run {}: a blob could not be removed: {}", forget.run.value(), status.ToString());
  }
}

void Effects::Do(const federation::PurgeRun& purge, EngineInput&) {
  forgotten_.erase(purge.run);
  if (auto removed = parts_.vectors.Purge(purge.run); !removed.ok()) {
    spdlog::error("run {}: not all blobs could be removed: {}", purge.run.value(),
                  removed.status().ToString());
  }
}

void Effects::Do(const federation::Alarm& alarm, EngineInput&) {
  LogOfSite(
      SiteLine::kAlarm, alarm.site,
      absl::StrCat(alarm.reason == v1::REASON_UNSPECIFIED ? "RULE" : v1::Reason_Name(alarm.reason),
                   ": ", alarm.run.empty() ? "" : absl::StrCat("run ", alarm.run.value(), ": "),
                   alarm.message));
}

}  // namespace consilium
