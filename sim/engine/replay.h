// A recorded federation, run again: every input of the journal goes to a fresh engine, every
// program is computed anew, and what comes out is held against what was recorded. With the
// hospitals' data, every update is also trained again from its recorded base.
//
// Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_REPLAY_H_
#define CONSILIUM_SIM_ENGINE_REPLAY_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregator/core/engine.h"
#include "protocol/core/ids.h"
#include "sim/engine/recording.h"
#include "sim/engine/site_data.h"
#include "site_agent/core/trainer.h"

namespace consilium {

// What an export may say is not what it may cost: a model of 2^34 numbers fits in a small file.
inline constexpr uint64_t kReplayModelBytesMax = uint64_t{4} << 30;

struct ReplayOptions {
  // Both null: updates are taken from the recording. Both set: they are trained again, and the
  // recording's bytes are not looked at.
  const FederationData* data = nullptr;
  Trainer* trainer = nullptr;
  std::function<void(size_t done, size_t of)> progress;
  uint64_t model_bytes_max = kReplayModelBytesMax;
};

struct ReplayResult {
  federation::FederationEngine engine;  // At the end of the recording.
  // Payload root by version, as computed here.
  std::map<Version, Digest> payload_roots;
  // Of the newest version; null where there is none.
  std::shared_ptr<const std::vector<float>> newest_model;
  uint64_t programs_run = 0;
  uint64_t updates_retrained = 0;
  // In the order of finding; empty: everything came out bit by bit as recorded.
  std::vector<std::string> mismatches;

  const federation::RunState& run(const RunId& id) const { return engine.runs().at(id); }
};

// INVALID_ARGUMENT: an entry that is no input, a plan that can not be run (models/spec/run_plan.h),
// or sequence numbers that go back. RESOURCE_EXHAUSTED: its model has more bytes than
// the options allow. NOT_FOUND: the
// recording has no such run, or lacks the updates that a program needs. Mismatches are not errors.
absl::StatusOr<ReplayResult> Replay(const Recording& recording, const ReplayOptions& options);

// What whoever goes through a recording looks at first. INVALID_ARGUMENT: the plan can not be run.
// RESOURCE_EXHAUSTED: its model has more bytes than that.
absl::Status CheckRecordedPlan(const v1::RunPlan& plan, uint64_t model_bytes_max);
// INVALID_ARGUMENT where the entry does not come after sequence `last`.
absl::Status CheckSequence(const v1::JournalEntry& entry, uint64_t last);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_REPLAY_H_
