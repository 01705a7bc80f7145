#include "sim/engine/virtual_site.h"

#include <algorithm>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "sim/engine/overloaded.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

constexpr uint32_t kRestartMsDefault = 1000;
constexpr uint32_t kRemovedAfterMsDefault = 60'000;

Digest LeaseHash(const SiteId& site, uint64_t count) {
  return FieldHasher("consilium.sim.lease")
      .Add(absl::string_view(site.value()))
      .Add(count)
      .Finish();
}

absl::Duration MillisecondsOr(uint32_t value, uint32_t otherwise) {
  return absl::Milliseconds(value == 0 ? otherwise : value);
}

federation::UpdateStaged StagedOf(const v1::UpdateHeader& header, const Digest& update,
                                  const OutboxUpdate& found) {
  federation::UpdateStaged staged;
  staged.site = SiteId(header.site_id());
  staged.run = RunId(header.run_id());
  staged.task = TaskId(header.task_id());
  staged.incarnation = Incarnation(header.incarnation());
  staged.base = Version(header.base_version());
  staged.base_model_id = *DigestFromBytes(header.base_model_id());
  staged.layout_hash = *DigestFromBytes(header.layout_hash());
  staged.update = update;
  staged.examples = header.examples();
  staged.steps = header.steps();
  staged.training_loss = header.training_loss();
  staged.norm = found.norm;
  staged.values = found.is_finite ? federation::UpdateStaged::Values::kFinite
                                  : federation::UpdateStaged::Values::kNotFinite;
  return staged;
}

federation::SiteAttached AttachedOf(const site::SiteEngine& engine) {
  federation::SiteAttached attached;
  for (const v1::HeldReceipt& held : engine.HeldReceipts()) {
    attached.held_receipts.push_back({RunId(held.run_id()), TaskId(held.task_id()),
                                      DigestFromBytes(held.update_id()).value_or(Digest{})});
  }
  for (const v1::RunProgress& run : engine.Progress()) {
    attached.runs.push_back({RunId(run.run_id()), TaskId(run.newest_task_id())});
  }
  return attached;
}

}  // namespace

VirtualSite::VirtualSite(VirtualSiteOptions options, SiteClock clock, SiteWork work, World& world,
                         const VirtualAggregator& aggregator)
    : options_(std::move(options)),
      clock_(clock),
      work_(std::move(work)),
      world_(world),
      aggregator_(aggregator),
      engine_(options_.id, site::SiteOptions{options_.task_duration_min}) {}

void VirtualSite::Turn(absl::Time at, SiteTurn::Kind kind, uint64_t number) {
  if (at == absl::InfiniteFuture()) return;
  world_.queue.Schedule(at, SiteTurn{options_.index, kind, number});
}

void VirtualSite::Start() {
  incarnation_ = incarnation_.next();
  is_running_ = true;
  ToAggregator added;
  added.event = federation::SiteAdded{options_.id, LeaseHash(options_.id, leases_)};
  world_.queue.Schedule(world_.now(), std::move(added));
  Handle(site::Started{incarnation_});
  if (options_.record != nullptr && options_.record->left_after.has_value()) {
    Turn(world_.now() + *options_.record->left_after, SiteTurn::Kind::kLeaves,
         incarnation_.value());
  }
  if (timeline().At(world_.now()).is_there) {
    ComeBack();
  } else {
    Turn(timeline().NextThere(world_.now()), SiteTurn::Kind::kComesBack, 0);
  }
}

// --- Link and process -----------------------------------------------------------------------

void VirtualSite::Attach() {
  const bool can = is_running_ && link_state_ == LinkState::kDown;
  // At the end a window that closes while a lost stream is opened again would leave it out for
  // good: it does not come back a second time.
  const bool is_there = world_.is_ending || timeline().At(world_.now()).is_there;
  if (!can || !is_there) return;
  link_state_ = LinkState::kAttaching;
  federation::SiteAttached attached = AttachedOf(engine_);
  attached.site = options_.id;
  attached.incarnation = incarnation_;
  attached.lease_presented_hash = LeaseHash(options_.id, leases_);
  attached.lease_next_hash = LeaseHash(options_.id, leases_ + 1);
  world_.SendToAggregator(options_.index, MessageOrder::kKept, std::move(attached));
}

// Both sides notice; the engine of a process that lives on hears of it.
void VirtualSite::EndStream() {
  if (link_state_ == LinkState::kDown) return;
  link_state_ = LinkState::kDown;
  world_.links[options_.index].EndStream();
  ToAggregator lost;
  lost.event = federation::SiteLost{options_.id, incarnation_};
  lost.site = options_.index;
  world_.queue.Schedule(world_.now() + timeline().latency(), std::move(lost));
  After(absl::ZeroDuration(), site::LinkDown{});
}

void VirtualSite::DropLink() {
  EndStream();
  Turn(world_.now() + absl::Milliseconds(options_.faults.link_down_ms()), SiteTurn::Kind::kAttach,
       0);
}

void VirtualSite::GoAway() {
  if (world_.is_ending) return;
  EndStream();
  Turn(timeline().NextThere(world_.now()), SiteTurn::Kind::kComesBack, 0);
}

void VirtualSite::ComeBack() {
  if (has_left_) return;
  Attach();
  Turn(timeline().NextAway(world_.now()), SiteTurn::Kind::kGoesAway, 0);
}

void VirtualSite::Crash() {
  EndStream();
  is_running_ = false;
  StopTraining();
  Turn(world_.now() + MillisecondsOr(options_.faults.restart_ms(), kRestartMsDefault),
       SiteTurn::Kind::kStarts, 0);
}

void VirtualSite::StartAgain() {
  const Digest before = engine_.StateDigest();
  engine_ = site::SiteEngine(options_.id, site::SiteOptions{options_.task_duration_min});
  for (const Journalled& entry : journal_) engine_.Step(entry.at, entry.event);
  if (engine_.StateDigest() != before) {
    world_.failure.Update(absl::InternalError(
        absl::StrCat("the engine of ", options_.id.value(), " does not recover what it was")));
    return;
  }
  incarnation_ = incarnation_.next();
  is_running_ = true;
  Handle(site::Started{incarnation_});
  Attach();
}

void VirtualSite::Leave() {
  EndStream();
  is_running_ = false;
  has_left_ = true;
  StopTraining();
  ToAggregator removed;
  removed.event = federation::SiteRemoved{options_.id};
  const absl::Duration after =
      options_.record != nullptr
          ? absl::ZeroDuration()
          : MillisecondsOr(options_.faults.removed_after_ms(), kRemovedAfterMsDefault);
  world_.queue.Schedule(world_.now() + after, std::move(removed));
}

bool VirtualSite::IsSilent() const {
  if (options_.record == nullptr || has_left_) return false;
  return !options_.record->decision.has_value() ||
         (training_.has_value() && training_->due == absl::InfiniteFuture());
}

bool VirtualSite::MayContribute(const RunId& run, Grants grants) const {
  if (has_left_ || IsSilent()) return false;
  const bool is_away = link_state_ != LinkState::kUp;
  const auto found = engine_.runs().find(run);
  if (found == engine_.runs().end()) return is_away;
  const site::RunState& state = found->second;
  if (!state.open.empty()) return true;
  if (state.decision != nullptr && !state.approved()) return false;
  if (grants == Grants::kDrawn) return true;
  return is_away && !(grants == Grants::kOnce && !state.held.empty());
}

void VirtualSite::Take(const SiteTurn& turn) {
  switch (turn.kind) {
    case SiteTurn::Kind::kAttach:
      return Attach();
    case SiteTurn::Kind::kStreamBreaks:
      if (world_.IsCurrent(options_.index, static_cast<uint32_t>(turn.number))) DropLink();
      return;
    case SiteTurn::Kind::kTrained:
      if (training_.has_value() && training_->number == turn.number) FinishTraining();
      return;
    case SiteTurn::Kind::kEvaluated:
      return FinishEvaluation(turn.number);
    case SiteTurn::Kind::kCrashes:
      if (IsRunning(Incarnation(turn.number))) Crash();
      return;
    case SiteTurn::Kind::kStarts:
      return StartAgain();
    case SiteTurn::Kind::kLeaves:
      if (IsRunning(Incarnation(turn.number))) Leave();
      return;
    case SiteTurn::Kind::kGoesAway:
      return GoAway();
    case SiteTurn::Kind::kComesBack:
      return ComeBack();
  }
}

// --- Inputs of the engine -------------------------------------------------------------------

void VirtualSite::Deliver(const ToSite& message) {
  if (!world_.IsCurrent(options_.index, message.stream)) return;
  if (message.process != Incarnation() && !IsRunning(message.process)) return;
  if (options_.record != nullptr && HoldsBack(message)) return;
  Handle(message.event);
}

bool VirtualSite::HoldsBack(const ToSite& message) {
  const auto* offer = std::get_if<site::TaskOffered>(&message.event);
  if (offer == nullptr) return false;
  if (message.stream == 0) {  // Its time has come.
    --held_back_;
    return false;
  }
  const auto run = engine_.runs().find(offer->run);
  const uint64_t ahead = held_back_ + (run == engine_.runs().end() ? 0 : run->second.open.size());
  const RecordedTask* const task = options_.record->TaskAt(tasks_done_ + ahead);
  const absl::Time until =
      std::max(held_until_, world_.now() + (task == nullptr ? absl::ZeroDuration() : task->wait));
  if (until <= world_.now()) return false;
  ++held_back_;
  held_until_ = until;
  After(until - world_.now(), message.event);
  return true;
}

void VirtualSite::Handle(const site::Event& event) {
  if (std::holds_alternative<site::LinkUp>(event)) {
    link_state_ = LinkState::kUp;
    ++leases_;
    world_.SendToAggregator(
        options_.index, MessageOrder::kKept,
        federation::LeaseConfirmed{options_.id, LeaseHash(options_.id, leases_)});
  }
  const absl::Time at = clock_.At(world_.now());
  if (options_.faults.crash_rate() > 0) journal_.push_back({at, event});
  std::vector<site::Action> actions = engine_.Step(at, event);
  barrier_.Hold(engine_.sequence(), std::move(actions));
  for (const site::Action& action : barrier_.Release(engine_.sequence())) Execute(action);
}

void VirtualSite::After(absl::Duration delay, site::Event event) {
  ToSite message;
  message.site = options_.index;
  message.event = std::move(event);
  message.process = incarnation_;
  world_.queue.Schedule(world_.now() + delay, std::move(message));
}

// --- Actions --------------------------------------------------------------------------------

// Who never was ready in the recording does not answer.
void VirtualSite::CheckPlan(const site::CheckPlan& action) {
  const SiteRecord* const record = options_.record;
  if (record != nullptr && !record->decision.has_value()) return;
  absl::StatusOr<site::PlanChecked> checked = work_.Check(action.run, *action.plan);
  if (!checked.ok()) {
    world_.failure.Update(checked.status());
    return;
  }
  After(record == nullptr ? absl::ZeroDuration() : record->decision->after, *std::move(checked));
}

void VirtualSite::ComputeStatistics(const site::ComputeStatistics& action) {
  absl::StatusOr<v1::StatisticsReport> report =
      work_.Statistics(action.run, *engine_.runs().at(action.run).plan);
  if (!report.ok()) {
    world_.failure.Update(report.status());
    return;
  }
  const SiteRecord* const record = options_.record;
  After(record == nullptr
            ? absl::ZeroDuration()
            : std::max(absl::ZeroDuration(), record->statistics_after - record->decision->after),
        site::StatisticsComputed{action.run,
                                 std::make_shared<const v1::StatisticsReport>(*std::move(report))});
}

void VirtualSite::Fetch(const site::Fetch& action) {
  SiteLink& link = world_.links[options_.index];
  absl::StatusOr<IdleVectors::Held> model = aggregator_.FetchedOf(action.run, action.version);
  if (!model.ok() && !absl::IsNotFound(model.status())) {
    world_.failure.Update(model.status());
    return;
  }
  if (!model.ok()) {
    site::FetchFailed failed;
    failed.run = action.run;
    failed.version = action.version;
    failed.error.set_reason(v1::VERSION_UNKNOWN);
    failed.error.set_message(std::string(model.status().message()));
    After(2 * link.latency(), std::move(failed));
    return;
  }
  models_[{action.run, action.version}] = *std::move(model);
  const absl::Time sent = link.Download(world_.now() + link.latency(), action.payload_bytes);
  if (sent == absl::InfiniteFuture()) return;
  world_.activity.Add({options_.index, Activity::Kind::kDownload, world_.now(), sent});
  After(sent + link.latency() - world_.now(), site::ModelFetched{action.run, action.version});
}

void VirtualSite::Send(const site::Send& action) {
  const auto found = world_.updates.find(action.update);
  // Its end is known and the vector dropped: a repeated send needs only the receipt.
  if (found == world_.updates.end()) return;
  SiteLink& link = world_.links[options_.index];
  const absl::Time sent = link.Upload(world_.now(), action.header->payload_bytes());
  if (sent == absl::InfiniteFuture()) return;
  world_.activity.Add({options_.index, Activity::Kind::kUpload, world_.now(), sent});
  const MessageFate fate = link.DrawUpload();
  if (fate.kind == MessageFate::Kind::kLost) {
    v1::ErrorDetail lost;
    lost.set_reason(v1::TRUNCATED);
    lost.set_retryable(true);
    lost.set_message("the simulated network lost the upload");
    After(sent + fate.delay - world_.now(),
          site::SendFailed{action.run, action.task, lost, link.DrawJitter()});
    return;
  }
  ToAggregator upload;
  upload.event = StagedOf(*action.header, action.update, found->second);
  upload.site = options_.index;
  upload.process = incarnation_;
  if (fate.kind == MessageFate::Kind::kArrivesTwice) {
    world_.queue.Schedule(sent + fate.second_delay, upload);
  }
  world_.queue.Schedule(sent + fate.delay, std::move(upload));
  if (link.DrawLinkDrop()) Turn(sent, SiteTurn::Kind::kStreamBreaks, link.stream());
}

// Without a stream it is not said: the aggregator asks again when the site attaches.
void VirtualSite::Report(federation::Event event) {
  if (link_state_ != LinkState::kUp) return;
  world_.SendToAggregator(options_.index, MessageOrder::kAny, std::move(event));
}

void VirtualSite::ReportDecision(const v1::RunDecision& decision) {
  federation::RunDecided decided;
  decided.site = options_.id;
  decided.run = RunId(decision.run_id());
  decided.plan_hash = DigestFromBytes(decision.plan_hash()).value_or(Digest{});
  decided.answer = decision.approved() ? federation::RunDecided::Answer::kApproved
                                       : federation::RunDecided::Answer::kRefused;
  decided.reason = decision.reason();
  decided.message = decision.message();
  decided.train_examples = decision.train_examples();
  Report(std::move(decided));
}

absl::StatusOr<Weights> VirtualSite::KeptOf(const RunId& run) const {
  const auto found = engine_.runs().find(run);
  if (work_.PlaysBack() || found == engine_.runs().end() || found->second.kept.empty()) {
    return nullptr;
  }
  return kept_.at(found->second.kept.rbegin()->second)->Read();
}

// --- Vectors, for checkpoints -----------------------------------------------------------------

void VirtualSite::AddVectors(SimulationVectors& out) const {
  for (const auto& [key, model] : models_) out.models[key.second] = model;
  if (training_.has_value()) out.models[training_->action.base] = training_->base;
  out.kept.insert(kept_.begin(), kept_.end());
  for (const auto& [number, evaluation] : evaluations_) {
    if (!IsRunning(evaluation.process)) continue;
    out.models[evaluation.action.version] = evaluation.model;
    if (evaluation.kept != nullptr) out.kept.emplace(*evaluation.action.kept, evaluation.kept);
  }
  const Attacker* attacker = work_.attacker();
  if (attacker != nullptr && !attacker->first_update().empty()) {
    out.first_updates[options_.id] = attacker->first_update();
  }
}

absl::Status VirtualSite::TakeVectors(const SimulationVectors& from) {
  const auto find = [&](Version version) {
    const auto found = from.models.find(version);
    return found == from.models.end() ? nullptr : found->second;
  };
  bool complete = true;
  for (auto& [key, model] : models_) complete = (model = find(key.second)) && complete;
  if (training_.has_value()) {
    complete = (training_->base = find(training_->action.base)) && complete;
  }
  const auto take_kept = [&](const Digest& id, IdleVectors::Held& held) -> absl::Status {
    const auto found = from.kept.find(id);
    if (found == from.kept.end()) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint lacks what ", options_.id.value(), " keeps of an update"));
    }
    held = found->second;
    return absl::OkStatus();
  };
  for (auto& [id, held] : kept_) CONSILIUM_RETURN_IF_ERROR(take_kept(id, held));
  for (auto& [number, evaluation] : evaluations_) {
    if (!IsRunning(evaluation.process)) continue;
    complete = (evaluation.model = find(evaluation.action.version)) && complete;
    if (evaluation.kept == nullptr) continue;
    CONSILIUM_RETURN_IF_ERROR(take_kept(*evaluation.action.kept, evaluation.kept));
  }
  const auto first = from.first_updates.find(options_.id);
  if (first != from.first_updates.end() && work_.attacker() != nullptr) {
    work_.attacker()->set_first_update(first->second);
  }
  if (complete) {
    if (training_.has_value()) BeginTraining();
    for (auto& [number, evaluation] : evaluations_) {
      if (IsRunning(evaluation.process)) BeginEvaluation(evaluation);
    }
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("the checkpoint lacks a model that ", options_.id.value(), " holds"));
}

void VirtualSite::Execute(const site::Action& action) {
  std::visit(
      Overloaded{
          [&](const site::CheckPlan& a) { CheckPlan(a); },
          [&](const site::ComputeStatistics& a) { ComputeStatistics(a); },
          [&](const site::Fetch& a) { Fetch(a); },
          [&](const site::Train& a) { Train(a); },
          [&](const site::StopTraining&) { StopTraining(); },
          [&](const site::Evaluate& a) { Evaluate(a); },
          [&](const site::Send& a) { Send(a); },
          [&](const site::ReportDecision& a) { ReportDecision(*a.decision); },
          [&](const site::ReportStatistics& a) {
            Report(federation::StatisticsReported{options_.id, a.report});
          },
          [&](const site::ReportEvaluation& a) {
            Report(federation::EvaluationReported{
                options_.id, RunId(a.report->run_id()), Version(a.report->version()),
                a.report->split(), std::make_shared<const v1::MetricSums>(a.report->metrics())});
          },
          [&](const site::DropUpdate& a) { world_.updates.erase(a.update); },
          [&](const site::DropModel& a) {
            models_.erase({a.run, a.version});
          },
          [&](const site::DropKept& a) { kept_.erase(a.update); },
          [&](const site::SetTimer& a) {
            After(clock_.When(a.at) - world_.now(), site::TimerFired{a.timer});
          },
          [&](const site::Alarm& a) {
            spdlog::warn("alarm at {}: {}", options_.id.value(), a.message);
          },
      },
      action);
}

}  // namespace consilium
