#include "site_agent/runtime/engine_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "consilium/v1/site_journal.pb.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/runtime/journal_codec.h"

namespace consilium::site {
namespace {

// One sync covers so many inputs at most.
constexpr size_t kBatchMax = 256;

bool IsReadable(const std::string& entry) {
  v1::SiteJournalEntry read;
  return read.ParseFromString(entry) && EventOf(read).ok();
}

}  // namespace

absl::StatusOr<SiteEngine> EngineLoop::Recover(SiteStore* store, const SiteId& site,
                                               const SiteOptions& options) {
  CONSILIUM_RETURN_IF_ERROR(store->VerifyJournal().status());
  SiteEngine engine(site, options);
  CONSILIUM_RETURN_IF_ERROR(store->ReadJournal([&](const ChainRow& row) -> absl::Status {
    v1::SiteJournalEntry entry;
    if (!entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size()))) {
      return absl::DataLossError(
          absl::StrCat("row ", row.sequence.value(), " of the journal is no entry"));
    }
    if (entry.has_release() || entry.has_policy()) return absl::OkStatus();
    absl::StatusOr<TimedEvent> input = EventOf(entry);
    if (!input.ok()) {
      return absl::DataLossError(absl::StrCat("row ", row.sequence.value(),
                                              " of the journal: ", input.status().message()));
    }
    engine.Step(input->time, input->event);
    return absl::OkStatus();
  }));
  return engine;
}

EngineLoop::EngineLoop(SiteEngine engine, SiteStore* store, const Clock* clock, ActionSink* sink)
    : engine_(std::move(engine)),
      store_(store),
      clock_(clock),
      sink_(sink),
      queue_(limits::kEngineQueueMax) {}

EngineLoop::~EngineLoop() { Stop(); }

void EngineLoop::Start(Incarnation incarnation) {
  Post(Started{incarnation});
  thread_ = std::thread([this] { Run(); });
}

bool EngineLoop::Post(Event event) { return queue_.Push(Input(std::move(event))); }

bool EngineLoop::Ask(const std::function<void(const SiteEngine&)>& ask) {
  const auto question = std::make_shared<Question>();
  question->ask = &ask;
  if (!queue_.Push(Input(question))) return false;
  question->over.WaitForNotification();
  return question->asked;
}

void EngineLoop::Stop() {
  stopping_ = true;
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

void EngineLoop::Run() {
  absl::Status status = absl::OkStatus();
  while (status.ok()) {
    TakeBatch();
    status = Commit();
    if (!status.ok() || (stopping_ && queue_.size() == 0)) break;
    Execute();
  }
  // Nobody waits for an answer that will not come.
  queue_.Close();
  while (std::optional<Input> left = queue_.Pop(absl::ZeroDuration())) {
    if (auto* question = std::get_if<std::shared_ptr<Question>>(&*left)) {
      (*question)->over.Notify();
    }
  }
  for (const auto& question : questions_) question->over.Notify();
  if (!status.ok()) sink_->OnFailed(status);
}

absl::Duration EngineLoop::UntilNextTimer() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [timer, at] : timers_) next = std::min(next, at);
  return std::max(absl::ZeroDuration(), next - clock_->Now());
}

void EngineLoop::TakeBatch() {
  std::optional<Input> input = queue_.Pop(UntilNextTimer());
  while (input.has_value()) {
    Take(*std::move(input));
    if (stepped_.size() >= kBatchMax) break;
    input = queue_.Pop(absl::ZeroDuration());
  }
  const absl::Time now = clock_->Now();
  std::vector<Timer> due;
  for (const auto& [timer, at] : timers_) {
    if (at <= now) due.push_back(timer);
  }
  for (const Timer& timer : due) {
    timers_.erase(timer);
    Step(TimerFired{timer});
  }
}

void EngineLoop::Take(Input input) {
  if (auto* question = std::get_if<std::shared_ptr<Question>>(&input)) {
    questions_.push_back(*question);
    return;
  }
  Step(std::get<Event>(std::move(input)));
}

void EngineLoop::Step(Event event) {
  // Megabytes that nobody will look at are not kept for ever.
  if (auto* offer = std::get_if<RunOffered>(&event); offer && !engine_.WouldLookAt(*offer)) {
    offer->plan = std::make_shared<const v1::RunPlan>();
  }
  TimedEvent input{clock_->Now(), std::move(event)};
  std::string entry = EntryOf(input).SerializeAsString();
  // Whatever the journal could not give back would keep the agent from ever starting again.
  if (!IsReadable(entry)) {
    spdlog::error("ALARM: an input that the journal can not keep is passed over");
    return;
  }
  std::vector<Action> actions = engine_.Step(input.time, input.event);
  barrier_.Hold(engine_.sequence(), std::move(actions));
  uncommitted_.push_back(std::move(entry));
  stepped_.push_back(std::move(input.event));
}

absl::Status EngineLoop::Commit() {
  if (uncommitted_.empty()) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(store_->AppendJournal(uncommitted_));
  Failpoint("agent.journal_committed");
  uncommitted_.clear();
  for (const Event& event : stepped_) sink_->OnCommitted(event);
  stepped_.clear();
  return absl::OkStatus();
}

void EngineLoop::Execute() {
  for (const Action& action : barrier_.Release(engine_.sequence())) {
    if (const auto* set = std::get_if<SetTimer>(&action)) {
      timers_[set->timer] = set->at;
    } else {
      sink_->Execute(engine_, action);
    }
  }
  for (const auto& question : questions_) Answer(*question);
  questions_.clear();
}

void EngineLoop::Answer(Question& question) {
  (*question.ask)(engine_);
  question.asked = true;
  question.over.Notify();
}

}  // namespace consilium::site
