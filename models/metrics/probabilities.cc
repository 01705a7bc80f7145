#include "models/metrics/probabilities.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "models/metrics/log_sum_exp.h"

namespace consilium {
namespace {

constexpr size_t kBins = 10;

struct Choice {
  size_t label = 0;
  double probability = 0;
};

// Of one row of logits. Ties go to the lower class, a probability of exactly ½ to 0.
Choice Chosen(std::span<const float> row) {
  if (row.size() == 1) {
    const double logit = row[0];
    return {row[0] > 0 ? size_t{1} : size_t{0}, 1 / (1 + std::exp(-std::abs(logit)))};
  }
  LogSumExp all;
  for (const float logit : row) all.Add(logit);
  const auto largest = std::max_element(row.begin(), row.end());
  return {static_cast<size_t>(largest - row.begin()), std::exp(*largest - all.value())};
}

size_t BinOf(double probability) {
  const double above = std::ceil(probability * static_cast<double>(kBins)) - 1;
  return static_cast<size_t>(std::clamp(above, 0.0, static_cast<double>(kBins - 1)));
}

}  // namespace

std::optional<double> AveragePrecisionSum(const Predictions& predictions) {
  std::vector<std::pair<float, bool>> scored;
  scored.reserve(predictions.labels.size());
  for (size_t i = 0; i < predictions.labels.size(); ++i) {
    scored.emplace_back(predictions.outputs[i], predictions.labels[i] == 1);
  }
  std::sort(scored.begin(), scored.end(), std::greater<>());
  double positives = 0;
  double sum = 0;
  for (size_t begin = 0; begin < scored.size();) {
    double tied_positives = 0;
    size_t end = begin;
    for (; end < scored.size() && scored[end].first == scored[begin].first; ++end) {
      tied_positives += scored[end].second ? 1 : 0;
    }
    positives += tied_positives;
    sum += tied_positives * positives / static_cast<double>(end);
    begin = end;
  }
  if (positives == 0) return std::nullopt;
  return sum;
}

double CalibrationErrorSum(const Predictions& predictions) {
  std::array<double, kBins> correct = {};
  std::array<double, kBins> expected = {};
  for (size_t i = 0; i < predictions.labels.size(); ++i) {
    const Choice choice =
        Chosen(predictions.outputs.subspan(i * predictions.width, predictions.width));
    const size_t bin = BinOf(choice.probability);
    expected[bin] += choice.probability;
    correct[bin] += choice.label == static_cast<size_t>(predictions.labels[i]) ? 1 : 0;
  }
  double sum = 0;
  for (size_t bin = 0; bin < kBins; ++bin) sum += std::abs(correct[bin] - expected[bin]);
  return sum;
}

}  // namespace consilium
