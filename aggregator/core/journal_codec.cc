#include "aggregator/core/journal_codec.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"

namespace consilium::federation {
namespace {

// ---- Event to entry

struct Encode {
  v1::JournalEntry& entry;

  void operator()(const Started&) const { entry.mutable_started(); }
  void operator()(const SiteAdded& e) const {
    auto& out = *entry.mutable_site_added();
    out.set_site_id(e.site.value());
    out.set_initial_lease_hash(ToBytes(e.lease_hash));
    out.set_again(e.occasion == SiteAdded::Occasion::kAgain);
  }
  void operator()(const SiteRemoved& e) const {
    entry.mutable_site_removed()->set_site_id(e.site.value());
  }
  void operator()(const SiteAttached& e) const {
    auto& out = *entry.mutable_attached();
    out.set_site_id(e.site.value());
    v1::Hello& hello = *out.mutable_hello();
    hello.set_incarnation(e.incarnation.value());
    hello.set_lease_presented(ToBytes(e.lease_presented_hash));
    hello.set_lease_next(ToBytes(e.lease_next_hash));
    for (const SiteAttached::Held& held : e.held_receipts) {
      v1::HeldReceipt& receipt = *hello.add_held_receipts();
      receipt.set_run_id(held.run.value());
      receipt.set_task_id(held.task.value());
      receipt.set_update_id(ToBytes(held.update));
    }
    for (const SiteAttached::Progress& progress : e.runs) {
      v1::RunProgress& run = *hello.add_runs();
      run.set_run_id(progress.run.value());
      run.set_newest_task_id(progress.newest_task.value());
    }
  }
  void operator()(const SiteLost& e) const {
    auto& out = *entry.mutable_lost();
    out.set_site_id(e.site.value());
    out.set_incarnation(e.incarnation.value());
  }
  void operator()(const LeaseConfirmed& e) const {
    auto& out = *entry.mutable_lease_confirmed();
    out.set_site_id(e.site.value());
    out.set_lease_hash(ToBytes(e.lease_hash));
  }
  void operator()(const RunSubmitted& e) const {
    auto& out = *entry.mutable_run_submitted();
    out.set_run_id(e.run.value());
    if (e.plan != nullptr) *out.mutable_plan() = *e.plan;
  }
  void operator()(const RunDecided& e) const {
    auto& out = *entry.mutable_run_decided();
    out.set_site_id(e.site.value());
    v1::RunDecision& decision = *out.mutable_decision();
    decision.set_run_id(e.run.value());
    decision.set_plan_hash(ToBytes(e.plan_hash));
    decision.set_approved(e.answer == RunDecided::Answer::kApproved);
    decision.set_reason(e.reason);
    decision.set_message(e.message);
    decision.set_train_examples(e.train_examples);
  }
  void operator()(const StatisticsReported& e) const {
    auto& out = *entry.mutable_statistics_in();
    out.set_site_id(e.site.value());
    if (e.report != nullptr) *out.mutable_report() = *e.report;
  }
  // The header's payload fields, wire version and encoding stay empty: the update's id covers
  // them, and the engine has no use for them.
  void operator()(const UpdateStaged& e) const {
    auto& out = *entry.mutable_update_staged();
    out.set_site_id(e.site.value());
    v1::UpdateHeader& header = *out.mutable_header();
    header.set_run_id(e.run.value());
    header.set_task_id(e.task.value());
    header.set_incarnation(e.incarnation.value());
    header.set_base_version(e.base.value());
    header.set_base_model_id(ToBytes(e.base_model_id));
    header.set_layout_hash(ToBytes(e.layout_hash));
    header.set_steps(e.steps);
    header.set_examples(e.examples);
    header.set_training_loss(e.training_loss);
    out.set_update_id(ToBytes(e.update));
    out.set_norm(e.norm);
    out.set_finite(e.values == UpdateStaged::Values::kFinite);
  }
  void operator()(const ComputeDone& e) const {
    auto& out = *entry.mutable_compute_done();
    out.set_run_id(e.run.value());
    out.set_program_id(e.program);
    out.mutable_scalars()->Add(e.scalars.begin(), e.scalars.end());
    out.set_payload_root(ToBytes(e.payload_root));
  }
  void operator()(const EvaluationReported& e) const {
    auto& out = *entry.mutable_evaluation_in();
    out.set_site_id(e.site.value());
    v1::EvaluationReport& report = *out.mutable_report();
    report.set_run_id(e.run.value());
    report.set_version(e.version.value());
    report.set_split(e.split);
    if (e.metrics != nullptr) *report.mutable_metrics() = *e.metrics;
  }
  void operator()(const TimerFired& e) const {
    auto& out = *entry.mutable_timer_fired();
    out.set_run_id(e.timer.run.value());
    out.set_kind(static_cast<uint32_t>(e.timer.kind));
    out.set_number(e.timer.number);
  }
  void operator()(const StopRequested& e) const {
    auto& out = *entry.mutable_stop_requested();
    out.set_run_id(e.run.value());
    out.set_operator_name(e.operator_name);
  }
  void operator()(const PurgeRequested& e) const {
    auto& out = *entry.mutable_purge_requested();
    out.set_run_id(e.run.value());
    out.set_operator_name(e.operator_name);
  }
};

// ---- Entry to event

absl::Status ReadDigest(const std::string& bytes, absl::string_view field, Digest& out) {
  const std::optional<Digest> digest = DigestFromBytes(bytes);
  if (!digest.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": has ", bytes.size(), " bytes, must have 32"));
  }
  out = *digest;
  return absl::OkStatus();
}

absl::Status ReadSite(const std::string& id, SiteId& out) {
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(id));
  out = SiteId(id);
  return absl::OkStatus();
}

absl::Status ReadRun(const std::string& id, RunId& out) {
  CONSILIUM_RETURN_IF_ERROR(CheckRunId(id));
  out = RunId(id);
  return absl::OkStatus();
}

absl::StatusOr<Event> Decode(const v1::SiteAdded& in) {
  SiteAdded out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(in.initial_lease_hash(), "site_added.initial_lease_hash", out.lease_hash));
  out.occasion = in.again() ? SiteAdded::Occasion::kAgain : SiteAdded::Occasion::kFirst;
  return out;
}

absl::StatusOr<Event> Decode(const v1::SiteRemoved& in) {
  SiteRemoved out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  return out;
}

absl::StatusOr<Event> Decode(const v1::Attached& in) {
  SiteAttached out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  const v1::Hello& hello = in.hello();
  out.incarnation = Incarnation(hello.incarnation());
  CONSILIUM_RETURN_IF_ERROR(ReadDigest(hello.lease_presented(), "attached.hello.lease_presented",
                                       out.lease_presented_hash));
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(hello.lease_next(), "attached.hello.lease_next", out.lease_next_hash));
  for (const v1::HeldReceipt& receipt : hello.held_receipts()) {
    SiteAttached::Held held;
    CONSILIUM_RETURN_IF_ERROR(ReadRun(receipt.run_id(), held.run));
    held.task = TaskId(receipt.task_id());
    CONSILIUM_RETURN_IF_ERROR(
        ReadDigest(receipt.update_id(), "attached.hello.held_receipts.update_id", held.update));
    out.held_receipts.push_back(std::move(held));
  }
  for (const v1::RunProgress& run : hello.runs()) {
    SiteAttached::Progress progress;
    CONSILIUM_RETURN_IF_ERROR(ReadRun(run.run_id(), progress.run));
    progress.newest_task = TaskId(run.newest_task_id());
    out.runs.push_back(std::move(progress));
  }
  return out;
}

absl::StatusOr<Event> Decode(const v1::Lost& in) {
  SiteLost out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  out.incarnation = Incarnation(in.incarnation());
  return out;
}

absl::StatusOr<Event> Decode(const v1::LeaseConfirmed& in) {
  LeaseConfirmed out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(in.lease_hash(), "lease_confirmed.lease_hash", out.lease_hash));
  return out;
}

absl::StatusOr<Event> Decode(v1::RunSubmitted& in) {
  RunSubmitted out;
  CONSILIUM_RETURN_IF_ERROR(ReadRun(in.run_id(), out.run));
  if (!in.has_plan()) return absl::InvalidArgumentError("run_submitted.plan: is absent");
  out.plan = std::make_shared<const v1::RunPlan>(std::move(*in.mutable_plan()));
  return out;
}

absl::StatusOr<Event> Decode(const v1::RunDecided& in) {
  RunDecided out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  const v1::RunDecision& decision = in.decision();
  CONSILIUM_RETURN_IF_ERROR(ReadRun(decision.run_id(), out.run));
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(decision.plan_hash(), "run_decided.decision.plan_hash", out.plan_hash));
  out.answer = decision.approved() ? RunDecided::Answer::kApproved : RunDecided::Answer::kRefused;
  out.reason = decision.reason();
  out.message = decision.message();
  out.train_examples = decision.train_examples();
  return out;
}

absl::StatusOr<Event> Decode(v1::StatisticsIn& in) {
  StatisticsReported out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  if (!in.has_report()) return absl::InvalidArgumentError("statistics_in.report: is absent");
  out.report = std::make_shared<const v1::StatisticsReport>(std::move(*in.mutable_report()));
  return out;
}

absl::StatusOr<Event> Decode(const v1::UpdateStaged& in) {
  UpdateStaged out;
  const v1::UpdateHeader& header = in.header();
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  CONSILIUM_RETURN_IF_ERROR(ReadRun(header.run_id(), out.run));
  out.task = TaskId(header.task_id());
  out.incarnation = Incarnation(header.incarnation());
  out.base = Version(header.base_version());
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(header.base_model_id(), "update_staged.header.base_model_id", out.base_model_id));
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(header.layout_hash(), "update_staged.header.layout_hash", out.layout_hash));
  CONSILIUM_RETURN_IF_ERROR(ReadDigest(in.update_id(), "update_staged.update_id", out.update));
  out.examples = header.examples();
  out.steps = header.steps();
  out.training_loss = header.training_loss();
  out.norm = in.norm();
  out.values = in.finite() ? UpdateStaged::Values::kFinite : UpdateStaged::Values::kNotFinite;
  return out;
}

absl::StatusOr<Event> Decode(const v1::ComputeDone& in) {
  ComputeDone out;
  CONSILIUM_RETURN_IF_ERROR(ReadRun(in.run_id(), out.run));
  out.program = in.program_id();
  out.scalars.assign(in.scalars().begin(), in.scalars().end());
  CONSILIUM_RETURN_IF_ERROR(
      ReadDigest(in.payload_root(), "compute_done.payload_root", out.payload_root));
  return out;
}

absl::StatusOr<Event> Decode(v1::EvaluationIn& in) {
  EvaluationReported out;
  CONSILIUM_RETURN_IF_ERROR(ReadSite(in.site_id(), out.site));
  v1::EvaluationReport& report = *in.mutable_report();
  CONSILIUM_RETURN_IF_ERROR(ReadRun(report.run_id(), out.run));
  out.version = Version(report.version());
  out.split = report.split();
  if (report.has_metrics()) {
    out.metrics = std::make_shared<const v1::MetricSums>(std::move(*report.mutable_metrics()));
  }
  return out;
}

absl::StatusOr<Event> Decode(const v1::TimerFired& in) {
  TimerFired out;
  CONSILIUM_RETURN_IF_ERROR(ReadRun(in.run_id(), out.timer.run));
  switch (in.kind()) {
    case static_cast<uint32_t>(Timer::Kind::kStartDeadline):
    case static_cast<uint32_t>(Timer::Kind::kBarrierDeadline):
    case static_cast<uint32_t>(Timer::Kind::kClosingDeadline):
    case static_cast<uint32_t>(Timer::Kind::kInterval):
    case static_cast<uint32_t>(Timer::Kind::kRest):
    case static_cast<uint32_t>(Timer::Kind::kGroupLatest):
    case static_cast<uint32_t>(Timer::Kind::kSlot):
    case static_cast<uint32_t>(Timer::Kind::kRetryWait):
      break;
    default:
      return absl::InvalidArgumentError("timer_fired.kind: there is no such timer");
  }
  out.timer.kind = static_cast<Timer::Kind>(in.kind());
  out.timer.number = in.number();
  return out;
}

absl::StatusOr<Event> Decode(const v1::StopRequested& in) {
  StopRequested out;
  CONSILIUM_RETURN_IF_ERROR(ReadRun(in.run_id(), out.run));
  out.operator_name = in.operator_name();
  return out;
}

absl::StatusOr<Event> Decode(const v1::PurgeRequested& in) {
  PurgeRequested out;
  CONSILIUM_RETURN_IF_ERROR(ReadRun(in.run_id(), out.run));
  out.operator_name = in.operator_name();
  return out;
}

absl::StatusOr<Event> DecodeInput(v1::JournalEntry& entry) {
  switch (entry.input_case()) {
    case v1::JournalEntry::kStarted:
      return Event(Started());
    case v1::JournalEntry::kSiteAdded:
      return Decode(entry.site_added());
    case v1::JournalEntry::kSiteRemoved:
      return Decode(entry.site_removed());
    case v1::JournalEntry::kAttached:
      return Decode(entry.attached());
    case v1::JournalEntry::kLost:
      return Decode(entry.lost());
    case v1::JournalEntry::kLeaseConfirmed:
      return Decode(entry.lease_confirmed());
    case v1::JournalEntry::kRunSubmitted:
      return Decode(*entry.mutable_run_submitted());
    case v1::JournalEntry::kRunDecided:
      return Decode(entry.run_decided());
    case v1::JournalEntry::kStatisticsIn:
      return Decode(*entry.mutable_statistics_in());
    case v1::JournalEntry::kUpdateStaged:
      return Decode(entry.update_staged());
    case v1::JournalEntry::kComputeDone:
      return Decode(entry.compute_done());
    case v1::JournalEntry::kEvaluationIn:
      return Decode(*entry.mutable_evaluation_in());
    case v1::JournalEntry::kTimerFired:
      return Decode(entry.timer_fired());
    case v1::JournalEntry::kStopRequested:
      return Decode(entry.stop_requested());
    case v1::JournalEntry::kPurgeRequested:
      return Decode(entry.purge_requested());
    case v1::JournalEntry::INPUT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the entry holds no input that this build knows");
}

}  // namespace

v1::JournalEntry EncodeJournalEntry(const JournalledEvent& input) {
  v1::JournalEntry entry;
  entry.set_sequence(input.sequence.value());
  entry.set_time_unix_ns(absl::ToUnixNanos(input.now));
  std::visit(Encode{entry}, input.event);
  return entry;
}

absl::StatusOr<std::string> SerializeJournalEntry(const JournalledEvent& input) {
  std::string bytes = EncodeJournalEntry(input).SerializeAsString();
  v1::JournalEntry read;
  if (!read.ParseFromString(bytes)) {
    return absl::InvalidArgumentError("a text of it is not UTF-8, or it is too long");
  }
  CONSILIUM_RETURN_IF_ERROR(DecodeJournalEntry(std::move(read)).status());
  return bytes;
}

absl::StatusOr<JournalledEvent> DecodeJournalEntry(v1::JournalEntry entry) {
  JournalledEvent out;
  out.sequence = Sequence(entry.sequence());
  out.now = absl::FromUnixNanos(entry.time_unix_ns());
  CONSILIUM_ASSIGN_OR_RETURN(out.event, DecodeInput(entry));
  return out;
}

}  // namespace consilium::federation
