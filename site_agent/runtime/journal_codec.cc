#include "site_agent/runtime/journal_codec.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"

namespace consilium::site {
namespace {

using Entry = v1::SiteJournalEntry;

Entry::PlanChecked::Answer EntryAnswerOf(PlanChecked::Answer answer) {
  switch (answer) {
    case PlanChecked::Answer::kApproved:
      return Entry::PlanChecked::APPROVED;
    case PlanChecked::Answer::kRefused:
      return Entry::PlanChecked::REFUSED;
    case PlanChecked::Answer::kWaitsForPerson:
      return Entry::PlanChecked::WAITS_FOR_PERSON;
    case PlanChecked::Answer::kWaitsForData:
      return Entry::PlanChecked::WAITS_FOR_DATA;
  }
  return Entry::PlanChecked::ANSWER_UNSPECIFIED;
}

absl::StatusOr<RunId> RunOf(const std::string& run_id) {
  CONSILIUM_RETURN_IF_ERROR(CheckRunId(run_id));
  return RunId(run_id);
}

absl::StatusOr<Digest> DigestFrom(absl::string_view bytes, absl::string_view field) {
  const std::optional<Digest> digest = DigestFromBytes(bytes);
  if (digest.has_value()) return *digest;
  return absl::InvalidArgumentError(absl::StrCat(field, ": has not 32 bytes"));
}

// --- directives -> events -----------------------------------------------------------------------

absl::StatusOr<Event> FromWire(const v1::RunOffer& offer) {
  RunOffered event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(offer.run_id()));
  event.plan = std::make_shared<v1::RunPlan>(offer.plan());
  CONSILIUM_ASSIGN_OR_RETURN(event.plan_hash, DigestFrom(offer.plan_hash(), "plan_hash"));
  return event;
}

absl::StatusOr<Event> FromWire(const v1::RunStarted& started) {
  RunStarted event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(started.run_id()));
  CONSILIUM_ASSIGN_OR_RETURN(event.layout_hash, DigestFrom(started.layout_hash(), "layout_hash"));
  event.standardisation = std::make_shared<v1::Standardisation>(started.standardisation());
  return event;
}

absl::StatusOr<Event> FromWire(const v1::TaskOffer& offer) {
  TaskOffered event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(offer.run_id()));
  event.task = TaskId(offer.task_id());
  event.base_min = Version(offer.base_version_min());
  event.local_steps = offer.local_steps();
  return event;
}

absl::StatusOr<Event> FromWire(const v1::ModelAvailable& available) {
  ModelAvailable event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(available.run_id()));
  event.version = Version(available.version());
  CONSILIUM_ASSIGN_OR_RETURN(event.model_id, DigestFrom(available.model_id(), "model_id"));
  event.payload_bytes = available.payload_bytes();
  event.evaluate = available.evaluate();
  return event;
}

absl::StatusOr<Event> FromWire(const v1::Receipt& receipt) {
  CONSILIUM_RETURN_IF_ERROR(RunOf(receipt.run_id()).status());
  CONSILIUM_RETURN_IF_ERROR(DigestFrom(receipt.update_id(), "update_id").status());
  ReceiptReceived event;
  event.receipt = std::make_shared<v1::Receipt>(receipt);
  return event;
}

absl::StatusOr<Event> FromWire(const v1::UpdateRefused& refused) {
  UpdateRefused event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(refused.run_id()));
  event.task = TaskId(refused.task_id());
  event.reason = refused.reason();
  event.message = PrintableText(refused.message());
  return event;
}

absl::StatusOr<Event> FromWire(const v1::RunEnded& ended) {
  RunEnded event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(ended.run_id()));
  event.last = Version(ended.last_version());
  event.result = Version(ended.result_version());
  event.why = PrintableText(ended.why());
  return event;
}

// --- events -> entries --------------------------------------------------------------------------

struct Writer {
  Entry& entry;

  void operator()(const Started& event) {
    entry.mutable_started()->set_incarnation(event.incarnation.value());
  }
  void operator()(const LinkUp&) { entry.mutable_link_up(); }
  void operator()(const LinkDown&) { entry.mutable_link_down(); }
  void operator()(const RunOffered& event) {
    v1::RunOffer& offer = *entry.mutable_directive()->mutable_run_offer();
    offer.set_run_id(event.run.value());
    *offer.mutable_plan() = *event.plan;
    offer.set_plan_hash(ToBytes(event.plan_hash));
  }
  void operator()(const RunStarted& event) {
    v1::RunStarted& started = *entry.mutable_directive()->mutable_run_started();
    started.set_run_id(event.run.value());
    started.set_layout_hash(ToBytes(event.layout_hash));
    *started.mutable_standardisation() = *event.standardisation;
  }
  void operator()(const TaskOffered& event) {
    v1::TaskOffer& offer = *entry.mutable_directive()->mutable_task_offer();
    offer.set_run_id(event.run.value());
    offer.set_task_id(event.task.value());
    offer.set_base_version_min(event.base_min.value());
    offer.set_local_steps(event.local_steps);
  }
  void operator()(const ModelAvailable& event) {
    v1::ModelAvailable& available = *entry.mutable_directive()->mutable_model_available();
    available.set_run_id(event.run.value());
    available.set_version(event.version.value());
    available.set_model_id(ToBytes(event.model_id));
    available.set_payload_bytes(event.payload_bytes);
    available.set_evaluate(event.evaluate);
  }
  void operator()(const ReceiptReceived& event) {
    *entry.mutable_directive()->mutable_receipt() = *event.receipt;
  }
  void operator()(const UpdateRefused& event) {
    v1::UpdateRefused& refused = *entry.mutable_directive()->mutable_update_refused();
    refused.set_run_id(event.run.value());
    refused.set_task_id(event.task.value());
    refused.set_reason(event.reason);
    refused.set_message(event.message);
  }
  void operator()(const RunEnded& event) {
    v1::RunEnded& ended = *entry.mutable_directive()->mutable_run_ended();
    ended.set_run_id(event.run.value());
    ended.set_last_version(event.last.value());
    ended.set_result_version(event.result.value());
    ended.set_why(event.why);
  }
  void operator()(const PlanChecked& event) {
    Entry::PlanChecked& checked = *entry.mutable_plan_checked();
    checked.set_run_id(event.run.value());
    checked.set_answer(EntryAnswerOf(event.answer));
    checked.set_reason(event.reason);
    checked.set_message(event.message);
    checked.set_train_examples(event.train_examples);
  }
  void operator()(const StatisticsComputed& event) {
    v1::StatisticsReport& report = *entry.mutable_statistics_computed();
    report = *event.report;
    report.set_run_id(event.run.value());
  }
  void operator()(const ModelFetched& event) {
    Entry::ModelFetched& fetched = *entry.mutable_model_fetched();
    fetched.set_run_id(event.run.value());
    fetched.set_version(event.version.value());
  }
  void operator()(const FetchFailed& event) {
    Entry::FetchFailed& failed = *entry.mutable_fetch_failed();
    failed.set_run_id(event.run.value());
    failed.set_version(event.version.value());
    *failed.mutable_error() = event.error;
    failed.set_jitter(event.jitter);
  }
  void operator()(const TrainDone& event) {
    Entry::TrainDone& done = *entry.mutable_train_done();
    done.set_run_id(event.run.value());
    done.set_task_id(event.task.value());
    done.set_update_id(ToBytes(event.update));
    *done.mutable_header() = *event.header;
  }
  void operator()(const TrainFailed& event) {
    Entry::TrainFailed& failed = *entry.mutable_train_failed();
    failed.set_run_id(event.run.value());
    failed.set_task_id(event.task.value());
    failed.set_message(event.message);
  }
  void operator()(const EvaluationComputed& event) {
    v1::EvaluationReport& report = *entry.mutable_evaluation_computed();
    report.set_run_id(event.run.value());
    report.set_version(event.version.value());
    report.set_split(event.split);
    *report.mutable_metrics() = *event.metrics;
  }
  void operator()(const SendFailed& event) {
    Entry::SendFailed& failed = *entry.mutable_send_failed();
    failed.set_run_id(event.run.value());
    failed.set_task_id(event.task.value());
    *failed.mutable_error() = event.error;
    failed.set_jitter(event.jitter);
  }
  void operator()(const RunWithdrawn& event) {
    entry.mutable_run_withdrawn()->set_run_id(event.run.value());
    entry.mutable_run_withdrawn()->set_why(event.why);
  }
  void operator()(const TimerFired& event) {
    Entry::TimerFired& fired = *entry.mutable_timer_fired();
    fired.set_run_id(event.timer.run.value());
    fired.set_kind(static_cast<uint32_t>(event.timer.kind));
    fired.set_number(event.timer.number);
  }
};

// --- entries -> events --------------------------------------------------------------------------

absl::StatusOr<Event> FromEntry(const Entry::PlanChecked& checked) {
  PlanChecked event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(checked.run_id()));
  switch (checked.answer()) {
    case Entry::PlanChecked::APPROVED:
      event.answer = PlanChecked::Answer::kApproved;
      break;
    case Entry::PlanChecked::REFUSED:
      event.answer = PlanChecked::Answer::kRefused;
      break;
    case Entry::PlanChecked::WAITS_FOR_PERSON:
      event.answer = PlanChecked::Answer::kWaitsForPerson;
      break;
    case Entry::PlanChecked::WAITS_FOR_DATA:
      event.answer = PlanChecked::Answer::kWaitsForData;
      break;
    default:
      return absl::InvalidArgumentError("plan_checked.answer: unknown");
  }
  event.reason = checked.reason();
  event.message = checked.message();
  event.train_examples = checked.train_examples();
  return event;
}

absl::StatusOr<Event> FromEntry(const v1::StatisticsReport& report) {
  StatisticsComputed event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(report.run_id()));
  event.report = std::make_shared<v1::StatisticsReport>(report);
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::ModelFetched& fetched) {
  ModelFetched event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(fetched.run_id()));
  event.version = Version(fetched.version());
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::FetchFailed& failed) {
  FetchFailed event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(failed.run_id()));
  event.version = Version(failed.version());
  event.error = failed.error();
  event.jitter = failed.jitter();
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::TrainDone& done) {
  TrainDone event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(done.run_id()));
  event.task = TaskId(done.task_id());
  CONSILIUM_ASSIGN_OR_RETURN(event.update, DigestFrom(done.update_id(), "update_id"));
  event.header = std::make_shared<v1::UpdateHeader>(done.header());
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::TrainFailed& failed) {
  TrainFailed event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(failed.run_id()));
  event.task = TaskId(failed.task_id());
  event.message = failed.message();
  return event;
}

absl::StatusOr<Event> FromEntry(const v1::EvaluationReport& report) {
  EvaluationComputed event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(report.run_id()));
  event.version = Version(report.version());
  event.split = report.split();
  event.metrics = std::make_shared<v1::MetricSums>(report.metrics());
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::SendFailed& failed) {
  SendFailed event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(failed.run_id()));
  event.task = TaskId(failed.task_id());
  event.error = failed.error();
  event.jitter = failed.jitter();
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::TimerFired& fired) {
  TimerFired event;
  CONSILIUM_ASSIGN_OR_RETURN(event.timer.run, RunOf(fired.run_id()));
  if (fired.kind() < static_cast<uint32_t>(Timer::Kind::kRelease) ||
      fired.kind() > static_cast<uint32_t>(Timer::Kind::kRetryFetch)) {
    return absl::InvalidArgumentError("timer_fired.kind: unknown");
  }
  event.timer.kind = static_cast<Timer::Kind>(fired.kind());
  event.timer.number = fired.number();
  return event;
}

absl::StatusOr<Event> FromEntry(const Entry::RunWithdrawn& withdrawn) {
  RunWithdrawn event;
  CONSILIUM_ASSIGN_OR_RETURN(event.run, RunOf(withdrawn.run_id()));
  event.why = withdrawn.why();
  return event;
}

absl::StatusOr<Event> InputOf(const Entry& entry) {
  switch (entry.entry_case()) {
    case Entry::kStarted:
      return Started{Incarnation(entry.started().incarnation())};
    case Entry::kLinkUp:
      return LinkUp{};
    case Entry::kLinkDown:
      return LinkDown{};
    case Entry::kDirective:
      return EventOf(entry.directive());
    case Entry::kPlanChecked:
      return FromEntry(entry.plan_checked());
    case Entry::kStatisticsComputed:
      return FromEntry(entry.statistics_computed());
    case Entry::kModelFetched:
      return FromEntry(entry.model_fetched());
    case Entry::kFetchFailed:
      return FromEntry(entry.fetch_failed());
    case Entry::kTrainDone:
      return FromEntry(entry.train_done());
    case Entry::kTrainFailed:
      return FromEntry(entry.train_failed());
    case Entry::kEvaluationComputed:
      return FromEntry(entry.evaluation_computed());
    case Entry::kSendFailed:
      return FromEntry(entry.send_failed());
    case Entry::kTimerFired:
      return FromEntry(entry.timer_fired());
    case Entry::kRunWithdrawn:
      return FromEntry(entry.run_withdrawn());
    case Entry::kRelease:
    case Entry::kPolicy:
    case Entry::ENTRY_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the journal's entry is no input of the engine");
}

}  // namespace

absl::StatusOr<Event> EventOf(const v1::Directive& directive) {
  switch (directive.directive_case()) {
    case v1::Directive::kRunOffer:
      return FromWire(directive.run_offer());
    case v1::Directive::kRunStarted:
      return FromWire(directive.run_started());
    case v1::Directive::kTaskOffer:
      return FromWire(directive.task_offer());
    case v1::Directive::kModelAvailable:
      return FromWire(directive.model_available());
    case v1::Directive::kReceipt:
      return FromWire(directive.receipt());
    case v1::Directive::kUpdateRefused:
      return FromWire(directive.update_refused());
    case v1::Directive::kRunEnded:
      return FromWire(directive.run_ended());
    case v1::Directive::kWelcome:
    case v1::Directive::DIRECTIVE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the directive tells nothing that this agent knows");
}

v1::SiteJournalEntry EntryOf(const TimedEvent& input) {
  v1::SiteJournalEntry entry;
  entry.set_time_unix_ns(absl::ToUnixNanos(input.time));
  std::visit(Writer{entry}, input.event);
  return entry;
}

absl::StatusOr<TimedEvent> EventOf(const v1::SiteJournalEntry& entry) {
  TimedEvent input;
  input.time = absl::FromUnixNanos(entry.time_unix_ns());
  CONSILIUM_ASSIGN_OR_RETURN(input.event, InputOf(entry));
  return input;
}

}  // namespace consilium::site
