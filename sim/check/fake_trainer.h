// Updates and scores without learning, for checks of everything else: numbers drawn from site and
// task, pulled towards zero so that no model runs away. Pure, as a Trainer must be.
//
// Threads: one.

#ifndef CONSILIUM_SIM_CHECK_FAKE_TRAINER_H_
#define CONSILIUM_SIM_CHECK_FAKE_TRAINER_H_

#include "absl/status/statusor.h"
#include "site_agent/core/trainer.h"

namespace consilium {

class FakeTrainer final : public Trainer {
 public:
  // Δ = −w/10 + N(0, .1²) + (c − c_i)/100, drawn from (run seed, site, task); with SCAFFOLD and
  // DITTO c_i ← c_i + Δ, so that what a site keeps is seen in all that it sends later. With FEDPER
  // and FEDBN c_i are the site's own elements, again and again as far as the model is longer: they
  // go on by their Δ, in whose place zeros are sent. c is SCAFFOLD's; c and c_i are 0 elsewhere.
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override;
  // Only the log loss: between 0.2 and 1.2 a row, by the weights and what the site keeps.
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_CHECK_FAKE_TRAINER_H_
