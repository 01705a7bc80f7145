// `consilium-sim replay --set … --without …`: what a recorded federation would have come to with
// another plan, or without some of its sites.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_WHAT_IF_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_WHAT_IF_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "sim/commands/replay_command.h"

namespace consilium {

// Of a command that has changes. Says what was trained and what was only merged again.
// DATA_LOSS where the recording does not come out as it was recorded; FAILED_PRECONDITION where the
// changed run ends before its first version.
absl::Status ReplayWithChanges(const ReplayCommand& command);

// The recorded plan with `overrides`, as `run --set` takes them, and without these sites. Another
// preset comes with its own defaults: which of the recorded ones a person wrote is not known any
// more. For the same reason a K that `overrides` give takes the place of the recorded share of the
// live sites, and the log says so. INVALID_ARGUMENT as LoadRunPlan, and for what a replay does not
// read (files, scenario).
absl::StatusOr<v1::RunPlan> ChangedPlan(const v1::RunPlan& recorded,
                                        const std::vector<std::string>& overrides,
                                        const std::vector<std::string>& without);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_WHAT_IF_COMMAND_H_
