// One simulation with its progress line and its summary: what `run` and `assess` share.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_SIMULATE_H_
#define CONSILIUM_SIM_COMMANDS_SIMULATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "sim/commands/saved_runs.h"
#include "sim/engine/baselines.h"
#include "sim/engine/site_data.h"
#include "sim/engine/training_pool.h"
#include "sim/engine/wall_workers.h"
#include "sim/report/summary.h"
#include "site_agent/core/trainer.h"

namespace consilium {

class Simulation;

// On a wall clock: who computes, and where they are other processes, those. Virtual time where both
// are null.
struct OnWallClock {
  WallWorkers* workers = nullptr;
  RemoteTrainers* remote = nullptr;
};

// On a wall clock `trainings` is for what is told in the open, and has no remote trainers; an error
// leaves the journal of what came before it.
absl::StatusOr<RunSummary> Simulate(const v1::RunPlan& plan, const v1::Scenario& scenario,
                                    const FederationData& data, const SummaryOptions& options,
                                    TrainingPool& trainings, const SaveAs& save = {},
                                    const OnWallClock& wall = {});

// To the summary of a simulation of `data`: what its sites did when, and their idle fractions.
void AddActivity(const Simulation& simulation, const FederationData& data, RunSummary& summary);

// The plan under another rule with nothing said of it but its name, so that resolving gives it that
// rule's own defaults. How many train at once is no rule's own: the plan's `concurrency` stays
// where the rule has a place for it.
v1::RunPlan UnderPreset(v1::RunPlan plan, v1::AggregationConfig::Preset preset);
// Where the plan has a `concurrency`, warns of those of the presets that have no place for it.
void WarnWhereAllTrainAtOnce(const v1::RunPlan& plan,
                             const std::vector<v1::AggregationConfig::Preset>& presets);
// The plan under another rule with that rule's own defaults, and about as many merged updates.
absl::StatusOr<v1::RunPlan> WithPreset(const v1::RunPlan& plan,
                                       v1::AggregationConfig::Preset preset, size_t sites);

// By their names in v1.AggregationConfig.Preset. INVALID_ARGUMENT names the one that is none, and
// those that are.
absl::StatusOr<std::vector<v1::AggregationConfig::Preset>> ParsePresets(
    const std::vector<std::string>& names);

// Simulate for each of the presets, with its WithPreset. Saved under its name in lower case and
// `save.name`, which then begins with what separates them.
absl::StatusOr<std::vector<RunSummary>> SimulatePresets(
    const std::vector<v1::AggregationConfig::Preset>& presets, const v1::RunPlan& plan,
    const v1::Scenario& scenario, const FederationData& data, const SummaryOptions& options,
    TrainingPool& trainings, const SaveAs& save = {}, const OnWallClock& wall = {});

// "LOG_LOSS=0.1". INVALID_ARGUMENT names what is wrong.
absl::StatusOr<v1::StopConfig::Target> ParseTarget(const std::string& text);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_SIMULATE_H_
