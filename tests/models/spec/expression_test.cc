#include "models/spec/expression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "protocol/wire/derived_seed.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;

const std::map<std::string, int64_t> kParameters = {{"features", 13}, {"units", 7}, {"zero", 0}};

int64_t Value(absl::string_view text) {
  const auto value = EvaluateExpression(text, kParameters);
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *value : std::numeric_limits<int64_t>::min();
}

std::string Refusal(absl::string_view text) {
  const auto value = EvaluateExpression(text, kParameters);
  EXPECT_EQ(value.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(value.status().message());
}

TEST(Expression, FollowsTheRulesOfArithmetic) {
  EXPECT_EQ(Value("42"), 42);
  EXPECT_EQ(Value(" features "), 13);
  EXPECT_EQ(Value("1 + 2 * 3"), 7);
  EXPECT_EQ(Value("(1 + 2) * 3"), 9);
  EXPECT_EQ(Value("20 - 5 - 3"), 12);
  EXPECT_EQ(Value("100 / 5 / 2"), 10);
  EXPECT_EQ(Value("features / 2"), 6);
  EXPECT_EQ(Value("max(8, min(units, 256)) + 1"), 9);
  EXPECT_EQ(Value("min(units, features)"), 7);
  EXPECT_EQ(Value("--3"), 3);
}

TEST(Expression, DivisionRoundsDown) {
  EXPECT_EQ(Value("7 / 2"), 3);
  EXPECT_EQ(Value("-7 / 2"), -4);
  EXPECT_EQ(Value("7 / -2"), -4);
  EXPECT_EQ(Value("-7 / -2"), 3);
  EXPECT_EQ(Value("-8 / 2"), -4);
}

TEST(Expression, OverflowIsRefused) {
  EXPECT_EQ(Value("9223372036854775807"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Value("-9223372036854775807 - 1"), std::numeric_limits<int64_t>::min());
  for (const char* text :
       {"9223372036854775808", "9223372036854775807 + 1", "-9223372036854775807 - 2",
        "4294967296 * 4294967296", "(-9223372036854775807 - 1) / -1", "-(-9223372036854775807 - 1)",
        "99999999999999999999999"}) {
    EXPECT_THAT(Refusal(text), HasSubstr("64 bits")) << text;
  }
}

TEST(Expression, SaysWhereItIsWrong) {
  EXPECT_EQ(Refusal("features / zero"),
            "expression \"features / zero\": a division by zero at character 16");
  EXPECT_EQ(Refusal("2 * widht"),
            "expression \"2 * widht\": there is no parameter \"widht\" at character 5");
  for (const char* text : {"", "1 +", "(1", "1)", "1 2", "min(1)", "min 1, 2", "max(1, 2, 3)",
                           "1.5", "2 ** 3", "a b", "$", "features()", "1,2"}) {
    EXPECT_THAT(Refusal(text), HasSubstr(" at character ")) << text;
  }
}

TEST(Expression, LengthAndNestingAreBounded) {
  EXPECT_THAT(Refusal(std::string(limits::kExpressionCharsMax + 1, '1')), HasSubstr("characters"));
  const auto nested = [](int depth) {
    return std::string(depth, '(') + "1" + std::string(depth, ')');
  };
  EXPECT_EQ(Value(nested(limits::kExpressionDepthMax - 1)), 1);
  EXPECT_THAT(Refusal(nested(limits::kExpressionDepthMax)), HasSubstr("nested"));
  EXPECT_THAT(Refusal(std::string(200, '-') + "1"), HasSubstr("nested"));
}

// Against a model that is written differently: random trees are printed and evaluated in 128 bits.
struct Tree {
  std::string text;
  __extension__ __int128 value;
};

Tree RandomTree(RandomStream& random, int depth) {
  if (depth == 0 || random.NextBelow(4) == 0) {
    const uint64_t number = random.NextBelow(50);
    return {std::to_string(number), static_cast<int64_t>(number)};
  }
  const Tree left = RandomTree(random, depth - 1);
  const Tree right = RandomTree(random, depth - 1);
  const std::string l = "(" + left.text + ")";
  const std::string r = "(" + right.text + ")";
  switch (random.NextBelow(6)) {
    case 0:
      return {l + "+" + r, left.value + right.value};
    case 1:
      return {l + " - " + r, left.value - right.value};
    case 2:
      return {l + "*" + r, left.value * right.value};
    case 3:
      return {"min(" + left.text + "," + right.text + ")", std::min(left.value, right.value)};
    case 4:
      return {"max(" + left.text + ", " + right.text + ")", std::max(left.value, right.value)};
    default: {
      if (right.value == 0) return left;
      auto quotient = left.value / right.value;
      while (quotient * right.value > left.value && right.value > 0) --quotient;
      while (quotient * right.value < left.value && right.value < 0) --quotient;
      return {l + "/" + r, quotient};
    }
  }
}

TEST(Expression, AgreesWithAnIndependentEvaluation) {
  RandomStream random(SeedPath{1, "expression_test", "", 0});
  int evaluated = 0;
  for (int i = 0; i < 3000; ++i) {
    const Tree tree = RandomTree(random, 4);
    if (tree.text.size() > limits::kExpressionCharsMax) continue;
    const auto value = EvaluateExpression(tree.text, {});
    ASSERT_TRUE(value.ok()) << tree.text << ": " << value.status();
    EXPECT_EQ(*value, static_cast<int64_t>(tree.value)) << tree.text;
    ++evaluated;
  }
  EXPECT_GT(evaluated, 2000);
}

}  // namespace
}  // namespace consilium
