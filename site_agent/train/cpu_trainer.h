// Training and evaluation on one thread of the CPU, bit-reproducible on one CPU type and one build
// of LibTorch (models/torch/torch_model.h says what that hangs on). The agent and the simulator
// use the same one.
//
// Ownership: keeps the model of the last plan, so that the next task of a run need not build it;
// nothing of a call's data or weights outlives it. Threads: one call at a time on one CpuTrainer.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_CPU_TRAINER_H_
#define CONSILIUM_SITE_AGENT_TRAIN_CPU_TRAINER_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "models/spec/model_graph.h"
#include "models/torch/torch_model.h"
#include "protocol/core/ids.h"
#include "site_agent/core/trainer.h"
#include "site_agent/train/personal_tensors.h"

namespace consilium {

class CpuTrainer final : public Trainer {
 public:
  // As Trainer says, and INVALID_ARGUMENT where weights or examples do not have the model's sizes.
  // A delta that is not finite is FAILED_PRECONDITION too: a smaller learning rate may help.
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override;
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override;

 private:
  // The model of `plan`, its weights set to `weights`, and to what the site has of its own of them
  // (TrainInput::kept).
  absl::StatusOr<TorchModel*> Load(const v1::RunPlan& plan, std::span<const float> weights,
                                   std::span<const float> kept);

  std::optional<Digest> plan_hash_;  // Of the plan that the two belong to.
  std::unique_ptr<TorchModel> model_;
  std::optional<PersonalTensors> personal_;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_CPU_TRAINER_H_
