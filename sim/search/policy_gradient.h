// A controller that learns by policy gradient which values are good (REINFORCE: Williams,
// doi:10.1007/BF00992696; for architectures: Zoph and Le, arXiv:1611.01578). Its policy is a table
// of logits θ, a row a parameter: value v of parameter p is drawn with π_p(v) ∝ exp(θ_pv), each
// parameter alone. When a trial of loss ℓ is known, with b and s the moving averages of losses and
// of their distances from b,
//   θ_pv += η·A·([v was drawn] − π_p(v)),   A = (b − ℓ)/s within ±3
// and a failed trial has A = −1. Nobody waits for others: the points hang on the order of results.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_POLICY_GRADIENT_H_
#define CONSILIUM_SIM_SEARCH_POLICY_GRADIENT_H_

#include <optional>
#include <vector>

#include "sim/search/algorithm.h"
#include "sim/search/sampling.h"

namespace consilium {

class PolicyGradientAlgorithm final : public SearchAlgorithm {
 public:
  explicit PolicyGradientAlgorithm(const v1::SearchSpace& space);
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  uint64_t trials_max() const override { return space_.policy_gradient().trials(); }

  // π of a parameter's values, in the order of GridCoordinates.
  std::vector<double> Probabilities(size_t parameter) const;

 private:
  struct Row {
    std::vector<double> coordinates;  // Of the values.
    std::vector<double> logits;
  };
  // A, and moves b and s.
  double Advantage(double loss);

  const v1::SearchSpace space_;
  std::vector<Row> table_;
  TrialNumbers numbers_;
  std::optional<double> baseline_;
  std::optional<double> spread_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_POLICY_GRADIENT_H_
