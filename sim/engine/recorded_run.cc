#include "sim/engine/recorded_run.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_format.h"
#include "aggregator/core/journal_codec.h"
#include "protocol/core/status_macros.h"
#include "sim/engine/overloaded.h"

namespace consilium {
namespace {

namespace fed = federation;

// The base that a task was trained from is there from the moment of its commit; what follows from
// the commit at that moment comes first.
constexpr absl::Duration kAfterCommit = absl::Nanoseconds(1);

struct Arrival {
  absl::Time at;
  Version base;
  RecordedUpdate update;
};
struct Grant {
  absl::Time at;
  Sequence sequence;
  uint32_t local_steps = 0;
  std::optional<Arrival> arrival = std::nullopt;
};

class Reader {
 public:
  Reader(const Recording& recording, uint64_t model_bytes_max)
      : recording_(recording), model_bytes_max_(model_bytes_max) {
    result_.record.run = recording.run;
  }

  absl::Status Take(const v1::JournalEntry& entry);
  absl::StatusOr<RecordedRun> Finish();

 private:
  bool HasRun() const { return result_.engine.runs().contains(recording_.run); }
  // What comes after the run's end is no part of it.
  bool IsOver() const {
    return HasRun() && result_.state().phase >= fed::RunPhase::kEnded &&
           result_.state().ended_at < now_;
  }
  absl::Duration SinceSubmission() const { return now_ - result_.state().submitted_at; }
  // Null where the run has no such participant, or is over.
  SiteRecord* RecordOf(const SiteId& site);

  void Note(const fed::RunSubmitted& event);
  void Note(const fed::RunDecided& event);
  void Note(const fed::StatisticsReported& event);
  void Note(const fed::SiteRemoved& event);
  void Note(const fed::UpdateStaged& event);
  void Note(const fed::StopRequested& event);
  void Note(const fed::ComputeDone& event);
  template <typename Event>
  void Note(const Event&) {}  // Follows from the others, or is the shell's.
  void Note(const fed::Action& action);

  absl::Status CheckLate() const;
  absl::Time EndOf(const fed::TaskState& task) const;
  std::vector<RecordedTask> TasksOf(const SiteId& site) const;

  const Recording& recording_;
  const uint64_t model_bytes_max_;
  RecordedRun result_;
  absl::Time now_ = absl::InfinitePast();
  std::vector<absl::Time> times_;  // Of the engine's inputs, by sequence − 1.
  std::map<SiteId, std::map<TaskId, Grant>> grants_;
  std::map<uint64_t, absl::Time> programs_;  // Asked for, and not done.
};

SiteRecord* Reader::RecordOf(const SiteId& site) {
  if (!HasRun() || IsOver() || !result_.state().participants.contains(site)) return nullptr;
  return &result_.record.sites[site];
}

// Who was removed before takes no part.
void Reader::Note(const fed::RunSubmitted& event) {
  if (event.run != recording_.run || !HasRun()) return;
  for (const auto& [site, participant] : result_.state().participants) {
    SiteRecord& record = result_.record.sites[site];
    if (participant.decision != fed::Participant::Decision::kRefused) continue;
    record.decision = {absl::ZeroDuration(), false, participant.refusal_reason, 0};
  }
}

// An agent decides once; after that it may only take its part back.
void Reader::Note(const fed::RunDecided& event) {
  SiteRecord* const record = event.run == recording_.run ? RecordOf(event.site) : nullptr;
  if (record == nullptr) return;
  const bool approves = event.answer == fed::RunDecided::Answer::kApproved;
  if (!record->decision.has_value()) {
    record->decision = {SinceSubmission(), approves, event.reason, event.train_examples};
  } else if (record->decision->approved && !approves && !record->left_after.has_value()) {
    record->left_after = SinceSubmission();
  }
}

void Reader::Note(const fed::StatisticsReported& event) {
  if (event.report == nullptr || event.report->run_id() != recording_.run.value()) return;
  SiteRecord* const record = RecordOf(event.site);
  if (record == nullptr || record->statistics != nullptr) return;
  record->statistics = event.report;
  record->statistics_after = SinceSubmission();
}

void Reader::Note(const fed::SiteRemoved& event) {
  SiteRecord* const record = RecordOf(event.site);
  if (record == nullptr || record->left_after.has_value()) return;
  if (record->decision.has_value()) {
    record->left_after = SinceSubmission();
  } else {
    record->decision = {SinceSubmission(), false, v1::SITE_REVOKED, 0};
  }
}

void Reader::Note(const fed::UpdateStaged& event) {
  if (event.run != recording_.run) return;
  const auto site = grants_.find(event.site);
  if (site == grants_.end()) return;
  const auto grant = site->second.find(event.task);
  if (grant == site->second.end() || grant->second.arrival.has_value()) return;
  Arrival arrival = {now_, event.base, {}};
  const auto found = recording_.updates.find(event.update);
  const fed::TaskState& task = result_.state().participants.at(event.site).tasks.at(event.task);
  // What was refused then is no update of the run's.
  const bool is_accepted = task.phase == fed::TaskPhase::kAccepted && task.update == event.update;
  if (is_accepted && found != recording_.updates.end()) arrival.update.delta = &found->second;
  arrival.update.steps = event.steps;
  arrival.update.examples = event.examples;
  arrival.update.training_loss = event.training_loss;
  grant->second.arrival = arrival;
}

void Reader::Note(const fed::StopRequested& event) {
  if (event.run != recording_.run || !HasRun() || IsOver()) return;
  if (result_.record.stop.has_value()) return;
  result_.record.stop = {SinceSubmission(), event.operator_name};
}

void Reader::Note(const fed::ComputeDone& event) {
  if (event.run != recording_.run) return;
  const auto asked = programs_.find(event.program);
  if (asked == programs_.end()) return;
  result_.record.programs.push_back(now_ - asked->second);
  programs_.erase(asked);
}

// What was said again counts from the first time.
void Reader::Note(const fed::Action& action) {
  if (const auto* offer = std::get_if<fed::OfferTask>(&action);
      offer != nullptr && offer->run == recording_.run) {
    grants_[offer->site].emplace(offer->task,
                                 Grant{now_, result_.engine.sequence(), offer->local_steps});
  } else if (const auto* compute = std::get_if<fed::Compute>(&action);
             compute != nullptr && compute->run == recording_.run) {
    programs_.emplace(compute->program, now_);
  } else if (const auto* draw = std::get_if<fed::DrawInitialModel>(&action);
             draw != nullptr && draw->run == recording_.run) {
    programs_.emplace(draw->program, now_);
  }
}

absl::Status Reader::Take(const v1::JournalEntry& entry) {
  CONSILIUM_ASSIGN_OR_RETURN(const fed::JournalledEvent input, fed::DecodeJournalEntry(entry));
  if (const auto* submitted = std::get_if<fed::RunSubmitted>(&input.event);
      submitted != nullptr && submitted->run == recording_.run) {
    CONSILIUM_RETURN_IF_ERROR(CheckRecordedPlan(*submitted->plan, model_bytes_max_));
  }
  now_ = std::max(now_, input.now);
  times_.push_back(now_);
  const std::vector<fed::Action> actions = result_.engine.Step(now_, input.event);
  std::visit([this](const auto& event) { Note(event); }, input.event);
  for (const fed::Action& action : actions) Note(action);
  if (HasRun() && !IsOver() && SinceSubmission() > kRecordedTimeMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the recording tells of %s after the run's submission; a replay with "
        "changes takes up to %s",
        absl::FormatDuration(SinceSubmission()), absl::FormatDuration(kRecordedTimeMax)));
  }
  return absl::OkStatus();
}

// When nothing more was waited for of a task that did not arrive.
absl::Time Reader::EndOf(const fed::TaskState& task) const {
  if (task.ended != Sequence()) return times_[task.ended.value() - 1];
  return result_.state().phase >= fed::RunPhase::kEnded ? result_.state().ended_at : now_;
}

// Splits the work, and says what its base had to do with the newest one.
void SetBase(const std::vector<fed::VersionState>& versions, const Grant& grant, absl::Time begin,
             RecordedTask& task) {
  const uint64_t base = grant.arrival->base.value();
  if (base >= versions.size()) return;
  // Behind another task the site may have begun when it liked.
  const absl::Time committed = versions[base].committed_at;
  if (versions[base].committed > grant.sequence && begin == grant.at) {
    task.wait = std::min(committed - begin + kAfterCommit, task.work);
    task.work -= task.wait;
  }
  if (base + 1 >= versions.size() || versions[base + 1].committed_at > begin) return;
  task.lag = begin - versions[base + 1].committed_at + absl::Nanoseconds(1);
}

absl::Duration MedianOf(std::vector<absl::Duration> durations) {
  const auto middle = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 2);
  std::nth_element(durations.begin(), middle, durations.end());
  return *middle;
}

std::vector<RecordedTask> Reader::TasksOf(const SiteId& site) const {
  const auto granted = grants_.find(site);
  if (granted == grants_.end()) return {};
  const fed::RunState& run = result_.state();
  std::vector<RecordedTask> tasks;
  std::vector<absl::Duration> finished;
  absl::Time free = absl::InfinitePast();
  for (const auto& [id, grant] : granted->second) {
    const fed::TaskState& state = run.participants.at(site).tasks.at(id);
    const absl::Time begin = std::max(grant.at, free);
    const absl::Time end =
        std::max(begin, grant.arrival.has_value() ? grant.arrival->at : EndOf(state));
    RecordedTask& task = tasks.emplace_back();
    task.local_steps = grant.local_steps;
    task.work = end - begin;
    free = end;
    if (!grant.arrival.has_value()) {
      task.end = RecordedTask::End::kOpen;
      continue;
    }
    task.update = grant.arrival->update;
    SetBase(run.versions, grant, begin, task);
    finished.push_back(task.total());
  }
  if (finished.empty()) return {};
  const absl::Duration median = MedianOf(std::move(finished));
  for (RecordedTask& task : tasks) {
    if (task.end == RecordedTask::End::kArrived) continue;
    task.work = std::max(task.work + absl::Nanoseconds(1), median);
  }
  return tasks;
}

// What came after the run's end is not held to its span, but tells how long a task or a program
// took.
absl::Status Reader::CheckLate() const {
  absl::Duration longest = absl::ZeroDuration();
  for (const auto& [site, record] : result_.record.sites) {
    for (const RecordedTask& task : record.tasks) longest = std::max(longest, task.total());
  }
  for (const absl::Duration program : result_.record.programs) {
    longest = std::max(longest, program);
  }
  if (longest <= kRecordedTimeMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "the recording tells of %s for one task or program; a replay with changes takes up to %s",
      absl::FormatDuration(longest), absl::FormatDuration(kRecordedTimeMax)));
}

absl::StatusOr<RecordedRun> Reader::Finish() {
  if (!HasRun()) {
    return absl::NotFoundError(
        absl::StrFormat("the recording has no run '%s'", recording_.run.value()));
  }
  const bool wants_statistics =
      result_.state().plan->config().data().standardise() != v1::DataConfig::NONE;
  for (auto& [site, record] : result_.record.sites) {
    const bool is_ready =
        record.decision.has_value() &&
        (!record.decision->approved || !wants_statistics || record.statistics != nullptr);
    if (!is_ready) record.decision.reset();
    record.tasks = TasksOf(site);
  }
  CONSILIUM_RETURN_IF_ERROR(CheckLate());
  return std::move(result_);
}

}  // namespace

absl::StatusOr<RecordedRun> ReadRecordedRun(const Recording& recording, uint64_t model_bytes_max) {
  Reader reader(recording, model_bytes_max);
  uint64_t last = 0;
  for (const v1::JournalEntry& entry : recording.entries) {
    CONSILIUM_RETURN_IF_ERROR(CheckSequence(entry, last));
    last = entry.sequence();
    CONSILIUM_RETURN_IF_ERROR(reader.Take(entry));
  }
  return reader.Finish();
}

}  // namespace consilium
