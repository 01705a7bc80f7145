#include "site_agent/train/control_variates.h"

#include "absl/status/status.h"
#include "models/spec/preset_traits.h"

namespace consilium {
namespace {

// What was not kept yet counts as zeros.
float At(std::span<const float> values, size_t i) { return values.empty() ? 0.0F : values[i]; }

}  // namespace

absl::StatusOr<ControlVariates> ControlVariates::Create(const TrainInput& input) {
  ControlVariates variates;
  const v1::RunConfig& config = input.plan->config();
  if (KeptBySites(config) != SiteKeeps::kControlVariate) return variates;
  for (const std::span<const float> values : {input.control, input.kept}) {
    if (!values.empty() && values.size() != input.base.size()) {
      return absl::InvalidArgumentError("a control variate has another size than the model");
    }
  }
  variates.distance_ =
      static_cast<float>(input.local_steps * config.training().optimizer().sgd().learning_rate());
  variates.correction_.resize(input.base.size());
  for (size_t i = 0; i < input.base.size(); ++i) {
    variates.correction_[i] = At(input.control, i) - At(input.kept, i);
  }
  return variates;
}

void ControlVariates::Correct(std::span<float> gradient) const {
  for (size_t i = 0; i < correction_.size(); ++i) gradient[i] += correction_[i];
}

std::vector<float> ControlVariates::After(std::span<const float> delta) const {
  std::vector<float> after(correction_.size());
  for (size_t i = 0; i < after.size(); ++i) {
    after[i] = -correction_[i] - delta[i] / distance_;
  }
  return after;
}

}  // namespace consilium
