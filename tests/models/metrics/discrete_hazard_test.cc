#include "models/metrics/discrete_hazard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "models/metrics/metrics.h"

namespace consilium {
namespace {

struct Reference {
  const char* name;
  std::vector<double> ends;
  std::vector<float> logits;
  std::vector<float> labels;
  double concordant;
  double comparable;
  double loss;
  std::vector<float> gradient;  // For models/torch.

  Predictions predictions() const { return {logits, ends.size(), labels, ends}; }
};

const std::vector<Reference>& References() {
  static const auto* references = new std::vector<Reference>{
#include "tests/models/metrics/fixtures/discrete_hazard_reference.inc"
  };
  return *references;
}

v1::MetricSums Sums(const Predictions& predictions) {
  const auto sums = MetricSumsOf(v1::Loss::DISCRETE_HAZARD, predictions);
  EXPECT_TRUE(sums.ok()) << sums.status();
  return sums.ok() ? *sums : v1::MetricSums();
}

TEST(DiscreteHazard, AgreesWithTheDefinitions) {
  EXPECT_EQ(References().size(), 8u);
  for (const Reference& reference : References()) {
    SCOPED_TRACE(reference.name);
    const v1::MetricSums sums = Sums(reference.predictions());
    EXPECT_EQ(sums.examples(), reference.labels.size());
    EXPECT_NEAR(sums.log_loss_sum(), reference.loss, 1e-12 * std::max(1.0, reference.loss));
    EXPECT_EQ(sums.c_index_concordant(), reference.concordant);
    EXPECT_EQ(sums.c_index_comparable(), reference.comparable);
    EXPECT_TRUE(CheckMetricSums(sums).ok()) << CheckMetricSums(sums);
    EXPECT_FALSE(sums.has_cox_loss_sum() || sums.has_correct() ||
                 sums.has_calibration_error_by_examples());
  }
}

// Ends 1, 2 and 4, so middles ½, 1½ and 3.
TEST(DiscreteHazard, WhatAPatientLivedThrough) {
  const std::vector<double> ends = {1, 2, 4};
  const HazardIntervals intervals(ends);
  struct Case {
    float label;
    size_t lived;
    bool has_event;
  };
  const Case cases[] = {{0.01f, 0, true},   {1, 1, true},      {1.99f, 1, true},  {2, 2, true},
                        {3.99f, 2, true},   {4, 3, false},     {1e30f, 3, false}, {0, 0, false},
                        {-0.49f, 0, false}, {-0.5f, 1, false}, {-1, 1, false},    {-1.5f, 2, false},
                        {-2.99f, 2, false}, {-3, 3, false},    {-9, 3, false}};
  for (const Case& one : cases) {
    const Lived lived = intervals.Of(one.label);
    EXPECT_EQ(lived.intervals, one.lived) << one.label;
    EXPECT_EQ(lived.has_event, one.has_event) << one.label;
  }
}

// Events from the last end on are events to the C-index, which knows their time.
TEST(DiscreteHazard, CountsEventsBeyondItsIntervals) {
  const std::vector<double> ends = {1, 2};
  const std::vector<float> logits = {0, 0, -1, -1};
  const v1::MetricSums sums = Sums({logits, 2, std::vector<float>{5, -6}, ends});
  EXPECT_EQ(sums.events(), 1u);
  EXPECT_DOUBLE_EQ(*CIndex(sums), 1);
  EXPECT_DOUBLE_EQ(*LogLoss(sums), std::log(2) + std::log1p(std::exp(-1.0)));
}

TEST(DiscreteHazard, HigherHazardsLoseMoreIntervals) {
  EXPECT_DOUBLE_EQ(ExpectedIntervalsLost(std::vector<float>{0, 0}), 0.5 + 0.75);
  // Early is worse than late, and the smallest differences still order.
  EXPECT_GT(ExpectedIntervalsLost(std::vector<float>{1, -1}),
            ExpectedIntervalsLost(std::vector<float>{-1, 1}));
  EXPECT_GT(ExpectedIntervalsLost(std::vector<float>{-60, -60}),
            ExpectedIntervalsLost(std::vector<float>{-61, -60}));
  const double all =
      ExpectedIntervalsLost(std::vector<float>(3, std::numeric_limits<float>::max()));
  EXPECT_DOUBLE_EQ(all, 3);
}

TEST(DiscreteHazard, SumsAddOverSites) {
  const std::vector<double> ends = {1, 2};
  const std::vector<float> logits = {0, 1, 2, -1, -2, 0.5};
  const std::vector<float> labels = {0.5, 1.5, -3};
  const v1::MetricSums all = Sums({logits, 2, labels, ends});
  const std::span<const float> z = logits;
  const std::span<const float> y = labels;
  const v1::MetricSums a = Sums({z.first(2), 2, y.first(1), ends});
  const v1::MetricSums b = Sums({z.subspan(2), 2, y.subspan(1), ends});
  // The loss is that of all patients at once; pairs are those within sites.
  EXPECT_DOUBLE_EQ(*LogLoss(Merge(a, b)), *LogLoss(all));
  EXPECT_EQ(Merge(a, b).events(), 2u);
  EXPECT_EQ(Merge(a, b).c_index_comparable(), 1);
  EXPECT_EQ(all.c_index_comparable(), 3);
  EXPECT_FALSE(Merge(a, b).has_cox_loss_sum());
  // Who withholds few events hides nothing of the others; who has diverged may not be passed over.
  v1::MetricSums withheld = b;
  withheld.clear_events();
  withheld.clear_c_index_concordant();
  withheld.clear_c_index_comparable();
  EXPECT_DOUBLE_EQ(*LogLoss(Merge(all, withheld)), (all.log_loss_sum() + b.log_loss_sum()) / 5);
  EXPECT_DOUBLE_EQ(*CIndex(Merge(all, withheld)), *CIndex(all));
  const std::vector<float> broken = {NAN, 0};
  const v1::MetricSums diverged = Sums({broken, 2, y.first(1), ends});
  EXPECT_EQ(diverged.events(), 1u);
  for (const v1::MetricSums& sums : {Merge(all, diverged), Merge(diverged, all)}) {
    EXPECT_FALSE(CIndex(sums).has_value() || LogLoss(sums).has_value()) << sums.ShortDebugString();
  }
}

TEST(DiscreteHazard, RefusesWhatDoesNotFit) {
  const std::vector<double> ends = {1, 2};
  const std::vector<float> row = {0, 0};
  const std::vector<float> label = {1};
  const auto sums = [](const Predictions& predictions) {
    return MetricSumsOf(v1::Loss::DISCRETE_HAZARD, predictions).ok();
  };
  EXPECT_TRUE(sums({row, 2, label, ends}));
  EXPECT_FALSE(sums({row, 2, label}));
  EXPECT_FALSE(sums({row, 2, std::vector<float>{1, 1}, ends}));
  EXPECT_FALSE(sums({row, 2, std::vector<float>{INFINITY}, ends}));
}

}  // namespace
}  // namespace consilium
