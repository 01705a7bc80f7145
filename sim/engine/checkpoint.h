// A moment of a simulation as a file: where it was, and all its vectors. Engines, messages and
// random streams are not in it: the simulation comes to the same place again from its start, by
// the outcomes in its log (sim/engine/outcomes.h), and takes the vectors from here.
//
// Threads: any; one writer of a path.

#ifndef CONSILIUM_SIM_ENGINE_CHECKPOINT_H_
#define CONSILIUM_SIM_ENGINE_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/core/ids.h"
#include "sim/engine/idle_vectors.h"
#include "sim/engine/run_log.h"
#include "sim/engine/simulation_vectors.h"

namespace consilium {

struct CheckpointHead {
  // What was simulated, by part ("run config", "scenario", …): hexadecimal digests.
  std::map<std::string, std::string> identity;
  uint64_t steps = 0;  // Events taken.
  Digest state = {};   // Simulation::StateDigest.
  RunLogEnds log;
  double wall_seconds = 0;  // Spent until here, over all processes.
  bool is_last = false;     // The simulation has ended with it.
};

// Replaces the file as a whole, durably. RESOURCE_EXHAUSTED, PERMISSION_DENIED, UNAVAILABLE: the
// system's words; else as IdleVector::Peek.
absl::Status WriteCheckpoint(const std::string& path, const CheckpointHead& head,
                             const SimulationVectors& vectors);

// NOT_FOUND; DATA_LOSS where any byte of the file is not as it was written.
absl::StatusOr<CheckpointHead> ReadCheckpointHead(const std::string& path);
// What sites hold goes to `idle`, whose errors are added to these.
absl::StatusOr<SimulationVectors> ReadCheckpointVectors(const std::string& path, IdleVectors& idle);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_CHECKPOINT_H_
