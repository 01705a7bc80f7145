// Trains small chains of layers without LibTorch (fused_chain.h), several times as fast, and all
// else as CpuTrainer does. Its updates are not CpuTrainer's bit by bit: sums are in another order
// (docs/adr/0007-fused-training.md), so whoever trains an update again must use the same trainer.
//
// What it gives is a function of the task alone, on every processor: not of what else is trained,
// of threads or of the order.
//
// Ownership: keeps the model of the last plan. Threads: one call at a time on one FusedTrainer.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_FUSED_TRAINER_H_
#define CONSILIUM_SITE_AGENT_TRAIN_FUSED_TRAINER_H_

#include <optional>

#include "absl/status/statusor.h"
#include "site_agent/core/trainer.h"
#include "site_agent/train/cpu_trainer.h"
#include "site_agent/train/fused_chain.h"

namespace consilium {

class FusedTrainer final : public Trainer {
 public:
  // As CpuTrainer's, with its errors.
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override;
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override;

  // Whether it trains that plan in loops of its own.
  absl::StatusOr<bool> TakesOver(const v1::RunPlan& plan);

 private:
  // Nullptr where CpuTrainer trains the plan.
  absl::StatusOr<FusedChain*> ModelOf(const v1::RunPlan& plan);

  CpuTrainer others_;
  std::optional<Digest> plan_hash_;  // Of the plan that model_ belongs to.
  std::optional<FusedChain> model_;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_FUSED_TRAINER_H_
