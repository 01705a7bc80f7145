// The last stage: from the direction that the updates combine to, to the next version.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_SERVER_OPTIMIZER_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_SERVER_OPTIMIZER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {

struct ServerRule {
  enum class Kind : uint8_t {
    kSgd,       // w += η·d
    kMomentum,  // m = β·m + d;  w += η·m             (state slot 0: m)
    kAdam,      // w += η·m̂/(√v̂ + ε), arXiv:2003.00295 (state slots 0, 1: m, v)
  };
  Kind kind = Kind::kSgd;
  double learning_rate = 1;
  double learning_rate_final = 1;  // SGD and momentum.
  uint32_t decay_versions = 0;     // 0: no decay.
  double momentum = 0;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-3;
};

// INVALID_ARGUMENT where a value is out of its range; one that is absent (or 0, where that can not
// be meant) is the default.
absl::StatusOr<ServerRule> ServerRuleOf(const v1::ServerOptimizer& stage);

// η for the step from `current` to the version after it. Falls geometrically:
//   η(v) = η_0·(η_final/η_0)^(min(v, D)/D)
double LearningRateAt(const ServerRule& rule, Version current);

// Whether η is a factor of each coefficient (plain SGD: the step is linear in the updates), or
// only of the step.
enum class LearningRatePlace : uint8_t { kInCoefficients, kInStep };
LearningRatePlace PlaceOfLearningRate(const ServerRule& rule);

struct ServerStep {
  VectorName weights;    // Holds the current version's weights; becomes the next one's.
  VectorName direction;  // d
  double learning_rate = 0;
  uint64_t steps_before = 0;  // Optimizer steps of this run so far; Adam's bias correction.
};
// Appends the rule's step, and its state slots, to the program.
void AppendServerStep(const ServerRule& rule, const ServerStep& step, VectorProgram& program);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_SERVER_OPTIMIZER_H_
