// `consilium-sim replay`: a recorded federation, run again bit by bit; or with changes
// (what_if_command.h).
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_REPLAY_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_REPLAY_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sim/commands/trainers.h"
#include "sim/engine/replay.h"

namespace consilium {

// Where a recording and the hospitals' tables lie.
struct RecordingSource {
  std::string export_file;
  std::string key_file;  // Private key of the export's recipient.
  // The aggregator's signing key, 64 hexadecimal digits (`consilium status`). Empty: the export is
  // checked against the key that it states itself, so anyone may have made it; stderr says so.
  std::string aggregator_key = "";
  std::vector<std::string> data;  // "SITE=CSV".
};

struct ReplayCommand {
  RecordingSource source;
  enum class Updates { kRecorded, kRetrained } updates = Updates::kRecorded;
  // Of the updates that are retrained: the one that made them.
  TrainerKind trainer = TrainerKind::kLibTorch;
  enum class Output { kText, kJson } output = Output::kText;

  // Changes. Without any the recording is held to what was recorded.
  std::vector<std::string>
      overrides;                     // "path=value" over the recorded plan, as RunCommand has them.
  std::vector<std::string> without;  // Sites.
  std::string out;  // Folder for summary.json and the rest, of a run with changes; may be empty.
  bool has_changes() const { return !overrides.empty() || !without.empty(); }
};

// DATA_LOSS where anything differs from what was recorded; stdout says what.
absl::Status Execute(const ReplayCommand& command);

// Decrypts, checks signature and chain. INVALID_ARGUMENT for an aggregator_key that is none;
// PERMISSION_DENIED where another aggregator signed.
absl::StatusOr<Recording> OpenRecording(const RecordingSource& source);
// The plan of the recorded run. NOT_FOUND where the recording has none.
absl::StatusOr<v1::RunPlan> PlanOf(const Recording& recording);
// The tables named by --data, split as the plan says.
absl::StatusOr<FederationData> OpenData(const RecordingSource& source, const v1::RunPlan& plan);
// Replay with a progress line.
absl::StatusOr<ReplayResult> ReplayWithProgress(const Recording& recording, ReplayOptions options,
                                                absl::string_view what);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_REPLAY_COMMAND_H_
