// Runs a trial as what a person would run for it: `consilium-sim run RUN SCENARIO --set …`, in a
// process of its own. So a trial is exactly that command's result, one that runs out of memory does
// not take the search with it, and trials share neither threads nor state of LibTorch.
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_TRIAL_RUNNER_H_
#define CONSILIUM_SIM_SEARCH_TRIAL_RUNNER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/search_space.pb.h"
#include "sim/search/trial.h"

namespace consilium {

struct TrialRunnerOptions {
  v1::SearchSpace space;                   // Resolved.
  std::string program = "/proc/self/exe";  // consilium-sim.
  std::string run_file;
  std::string scenario_file;
  std::string data_folder;             // Empty: beside the scenario.
  std::vector<std::string> overrides;  // Of every trial.
  std::string folder;                  // For trials' summaries; it is there.
};

class TrialRunner {
 public:
  explicit TrialRunner(TrialRunnerOptions options) : options_(std::move(options)) {}

  // A trial whose plan is refused, or whose process fails, is a result with an error. CANCELLED
  // where somebody ended its process; UNAVAILABLE where none can be started.
  // FOLDER/NUMBER.json is its summary; FOLDER/NUMBER.textproto the model spec of its cells.
  absl::StatusOr<TrialResult> Run(const Trial& trial) const;

  // The arguments of consilium-sim that simulate `trial`.
  std::vector<std::string> CommandOf(const Trial& trial) const;

 private:
  // "path=value" of everything that is of the run config, its spec and the scenario.
  std::vector<std::string> AssignmentsFor(const Trial& trial) const;
  // Where the space has cells.
  absl::Status WriteCellModel(const Trial& trial) const;
  std::string CellModelFile(const Trial& trial) const;

  const TrialRunnerOptions options_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_TRIAL_RUNNER_H_
