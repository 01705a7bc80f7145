// A simulation that outlives its process: its log and its two newest checkpoints in a folder, from
// which it goes on.
//
//   FOLDER/NAME.log, NAME.updates   sim/engine/run_log.h
//   FOLDER/NAME.0, NAME.1           checkpoints, written by turns: the other one stays whole
//
// Ownership: owns its files; the folder is locked by its user. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_SAVED_SIMULATION_H_
#define CONSILIUM_SIM_ENGINE_SAVED_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sim/engine/checkpoint.h"
#include "sim/engine/simulation.h"

namespace consilium {

struct SavedSimulationOptions {
  std::string folder;
  std::string name;
  // What is simulated, by part; a part's name stands in the refusal of another simulation.
  std::map<std::string, std::string> identity;
  absl::Duration interval = absl::Minutes(1);  // Of wall time between two checkpoints.
  uint64_t updates_bytes_max = 0;              // Kept for the journal.
};

// Of this program.
std::string SimulatorVersion();

// Of the rows of all sites, and the parts they are in.
Digest DigestOf(const FederationData& data);

// What a simulation with these inputs is: digests of plan, scenario and rows, and the program's
// version.
std::map<std::string, std::string> IdentityOf(const SimulationInput& input);
// Those of `ours` that are not the same in `theirs`.
std::vector<std::string> DifferingParts(const std::map<std::string, std::string>& ours,
                                        const std::map<std::string, std::string>& theirs);

class SavedSimulation {
 public:
  // Looks for what an earlier process left. FAILED_PRECONDITION where that is another simulation's,
  // naming the parts that differ. A checkpoint that is damaged, or whose log is, is named in a
  // warning and the one before it taken; where none can be used, the simulation begins anew.
  static absl::StatusOr<std::unique_ptr<SavedSimulation>> Open(SavedSimulationOptions options);

  // Makes `input` a simulation that is saved; this outlives it.
  void Attach(SimulationInput& input);

  // Whether there was a checkpoint to go on from, and whether that was the end.
  bool goes_on() const { return found_.has_value(); }
  bool had_ended() const { return found_.has_value() && found_->is_last; }
  // Spent until now, over all processes.
  absl::Duration wall_time() const;
  // A checkpoint at once, between two events; nothing where it has not come to the last one yet.
  absl::Status WriteNow(const Simulation& simulation);
  // After Run(): `writer` makes a journal of the log, then the end is durable and the updates go.
  // Nothing where it had ended before.
  using JournalWriter = std::function<absl::Status(RunLog& log)>;
  absl::Status Finish(const Simulation& simulation, const JournalWriter& writer);

 private:
  explicit SavedSimulation(SavedSimulationOptions options);
  std::string PathOf(int turn) const;
  absl::StatusOr<std::optional<CheckpointHead>> Look(int turn) const;
  absl::Status FindCheckpoint();
  absl::Status Between(Simulation& simulation);
  absl::Status TakeUp(Simulation& simulation);
  bool IsDue();
  enum class Moment : uint8_t { kOnTheWay, kEnd };
  absl::Status Write(const Simulation& simulation, Moment moment);

  SavedSimulationOptions options_;
  std::unique_ptr<RunLog> log_;
  std::optional<CheckpointHead> found_;
  int turn_ = 0;  // The checkpoint to be written next.
  bool is_taken_up_ = false;
  absl::Time began_;
  // The first is due at once: from then on the folder is this simulation's.
  absl::Time written_ = absl::InfinitePast();
  uint64_t looked_at_ = ~uint64_t{0};
  uint64_t calls_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SAVED_SIMULATION_H_
