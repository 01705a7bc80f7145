#include "sim/commands/trainers.h"

#include <algorithm>
#include <thread>

#include "site_agent/train/cpu_trainer.h"
#include "site_agent/train/fused_trainer.h"

namespace consilium {

std::unique_ptr<Trainer> MakeTrainer(TrainerKind kind) {
  if (kind == TrainerKind::kFused) return std::make_unique<FusedTrainer>();
  return std::make_unique<CpuTrainer>();
}

absl::string_view NameOf(TrainerKind kind) {
  return kind == TrainerKind::kFused ? "fused" : "libtorch";
}

std::unique_ptr<TrainingPool> MakeTrainers(const TrainersOptions& options) {
  TrainingPool::Options pool;
  pool.threads =
      options.threads > 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  pool.trainer_name = std::string(NameOf(options.kind));
  return std::make_unique<TrainingPool>(std::move(pool), [&] { return MakeTrainer(options.kind); });
}

}  // namespace consilium
