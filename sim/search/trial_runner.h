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
  // FOLDER/NUMBER.json is its summary.
  absl::StatusOr<TrialResult> Run(const Trial& trial) const;

  // The arguments of consilium-sim that simulate `trial`.
  std::vector<std::string> CommandOf(const Trial& trial) const;

 private:
  const TrialRunnerOptions options_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_TRIAL_RUNNER_H_
