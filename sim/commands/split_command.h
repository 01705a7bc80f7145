// `consilium-sim data split`: deals one table out to virtual hospitals as CSV files that a real
// agent can import.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_SPLIT_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_SPLIT_COMMAND_H_

#include <string>

#include "absl/status/status.h"

namespace consilium {

struct SplitCommand {
  std::string run_file;
  std::string scenario_file;
  std::string data_folder;  // Where the scenario's files lie; empty: beside the scenario.
  std::string out;          // Folder: one SITE.csv for each site.
};

absl::Status Execute(const SplitCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_SPLIT_COMMAND_H_
