// `consilium-sim run`: simulates a run config under a scenario, over one seed or several.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_RUN_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_RUN_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/run_config.pb.h"
#include "sim/cluster/ranks.h"
#include "sim/commands/saved_runs.h"
#include "sim/commands/trainers.h"

namespace consilium {

struct RunCommand {
  std::string run_file;
  std::string scenario_file;
  std::string data_folder;  // Where the scenario's files lie; empty: beside the scenario.
  // "path=value" over the run config, e.g. "aggregation.preset=FEDBUFF"; behind "spec." over its
  // model spec, behind "scenario." over the scenario.
  std::vector<std::string> overrides;
  std::vector<std::string> presets;  // Names of v1.AggregationConfig.Preset, simulated beside it.
  // "METRIC=VALUE": when its validation score is first reached is told. Empty: the plan's target.
  std::string target;
  // "3" or "1..5": seeds of run, split and scenario. Empty: as the files say.
  std::string seeds;
  std::string out;  // Folder for summary.json and report.html; may be empty.
  // Where there is a folder, it also holds checkpoints and journals.
  SavedRunsOptions::Begin begin = SavedRunsOptions::Begin::kEither;
  double checkpoint_s = 60;     // Wall seconds between checkpoints; >= 0.
  uint64_t journal_mib = 1024;  // Updates in a journal.
  // Of what idle sites hold, in memory; the rest lies in a file.
  uint64_t idle_mib = kIdleVectorsBytesMax >> 20;
  enum class Baselines { kTrain, kLeaveOut } baselines = Baselines::kTrain;
  TrainersOptions trainers;
  // kWall: threads, or the ranks other than 0, are workers in real time
  // (docs/adr/0010-wall-clock.md); nothing is gone on with.
  enum class Clock { kVirtual, kWall } clock = Clock::kVirtual;
  enum class Output { kText, kJson } output = Output::kText;
  // Where a launcher has started this process as one of several (sim/cluster): rank 0 simulates,
  // the others train for it. May be null; outlives the command.
  Ranks* ranks = nullptr;
};

// Goes on where an earlier process with the same `out` was ended. Writes what it found to stdout;
// progress, where that is a terminal, and warnings to stderr. ABORTED where a rank has died: it
// goes on likewise. On a wall clock there is no going on, and INVALID_ARGUMENT where that is asked.
absl::Status Execute(const RunCommand& command);

// INVALID_ARGUMENT where the two files were given the wrong way round. What else may be wrong with
// them, their loaders say.
absl::Status CheckOrderOfFiles(const std::string& run_file, const std::string& scenario_file);

// Overrides of plan and scenario, each as its own loader takes them.
struct Overrides {
  std::vector<std::string> plan;
  std::vector<std::string> scenario;
};
Overrides OverridesByFile(const std::vector<std::string>& overrides);

// "4" or "1..5". INVALID_ARGUMENT otherwise, or for more than 1,000.
absl::StatusOr<std::vector<uint64_t>> ParseSeeds(absl::string_view text);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_RUN_COMMAND_H_
