// How a recorded run went: its journal folded once more by the production engine, without vectors,
// and what that tells of each site's pace.
//
// Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_RECORDED_RUN_H_
#define CONSILIUM_SIM_ENGINE_RECORDED_RUN_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "sim/engine/recording.h"
#include "sim/engine/replay.h"
#include "sim/engine/site_record.h"

namespace consilium {

// From the first entry about a run to its last, and of one task or program, which may end after it.
// Longer ones are no federation that anybody waits for, and their sums would leave the range of
// clocks.
inline constexpr absl::Duration kRecordedTimeMax = absl::Hours(24 * 366 * 10);

struct RecordedRun {
  federation::FederationEngine engine;  // At the end of the recording.
  RunRecord record;                     // Its updates are the recording's, which outlives it.

  const federation::RunState& state() const { return engine.runs().at(record.run); }
};

// Of the recording's run. Times that go back are taken as the engine takes them: as the latest
// seen. A task that was open when it was withdrawn, or at the end, is taken to last a nanosecond
// longer than it had, and no less than the median of those that the site finished; of a site that
// finished none there are no tasks. INVALID_ARGUMENT, RESOURCE_EXHAUSTED and NOT_FOUND as Replay
// (sim/engine/replay.h); INVALID_ARGUMENT, too, where it, a task or a program spans more
// than kRecordedTimeMax.
absl::StatusOr<RecordedRun> ReadRecordedRun(const Recording& recording,
                                            uint64_t model_bytes_max = kReplayModelBytesMax);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_RECORDED_RUN_H_
