// The part of a results folder from which `consilium-sim run` goes on after its process has died,
// and the journals of what has ended:
//
//   OUT/checkpoint/experiment.json          what is simulated here
//   OUT/checkpoint/NAME.*                   of each run: sim/engine/saved_simulation.h
//   OUT/checkpoint/NAME.baselines           what the federation is compared with
//   OUT/personal/NAME/SITE.safetensors      models of the hospitals' own
//   OUT/journal/NAME.export, recipient.key  protocol/wire/journal_export.h; the key that opens them
//
// A run on a wall clock has a journal, and nothing to go on from.
//
// Threads: one. A second process on the same folder is refused. Other users may enter neither.

#ifndef CONSILIUM_SIM_COMMANDS_SAVED_RUNS_H_
#define CONSILIUM_SIM_COMMANDS_SAVED_RUNS_H_

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "sim/engine/baselines.h"
#include "sim/engine/saved_simulation.h"
#include "sim/engine/simulation.h"

namespace consilium {

struct SavedRunsOptions {
  std::string out;
  absl::Duration interval = absl::Minutes(1);
  uint64_t journal_updates_bytes_max = uint64_t{1} << 30;
  enum class Begin : uint8_t {
    kEither,   // Goes on where there is something to go on from.
    kGoOn,     // Only that.
    kRestart,  // What is there is lost.
  } begin = Begin::kEither;
  enum class Clock : uint8_t { kVirtual, kWall } clock = Clock::kVirtual;
};

class SavedRuns {
 public:
  struct Experiment {
    const v1::RunPlan& plan;
    const v1::Scenario& scenario;
    absl::string_view trainer;  // SimulationInput::trainer_name.
    // Those asked for; empty: as the files say. What lies in the folder may be of some of them.
    std::vector<uint64_t> seeds;
  };
  // Makes the folders. FAILED_PRECONDITION: another experiment's, or in use by another process; on
  // a wall clock any experiment's that is not to be lost.
  // NOT_FOUND: nothing to go on from, which was asked for. PERMISSION_DENIED: another user's.
  static absl::StatusOr<std::unique_ptr<SavedRuns>> Open(SavedRunsOptions options,
                                                         const Experiment& experiment);

  // OUT/checkpoint.
  std::string folder() const;

  // As SavedSimulation::Open.
  absl::StatusOr<std::unique_ptr<SavedSimulation>> OpenRun(const std::string& name,
                                                           const SimulationInput& input) const;
  // Its end, with OUT/journal/NAME.export.
  absl::Status FinishRun(const std::string& name, const Simulation& simulation,
                         SavedSimulation& saved) const;

  // A new log of a run on a wall clock; and its end, whatever it was, with OUT/journal/NAME.export.
  absl::StatusOr<std::unique_ptr<RunLog>> OpenWallRun(const std::string& name) const;
  absl::Status FinishWallRun(const std::string& name, const RunId& run, RunLog& log) const;
  // Path of OUT/journal/NAME.export.
  std::string JournalOf(const std::string& name) const;

  // OUT/personal/NAME/SITE.safetensors: the model of each hospital's own that a run leaves
  // (site_agent/core/personal_model.h), of version `result` with what the hospital keeps in
  // `simulation`, whose errors it gives. Hospitals that keep nothing yet have none, nor does what
  // lay there before stay; UNAVAILABLE where it does.
  absl::Status WritePersonalModels(const std::string& name, const v1::RunPlan& plan,
                                   std::span<const float> result,
                                   const Simulation& simulation) const;

  // Nothing where they are not kept, damaged, or of another input.
  std::optional<Baselines> FindBaselines(const std::string& name,
                                         const SimulationInput& input) const;
  absl::Status KeepBaselines(const std::string& name, const SimulationInput& input,
                             const Baselines& baselines) const;

 private:
  struct Unlock {
    void operator()(FILE* file) const { fclose(file); }
  };
  explicit SavedRuns(SavedRunsOptions options) : options_(std::move(options)) {}
  absl::Status Lock();
  absl::Status CheckExperiment(const Experiment& experiment) const;
  absl::Status WriteJournal(const std::string& name, const RunId& run, RunLog& log) const;

  SavedRunsOptions options_;
  std::unique_ptr<FILE, Unlock> lock_;
};

// Where Simulate is to save a run; nowhere unless it says so. And how much of what idle sites hold
// stays in memory.
struct SaveAs {
  const SavedRuns* runs = nullptr;
  std::string name = "";
  uint64_t idle_bytes_max = kIdleVectorsBytesMax;
  std::optional<uint64_t> seed = {};  // Of several: the line of progress tells it.
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_SAVED_RUNS_H_
