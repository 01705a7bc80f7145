#include "models/spec/initial_values.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

ModelGraph Graph(absl::string_view text) {
  v1::ModelSpec spec;
  EXPECT_TRUE(ParseTextFormat(text, "spec", spec).ok());
  auto graph = BuildModelGraph(spec, {});
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *graph;
}

ModelGraph LinearGraph(const std::string& init) {
  return Graph("name: \"m\" input_shape: \"400\" layers { name: \"a\" linear { units: \"300\" " +
               init + " } } loss { kind: CROSS_ENTROPY }");
}

struct Moments {
  double mean = 0;
  double deviation = 0;
  double largest = 0;
};

Moments MomentsOf(const std::vector<float>& values, size_t begin, size_t end) {
  Moments out;
  const double n = static_cast<double>(end - begin);
  for (size_t i = begin; i < end; ++i) {
    out.mean += values[i] / n;
    out.largest = std::max(out.largest, std::abs(static_cast<double>(values[i])));
  }
  for (size_t i = begin; i < end; ++i) {
    out.deviation += (values[i] - out.mean) * (values[i] - out.mean) / n;
  }
  out.deviation = std::sqrt(out.deviation);
  return out;
}

constexpr size_t kWeights = 400 * 300;

// U(−b, b) has deviation b/√3. Tolerances are five standard errors and more.
TEST(InitialValues, KaimingUniformIsTheFieldsDefault) {
  const auto values = InitialValues(LinearGraph(""), 1);
  ASSERT_EQ(values.size(), kWeights + 300);
  const double bound = 1.0 / std::sqrt(400.0);
  const Moments weight = MomentsOf(values, 0, kWeights);
  EXPECT_NEAR(weight.mean, 0, 5 * bound / std::sqrt(3.0 * kWeights));
  EXPECT_NEAR(weight.deviation, bound / std::sqrt(3.0), 0.005 * bound);
  EXPECT_LE(weight.largest, bound * (1 + 1e-7));
  EXPECT_GT(weight.largest, 0.999 * bound);
  const Moments bias = MomentsOf(values, kWeights, values.size());
  EXPECT_LE(bias.largest, bound * (1 + 1e-7));
  EXPECT_GT(bias.deviation, 0.5 * bound);
}

TEST(InitialValues, XavierUniformLooksAtBothSides) {
  const auto values = InitialValues(LinearGraph("weight_init { kind: XAVIER_UNIFORM }"), 1);
  const double bound = std::sqrt(6.0 / 700.0);
  const Moments weight = MomentsOf(values, 0, kWeights);
  EXPECT_NEAR(weight.deviation, bound / std::sqrt(3.0), 0.005 * bound);
  EXPECT_GT(weight.largest, 0.999 * bound);
  EXPECT_EQ(MomentsOf(values, kWeights, values.size()).largest, 0);
}

TEST(InitialValues, NormalHasTheGivenScale) {
  const auto values = InitialValues(LinearGraph("weight_init { kind: NORMAL scale: 0.5 }"), 1);
  const Moments weight = MomentsOf(values, 0, kWeights);
  EXPECT_NEAR(weight.mean, 0, 0.01);
  EXPECT_NEAR(weight.deviation, 0.5, 0.005);
  const size_t within = std::count_if(values.begin(), values.begin() + kWeights,
                                      [](float v) { return std::abs(v) <= 0.5f; });
  EXPECT_NEAR(static_cast<double>(within) / kWeights, 0.6827, 0.007);
  EXPECT_EQ(MomentsOf(values, kWeights, values.size()).largest, 0);
}

TEST(InitialValues, ZerosAndLayerNorm) {
  const auto values = InitialValues(
      Graph("name: \"m\" input_shape: \"3\" layers { name: \"n\" layer_norm {} } layers { name: "
            "\"a\" linear { units: \"1\" weight_init { kind: ZEROS } } } loss { kind: MSE }"),
      1);
  EXPECT_EQ(values, (std::vector<float>{1, 1, 1, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(InitialValues, AStreamPerTensorByItsName) {
  const std::string two =
      "name: \"m\" input_shape: \"5\" layers { name: \"a\" linear { units: \"4\" } } %s"
      "layers { name: \"b\" linear { units: \"1\" } } loss { kind: MSE }";
  const auto with = [&](const std::string& extra) {
    std::string text = two;
    return InitialValues(Graph(text.replace(text.find("%s"), 2, extra)), 7);
  };
  const auto plain = with("");
  EXPECT_EQ(plain, with(""));
  // A layer between them leaves both as they were.
  const auto more = with("layers { name: \"between\" linear { units: \"4\" } } ");
  ASSERT_EQ(plain.size(), 24u + 5u);
  ASSERT_EQ(more.size(), 24u + 20u + 5u);
  EXPECT_TRUE(std::equal(plain.begin(), plain.begin() + 24, more.begin()));
  EXPECT_TRUE(std::equal(plain.begin() + 24, plain.end(), more.begin() + 44));

  // The same layer under another name has another stream, and so do weight and bias.
  std::string renamed = two;
  renamed.replace(renamed.find("\"a\""), 3, "\"z\"");
  const auto other = InitialValues(Graph(renamed.replace(renamed.find("%s"), 2, "")), 7);
  EXPECT_NE(std::vector(plain.begin(), plain.begin() + 20),
            std::vector(other.begin(), other.begin() + 20));
  EXPECT_NE(std::vector(plain.begin(), plain.begin() + 4),
            std::vector(plain.begin() + 20, plain.begin() + 24));

  std::string text = two;
  EXPECT_NE(plain, InitialValues(Graph(text.replace(text.find("%s"), 2, "")), 8));
}

}  // namespace
}  // namespace consilium
