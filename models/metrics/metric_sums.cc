#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "models/metrics/metrics.h"
#include "models/metrics/probabilities.h"
#include "models/metrics/survival.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

struct Pairs {
  double concordant = 0;
  double comparable = 0;
};

// Walks the scores in rising order; a positive beats every negative below it and half of those
// with its own score.
Pairs CountPairs(const Predictions& predictions) {
  std::vector<std::pair<float, bool>> scored;
  scored.reserve(predictions.labels.size());
  for (size_t i = 0; i < predictions.labels.size(); ++i) {
    scored.emplace_back(predictions.outputs[i], predictions.labels[i] == 1);
  }
  std::sort(scored.begin(), scored.end());
  Pairs pairs;
  double negatives_below = 0;
  double positives = 0;
  for (size_t begin = 0; begin < scored.size();) {
    double tied_positives = 0;
    double tied_negatives = 0;
    size_t end = begin;
    for (; end < scored.size() && scored[end].first == scored[begin].first; ++end) {
      (scored[end].second ? tied_positives : tied_negatives) += 1;
    }
    pairs.concordant += tied_positives * (negatives_below + 0.5 * tied_negatives);
    negatives_below += tied_negatives;
    positives += tied_positives;
    begin = end;
  }
  pairs.comparable = positives * negatives_below;
  return pairs;
}

// −ln p(label) of one row of logits: ln Σ exp(z) − z_label with the largest taken out.
double CrossEntropy(std::span<const float> logits, size_t label) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum) - logits[label];
}

// ln(1 + e^±z): no overflow for either sign, and small losses keep their digits.
double BinaryCrossEntropy(double logit, size_t label) {
  const double against = label == 1 ? -logit : logit;
  return std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against)));
}

absl::Status CheckLabels(size_t classes, std::span<const float> labels) {
  for (const float label : labels) {
    if (!(label >= 0 && label < static_cast<float>(classes) && std::floor(label) == label)) {
      return absl::InvalidArgumentError("a label is none of the loss's classes");
    }
  }
  return absl::OkStatus();
}

void AddClassSums(size_t classes, const Predictions& predictions, v1::MetricSums& sums) {
  const bool binary = predictions.width == 1;
  double log_loss = 0;
  uint64_t correct = 0;
  std::vector<uint64_t> class_examples(classes, 0);
  std::vector<uint64_t> class_correct(classes, 0);
  for (size_t i = 0; i < predictions.labels.size(); ++i) {
    const size_t label = static_cast<size_t>(predictions.labels[i]);
    const std::span<const float> row =
        predictions.outputs.subspan(i * predictions.width, predictions.width);
    const size_t guess =
        binary ? (row[0] > 0 ? 1 : 0)
               : static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    log_loss += binary ? BinaryCrossEntropy(row[0], label) : CrossEntropy(row, label);
    ++class_examples[label];
    if (guess == label) {
      ++correct;
      ++class_correct[label];
    }
  }
  sums.set_log_loss_sum(log_loss);
  sums.set_correct(correct);
  sums.mutable_class_examples()->Assign(class_examples.begin(), class_examples.end());
  sums.mutable_class_correct()->Assign(class_correct.begin(), class_correct.end());
  sums.set_calibration_error_by_examples(CalibrationErrorSum(predictions));
  if (!binary) return;
  if (const std::optional<double> precision = AveragePrecisionSum(predictions)) {
    sums.set_auprc_by_positives(*precision);
  }
  const Pairs pairs = CountPairs(predictions);
  if (pairs.comparable == 0) return;
  sums.set_auroc_concordant(pairs.concordant);
  sums.set_auroc_comparable(pairs.comparable);
}

absl::Status CheckSum(double value, const char* field) {
  if (std::isfinite(value) && value >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(field) + ": must be finite and not negative");
}

double Positives(const v1::MetricSums& sums) {
  return sums.class_examples_size() == 2 ? static_cast<double>(sums.class_examples(1)) : 0;
}

// Whether outputs of one width fit the loss, and there are as many as labels.
absl::Status CheckOutputs(v1::Loss::Kind loss, const Predictions& predictions) {
  const size_t width = predictions.width;
  bool fits = false;
  switch (loss) {
    case v1::Loss::CROSS_ENTROPY:
      fits = width >= 2 && width <= limits::kClassesMax;
      break;
    case v1::Loss::DISCRETE_HAZARD:
      fits = width >= 1 && width == predictions.interval_ends.size();
      break;
    case v1::Loss::BCE_WITH_LOGITS:
    case v1::Loss::MSE:
    case v1::Loss::COX:
      fits = width == 1;
      break;
    default:
      return absl::InvalidArgumentError("the loss is none that metrics are known for");
  }
  if (!fits) {
    return absl::InvalidArgumentError("the width of the outputs is none of the loss's");
  }
  if (predictions.outputs.size() != predictions.labels.size() * width) {
    return absl::InvalidArgumentError("outputs and labels are not of the same examples");
  }
  return absl::OkStatus();
}

absl::Status TooLarge(const char* field) {
  return absl::InvalidArgumentError(std::string(field) + ": is larger than its whole");
}

}  // namespace

absl::StatusOr<v1::MetricSums> MetricSumsOf(v1::Loss::Kind loss, const Predictions& predictions) {
  const size_t count = predictions.labels.size();
  if (absl::Status status = CheckOutputs(loss, predictions); !status.ok()) return status;
  v1::MetricSums sums;
  sums.set_examples(count);
  const bool finite = std::all_of(predictions.outputs.begin(), predictions.outputs.end(),
                                  [](float output) { return std::isfinite(output); });
  const bool survival = loss == v1::Loss::COX || loss == v1::Loss::DISCRETE_HAZARD;
  if (survival && count > 0) {
    if (absl::Status status = CheckSurvivalLabels(predictions.labels); !status.ok()) return status;
    sums.set_events(CountEvents(predictions.labels));
  }
  if (count == 0 || !finite) return sums;
  if (loss == v1::Loss::COX) {
    AddCoxSums(predictions, sums);
    return sums;
  }
  if (loss == v1::Loss::DISCRETE_HAZARD) {
    AddDiscreteHazardSums(predictions, sums);
    return sums;
  }
  if (loss != v1::Loss::MSE) {
    const size_t classes = loss == v1::Loss::CROSS_ENTROPY ? predictions.width : 2;
    if (absl::Status status = CheckLabels(classes, predictions.labels); !status.ok()) return status;
    AddClassSums(classes, predictions, sums);
    return sums;
  }
  double squared_error = 0;
  for (size_t i = 0; i < count; ++i) {
    const double error = double{predictions.outputs[i]} - predictions.labels[i];
    squared_error += error * error;
  }
  if (!std::isfinite(squared_error)) {
    return absl::InvalidArgumentError("a label is not a finite number");
  }
  sums.set_squared_error_sum(squared_error);
  return sums;
}

absl::Status CheckMetricSums(const v1::MetricSums& sums) {
  for (const absl::Status& status :
       {CheckSum(sums.log_loss_sum(), "log_loss_sum"),
        CheckSum(sums.squared_error_sum(), "squared_error_sum"),
        CheckSum(sums.auroc_concordant(), "auroc_concordant"),
        CheckSum(sums.auroc_comparable(), "auroc_comparable"),
        CheckSum(sums.auprc_by_positives(), "auprc_by_positives"),
        CheckSum(sums.calibration_error_by_examples(), "calibration_error_by_examples"),
        CheckSum(sums.cox_loss_sum(), "cox_loss_sum"),
        CheckSum(sums.c_index_concordant(), "c_index_concordant"),
        CheckSum(sums.c_index_comparable(), "c_index_comparable"), CheckSurvivalSums(sums)}) {
    if (!status.ok()) return status;
  }
  if (sums.correct() > sums.examples()) return TooLarge("correct");
  if (sums.has_auroc_concordant() != sums.has_auroc_comparable()) {
    return absl::InvalidArgumentError("auroc_comparable: must be there with auroc_concordant");
  }
  if (sums.auroc_concordant() > sums.auroc_comparable()) return TooLarge("auroc_concordant");
  const double examples = static_cast<double>(sums.examples());
  if (sums.auroc_comparable() > 0.25 * examples * examples) return TooLarge("auroc_comparable");
  if (sums.calibration_error_by_examples() > examples) {
    return TooLarge("calibration_error_by_examples");
  }
  const int classes = sums.class_examples_size();
  if (classes != sums.class_correct_size() || static_cast<size_t>(classes) > limits::kClassesMax) {
    return absl::InvalidArgumentError("class_examples: not as many as class_correct, or too many");
  }
  uint64_t left = sums.examples();
  for (int c = 0; c < classes; ++c) {
    if (sums.class_correct(c) > sums.class_examples(c)) return TooLarge("class_correct");
    if (sums.class_examples(c) > left) return TooLarge("class_examples");
    left -= sums.class_examples(c);
  }
  if (sums.auprc_by_positives() > Positives(sums)) return TooLarge("auprc_by_positives");
  return absl::OkStatus();
}

}  // namespace consilium
