// Times to an event in intervals: the likelihood of a discrete-time hazard (Singer and Willett,
// doi:10.2307/1165085; as a network's loss, Gensheimer and Narasimhan, doi:10.7717/peerj.6257).
// A model gives a patient n logits z_1 … z_n; h_k = σ(z_k) is the probability that the event comes
// in interval k, given that it has not come before it.
//
// The loss is a sum over patients of what hangs on each alone, so it is the same however patients
// are shared out over sites and batches, which Cox's partial likelihood is not.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_METRICS_DISCRETE_HAZARD_H_
#define CONSILIUM_MODELS_METRICS_DISCRETE_HAZARD_H_

#include <cstddef>
#include <span>
#include <vector>

namespace consilium {

// What is known of a patient.
struct Lived {
  size_t intervals = 0;    // Lived through, from the first on.
  bool has_event = false;  // In the interval after them; then intervals < count().
};

// With ends e_1 < … < e_n and e_0 = 0, interval k is [e_{k−1}, e_k): an event at an end is in the
// interval that begins there. As nnet-survival has it:
//   an event at T   lived through the intervals with e_k ≤ T; from e_n on it is not observed
//   watched till T  lived through the intervals with ½(e_{k−1} + e_k) ≤ T: to count none that was
//                   not watched to its end would make every hazard look larger than it is
class HazardIntervals {
 public:
  HazardIntervals() = default;
  // `ends`: finite, above 0, ascending also when rounded to f32, which labels are.
  explicit HazardIntervals(std::span<const double> ends);

  size_t count() const { return ends_.size(); }
  // `label`: finite; T > 0 for an event at T, −T for T >= 0 watched without one. O(log n).
  Lived Of(float label) const;

 private:
  std::vector<float> ends_;
  std::vector<double> middles_;
};

// −ln of the probability of what is known: Σ_{k lived through} −ln(1 − h_k), and −ln h_k of the
// interval of the event. Without overflow; later logits play no part.
double HazardLoss(std::span<const float> logits, const Lived& lived);

// How many of the n intervals the patient is expected not to live through,
//   Σ_k (1 − S_k),  S_k = Π_{j≤k} (1 − h_j):
// n less the mean lifetime in intervals, restricted to n (Royston and Parmar,
// doi:10.1186/1471-2288-13-152). [0, n]; larger for who dies earlier. The score of the C-index.
double ExpectedIntervalsLost(std::span<const float> logits);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_METRICS_DISCRETE_HAZARD_H_
