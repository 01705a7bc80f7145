#include "sim/engine/virtual_aggregator.h"

#include <cmath>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "aggregator/core/retention.h"
#include "aggregator/core/strategies/control_variates.h"
#include "models/spec/initial_values.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/engine/overloaded.h"
#include "spdlog/spdlog.h"

namespace consilium {

namespace fed = federation;

VirtualAggregator::VirtualAggregator(World& world, const v1::Scenario& scenario,
                                     Recording* recording)
    : world_(world),
      recording_(recording),
      journal_time_(absl::Milliseconds(scenario.aggregator().journal_ms())),
      crash_every_(
          absl::Milliseconds(static_cast<int64_t>(scenario.aggregator().crash_every_ms()))),
      crashes_(SeedPath{scenario.seed(), "aggregator crashes", ""}) {}

void VirtualAggregator::Start() {
  ToAggregator started;
  started.event = fed::Started{};
  Handle(started);
  ScheduleCrash();
}

void VirtualAggregator::Handle(const ToAggregator& message) {
  const absl::Time now = world_.queue.now();
  std::vector<fed::Action> actions = engine_.Step(now, message.event);
  const Sequence sequence = engine_.sequence();
  Weights accepted = AcceptedBy(message.event);
  barrier_.Hold(sequence, std::move(actions));
  if (journal_time_ == absl::ZeroDuration()) {
    Commit(sequence, now, message, accepted);
    return;
  }
  waiting_.push_back({sequence, now, message, std::move(accepted)});
  world_.queue.Schedule(now + journal_time_,
                        AggregatorTurn{AggregatorTurn::Kind::kDurable, sequence, life_});
}

void VirtualAggregator::Take(const AggregatorTurn& turn) {
  if (turn.kind == AggregatorTurn::Kind::kCrashes) return Crash();
  if (turn.life != life_) return;
  while (!waiting_.empty() && waiting_.front().sequence <= turn.sequence) {
    const Waiting durable = std::move(waiting_.front());
    waiting_.pop_front();
    Commit(durable.sequence, durable.now, durable.message, durable.accepted);
  }
}

// --- The journal ----------------------------------------------------------------------------

// Who is attached follows what is durable, as what is told does: nothing that an earlier attach of
// a site brought it leaves over a later one's stream.
void VirtualAggregator::Commit(Sequence sequence, absl::Time now, const ToAggregator& message,
                               const Weights& accepted) {
  const fed::Event& event = message.event;
  if (std::holds_alternative<fed::SiteAttached>(event)) {
    world_.links[message.site].SetAttachedStream(message.stream);
  }
  if (std::holds_alternative<fed::SiteLost>(event)) {
    world_.links[message.site].SetAttachedStream(0);
  }
  if (const auto* staged = std::get_if<fed::UpdateStaged>(&event)) {
    uploader_ = staged->incarnation;
    if (accepted != nullptr) StoreUpdate(*staged, accepted);
  }
  if (recording_ != nullptr) {
    recording_->entries.push_back(fed::EncodeJournalEntry({sequence, now, event}));
  }
  world_.failure.Update(world_.outcomes.AddInput(sequence, now, event));
  if (crash_every_ > absl::ZeroDuration()) journal_.push_back({sequence, now, event});
  if (const auto* done = std::get_if<fed::ComputeDone>(&event)) RecordResult(*done);
  for (const fed::Action& action : barrier_.Release(sequence)) Execute(action);
}

// What was not durable is as if it had never come, and nobody has heard of it. Programs and timers
// of the process that died end with it.
void VirtualAggregator::Crash() {
  if (world_.is_ending) return;
  ++life_;
  const std::deque<Waiting> lost = std::exchange(waiting_, {});
  barrier_ = {};
  engine_ = {};
  for (const fed::JournalledEvent& input : journal_) engine_.Step(input.now, input.event);
  for (size_t site = 0; site < world_.links.size(); ++site) {
    world_.links[site].SetAttachedStream(0);
    world_.After(absl::ZeroDuration(),
                 {site, SiteTurn::Kind::kStreamBreaks, world_.links[site].stream()});
  }
  Start();
  for (const Waiting& input : lost) Forget(input.message.event);
}

void VirtualAggregator::ScheduleCrash() {
  if (crash_every_ == absl::ZeroDuration()) return;
  // Time for the journal, so that not every life is too short for what it begins with.
  const absl::Duration lives = journal_time_ - std::log(1 - crashes_.NextUnit()) * crash_every_;
  world_.queue.Schedule(world_.now() + lives + absl::Milliseconds(1), AggregatorTurn{});
}

void VirtualAggregator::Forget(const fed::Event& event) {
  if (const auto* staged = std::get_if<fed::UpdateStaged>(&event)) {
    world_.BreakUpload(staged->site, {staged->incarnation, staged->run, staged->task, {}},
                       "the aggregator died before it answered");
  }
  const bool is_operators = std::holds_alternative<fed::SiteAdded>(event) ||
                            std::holds_alternative<fed::SiteRemoved>(event) ||
                            std::holds_alternative<fed::RunSubmitted>(event) ||
                            std::holds_alternative<fed::StopRequested>(event);
  if (!is_operators) return;
  ToAggregator again;
  again.event = event;
  world_.queue.Schedule(world_.now(), std::move(again));
}

// --- Vectors --------------------------------------------------------------------------------

absl::StatusOr<VirtualAggregator::Parts> VirtualAggregator::PartsOf(const RunId& run,
                                                                    Version version) const {
  auto found = stores_.find(run);
  if (found == stores_.end()) return absl::NotFoundError("no such run");
  Parts parts;
  CONSILIUM_ASSIGN_OR_RETURN(parts.weights, found->second->Get(VectorName::Model(version)));
  const std::optional<VectorName> name = fed::ControlOf(engine_.runs().at(run), version);
  if (name.has_value()) {
    CONSILIUM_ASSIGN_OR_RETURN(parts.control, found->second->Get(*name));
  }
  return parts;
}

absl::StatusOr<Weights> VirtualAggregator::ModelOf(const RunId& run, Version version) const {
  CONSILIUM_ASSIGN_OR_RETURN(const Parts parts, PartsOf(run, version));
  if (parts.control == nullptr) return parts.weights;
  auto both = std::make_shared<std::vector<float>>(*parts.weights);
  both->insert(both->end(), parts.control->begin(), parts.control->end());
  return both;
}

absl::StatusOr<IdleVectors::Held> VirtualAggregator::FetchedOf(const RunId& run,
                                                               Version version) const {
  // What retention has let go is not there to be fetched, whoever still holds it.
  CONSILIUM_RETURN_IF_ERROR(PartsOf(run, version).status());
  const std::pair<RunId, Version> name = {run, version};
  const auto found = world_.fetched.find(name);
  if (found != world_.fetched.end()) {
    if (IdleVectors::Held held = found->second.lock()) return held;
  }
  Weights model;
  if (world_.outcomes.IsRecalling()) {  // A placeholder needs no room.
    model = std::make_shared<const std::vector<float>>();
  } else {
    CONSILIUM_ASSIGN_OR_RETURN(model, ModelOf(run, version));
  }
  CONSILIUM_ASSIGN_OR_RETURN(IdleVectors::Held held, world_.idle->Keep(std::move(model)));
  std::erase_if(world_.fetched, [](const auto& entry) { return entry.second.expired(); });
  world_.fetched[name] = held;
  return held;
}

MemoryVectorStore* VirtualAggregator::VectorsOf(const RunId& run) const {
  const auto found = stores_.find(run);
  return found == stores_.end() ? nullptr : found->second.get();
}

void VirtualAggregator::AddVectors(SimulationVectors& vectors) const {
  for (const Waiting& waiting : waiting_) {
    if (waiting.accepted == nullptr) continue;
    vectors.updates[std::get<fed::UpdateStaged>(waiting.message.event).update] = waiting.accepted;
  }
}

absl::Status VirtualAggregator::TakeVectors(const SimulationVectors& vectors) {
  for (Waiting& waiting : waiting_) {
    if (waiting.accepted == nullptr) continue;
    const auto found =
        vectors.updates.find(std::get<fed::UpdateStaged>(waiting.message.event).update);
    if (found == vectors.updates.end() || found->second->size() != waiting.accepted->size()) {
      return absl::DataLossError("the checkpoint lacks an update that is not durable yet");
    }
    waiting.accepted = found->second;
  }
  return absl::OkStatus();
}

MemoryVectorStore* VirtualAggregator::StoreOf(const RunId& run) {
  auto found = stores_.find(run);
  if (found != stores_.end()) return found->second.get();
  auto state = engine_.runs().find(run);
  if (state == engine_.runs().end()) return nullptr;
  return stores_.emplace(run, std::make_unique<MemoryVectorStore>(state->second.elements))
      .first->second.get();
}

Weights VirtualAggregator::AcceptedBy(const fed::Event& event) {
  const auto* staged = std::get_if<fed::UpdateStaged>(&event);
  if (staged == nullptr) return nullptr;
  const auto run = engine_.runs().find(staged->run);
  if (run == engine_.runs().end()) return nullptr;
  const auto participant = run->second.participants.find(staged->site);
  if (participant == run->second.participants.end()) return nullptr;
  const auto task = participant->second.tasks.find(staged->task);
  const bool is_new = task != participant->second.tasks.end() &&
                      task->second.phase == fed::TaskPhase::kAccepted &&
                      task->second.accepted == engine_.sequence();
  if (!is_new) return nullptr;
  const auto update = world_.updates.find(staged->update);
  if (update == world_.updates.end()) {
    world_.failure.Update(absl::InternalError("an update was accepted that no outbox holds"));
    return nullptr;
  }
  return update->second.delta;
}

void VirtualAggregator::StoreUpdate(const fed::UpdateStaged& staged, const Weights& delta) {
  world_.failure.Update(StoreOf(staged.run)->Put(VectorName::Update(staged.update), delta));
  world_.failure.Update(world_.outcomes.AddAccepted(staged.update, *delta));
  if (recording_ != nullptr) recording_->updates[staged.update] = *delta;
}

// The version is committed: its optimizer state becomes the current one. Its updates may go, also
// where a real aggregator keeps them for a later replay: that is what a recording is for.
void VirtualAggregator::RecordResult(const fed::ComputeDone& done) {
  auto state = engine_.runs().find(done.run);
  if (state == engine_.runs().end() || state->second.versions.empty()) return;
  const fed::RunState& run = state->second;
  MemoryVectorStore& store = *StoreOf(done.run);
  world_.failure.Update(store.SwitchState(run.current()));
  for (const fed::Contribution& part : run.versions.back().contributions) {
    if (!fed::KeepsLatestOf(run, part.site)) store.Forget(VectorName::Update(part.update));
  }
}

void VirtualAggregator::ScheduleDone(fed::ComputeDone done) {
  const absl::Duration time =
      world_.record == nullptr ? absl::ZeroDuration() : world_.record->TimeOfProgram(done.program);
  ToAggregator message;
  message.event = std::move(done);
  message.life = life_;
  world_.queue.Schedule(world_.queue.now() + time, std::move(message));
}

void VirtualAggregator::Compute(const fed::Compute& action) {
  absl::StatusOr<ProgramResult> result = world_.outcomes.Run(action, *StoreOf(action.run));
  if (!result.ok()) {
    world_.failure.Update(result.status());
    return;
  }
  ScheduleDone({action.run, action.program, result->scalars, result->payload_root});
}

void VirtualAggregator::Draw(const fed::DrawInitialModel& action) {
  const fed::RunState& state = engine_.runs().at(action.run);
  absl::StatusOr<ModelGraph> graph = GraphOf(*state.plan);
  if (!graph.ok()) {
    world_.failure.Update(graph.status());
    return;
  }
  std::vector<float> values = InitialValues(*graph, state.plan->config().seed());
  const Digest root = MerkleRootOf(
      {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
  world_.failure.Update(StoreOf(action.run)->Put(VectorName::Model(Version(0)), std::move(values)));
  ScheduleDone({action.run, action.program, {}, root});
}

void VirtualAggregator::SendReceipt(const fed::SendReceipt& action) {
  auto receipt = std::make_shared<v1::Receipt>();
  receipt->set_kind(action.kind);
  receipt->set_run_id(action.run.value());
  receipt->set_site_id(action.site.value());
  receipt->set_task_id(action.task.value());
  receipt->set_update_id(ToBytes(action.update));
  receipt->set_sequence(action.sequence.value());
  receipt->set_version(action.version.value());
  receipt->set_coefficient(action.coefficient);
  if (action.kind != v1::Receipt::ACCEPTED) {
    world_.SendToSite(action.site, MessageOrder::kAny, site::ReceiptReceived{std::move(receipt)});
    return;
  }
  world_.AnswerUpload(
      action.site, {uploader_, action.run, action.task, site::ReceiptReceived{std::move(receipt)}});
}

void VirtualAggregator::SendRefusal(const fed::RefuseUpdate& action) {
  world_.AnswerUpload(
      action.site, {uploader_, action.run, action.task,
                    site::UpdateRefused{action.run, action.task, action.reason, action.message}});
}

// Virtual links say who has a live stream; that the engine has welcomed it is the engine's word.
void VirtualAggregator::Announce(const fed::AnnounceToMembers& action) {
  const fed::AnnounceModel& a = action.model;
  for (const SiteId& site : *action.members) {
    const auto known = engine_.sites().find(site);
    const bool is_attached =
        known != engine_.sites().end() && known->second.link == fed::SiteState::Link::kAttached;
    if (!is_attached) continue;
    world_.SendToSite(
        site, MessageOrder::kAny,
        site::ModelAvailable{a.run, a.version, a.model_id, a.payload_bytes, a.evaluate});
  }
}

void VirtualAggregator::Execute(const fed::Action& action) {
  std::visit(Overloaded{
                 [&](const fed::Compute& a) { Compute(a); },
                 [&](const fed::DrawInitialModel& a) { Draw(a); },
                 [&](const fed::Welcome& a) {
                   world_.SendToSite(a.site, MessageOrder::kKept, site::LinkUp{});
                 },
                 [&](const fed::RefuseAttach& a) {
                   spdlog::warn("{} is not let in: {}", a.site.value(), a.message);
                 },
                 [&](const fed::Detach& a) {
                   world_.SendToSite(a.site, MessageOrder::kKept, site::LinkDown{});
                 },
                 [&](const fed::OfferRun& a) {
                   world_.SendToSite(a.site, MessageOrder::kKept,
                                     site::RunOffered{a.run, a.plan, a.plan_hash});
                 },
                 [&](const fed::StartRun& a) {
                   world_.SendToSite(a.site, MessageOrder::kKept,
                                     site::RunStarted{a.run, a.layout_hash, a.standardisation});
                 },
                 [&](const fed::OfferTask& a) {
                   world_.SendToSite(a.site, MessageOrder::kAny,
                                     site::TaskOffered{a.run, a.task, a.base_min, a.local_steps});
                 },
                 [&](const fed::AnnounceModel& a) {
                   world_.SendToSite(a.site, MessageOrder::kAny,
                                     site::ModelAvailable{a.run, a.version, a.model_id,
                                                          a.payload_bytes, a.evaluate});
                 },
                 [&](const fed::AnnounceToMembers& a) { Announce(a); },
                 [&](const fed::SendReceipt& a) { SendReceipt(a); },
                 [&](const fed::RefuseUpdate& a) { SendRefusal(a); },
                 [&](const fed::EndRun& a) {
                   world_.SendToSite(a.site, MessageOrder::kAny,
                                     site::RunEnded{a.run, a.last, a.result, a.why});
                 },
                 [&](const fed::SetTimer& a) {
                   ToAggregator message;
                   message.event = fed::TimerFired{a.timer};
                   message.life = life_;
                   world_.queue.Schedule(a.at, std::move(message));
                 },
                 [&](const fed::Forget& a) { StoreOf(a.run)->Forget(a.vector); },
                 [&](const fed::PurgeRun& a) { stores_.erase(a.run); },
                 [&](const fed::Alarm& a) {
                   spdlog::warn("alarm: {} {}: {}", a.run.value(), a.site.value(), a.message);
                 },
             },
             action);
}

}  // namespace consilium
