// `consilium-sim search`: tries points of a search space, each as a `consilium-sim run` of its own.
//
//   OUT/trials.jsonl          what is known: sim/search/trials_log.h
//   OUT/trials/NUMBER.json    each trial's summary
//   OUT/events                for TensorBoard, with hyperparameters, as trials end
//   OUT/trials.csv, trials.json, report.html   at the end
//
// Threads: one, and one a worker (sim/search/search_loop.h).

#ifndef CONSILIUM_SIM_COMMANDS_SEARCH_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_SEARCH_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sim/cluster/ranks.h"

namespace consilium {

struct SearchCommand {
  std::string space_file;
  std::string run_file;
  std::string scenario_file;
  std::string data_folder;             // Empty: beside the scenario.
  std::vector<std::string> overrides;  // Of every trial; as of RunCommand.
  std::string out;
  uint32_t workers = 0;  // Trials of this process at once; 0: as many as the machine has cores.
  // With others that a launcher has started: each runs trials, and rank 0 searches. May be null.
  Ranks* ranks = nullptr;
  enum class Output { kText, kJson } output = Output::kText;
  std::string program = "/proc/self/exe";  // consilium-sim, which runs the trials.
};

// Goes on where an earlier process with the same `out` was ended. INVALID_ARGUMENT for what the
// files or options say; FAILED_PRECONDITION for a folder of another search, where no trial
// succeeded, and for a rank with other files or another program; ABORTED where a rank has died.
absl::Status Execute(const SearchCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_SEARCH_COMMAND_H_
