// The trainers of `consilium-sim`, by the names of --trainer (docs/adr/0007-fused-training.md), as
// many as it has threads.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_TRAINERS_H_
#define CONSILIUM_SIM_COMMANDS_TRAINERS_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "sim/cluster/ranks.h"
#include "sim/engine/remote_trainers.h"
#include "sim/engine/training_pool.h"
#include "site_agent/core/trainer.h"

namespace consilium {

enum class TrainerKind {
  kLibTorch,  // As real agents train: the default.
  kFused,     // Small chains of layers without LibTorch; all else as kLibTorch.
};

struct TrainersOptions {
  TrainerKind kind = TrainerKind::kLibTorch;
  size_t threads = 0;  // Of each process; 0: one a processor. Shows in the wall time only.
};

inline constexpr size_t kTrainingThreadsMax = 1024;

std::unique_ptr<Trainer> MakeTrainer(TrainerKind kind);
// "libtorch", "fused": what --trainer takes, and summary.json tells.
absl::string_view NameOf(TrainerKind kind);
// What checkpoints and ranks compare: the name, with a number that rises whenever the same plan
// comes to other bits by it than in an earlier build. A checkpoint of before is then refused
// instead of being gone on with by another arithmetic.
//   fused-2: chains of convolutions are its own, too, which went to LibTorch before
absl::string_view ArithmeticOf(TrainerKind kind);
// How many there are; `ranks` may be null. Those of one machine share its processors.
size_t ThreadsOf(const TrainersOptions& options, const Ranks* ranks);
// Both may be null; `remote` outlives the pool.
std::unique_ptr<TrainingPool> MakeTrainers(const TrainersOptions& options,
                                           const Ranks* ranks = nullptr,
                                           RemoteTrainers* remote = nullptr);

// Of a wall clock without ranks: a worker a thread.
std::vector<std::vector<std::unique_ptr<TaskWorker>>> WorkersOnThreads(
    const TrainersOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_TRAINERS_H_
