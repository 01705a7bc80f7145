// `consilium-sim compare`: several runs, with their seeds, beside each other.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_COMPARE_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_COMPARE_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace consilium {

struct CompareCommand {
  // Folders of `consilium-sim run --out`, or their summary.json; the others are held against the
  // first.
  std::vector<std::string> runs;
  std::string metric;  // A name of v1.Metric that decides; empty: as DecideBy.
  std::string out;     // Folder for compare.html, .json and .csv; may be empty.
  enum class Output { kText, kJson } output = Output::kText;
};

// INVALID_ARGUMENT for fewer than two runs, or one that is no run's summary; NOT_FOUND.
absl::Status Execute(const CompareCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_COMPARE_COMMAND_H_
