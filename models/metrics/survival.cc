#include "models/metrics/survival.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "models/metrics/discrete_hazard.h"
#include "models/metrics/log_sum_exp.h"

namespace consilium {
namespace {

bool IsEvent(float label) { return label > 0; }
float Time(float label) { return std::abs(label); }

// How many of the values added so far lie below, or at, a rank (Fenwick,
// doi:10.1002/spe.4380240306).
class RankCounts {
 public:
  explicit RankCounts(size_t ranks) : sums_(ranks + 1, 0) {}
  void Add(size_t rank) {
    for (size_t i = rank + 1; i < sums_.size(); i += i & (~i + 1)) ++sums_[i];
  }
  // Values of a rank below `rank`.
  uint64_t Below(size_t rank) const {
    uint64_t sum = 0;
    for (size_t i = rank; i > 0; i -= i & (~i + 1)) sum += sums_[i];
    return sum;
  }

 private:
  std::vector<uint64_t> sums_;
};

// The rank of each score among the distinct ones.
std::vector<size_t> RanksOf(const std::vector<double>& scores) {
  std::vector<double> distinct = scores;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<size_t> ranks;
  ranks.reserve(scores.size());
  for (const double score : scores) {
    ranks.push_back(static_cast<size_t>(std::lower_bound(distinct.begin(), distinct.end(), score) -
                                        distinct.begin()));
  }
  return ranks;
}

// The longest watched first; at one time those without an event, who outlive the others.
std::vector<size_t> LongestWatchedFirst(std::span<const float> labels) {
  std::vector<size_t> order(labels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (Time(labels[a]) != Time(labels[b])) return Time(labels[a]) > Time(labels[b]);
    return IsEvent(labels[a]) < IsEvent(labels[b]);
  });
  return order;
}

double CoxLossSum(std::span<const float> outputs, std::span<const float> labels) {
  const std::vector<size_t> order = LongestWatchedFirst(labels);
  LogSumExp at_risk;
  double loss = 0;
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    for (; end < order.size() && Time(labels[order[end]]) == Time(labels[order[begin]]); ++end) {
      at_risk.Add(outputs[order[end]]);
    }
    for (size_t i = begin; i < end; ++i) {
      if (!IsEvent(labels[order[i]])) continue;
      // Rounding may leave a hair below nothing where nobody else was at risk.
      loss += std::max(at_risk.value() - double{outputs[order[i]]}, 0.0);
    }
    begin = end;
  }
  return loss;
}

// Sets c_index_*: the larger a score, the earlier the event is thought to come.
void AddPairs(const std::vector<double>& scores, std::span<const float> labels,
              v1::MetricSums& sums) {
  const std::vector<size_t> order = LongestWatchedFirst(labels);
  const std::vector<size_t> ranks = RanksOf(scores);
  RankCounts outliving(scores.size());
  double concordant = 0;
  double comparable = 0;
  uint64_t added = 0;
  for (size_t begin = 0; begin < order.size();) {
    size_t events = begin;  // The first event of this time.
    const float time = Time(labels[order[begin]]);
    for (; events < order.size() && Time(labels[order[events]]) == time &&
           !IsEvent(labels[order[events]]);
         ++events) {
      outliving.Add(ranks[order[events]]);
      ++added;
    }
    size_t end = events;
    for (; end < order.size() && Time(labels[order[end]]) == time; ++end) {
      const size_t rank = ranks[order[end]];
      const uint64_t below = outliving.Below(rank);
      concordant +=
          static_cast<double>(below) + 0.5 * static_cast<double>(outliving.Below(rank + 1) - below);
      comparable += static_cast<double>(added);
    }
    for (size_t i = events; i < end; ++i) {
      outliving.Add(ranks[order[i]]);
      ++added;
    }
    begin = end;
  }
  if (comparable == 0) return;
  sums.set_c_index_concordant(concordant);
  sums.set_c_index_comparable(comparable);
}

}  // namespace

absl::Status CheckSurvivalLabels(std::span<const float> labels) {
  for (const float label : labels) {
    if (!std::isfinite(label)) return absl::InvalidArgumentError("a label is not a finite time");
  }
  return absl::OkStatus();
}

uint64_t CountEvents(std::span<const float> labels) {
  return static_cast<uint64_t>(std::count_if(labels.begin(), labels.end(), IsEvent));
}

void AddCoxSums(const Predictions& predictions, v1::MetricSums& sums) {
  sums.set_cox_loss_sum(CoxLossSum(predictions.outputs, predictions.labels));
  AddPairs({predictions.outputs.begin(), predictions.outputs.end()}, predictions.labels, sums);
}

void AddDiscreteHazardSums(const Predictions& predictions, v1::MetricSums& sums) {
  const HazardIntervals intervals(predictions.interval_ends);
  std::vector<double> scores;
  scores.reserve(predictions.labels.size());
  double loss = 0;
  for (size_t i = 0; i < predictions.labels.size(); ++i) {
    const std::span<const float> logits =
        predictions.outputs.subspan(i * predictions.width, predictions.width);
    loss += HazardLoss(logits, intervals.Of(predictions.labels[i]));
    scores.push_back(ExpectedIntervalsLost(logits));
  }
  sums.set_log_loss_sum(loss);
  AddPairs(scores, predictions.labels, sums);
}

absl::Status CheckSurvivalSums(const v1::MetricSums& sums) {
  if (sums.events() > sums.examples()) {
    return absl::InvalidArgumentError("events: is larger than its whole");
  }
  const bool has_pairs = sums.has_c_index_comparable();
  if (sums.has_c_index_concordant() != has_pairs) {
    return absl::InvalidArgumentError("c_index_comparable: must be there with c_index_concordant");
  }
  if ((has_pairs || sums.has_cox_loss_sum()) && !sums.has_events()) {
    return absl::InvalidArgumentError("events: must be there with what is summed over them");
  }
  if (sums.c_index_concordant() > sums.c_index_comparable()) {
    return absl::InvalidArgumentError("c_index_concordant: is larger than its whole");
  }
  // Each event with all others, but two events make one pair.
  const double events = static_cast<double>(sums.events());
  const double pairs_max = events * (static_cast<double>(sums.examples()) - 0.5 * (events + 1));
  if (sums.c_index_comparable() > std::max(pairs_max, 0.0)) {
    return absl::InvalidArgumentError("c_index_comparable: is larger than its whole");
  }
  return absl::OkStatus();
}

}  // namespace consilium
