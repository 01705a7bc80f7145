#include "sim/engine/simulation.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "sim/engine/overloaded.h"

namespace consilium {
namespace {

double DrawSpeed(const v1::Speed& speed, RandomStream& random) {
  switch (speed.kind_case()) {
    case v1::Speed::kConstant:
      return speed.constant();
    case v1::Speed::kUniformMax:
      return 1 + random.NextUnit() * (speed.uniform_max() - 1);
    case v1::Speed::kParetoShape:
      return std::pow(1 - random.NextUnit(), -1 / speed.pareto_shape());
    case v1::Speed::kLogNormalSigma:
      return std::exp(std::abs(random.NextNormal()) * speed.log_normal_sigma());
    case v1::Speed::KIND_NOT_SET:
      return 1;
  }
  return 1;
}

}  // namespace

Simulation::Simulation(SimulationInput input)
    : input_(std::move(input)),
      aggregator_(world_, input_.recording),
      run_id_(absl::StrCat(input_.plan.config().name(), "-sim")) {
  world_.latency = absl::Milliseconds(input_.scenario.sites().latency_ms());
}

absl::StatusOr<std::unique_ptr<Simulation>> Simulation::Create(SimulationInput input) {
  std::unique_ptr<Simulation> simulation(new Simulation(std::move(input)));
  CONSILIUM_RETURN_IF_ERROR(simulation->AddSites());
  return simulation;
}

absl::StatusOr<double> Simulation::SlowdownOf(const SiteId& site, RandomStream& random) const {
  double slowdown = DrawSpeed(input_.scenario.sites().speed(), random);
  for (const v1::SiteOverride& override : input_.scenario.sites().overrides()) {
    if (override.site_id() == site.value()) slowdown *= override.slowdown();
  }
  if (!(slowdown > 0) || !std::isfinite(slowdown)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("sites: the slowdown of %s must be above 0", site.value()));
  }
  return slowdown;
}

absl::Status Simulation::AddSites() {
  for (const v1::SiteOverride& override : input_.scenario.sites().overrides()) {
    if (!input_.data->contains(SiteId(override.site_id()))) {
      return absl::InvalidArgumentError(
          absl::StrFormat("sites.overrides: the scenario has no site '%s'", override.site_id()));
    }
  }
  RandomStream random(SeedPath{input_.scenario.seed(), "speed", ""});
  for (const auto& [site, data] : *input_.data) {
    CONSILIUM_ASSIGN_OR_RETURN(const double slowdown, SlowdownOf(site, random));
    VirtualSiteOptions options;
    options.id = site;
    options.index = sites_.size();
    options.task_duration = absl::Milliseconds(input_.scenario.sites().task_ms()) * slowdown;
    options.task_duration_min =
        absl::Milliseconds(input_.plan.config().training().task_duration_min_ms()) * slowdown;
    options.faults = input_.scenario.sites().faults();
    options.seed = input_.scenario.seed();
    world_.site_index[site] = sites_.size();
    sites_.push_back(std::make_unique<VirtualSite>(std::move(options), data, world_, aggregator_,
                                                   *input_.trainer));
  }
  return absl::OkStatus();
}

absl::Status Simulation::Run() {
  if (input_.recording != nullptr) input_.recording->run = run_id_;
  aggregator_.Handle(federation::Started{});
  for (const auto& site : sites_) site->Start();
  world_.queue.Schedule(world_.queue.now(),
                        ToAggregator{federation::RunSubmitted{
                            run_id_, std::make_shared<const v1::RunPlan>(input_.plan)}});
  size_t versions_seen = 0;
  while (!world_.queue.empty() && world_.failure.ok()) {
    std::visit(Overloaded{
                   [&](const ToAggregator& message) { aggregator_.Handle(message.event); },
                   [&](const ToSite& message) { sites_[message.site]->Handle(message.event); },
                   [&](const AttachSite& message) { sites_[message.site]->Attach(); },
               },
               world_.queue.Pop());
    auto found = aggregator_.engine().runs().find(run_id_);
    if (found != aggregator_.engine().runs().end() &&
        found->second.versions.size() > versions_seen) {
      versions_seen = found->second.versions.size();
      if (input_.on_version) input_.on_version(found->second, now());
    }
  }
  CONSILIUM_RETURN_IF_ERROR(world_.failure);
  if (run().phase != federation::RunPhase::kEnded) {
    return absl::InternalError(
        absl::StrFormat("the federation stands still at version %d after %s of virtual time",
                        run().current().value(), absl::FormatDuration(now() - absl::UnixEpoch())));
  }
  return absl::OkStatus();
}

const federation::RunState& Simulation::run() const {
  return aggregator_.engine().runs().at(run_id_);
}

absl::StatusOr<Weights> Simulation::ModelOf(Version version) const {
  return aggregator_.ModelOf(run_id_, version);
}

}  // namespace consilium
