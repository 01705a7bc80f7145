// Training and evaluation as the rest of an agent sees them. CPU today; a GPU trainer shares this
// interface. Both calls are pure functions of their arguments: the same input gives the same
// bytes, so an update can be retrained from its record, and the simulator may compute it whenever
// it likes.
//
// Threads: one call at a time on one Trainer.

#ifndef CONSILIUM_SITE_AGENT_CORE_TRAINER_H_
#define CONSILIUM_SITE_AGENT_CORE_TRAINER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "models/spec/examples.h"
#include "protocol/core/ids.h"

namespace consilium {

struct TrainInput {
  const v1::RunPlan* plan = nullptr;  // Resolved by ResolvePlan (models/spec/run_plan.h).
  SiteId site;
  TaskId task;
  std::span<const float> base;  // Weights of the base version, in the layout's order.
  uint32_t local_steps = 0;
  const Examples* examples = nullptr;  // The training part.
  // SCAFFOLD: the server's control variate of the base version; empty for version 0, which has
  // none.
  std::span<const float> control = {};
  // TrainOutput::kept of the last of this site's updates that a version includes; empty before.
  std::span<const float> kept = {};
};

struct TrainOutput {
  // w_end − w_base, in the layout's order; zeros where a tensor is personal.
  std::vector<float> delta;
  uint32_t steps = 0;
  double mean_loss = 0;  // Over the task's steps.
  // Whose rows a step has seen: each counts once. With a DISCRETE_HAZARD, of them those who add to
  // the interval that the fewest, but some, add to: the update's part of it is of nobody else
  // (site_agent/core/interval_patients.h).
  uint64_t patients = 0;
  // What the site keeps for its next task, once a version includes the update; never sent. Empty
  // where the plan has sites keep nothing (KeptBySites, models/spec/preset_traits.h).
  std::vector<float> kept;
};

struct EvaluateInput {
  const v1::RunPlan* plan = nullptr;
  std::span<const float> weights;
  const Examples* examples = nullptr;
  // As TrainInput has it. Where it is of a personal model, that one is evaluated: FEDPER's and
  // FEDBN's tensors in place of those of `weights`, DITTO's model instead of `weights`.
  std::span<const float> kept = {};
};

class Trainer {
 public:
  virtual ~Trainer() = default;

  // Fresh optimizer; batches drawn without replacement from a shuffled order that starts anew when
  // it is used up (stream "shuffle" of site and task); dropout from stream "dropout".
  // FAILED_PRECONDITION where there are no examples or a loss is not finite.
  virtual absl::StatusOr<TrainOutput> Train(const TrainInput& input) = 0;

  // Sums over `examples`; what can not be computed is absent.
  virtual absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_CORE_TRAINER_H_
