#include "models/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;

struct Scores {
  std::optional<double> log_loss, accuracy, balanced_accuracy, auroc, mse;
};

struct Reference {
  const char* name;
  v1::Loss::Kind loss;
  size_t width;
  std::vector<float> outputs;
  std::vector<float> labels;
  Scores scores;

  Predictions predictions() const { return {outputs, width, labels}; }
};

const std::vector<Reference>& References() {
  static const auto* references = new std::vector<Reference>{
#include "tests/models/metrics/fixtures/sklearn_reference.inc"
  };
  return *references;
}

v1::MetricSums Sums(v1::Loss::Kind loss, const Predictions& predictions) {
  const auto sums = MetricSumsOf(loss, predictions);
  EXPECT_TRUE(sums.ok()) << sums.status();
  return sums.ok() ? *sums : v1::MetricSums();
}

v1::MetricSums BinarySums(const std::vector<float>& logits, const std::vector<float>& labels) {
  return Sums(v1::Loss::BCE_WITH_LOGITS, {logits, 1, labels});
}

void ExpectNear(const char* what, std::optional<double> got, std::optional<double> expected) {
  ASSERT_EQ(got.has_value(), expected.has_value()) << what;
  if (!got) return;
  EXPECT_NEAR(*got, *expected, 1e-12 * std::max(1.0, std::abs(*expected))) << what;
}

void ExpectScores(const v1::MetricSums& sums, const Scores& expected) {
  ExpectNear("log-loss", MetricValue(v1::LOG_LOSS, sums), expected.log_loss);
  ExpectNear("accuracy", MetricValue(v1::ACCURACY, sums), expected.accuracy);
  ExpectNear("balanced accuracy", MetricValue(v1::BALANCED_ACCURACY, sums),
             expected.balanced_accuracy);
  ExpectNear("AUROC", MetricValue(v1::AUROC, sums), expected.auroc);
  ExpectNear("MSE", MetricValue(v1::METRIC_MSE, sums), expected.mse);
}

TEST(Metrics, AgreeWithScikitLearn) {
  EXPECT_EQ(References().size(), 7u);
  for (const Reference& reference : References()) {
    SCOPED_TRACE(reference.name);
    const v1::MetricSums sums = Sums(reference.loss, reference.predictions());
    EXPECT_EQ(sums.examples(), reference.labels.size());
    EXPECT_TRUE(CheckMetricSums(sums).ok());
    ExpectScores(sums, reference.scores);
  }
}

// All but AUROC, whose pairs are those within a site, is the same however examples lie over sites.
TEST(Metrics, SumsOverSitesAreThoseOfAllExamples) {
  RandomStream random(SeedPath{1, "metrics_test", "", 0});
  for (const Reference& reference : References()) {
    SCOPED_TRACE(reference.name);
    for (int trial = 0; trial < 20; ++trial) {
      const size_t count = reference.labels.size();
      const size_t cut = random.NextBelow(count + 1);
      const Predictions all = reference.predictions();
      const v1::MetricSums first = Sums(
          reference.loss, {all.outputs.first(cut * all.width), all.width, all.labels.first(cut)});
      const v1::MetricSums second = Sums(reference.loss, {all.outputs.subspan(cut * all.width),
                                                          all.width, all.labels.subspan(cut)});
      const v1::MetricSums merged = Merge(first, second);
      EXPECT_TRUE(CheckMetricSums(merged).ok());
      EXPECT_EQ(merged.ShortDebugString(), Merge(second, first).ShortDebugString());
      Scores expected = reference.scores;
      if (reference.scores.auroc) {
        const double pairs = first.auroc_comparable() + second.auroc_comparable();
        expected.auroc = std::nullopt;
        if (pairs > 0) {
          expected.auroc = (first.auroc_concordant() + second.auroc_concordant()) / pairs;
        }
      }
      ExpectScores(merged, expected);
    }
  }
}

TEST(Metrics, AurocCountsTiesAsHalf) {
  // Positives at 3 and 1, negatives at 1 and 0: pairs 3>1, 3>0, 1=1, 1>0.
  const v1::MetricSums sums = BinarySums({3, 1, 1, 0}, {1, 1, 0, 0});
  EXPECT_EQ(sums.auroc_concordant(), 3.5);
  EXPECT_EQ(sums.auroc_comparable(), 4);
  EXPECT_EQ(*Auroc(BinarySums({5, 5, 5}, {1, 0, 1})), 0.5);
}

TEST(Metrics, OneClassHasNoAurocAndNoBalancedAccuracy) {
  for (const float label : {0.0f, 1.0f}) {
    const v1::MetricSums sums = BinarySums({-1, 2, 3}, {label, label, label});
    EXPECT_FALSE(sums.has_auroc_concordant());
    EXPECT_FALSE(sums.has_auroc_comparable());
    EXPECT_FALSE(Auroc(sums).has_value());
    EXPECT_FALSE(BalancedAccuracy(sums).has_value());
    EXPECT_TRUE(LogLoss(sums).has_value());
    // It adds no pairs to those of others, and takes none away.
    const v1::MetricSums both = Merge(sums, BinarySums({1, -1}, {1, 0}));
    EXPECT_EQ(both.auroc_comparable(), 1);
    EXPECT_EQ(*Auroc(both), 1);
  }
}

TEST(Metrics, NoExamplesMeansNoValues) {
  const v1::MetricSums none = BinarySums({}, {});
  EXPECT_EQ(none.ShortDebugString(), "");
  ExpectScores(none, {});
  const v1::MetricSums some = BinarySums({1, -1}, {1, 0});
  EXPECT_EQ(Merge(none, some).ShortDebugString(), some.ShortDebugString());
  EXPECT_EQ(Merge(some, none).ShortDebugString(), some.ShortDebugString());
}

TEST(Metrics, ADivergedModelHasNoScoresAndHidesNone) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const v1::MetricSums diverged = BinarySums({1, bad}, {1, 0});
    EXPECT_EQ(diverged.ShortDebugString(), "examples: 2");
    const v1::MetricSums fine = BinarySums({1, -1}, {1, 0});
    for (const v1::MetricSums& merged : {Merge(diverged, fine), Merge(fine, diverged)}) {
      EXPECT_EQ(merged.ShortDebugString(), "examples: 4");
      ExpectScores(merged, {});
      // Once unknown, unknown.
      EXPECT_EQ(Merge(merged, fine).ShortDebugString(), "examples: 6");
    }
  }
}

TEST(Metrics, LogLossNeitherOverflowsNorLosesSmallValues) {
  EXPECT_NEAR(*LogLoss(BinarySums({1e30f}, {0})), 1e30, 1e24);
  EXPECT_NEAR(*LogLoss(BinarySums({-800}, {1})), 800, 1e-9);
  EXPECT_NEAR(*LogLoss(BinarySums({40}, {1})), std::exp(-40), 1e-25);
  const std::vector<float> logits = {1000, 0, -1000};
  const std::vector<float> label = {2};
  EXPECT_NEAR(*LogLoss(Sums(v1::Loss::CROSS_ENTROPY, {logits, 3, label})), 2000, 1e-9);
}

TEST(Metrics, TiesGoToTheLowerClass) {
  EXPECT_EQ(BinarySums({0, 0}, {0, 1}).correct(), 1u);
  EXPECT_THAT(BinarySums({0, 0}, {0, 1}).class_correct(), ElementsAre(1, 0));
  const std::vector<float> logits = {1, 1, 0};
  const std::vector<float> label = {0};
  EXPECT_EQ(Sums(v1::Loss::CROSS_ENTROPY, {logits, 3, label}).correct(), 1u);
}

TEST(Metrics, WhatDoesNotFitIsRefused) {
  const std::vector<float> two = {1, 2};
  const std::vector<float> three = {0, 1, 0};
  const std::vector<float> half = {0.5};
  const std::vector<float> negative = {-1};
  const std::vector<float> nan = {std::nanf("")};
  const std::vector<float> one = {1};
  const std::vector<float> class2 = {2};
  const auto refused = [](v1::Loss::Kind loss, const Predictions& predictions) {
    return MetricSumsOf(loss, predictions).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused(v1::Loss::BCE_WITH_LOGITS, {two, 1, three}));
  EXPECT_TRUE(refused(v1::Loss::BCE_WITH_LOGITS, {two, 2, one}));
  EXPECT_TRUE(refused(v1::Loss::BCE_WITH_LOGITS, {one, 1, half}));
  EXPECT_TRUE(refused(v1::Loss::BCE_WITH_LOGITS, {one, 1, negative}));
  EXPECT_TRUE(refused(v1::Loss::BCE_WITH_LOGITS, {one, 1, nan}));
  EXPECT_TRUE(refused(v1::Loss::BCE_WITH_LOGITS, {one, 1, class2}));
  EXPECT_TRUE(refused(v1::Loss::CROSS_ENTROPY, {one, 1, one}));
  EXPECT_TRUE(refused(v1::Loss::CROSS_ENTROPY, {two, 2, class2}));
  EXPECT_TRUE(refused(v1::Loss::MSE, {one, 1, nan}));
  EXPECT_TRUE(refused(v1::Loss::KIND_UNSPECIFIED, {one, 1, one}));
}

TEST(CheckMetricSums, RefusesWhatNoSiteCanHaveCounted) {
  const v1::MetricSums valid = BinarySums({1, -1, 2, 3}, {1, 0, 0, 1});
  ASSERT_TRUE(CheckMetricSums(valid).ok());
  ASSERT_TRUE(CheckMetricSums(v1::MetricSums()).ok());
  const auto message = [&](auto&& change) {
    v1::MetricSums sums = valid;
    change(sums);
    const absl::Status status = CheckMetricSums(sums);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message()).substr(0, status.message().find(':'));
  };
  const double nan = std::nan("");
  EXPECT_EQ(message([&](auto& s) { s.set_log_loss_sum(nan); }), "log_loss_sum");
  EXPECT_EQ(message([](auto& s) { s.set_log_loss_sum(-1); }), "log_loss_sum");
  EXPECT_EQ(message([&](auto& s) { s.set_squared_error_sum(1.0 / 0.0); }), "squared_error_sum");
  EXPECT_EQ(message([](auto& s) { s.set_correct(5); }), "correct");
  EXPECT_EQ(message([](auto& s) { s.set_auroc_concordant(4.5); }), "auroc_concordant");
  EXPECT_EQ(message([](auto& s) { s.clear_auroc_concordant(); }), "auroc_comparable");
  EXPECT_EQ(message([](auto& s) { s.set_auroc_comparable(5); }), "auroc_comparable");
  EXPECT_EQ(message([](auto& s) { s.add_class_examples(0); }), "class_examples");
  EXPECT_EQ(message([](auto& s) { s.set_class_examples(0, 3); }), "class_examples");
  EXPECT_EQ(message([](auto& s) { s.set_class_examples(0, ~uint64_t{0}); }), "class_examples");
  EXPECT_EQ(message([](auto& s) { s.set_class_correct(1, 3); }), "class_correct");
}

TEST(OverSites, ThreeWaysToLookAtOneMetric) {
  // Accuracies 1 of 2, 3 of 4 and 2 of 2; AUROC is undefined at the last.
  const std::vector<v1::MetricSums> sites = {BinarySums({1, 1}, {1, 0}),
                                             BinarySums({1, 1, -1, -2}, {1, 0, 0, 0}),
                                             BinarySums({1, 1}, {1, 1})};
  const MetricOverSites accuracy = OverSites(v1::ACCURACY, sites);
  EXPECT_DOUBLE_EQ(*accuracy.by_examples, 6.0 / 8);
  EXPECT_DOUBLE_EQ(*accuracy.by_sites, (0.5 + 0.75 + 1) / 3);
  EXPECT_DOUBLE_EQ(*accuracy.worst, 0.5);
  EXPECT_EQ(accuracy.sites_defined, 3u);
  const MetricOverSites auroc = OverSites(v1::AUROC, sites);
  EXPECT_DOUBLE_EQ(*auroc.by_examples, (0.5 + 2.5) / 4);
  EXPECT_DOUBLE_EQ(*auroc.by_sites, (0.5 + 2.5 / 3) / 2);
  EXPECT_EQ(auroc.sites_defined, 2u);
  EXPECT_DOUBLE_EQ(*OverSites(v1::LOG_LOSS, sites).worst, *LogLoss(sites[0]));
  EXPECT_FALSE(OverSites(v1::ACCURACY, {}).by_examples.has_value());
}

}  // namespace
}  // namespace consilium
