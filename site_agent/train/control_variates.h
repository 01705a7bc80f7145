// The site's side of SCAFFOLD (arXiv:1910.06378), Option II. With x the base, y the weights, g the
// gradient, S the task's steps and η its learning rate, c the server's control variate and c_i this
// site's own:
//
//   y ← y − η(g − c_i + c),  c_i⁺ = c_i − c + (x − y)/(S·η)
//
// c_i⁺ is the mean of the g of the task's steps, and so estimates the gradient of this site's
// patients. Weight decay, where the plan has it, is a term of the loss: part of g.
//
// Ownership: borrows the plan's vectors. Threads: one at a time.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_CONTROL_VARIATES_H_
#define CONSILIUM_SITE_AGENT_TRAIN_CONTROL_VARIATES_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "site_agent/core/trainer.h"

namespace consilium {

class ControlVariates {
 public:
  // Of a task; does nothing where the plan has none. INVALID_ARGUMENT where c or c_i is neither
  // empty (zeros) nor of the model's size.
  static absl::StatusOr<ControlVariates> Create(const TrainInput& input);

  // gradient += c − c_i
  void Correct(std::span<float> gradient) const;

  // c_i⁺ of a task that ended with `delta` = y − x; empty where the plan has none.
  std::vector<float> After(std::span<const float> delta) const;

 private:
  std::vector<float> correction_;  // c − c_i; empty where there is nothing to correct.
  float distance_ = 0;             // S·η; 0 where the plan has no control variates.
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_CONTROL_VARIATES_H_
