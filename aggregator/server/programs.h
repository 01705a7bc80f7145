// The compute pool: runs vector programs and draws first models, one after the other, each over
// all threads of the pool; hands back what the engine asked for.
//
// A program that the disk refused runs again a little later. One that can not succeed (a blob is
// damaged) is logged and left: its run stands still, the others go on.
//
// Ownership: borrows the vectors. The destructor gives up what has not begun. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_PROGRAMS_H_
#define CONSILIUM_AGGREGATOR_SERVER_PROGRAMS_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "aggregator/core/actions.h"
#include "aggregator/core/events.h"
#include "aggregator/server/run_vectors.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/executor.h"
#include "protocol/wire/vector_program.h"

namespace consilium {

inline constexpr absl::Duration kProgramRetryDelay = absl::Seconds(1);

class Programs {
 public:
  // `threads` >= 1. `done` is called on the pool's thread, and may wait.
  Programs(RunVectors& vectors, int threads, std::function<void(federation::ComputeDone)> done);
  ~Programs();

  void Run(const federation::Compute& compute, uint64_t elements);
  void Draw(const federation::DrawInitialModel& draw, uint64_t elements,
            std::shared_ptr<const v1::RunPlan> plan);

 private:
  struct Job {
    RunId run;
    uint64_t program = 0;
    std::function<absl::StatusOr<ProgramResult>()> compute;
  };
  void Start(std::shared_ptr<const Job> job);
  void Do(const std::shared_ptr<const Job>& job);

  RunVectors& vectors_;
  const std::function<void(federation::ComputeDone)> done_;
  absl::Notification stopped_;
  Executor shards_;
  Executor jobs_;  // One thread: programs run in the order in which they were asked for.
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_PROGRAMS_H_
