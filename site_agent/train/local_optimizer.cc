#include "site_agent/train/local_optimizer.h"

#include <cmath>

namespace consilium {

absl::StatusOr<LocalOptimizer> LocalOptimizer::Create(const v1::LocalOptimizer& config,
                                                      size_t elements) {
  LocalOptimizer optimizer;
  optimizer.config_ = config;
  switch (config.kind_case()) {
    case v1::LocalOptimizer::kSgd:
      if (config.sgd().momentum() != 0) optimizer.first_.assign(elements, 0);
      return optimizer;
    case v1::LocalOptimizer::kAdam:
      optimizer.first_.assign(elements, 0);
      optimizer.second_.assign(elements, 0);
      return optimizer;
    case v1::LocalOptimizer::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("training.optimizer is none that this build knows");
}

void LocalOptimizer::Step(std::span<const float> gradient, std::span<float> weights) {
  ++steps_;
  if (config_.has_sgd()) {
    StepSgd(gradient, weights);
  } else {
    StepAdam(gradient, weights);
  }
}

void LocalOptimizer::StepSgd(std::span<const float> gradient, std::span<float> weights) {
  const float rate = static_cast<float>(config_.sgd().learning_rate());
  const float momentum = static_cast<float>(config_.sgd().momentum());
  const float decay = static_cast<float>(config_.sgd().weight_decay());
  for (size_t i = 0; i < weights.size(); ++i) {
    float direction = gradient[i] + decay * weights[i];
    if (!first_.empty()) {
      first_[i] = momentum * first_[i] + direction;
      direction = first_[i];
    }
    weights[i] -= rate * direction;
  }
}

void LocalOptimizer::StepAdam(std::span<const float> gradient, std::span<float> weights) {
  const v1::LocalAdam& adam = config_.adam();
  const double t = static_cast<double>(steps_);
  const float step = static_cast<float>(adam.learning_rate() / (1 - std::pow(adam.beta1(), t)));
  const float second_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(adam.beta2(), t)));
  const float beta1 = static_cast<float>(adam.beta1());
  const float beta2 = static_cast<float>(adam.beta2());
  const float rest1 = static_cast<float>(1 - adam.beta1());
  const float rest2 = static_cast<float>(1 - adam.beta2());
  const float epsilon = static_cast<float>(adam.epsilon());
  const float decay = static_cast<float>(adam.weight_decay());
  for (size_t i = 0; i < weights.size(); ++i) {
    const float g = gradient[i] + decay * weights[i];
    first_[i] = beta1 * first_[i] + rest1 * g;
    second_[i] = beta2 * second_[i] + rest2 * g * g;
    weights[i] -= step * first_[i] / (std::sqrt(second_[i]) * second_scale + epsilon);
  }
}

}  // namespace consilium
