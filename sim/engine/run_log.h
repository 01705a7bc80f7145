// What a simulation leaves on disk as it goes, in two files that grow: outcomes of what was
// computed and inputs of the aggregator's engine, both small; and the updates that it accepted, as
// many as there is room for. A journal export is made of them in the end.
//
// Ownership: owns its files. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_RUN_LOG_H_
#define CONSILIUM_SIM_ENGINE_RUN_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/core/ids.h"
#include "sim/engine/frame_file.h"

namespace consilium {

// Of an outcome or an input; the longest are the evaluations of models with thousands of classes.
inline constexpr uint64_t kOutcomeBytesMax = uint64_t{256} << 20;

// How much of both files is durable.
struct RunLogEnds {
  uint64_t log_bytes = 0;
  uint64_t updates_bytes = 0;  // 0: they are gone, and not needed any more.
  uint64_t updates_left_out = 0;
};

struct RunLogOptions {
  std::string log_path;
  std::string updates_path;
  uint64_t updates_bytes_max = 0;  // Updates that do not fit are left out.
};

class RunLog {
 public:
  // New and empty.
  static absl::StatusOr<std::unique_ptr<RunLog>> Create(RunLogOptions options);
  // What lies before `ends` is known; what lies beyond is cut off. Both files have been checked
  // (CheckFrames).
  static absl::StatusOr<std::unique_ptr<RunLog>> GoOn(RunLogOptions options,
                                                      const RunLogEnds& ends);

  // Whether the simulation is still on its way to where the log was cut: it then recalls, and adds
  // nothing.
  bool is_recalling() const { return known_.has_value(); }
  // Of outcomes and inputs.
  const std::string& path() const { return options_.log_path; }
  // The next outcome. DATA_LOSS where there is none, and as FrameReader.
  absl::StatusOr<Frame> Recall();
  // It has come there. DATA_LOSS where outcomes are left that nobody asked for.
  absl::Status EndRecall();

  absl::Status Keep(char kind, absl::string_view outcome);
  // Outcomes so far in this process.
  uint64_t kept() const { return kept_; }
  absl::Status AddInput(const v1::JournalEntry& entry);
  absl::Status AddUpdate(const Digest& id, std::span<const float> delta);
  uint64_t updates_left_out() const { return updates_left_out_; }
  absl::StatusOr<RunLogEnds> Sync();

  // What was kept, in its order. `on_update` gets little-endian f32.
  struct Reader {
    std::function<absl::Status(const v1::JournalEntry& entry)> on_input;
    std::function<absl::Status(const Digest& id, absl::string_view payload)> on_update;
  };
  absl::Status Read(const Reader& reader);

 private:
  RunLog(RunLogOptions options, FrameWriter log, FrameWriter updates)
      : options_(std::move(options)), log_(std::move(log)), updates_(std::move(updates)) {}
  absl::StatusOr<std::optional<Frame>> NextOutcome();

  RunLogOptions options_;
  FrameWriter log_;
  FrameWriter updates_;
  std::optional<FrameReader> known_;
  uint64_t kept_ = 0;
  uint64_t updates_left_out_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_RUN_LOG_H_
