// The site's own optimizer, as loops over flat floats: for models of this size cheaper than a
// tensor operation each, and the same bits on every machine (f32, no fused multiply-add).
// With g the gradient and λ the weight decay, as the field's tools define them:
//
//   SGD   g ← g + λw;  m ← βm + g (m ← g at first);  w ← w − η·m
//   Adam  g ← g + λw;  m ← β1·m + (1−β1)g;  v ← β2·v + (1−β2)g²            (arXiv:1412.6980)
//         w ← w − η/(1−β1^t) · m / (√v/√(1−β2^t) + ε)
//
// Ownership: owns its state. Threads: one at a time.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_LOCAL_OPTIMIZER_H_
#define CONSILIUM_SITE_AGENT_TRAIN_LOCAL_OPTIMIZER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"

namespace consilium {

class LocalOptimizer {
 public:
  // A fresh one for `elements` weights. `config` is a resolved plan's; INVALID_ARGUMENT where it
  // names no optimizer of this build.
  static absl::StatusOr<LocalOptimizer> Create(const v1::LocalOptimizer& config, size_t elements);

  // One step; both have the size given to Create.
  void Step(std::span<const float> gradient, std::span<float> weights);

 private:
  LocalOptimizer() = default;
  void StepSgd(std::span<const float> gradient, std::span<float> weights);
  void StepAdam(std::span<const float> gradient, std::span<float> weights);

  v1::LocalOptimizer config_;
  uint64_t steps_ = 0;
  std::vector<float> first_;   // m; empty for SGD without momentum.
  std::vector<float> second_;  // v; Adam only.
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_LOCAL_OPTIMIZER_H_
