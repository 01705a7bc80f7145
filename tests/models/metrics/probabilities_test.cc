#include "models/metrics/probabilities.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace consilium {
namespace {

struct PrecisionReference {
  const char* name;
  v1::Loss::Kind loss;
  size_t width;
  std::vector<float> outputs;
  std::vector<float> labels;
  std::optional<double> precision;
  double calibration_error;
};

const std::vector<PrecisionReference>& References() {
  static const auto* references = new std::vector<PrecisionReference>{
#include "tests/models/metrics/fixtures/precision_reference.inc"
  };
  return *references;
}

v1::MetricSums SumsOf(v1::Loss::Kind loss, const Predictions& predictions) {
  const auto sums = MetricSumsOf(loss, predictions);
  EXPECT_TRUE(sums.ok()) << sums.status();
  return sums.value_or(v1::MetricSums());
}

TEST(ProbabilitiesTest, AgreeWithScikitLearnAndTheDefinition) {
  EXPECT_EQ(References().size(), 6u);
  for (const PrecisionReference& reference : References()) {
    SCOPED_TRACE(reference.name);
    const v1::MetricSums sums =
        SumsOf(reference.loss, {reference.outputs, reference.width, reference.labels});
    EXPECT_TRUE(CheckMetricSums(sums).ok());
    const std::optional<double> precision = MetricValue(v1::AUPRC, sums);
    ASSERT_EQ(precision.has_value(), reference.precision.has_value());
    if (precision.has_value()) {
      EXPECT_NEAR(*precision, *reference.precision, 1e-12);
    }
    EXPECT_NEAR(MetricValue(v1::CALIBRATION_ERROR, sums).value_or(-1), reference.calibration_error,
                1e-12);
  }
}

// By hand: positives at ranks 1 and 3 of 4, so (1/1 + 2/3)/2; and 1 of 2 among the rest.
TEST(ProbabilitiesTest, OverSitesPrecisionIsWeightedByPositivesAndCalibrationByExamples) {
  const std::vector<float> logits = {4, 3, 2, 1, 7, 5};
  const std::vector<float> labels = {1, 0, 1, 0, 0, 1};
  const std::span<const float> z(logits), y(labels);
  const auto a = SumsOf(v1::Loss::BCE_WITH_LOGITS, {z.first(4), 1, y.first(4)});
  const auto b = SumsOf(v1::Loss::BCE_WITH_LOGITS, {z.subspan(4), 1, y.subspan(4)});
  EXPECT_NEAR(*Auprc(a), (1 + 2.0 / 3) / 2, 1e-15);
  EXPECT_NEAR(*Auprc(b), 0.5, 1e-15);
  const v1::MetricSums both = Merge(a, b);
  EXPECT_NEAR(*Auprc(both), (1 + 2.0 / 3 + 0.5) / 3, 1e-15);
  EXPECT_NEAR(*CalibrationError(both), (4 * *CalibrationError(a) + 2 * *CalibrationError(b)) / 6,
              1e-15);
  const auto all = SumsOf(v1::Loss::BCE_WITH_LOGITS, {z, 1, y});
  EXPECT_LE(*CalibrationError(all), *CalibrationError(both) + 1e-15);
}

TEST(ProbabilitiesTest, ASiteWithoutPositivesHidesNothing) {
  const std::vector<float> logits = {1, 2};
  const std::vector<float> labels = {0, 1};
  const std::vector<float> none = {0, 0};
  const auto with = SumsOf(v1::Loss::BCE_WITH_LOGITS, {logits, 1, labels});
  const auto without = SumsOf(v1::Loss::BCE_WITH_LOGITS, {logits, 1, none});
  EXPECT_FALSE(without.has_auprc_by_positives());
  EXPECT_EQ(Auprc(Merge(with, without)), 1);
  // One that has positives and does not say how it ranks them hides it.
  v1::MetricSums silent = with;
  silent.clear_auprc_by_positives();
  EXPECT_EQ(Auprc(Merge(with, silent)), std::nullopt);
}

TEST(ProbabilitiesTest, APeersSumsAreNoLargerThanTheirWhole) {
  const std::vector<float> logits = {1, 2};
  const std::vector<float> labels = {0, 1};
  v1::MetricSums sums = SumsOf(v1::Loss::BCE_WITH_LOGITS, {logits, 1, labels});
  ASSERT_TRUE(CheckMetricSums(sums).ok());
  sums.set_auprc_by_positives(1.01);
  EXPECT_FALSE(CheckMetricSums(sums).ok());
  sums.set_auprc_by_positives(1);
  sums.set_calibration_error_by_examples(2.01);
  EXPECT_FALSE(CheckMetricSums(sums).ok());
  sums.set_calibration_error_by_examples(std::nan(""));
  EXPECT_FALSE(CheckMetricSums(sums).ok());
}

TEST(ProbabilitiesTest, BinsAreClosedAbove) {
  // Certain and right: probability 1 belongs to the last bin and costs nothing.
  const std::vector<float> logits = {200, -200};
  EXPECT_EQ(CalibrationErrorSum({logits, 1, std::vector<float>{1, 0}}), 0);
  EXPECT_EQ(CalibrationErrorSum({logits, 1, std::vector<float>{0, 1}}), 2);
}

}  // namespace
}  // namespace consilium
