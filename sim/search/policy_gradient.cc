#include "sim/search/policy_gradient.h"

#include <algorithm>
#include <cmath>

#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

constexpr double kAdvantageMax = 3;
constexpr double kAdvantageOfFailure = -1;

// The value whose coordinate a trial has; the nearest one of a trial by an earlier process.
size_t IndexOf(const std::vector<double>& coordinates, double coordinate) {
  const auto nearer = [coordinate](double a, double b) {
    return std::abs(a - coordinate) < std::abs(b - coordinate);
  };
  return static_cast<size_t>(std::min_element(coordinates.begin(), coordinates.end(), nearer) -
                             coordinates.begin());
}

}  // namespace

PolicyGradientAlgorithm::PolicyGradientAlgorithm(const v1::SearchSpace& space) : space_(space) {
  for (const v1::SearchParameter& parameter : space_.parameters()) {
    std::vector<double> coordinates = GridCoordinates(parameter);
    std::vector<double> logits(coordinates.size());
    table_.push_back({std::move(coordinates), std::move(logits)});
  }
}

std::vector<double> PolicyGradientAlgorithm::Probabilities(size_t parameter) const {
  const std::vector<double>& logits = table_[parameter].logits;
  const double most = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities;
  double sum = 0;
  for (const double logit : logits) {
    probabilities.push_back(std::exp(logit - most));
    sum += probabilities.back();
  }
  for (double& probability : probabilities) probability /= sum;
  return probabilities;
}

std::optional<Proposal> PolicyGradientAlgorithm::Ask() {
  const uint64_t trial = numbers_.Next();
  if (trial >= trials_max()) return std::nullopt;
  numbers_.Take(trial);
  RandomStream random(SeedPath{space_.seed(), "search.policy", "", trial});
  Proposal proposal{trial, {}, 0, 0};
  for (size_t p = 0; p < table_.size(); ++p) {
    const std::vector<double> probabilities = Probabilities(p);
    double rest = random.NextUnit();
    size_t drawn = 0;
    while (drawn + 1 < probabilities.size() && rest >= probabilities[drawn]) {
      rest -= probabilities[drawn++];
    }
    proposal.point.push_back(table_[p].coordinates[drawn]);
  }
  return proposal;
}

void PolicyGradientAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  numbers_.Take(proposal.trial);
  const double step = space_.policy_gradient().learning_rate() * Advantage(losses[0]);
  for (size_t p = 0; p < table_.size(); ++p) {
    const std::vector<double> probabilities = Probabilities(p);
    const size_t drawn = IndexOf(table_[p].coordinates, proposal.point[p]);
    for (size_t v = 0; v < probabilities.size(); ++v) {
      table_[p].logits[v] += step * ((v == drawn ? 1 : 0) - probabilities[v]);
    }
  }
}

double PolicyGradientAlgorithm::Advantage(double loss) {
  if (!std::isfinite(loss)) return kAdvantageOfFailure;
  const double distance = baseline_.value_or(loss) - loss;
  const double decay = space_.policy_gradient().decay();
  const double size = std::abs(distance);
  // The first loss is the baseline, and as far from it as nothing.
  if (baseline_.has_value()) spread_ = decay * spread_.value_or(size) + (1 - decay) * size;
  baseline_ = decay * baseline_.value_or(loss) + (1 - decay) * loss;
  if (distance == 0) return 0;
  return std::clamp(distance / *spread_, -kAdvantageMax, kAdvantageMax);
}

}  // namespace consilium
