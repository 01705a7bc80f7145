#include "sim/engine/simulation.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/engine/overloaded.h"
#include "sim/engine/scenario_checks.h"
#include "site_agent/core/fetched_model.h"
#include "site_agent/core/not_finite.h"

namespace consilium {
namespace {

// Windows open and close for ever, and so do timers and crashes go on; a federation that makes no
// version in so many of them (and so many more a site) makes none any more.
constexpr uint64_t kTurnsWithoutVersionMax = 100'000;
constexpr uint64_t kTurnsWithoutVersionPerSiteMax = 1000;
constexpr char kStoppedByScenario[] = "the scenario's stopped_after_ms";
// Failed trainings without a version from anyone: of a site, until nothing is hoped of it any more;
// and, a site, of those in a row while nothing is hoped of any other.
constexpr uint64_t kFailuresPerSiteMax = 10;
// On a wall clock: how long a lost rank that nobody waits for is not noticed at the most.
constexpr absl::Duration kBetweenMax = absl::Milliseconds(500);

}  // namespace

Simulation::Simulation(SimulationInput input)
    : input_(std::move(input)),
      examples_(kExamplesCacheBytesMax),
      aggregator_(world_, input_.scenario, input_.recording),
      run_id_(input_.record != nullptr ? input_.record->run
                                       : RunId(absl::StrCat(input_.plan.config().name(), "-sim"))) {
  world_.idle = IdleVectors::Create(input_.idle);
  world_.outcomes = Outcomes(input_.log);
  world_.trainings = input_.trainings;
  world_.workers = input_.workers;
  world_.record = input_.record;
}

// What pool and workers still compute borrows the sites.
Simulation::~Simulation() {
  if (input_.trainings != nullptr) input_.trainings->Clear();
  if (input_.workers != nullptr) input_.workers->Clear();
}

absl::StatusOr<std::unique_ptr<Simulation>> Simulation::Create(SimulationInput input) {
  CONSILIUM_RETURN_IF_ERROR(CheckScenario(input.scenario));
  CONSILIUM_RETURN_IF_ERROR(CheckScenarioAgainst(input.scenario, input.plan, *input.data));
  if (input.workers != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(CheckScenarioOnWallClock(input.scenario));
    input.scenario = WithoutDurations(std::move(input.scenario));
  }
  std::unique_ptr<Simulation> simulation(new Simulation(std::move(input)));
  simulation->AddSites();
  return simulation;
}

VirtualSiteOptions Simulation::OptionsFor(const SiteId& site, double slowdown) const {
  const v1::SitesConfig& sites = input_.scenario.sites();
  const v1::TrainingConfig& training = input_.plan.config().training();
  const absl::Duration duration_min = absl::Milliseconds(training.task_duration_min_ms());
  VirtualSiteOptions options;
  options.id = site;
  options.index = sites_.size();
  options.task_duration = absl::Milliseconds(sites.task_ms());
  options.task_duration_min = duration_min * slowdown;
  // What is drawn for each task stretches what the plan calls a task's least duration, too.
  if (sites.has_task_speed()) options.task_duration = std::max(options.task_duration, duration_min);
  options.local_steps = training.local_steps();
  options.task_speed = sites.task_speed();
  options.faults = sites.faults();
  options.seed = input_.scenario.seed();
  if (input_.record != nullptr) options.record = &input_.record->sites.at(site);
  return options;
}

void Simulation::AddSites() {
  const SiteWords words(input_.scenario.sites());
  std::map<SiteId, SiteWork::Options> works = WorkOptions(input_.scenario, *input_.data);
  world_.links.reserve(input_.data->size());
  for (const auto& [site, data] : *input_.data) {
    SiteTimeline timeline(input_.scenario, words, site);
    world_.site_index[site] = sites_.size();
    VirtualSiteOptions options = OptionsFor(site, timeline.slowdown());
    world_.links.emplace_back(input_.scenario, site, std::move(timeline));
    works.at(site).record = options.record;
    sites_.push_back(std::make_unique<VirtualSite>(
        std::move(options), SiteClock(input_.scenario, site),
        SiteWork(std::move(works.at(site)), data, *input_.trainer, examples_), world_,
        aggregator_));
  }
}

void Simulation::Take(const ToAggregator& message) {
  if (message.life != 0 && message.life != aggregator_.life()) return;
  if (std::holds_alternative<federation::TimerFired>(message.event)) ++turns_since_version_;
  if (message.site != kNoSite) {
    const bool is_gone =
        message.process != Incarnation() && !sites_[message.site]->IsRunning(message.process);
    if (!world_.IsCurrent(message.site, message.stream) || is_gone) return;
  }
  aggregator_.Handle(message);
}

void Simulation::Watch() {
  const auto found = aggregator_.engine().runs().find(run_id_);
  if (found == aggregator_.engine().runs().end()) return;
  const federation::RunState& run = found->second;
  world_.is_ending = run.phase >= federation::RunPhase::kEnded;
  if (run.versions.size() <= versions_seen_) return;
  versions_seen_ = run.versions.size();
  turns_since_version_ = 0;
  world_.failures_by_site.clear();
  failures_in_vain_ = 0;
  if (input_.on_version) input_.on_version(run, now());
}

absl::Status Simulation::StandsStill() const {
  const auto found = aggregator_.engine().runs().find(run_id_);
  if (found == aggregator_.engine().runs().end()) {
    return absl::InternalError("the aggregator did not take the run");
  }
  if (TrainsInVain()) {
    const uint64_t version = found->second.current().value();
    const absl::string_view said = world_.last_failure.message();
    if (!IsNotFinite(world_.last_failure)) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "training fails, so that no version after %d comes about: %s", version, said));
    }
    return absl::FailedPreconditionError(absl::StrFormat(
        "NOT_FINITE: training diverges, so that no version after %d comes about: %s. Lower the "
        "learning rate (training.optimizer) or the server's step (aggregation.server)",
        version, said));
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "the federation stands still at version %d after %s%s: it waits for sites that "
      "the scenario keeps away, or that all refuse",
      found->second.current().value(), absl::FormatDuration(now() - absl::UnixEpoch()),
      input_.workers == nullptr ? " of virtual time" : ""));
}

void Simulation::Step() {
  std::visit(Overloaded{
                 [&](const ToAggregator& message) { Take(message); },
                 [&](const ToSite& message) { sites_[message.site]->Deliver(message); },
                 [&](const SiteTurn& turn) {
                   ++turns_since_version_;
                   sites_[turn.site]->Take(turn);
                 },
                 [&](const AggregatorTurn& turn) {
                   if (turn.kind == AggregatorTurn::Kind::kCrashes) ++turns_since_version_;
                   aggregator_.Take(turn);
                 },
             },
             world_.queue.Pop());
  ++steps_;
  WatchFailures();
  Watch();
}

bool Simulation::IsBeyondHope(size_t site) const {
  const auto failures = world_.failures_by_site.find(site);
  return failures != world_.failures_by_site.end() && failures->second > kFailuresPerSiteMax;
}

// One site that diverges ends no run that others go on with, however long their tasks are; and a
// round that waits for it alone does not go on for ever.
void Simulation::WatchFailures() {
  if (world_.failures == failures_seen_) return;
  failures_seen_ = world_.failures;
  const v1::AggregationConfig& aggregation = input_.plan.config().aggregation();
  const auto grants = aggregation.trigger().has_barrier() ? VirtualSite::Grants::kOnce
                      : aggregation.has_concurrency()     ? VirtualSite::Grants::kDrawn
                                                          : VirtualSite::Grants::kAlways;
  for (size_t i = 0; i < sites_.size(); ++i) {
    if (IsBeyondHope(i) || !sites_[i]->MayContribute(run_id_, grants)) continue;
    failures_in_vain_ = 0;
    return;
  }
  ++failures_in_vain_;
}

bool Simulation::TrainsInVain() const {
  return failures_in_vain_ > kFailuresPerSiteMax * sites_.size();
}

bool Simulation::CanGoOn() const {
  return world_.failure.ok() && !TrainsInVain() &&
         turns_since_version_ <=
             kTurnsWithoutVersionMax + kTurnsWithoutVersionPerSiteMax * sites_.size();
}

absl::Status Simulation::RunOnVirtualTime() {
  while ((!world_.queue.empty() || GoesOnWithoutTheSilent()) && CanGoOn()) {
    CONSILIUM_RETURN_IF_ERROR(Between());
    Step();
  }
  return absl::OkStatus();
}

// What is left in the queue once the run has ended is timers for what can not happen any more.
absl::Status Simulation::RunOnWallClock() {
  WallWorkers& workers = *input_.workers;
  while (CanGoOn()) {
    CONSILIUM_RETURN_IF_ERROR(Between());
    world_.queue.AdvanceTo(workers.Now());
    if (world_.queue.next() <= now()) {
      Step();
      continue;
    }
    if (workers.open() == 0 && (world_.is_ending || world_.queue.empty())) break;
    const auto came = workers.Wait(std::min(world_.queue.next(), now() + kBetweenMax));
    world_.queue.AdvanceTo(workers.Now());
    for (const WallWorkers::Then& then : came) then();
  }
  return absl::OkStatus();
}

absl::Status Simulation::Run() {
  if (input_.recording != nullptr) input_.recording->run = run_id_;
  if (input_.workers != nullptr) input_.workers->StartClock();
  aggregator_.Start();
  for (const auto& site : sites_) site->Start();
  ToAggregator submitted;
  submitted.event =
      federation::RunSubmitted{run_id_, std::make_shared<const v1::RunPlan>(input_.plan)};
  world_.queue.Schedule(world_.now(), std::move(submitted));
  if (input_.scenario.stopped_after_ms() > 0) {
    const auto after = static_cast<int64_t>(input_.scenario.stopped_after_ms());
    ToAggregator stop;
    stop.event = federation::StopRequested{run_id_, kStoppedByScenario};
    world_.queue.Schedule(world_.now() + absl::Milliseconds(after), std::move(stop));
  }
  if (input_.record != nullptr && input_.record->stop.has_value()) {
    ToAggregator stop;
    stop.event = federation::StopRequested{run_id_, input_.record->stop->operator_name};
    world_.queue.Schedule(world_.now() + input_.record->stop->after, std::move(stop));
  }
  CONSILIUM_RETURN_IF_ERROR(input_.workers == nullptr ? RunOnVirtualTime() : RunOnWallClock());
  CONSILIUM_RETURN_IF_ERROR(world_.failure);
  CONSILIUM_RETURN_IF_ERROR(Between());
  return world_.is_ending && CanGoOn() ? absl::OkStatus() : StandsStill();
}

bool Simulation::GoesOnWithoutTheSilent() {
  if (world_.is_ending || !has_run()) return false;
  const auto is_silent = [this](const SiteId& site) {
    return sites_[world_.site_index.at(site)]->IsSilent();
  };
  const std::set<SiteId>& members = run().members;
  // Members leave only where others go on: the last ones are there for the run's end.
  if (!members.empty() && std::all_of(members.begin(), members.end(), is_silent)) {
    ToAggregator stop;
    stop.event = federation::StopRequested{run_id_, "the end of the recorded updates"};
    world_.queue.Schedule(world_.now(), std::move(stop));
    return true;
  }
  bool any = false;
  for (const auto& site : sites_) {
    if (!site->IsSilent()) continue;
    site->LeaveSilently();
    any = true;
  }
  return any;
}

const federation::RunState& Simulation::run() const {
  return aggregator_.engine().runs().at(run_id_);
}

Digest Simulation::StateDigest() const {
  FieldHasher hash("consilium.sim.state");
  hash.Add(steps_).Add(static_cast<uint64_t>(absl::ToUnixNanos(now())));
  hash.Add(aggregator_.engine().StateDigest());
  for (const auto& site : sites_) hash.Add(site->engine().StateDigest());
  return hash.Finish();
}

SimulationVectors Simulation::Vectors() const {
  SimulationVectors vectors;
  const MemoryVectorStore* store = aggregator_.VectorsOf(run_id_);
  if (store != nullptr) vectors.store = store->contents();
  for (const auto& [id, update] : world_.updates) vectors.updates[id] = update.delta;
  aggregator_.AddVectors(vectors);
  for (const auto& site : sites_) site->AddVectors(vectors);
  return vectors;
}

absl::Status Simulation::Restore(const SimulationVectors& vectors) {
  MemoryVectorStore* store = aggregator_.VectorsOf(run_id_);
  if (store != nullptr) {
    // Its reader vouches for no more than that the file is as it was written.
    const auto fits = [store](const auto& entry) {
      return entry.second->size() == store->elements();
    };
    if (!std::all_of(vectors.store.vectors.begin(), vectors.store.vectors.end(), fits) ||
        !std::all_of(vectors.store.staged_state.begin(), vectors.store.staged_state.end(), fits)) {
      return absl::DataLossError("the checkpoint holds a vector of another length than the model");
    }
    store->Replace(vectors.store);
  }
  for (auto& [id, update] : world_.updates) {
    const auto found = vectors.updates.find(id);
    if (found == vectors.updates.end()) {
      return absl::DataLossError("the checkpoint lacks an update that waits in an outbox");
    }
    if (found->second->size() != update.delta->size()) {
      return absl::DataLossError("the checkpoint holds an update of another length than the model");
    }
    update.delta = found->second;
  }
  CONSILIUM_RETURN_IF_ERROR(aggregator_.TakeVectors(vectors));
  world_.fetched.clear();
  for (const auto& [version, held] : vectors.models) world_.fetched[{run_id_, version}] = held;
  for (const auto& site : sites_) CONSILIUM_RETURN_IF_ERROR(site->TakeVectors(vectors));
  return absl::OkStatus();
}

absl::StatusOr<Weights> Simulation::KeptOf(const SiteId& site) const {
  return sites_[world_.site_index.at(site)]->KeptOf(run_id_);
}

absl::StatusOr<Weights> Simulation::ModelOf(Version version) const {
  CONSILIUM_ASSIGN_OR_RETURN(Weights fetched, aggregator_.ModelOf(run_id_, version));
  CONSILIUM_ASSIGN_OR_RETURN(const FetchedModel model, PartsOf(*fetched, run().elements));
  if (model.control.empty()) return fetched;
  return std::make_shared<const std::vector<float>>(model.weights.begin(), model.weights.end());
}

}  // namespace consilium
