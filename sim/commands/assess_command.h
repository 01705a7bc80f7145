// `consilium-sim assess`: everything there is to say about a recorded federation: replayed,
// retrained, and its scores beside those of the hospitals' own models, a pooled model, and the
// same federation under other rules.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_ASSESS_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_ASSESS_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sim/commands/replay_command.h"

namespace consilium {

struct AssessCommand {
  RecordingSource source;
  std::string scenario_file;         // Empty: all sites equally fast.
  std::vector<std::string> presets;  // Names of v1.AggregationConfig.Preset.
  std::vector<std::string> notes;    // "KEY=NUMBER", e.g. kills=2.
  std::string published_file;        // As sim/report/published.h; empty: none.
  std::string out;
};

// DATA_LOSS where replay or retraining differ from the recording; the report is written all the
// same.
absl::Status Execute(const AssessCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_ASSESS_COMMAND_H_
