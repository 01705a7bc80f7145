// `consilium-sim stack`: writes the model spec of a network of the cells that a search found on a
// small set, stacked deeper or wider for a large one.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_STACK_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_STACK_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace consilium {

struct StackCommand {
  std::string space_file;
  std::string run_file;  // Of the large set: its spec gives input, parameters, loss and head.
  std::string search_folder;
  std::optional<uint64_t> trial;       // Whose cell; nothing: the best one.
  std::vector<std::string> overrides;  // cell.PATH=VALUE, or of the run config.
  std::string out;                     // Empty: stdout.
};

// INVALID_ARGUMENT: what files or options say, with what the large run's model check has against
// the network; NOT_FOUND: no such trial, or no trials; FAILED_PRECONDITION: the search is of
// another space, or has several best trials; ALREADY_EXISTS: `out`.
absl::Status Execute(const StackCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_STACK_COMMAND_H_
