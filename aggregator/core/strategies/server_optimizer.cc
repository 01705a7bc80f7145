#include "aggregator/core/strategies/server_optimizer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/string_view.h"
#include "protocol/core/status_macros.h"

namespace consilium::federation {
namespace {

constexpr uint64_t kMomentSlot = 0;
constexpr uint64_t kSecondMomentSlot = 1;

double OrDefault(double value, double otherwise) { return value == 0 ? otherwise : value; }

absl::Status CheckPositive(double value, absl::string_view field) {
  if (std::isfinite(value) && value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(field) + ": must be above 0");
}

absl::Status CheckDecay(double value, absl::string_view field) {
  if (value >= 0 && value < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(field) + ": must lie in [0, 1)");
}

absl::StatusOr<ServerRule> SgdRuleOf(const v1::ServerSgd& sgd) {
  ServerRule rule;
  rule.kind = sgd.momentum() == 0 ? ServerRule::Kind::kSgd : ServerRule::Kind::kMomentum;
  rule.momentum = sgd.momentum();
  rule.learning_rate = OrDefault(sgd.learning_rate(), rule.learning_rate);
  rule.learning_rate_final = OrDefault(sgd.learning_rate_final(), rule.learning_rate);
  rule.decay_versions = sgd.decay_versions();
  CONSILIUM_RETURN_IF_ERROR(
      CheckPositive(rule.learning_rate, "aggregation.server.sgd.learning_rate"));
  CONSILIUM_RETURN_IF_ERROR(
      CheckPositive(rule.learning_rate_final, "aggregation.server.sgd.learning_rate_final"));
  CONSILIUM_RETURN_IF_ERROR(CheckDecay(rule.momentum, "aggregation.server.sgd.momentum"));
  return rule;
}

absl::StatusOr<ServerRule> AdamRuleOf(const v1::ServerAdam& adam) {
  ServerRule rule;
  rule.kind = ServerRule::Kind::kAdam;
  rule.learning_rate = OrDefault(adam.learning_rate(), 0.01);
  rule.learning_rate_final = rule.learning_rate;
  if (adam.has_beta1()) rule.beta1 = adam.beta1();
  if (adam.has_beta2()) rule.beta2 = adam.beta2();
  rule.epsilon = OrDefault(adam.epsilon(), rule.epsilon);
  CONSILIUM_RETURN_IF_ERROR(
      CheckPositive(rule.learning_rate, "aggregation.server.adam.learning_rate"));
  CONSILIUM_RETURN_IF_ERROR(CheckDecay(rule.beta1, "aggregation.server.adam.beta1"));
  CONSILIUM_RETURN_IF_ERROR(CheckDecay(rule.beta2, "aggregation.server.adam.beta2"));
  CONSILIUM_RETURN_IF_ERROR(CheckPositive(rule.epsilon, "aggregation.server.adam.epsilon"));
  return rule;
}

}  // namespace

absl::StatusOr<ServerRule> ServerRuleOf(const v1::ServerOptimizer& stage) {
  switch (stage.kind_case()) {
    case v1::ServerOptimizer::kSgd:
      return SgdRuleOf(stage.sgd());
    case v1::ServerOptimizer::kAdam:
      return AdamRuleOf(stage.adam());
    default:
      return ServerRule();
  }
}

double LearningRateAt(const ServerRule& rule, Version current) {
  if (rule.decay_versions == 0) return rule.learning_rate;
  const double done =
      static_cast<double>(std::min<uint64_t>(current.value(), rule.decay_versions)) /
      rule.decay_versions;
  return rule.learning_rate * std::pow(rule.learning_rate_final / rule.learning_rate, done);
}

LearningRatePlace PlaceOfLearningRate(const ServerRule& rule) {
  return rule.kind == ServerRule::Kind::kSgd ? LearningRatePlace::kInCoefficients
                                             : LearningRatePlace::kInStep;
}

void AppendServerStep(const ServerRule& rule, const ServerStep& step, VectorProgram& program) {
  VectorStep out;
  out.dst = step.weights;
  out.x = step.direction;
  switch (rule.kind) {
    case ServerRule::Kind::kSgd:
      out.op = VectorStep::Op::kAxpy;
      out.a = 1;  // η is in the coefficients.
      break;
    case ServerRule::Kind::kMomentum:
      out.op = VectorStep::Op::kMomentum;
      out.y = VectorName::State(kMomentSlot);
      out.a = step.learning_rate;
      out.b = rule.momentum;
      program.state_slots = {kMomentSlot};
      break;
    case ServerRule::Kind::kAdam: {
      // η·m̂/(√v̂ + ε) with m̂ = m/(1−β1^t), v̂ = v/(1−β2^t), as a·m/(√v + d).
      const double t = static_cast<double>(step.steps_before) + 1;
      const double second = std::sqrt(1 - std::pow(rule.beta2, t));
      out.op = VectorStep::Op::kAdam;
      out.y = VectorName::State(kMomentSlot);
      out.z = VectorName::State(kSecondMomentSlot);
      out.a = step.learning_rate * second / (1 - std::pow(rule.beta1, t));
      out.b = rule.beta1;
      out.c = rule.beta2;
      out.d = rule.epsilon * second;
      program.state_slots = {kMomentSlot, kSecondMomentSlot};
      break;
    }
  }
  program.steps.push_back(out);
}

}  // namespace consilium::federation
