#include "sim/partition/partition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace consilium {
namespace {

std::vector<double> Labels(size_t zeros, size_t ones) {
  std::vector<double> labels(zeros, 0.0);
  labels.insert(labels.end(), ones, 1.0);
  return labels;
}

std::vector<size_t> Sizes(const std::vector<size_t>& site_of, size_t sites) {
  std::vector<size_t> sizes(sites);
  for (size_t site : site_of) ++sizes.at(site);
  return sizes;
}

TEST(LargestRemainderTest, SumsUpAndFollowsTheWeights) {
  EXPECT_EQ(LargestRemainder(std::vector<double>{55, 25, 13, 7}, 569),
            (std::vector<size_t>{313, 142, 74, 40}));
  EXPECT_EQ(LargestRemainder(std::vector<double>{1, 1, 1}, 2), (std::vector<size_t>{1, 1, 0}));
}

TEST(PartitionTest, SizesAreTheSharesWhateverTheMix) {
  const std::vector<double> labels = Labels(357, 212);
  for (double alpha : {0.0, 0.1, 0.5, 5.0}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const auto site_of = PartitionRows(labels, {{55, 25, 13, 7}, alpha, seed});
      ASSERT_TRUE(site_of.ok());
      EXPECT_EQ(Sizes(*site_of, 4), (std::vector<size_t>{313, 142, 74, 40}));
    }
  }
}

// The mean share of label 1 in the small sites must be the table's, and its variance that of
// Beta(2α·p, 2α·(1−p)): p(1−p)/(2α+1).
TEST(PartitionTest, LabelMixHasTheMomentsOfTheDirichlet) {
  const std::vector<double> labels = Labels(6000, 4000);
  const double alpha = 5;
  double sum = 0;
  double squares = 0;
  constexpr int kSeeds = 400;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const auto site_of = PartitionRows(labels, {{97, 3}, alpha, seed});
    ASSERT_TRUE(site_of.ok());
    double ones = 0;
    for (size_t i = 6000; i < labels.size(); ++i) ones += (*site_of)[i] == 1 ? 1 : 0;
    const double share = ones / 300;
    sum += share;
    squares += share * share;
  }
  const double mean = sum / kSeeds;
  const double variance = squares / kSeeds - mean * mean;
  const double expected = 0.4 * 0.6 / (2 * alpha + 1);
  EXPECT_NEAR(mean, 0.4, 5 * std::sqrt(expected / kSeeds));
  EXPECT_NEAR(variance, expected, 5 * expected * std::sqrt(2.0 / kSeeds));
}

TEST(PartitionTest, AFunctionOfTheSeed) {
  const std::vector<double> labels = Labels(300, 269);
  const PartitionOptions one{{3, 2, 1}, 0.5, 1};
  const PartitionOptions two{{3, 2, 1}, 0.5, 2};
  EXPECT_EQ(*PartitionRows(labels, one), *PartitionRows(labels, one));
  EXPECT_NE(*PartitionRows(labels, one), *PartitionRows(labels, two));
}

TEST(PartitionTest, RefusesWhatCanNotBe) {
  EXPECT_FALSE(PartitionRows(Labels(1, 1), {{1, 1, 1}, 0, 1}).ok());
  EXPECT_FALSE(PartitionRows(Labels(5, 5), {{1, 0}, 0, 1}).ok());
  EXPECT_FALSE(PartitionRows(Labels(5, 5), {{}, 0, 1}).ok());
}

TEST(DrawGammaTest, MeanAndVarianceAreTheShape) {
  for (double shape : {0.3, 1.0, 7.5}) {
    RandomStream random(SeedPath{1, "gamma", "", 0});
    double sum = 0;
    double squares = 0;
    constexpr int kDraws = 100000;
    for (int i = 0; i < kDraws; ++i) {
      const double x = DrawGamma(shape, random);
      ASSERT_GT(x, 0);
      sum += x;
      squares += x * x;
    }
    const double mean = sum / kDraws;
    EXPECT_NEAR(mean, shape, 5 * std::sqrt(shape / kDraws));
    // Kurtosis of Gamma: 3 + 6/shape.
    const double deviation = shape * std::sqrt((2 + 6 / shape) / kDraws);
    EXPECT_NEAR(squares / kDraws - mean * mean, shape, 5 * deviation);
  }
}

}  // namespace
}  // namespace consilium
