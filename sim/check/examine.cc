#include "sim/check/examine.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "sim/check/fake_trainer.h"
#include "sim/check/invariants.h"
#include "sim/engine/simulation.h"
#include "sim/engine/site_data.h"

namespace consilium {
namespace {

// The largest federations that are drawn have a few ten thousand.
constexpr uint64_t kEventsMax = 1'000'000;

Verdict Refused(const absl::Status& status) {
  return {Verdict::Kind::kRefused, std::string(status.message())};
}

uint64_t UpdatesOf(const federation::RunState& run) {
  uint64_t updates = 0;
  for (const auto& version : run.versions) {
    for (const auto& part : version.contributions) {
      updates += part.role == federation::Contribution::Role::kNew ? 1 : 0;
    }
  }
  return updates;
}

bool IsPowerOfTwo(uint64_t n) { return (n & (n - 1)) == 0; }

class Examination {
 public:
  // All outlive it.
  Examination(const FederationCase& federation, const FederationData& data, Trainer& trainer)
      : federation_(federation), data_(data), trainer_(trainer) {}

  Verdict Run(const v1::RunPlan& plan) {
    SimulationInput input;
    input.plan = plan;
    input.scenario = federation_.scenario;
    input.data = &data_;
    input.trainer = &trainer_;
    input.recording = &recording_;
    input.between = [this](const Simulation& simulation) { return Between(simulation); };
    const absl::StatusOr<std::unique_ptr<Simulation>> created =
        Simulation::Create(std::move(input));
    if (!created.ok()) return Refused(created.status());
    Simulation& simulation = **created;
    const absl::Status ran = simulation.Run();
    Broken broken = std::move(on_the_way_);
    if (!broken.has_value() && !ran.ok()) {
      broken = absl::StrCat(absl::IsFailedPrecondition(ran) ? "no starvation: " : "no error: ",
                            ran.message());
    }
    if (!broken.has_value()) broken = CheckWhole(simulation);
    Verdict verdict;
    verdict.events = simulation.steps();
    if (simulation.has_run()) {
      verdict.versions = simulation.run().current().value();
      verdict.updates = UpdatesOf(simulation.run());
    }
    if (broken.has_value()) {
      verdict.kind = Verdict::Kind::kBroken;
      verdict.what = *std::move(broken);
    }
    return verdict;
  }

 private:
  // Ends the simulation where an invariant is broken.
  absl::Status Between(const Simulation& simulation) {
    if (!simulation.has_run()) return absl::OkStatus();
    on_the_way_ = CheckLimits(simulation.run(), simulation.now());
    if (!on_the_way_.has_value() && simulation.IsDurable()) {
      on_the_way_ = CheckNobodyIsForgotten(simulation.aggregator_engine(), simulation.run(),
                                           simulation.now());
    }
    // What a site holds now must be in the journal now: nothing is told before it is durable.
    if (!on_the_way_.has_value() && IsPowerOfTwo(simulation.steps())) {
      on_the_way_ = CheckSoFar(simulation);
    }
    if (!on_the_way_.has_value() && simulation.steps() >= kEventsMax) {
      on_the_way_ = absl::StrCat("no starvation: no end after ", kEventsMax, " events");
    }
    return on_the_way_.has_value() ? absl::AbortedError(*on_the_way_) : absl::OkStatus();
  }

  template <typename Check>
  Broken CheckSites(const Simulation& simulation, const Check& check) {
    const RunId& run = simulation.run().run;
    for (const auto& entry : data_) {
      const auto& runs = simulation.EngineOf(entry.first).runs();
      const auto found = runs.find(run);
      if (found == runs.end()) continue;
      const SiteView view = {entry.first, found->second, simulation.HasLeft(entry.first)};
      if (Broken broken = check(view)) return broken;
    }
    return std::nullopt;
  }

  Broken CheckSoFar(const Simulation& simulation) {
    const Folded folded = FoldJournal(simulation, recording_);
    if (folded.broken.has_value()) return folded.broken;
    const auto run = folded.engine.runs().find(simulation.run().run);
    return CheckSites(simulation, [&](const SiteView& view) -> Broken {
      if (run != folded.engine.runs().end()) return CheckReceipts(run->second, view);
      return absl::StrCat("durability: ", view.site.value(), " knows a run that no journal has");
    });
  }

  // Of a simulation that has run to its end.
  Broken CheckWhole(const Simulation& simulation) {
    const federation::RunState& run = simulation.run();
    if (Broken broken = CheckEnd(run)) return broken;
    if (Broken broken = CheckSoFar(simulation)) return broken;
    Broken broken =
        CheckSites(simulation, [&](const SiteView& view) { return CheckHeardAll(run, view); });
    if (broken.has_value()) return broken;
    ReplayOptions options;
    // What an attacker sent, nobody else trains again.
    if (federation_.scenario.sites().attacks().empty()) {
      options.data = &data_;
      options.trainer = &trainer_;
    }
    return CheckReplay(recording_, options);
  }

  const FederationCase& federation_;
  const FederationData& data_;
  Trainer& trainer_;
  Recording recording_;
  Broken on_the_way_;
};

}  // namespace

absl::StatusOr<Verdict> Examine(const FederationCase& federation, const std::string& folder) {
  FakeTrainer trainer;
  return ExamineWith(trainer, federation, folder);
}

absl::StatusOr<Verdict> ExamineWith(Trainer& trainer, const FederationCase& federation,
                                    const std::string& folder) {
  const absl::StatusOr<v1::RunPlan> plan = ResolvePlan(federation.plan);
  if (!plan.ok()) return Refused(plan.status());
  CONSILIUM_ASSIGN_OR_RETURN(const FederationData data,
                             LoadScenarioData(federation.scenario, *plan, folder));
  return Examination(federation, data, trainer).Run(*plan);
}

}  // namespace consilium
