#include "sim/search/policy_gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string Letters(int count) {
  std::string text = "name: 'letters' objectives { quantity: BEST_SCORE direction: MINIMISE } ";
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, "parameters { path: 'c", i,
                    "' choice { values: ['a', 'b', 'c', 'd'] } } ");
  }
  return text;
}

v1::SearchSpace Space(int letters, const std::string& settings, uint64_t seed = 0) {
  return SpaceOf(absl::StrCat(Letters(letters), "policy_gradient { ", settings, " } seed: ", seed));
}

// Letters that are not the one wanted.
double Wrong(const v1::SearchSpace& space, const Point& point) {
  const std::vector<std::string> texts = TextsAt(space, point);
  double loss = 0;
  for (size_t i = 0; i < texts.size(); ++i) loss += texts[i][0] == "abcd"[i % 4] ? 0 : 1;
  return loss;
}

TEST(PolicyGradient, LearnsWhatIsGood) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const size_t in_flight : {1, 8}) {
      const v1::SearchSpace space = Space(12, "trials: 1500", seed);
      PolicyGradientAlgorithm controller(space);
      // Units do not matter.
      const std::vector<Tried> tried = SearchPlainly(
          controller, [&](const Proposal& p) { return 1e6 * Wrong(space, p.point) - 3e6; },
          in_flight, seed);
      ASSERT_EQ(tried.size(), 1500U);
      double early = 0, late = 0;
      for (size_t i = 0; i < 100; ++i) {
        early += Wrong(space, tried[i].proposal.point) / 100;
        late += Wrong(space, tried[1400 + i].proposal.point) / 100;
      }
      EXPECT_LT(late, early / 2) << seed << " " << in_flight;
      EXPECT_LT(late, 2) << seed << " " << in_flight;
    }
  }
}

// By hand, two values, rate .5 and decay .5. The first trial is the baseline and changes nothing.
// The second, of loss 3 after 1: b − ℓ = −2, s = 2, A = −1; π = 1/2 each, so what was drawn loses
// .25 and the other gains it. Then b = 2. The third, of loss 0: b − ℓ = 2, s = 2, A = 1.
TEST(PolicyGradient, IsTheEquation) {
  const v1::SearchSpace space = SpaceOf(
      "name: 's' parameters { path: 'a' choice { values: ['x', 'y'] } } "
      "objectives { quantity: BEST_SCORE direction: MINIMISE } "
      "policy_gradient { trials: 9 learning_rate: 0.5 decay: 0.5 }");
  PolicyGradientAlgorithm controller(space);
  const auto tell = [&](uint64_t trial, double coordinate, double loss) {
    controller.Tell({trial, {coordinate}, 0, 0}, {loss});
    const std::vector<double> p = controller.Probabilities(0);
    EXPECT_NEAR(p[0] + p[1], 1, 1e-12);
    return std::log(p[0] / p[1]);  // θ_x − θ_y
  };
  EXPECT_EQ(tell(0, 0.25, 1), 0);
  const double after_second = tell(1, 0.25, 3);
  EXPECT_NEAR(after_second, -0.5, 1e-12);
  const double y = 1 / (1 + std::exp(after_second));
  const double after_third = tell(2, 0.75, 0);
  EXPECT_NEAR(after_third, after_second - 0.5 * (2 * (1 - y)), 1e-12);
  // A failure is as bad as one deviation, and leaves the baseline.
  const double x = 1 / (1 + std::exp(-after_third));
  EXPECT_NEAR(tell(3, 0.25, kInfinity), after_third - 0.5 * (2 * (1 - x)), 1e-12);
}

TEST(PolicyGradient, DrawsByItsTable) {
  const v1::SearchSpace space = Space(1, "trials: 2001");
  PolicyGradientAlgorithm controller(space);
  controller.Tell({0, {0.125}, 0, 0}, {1.0});
  std::map<double, int> counts;
  while (const std::optional<Proposal> proposal = controller.Ask()) ++counts[proposal->point[0]];
  // A quarter each: deviation 19.
  EXPECT_EQ(counts.size(), 4U);
  for (const auto& [coordinate, count] : counts) EXPECT_NEAR(count, 500, 80) << coordinate;
}

TEST(PolicyGradient, TakesNumbersAtTheirGridPoints) {
  const v1::SearchSpace space = SpaceOf(
      "name: 's' parameters { path: 'n' integer { min: 1 max: 3 } } "
      "parameters { path: 'r' real { min: 0.01 max: 1 scale: LOG grid_points: 3 } } "
      "objectives { quantity: BEST_SCORE direction: MINIMISE } policy_gradient { trials: 60 }");
  PolicyGradientAlgorithm controller(space);
  std::map<std::string, int> reals;
  SearchPlainly(controller, [&](const Proposal& proposal) {
    ++reals[TextsAt(space, proposal.point)[1]];
    return kInfinity;
  });
  EXPECT_EQ(reals.size(), 3U);
  EXPECT_TRUE(reals.contains("0.1"));
}

TEST(PolicyGradient, GoesOnFromWhatAnEarlierProcessKnew) {
  const v1::SearchSpace space = Space(5, "trials: 80", 4);
  const auto loss = [&](const Proposal& p) { return Wrong(space, p.point); };
  PolicyGradientAlgorithm whole(space);
  const std::vector<Tried> tried = SearchPlainly(whole, loss);
  for (const size_t known : {1, 2, 40, 79}) {
    PolicyGradientAlgorithm resumed(space);
    for (size_t i = 0; i < known; ++i) resumed.Tell(tried[i].proposal, {tried[i].loss});
    const std::vector<Tried> rest = SearchPlainly(resumed, loss);
    ASSERT_EQ(rest.size() + known, tried.size());
    for (size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].proposal.point, tried[known + i].proposal.point) << known << " " << i;
    }
  }
}

TEST(PolicyGradient, HugeAndEqualLossesLeaveProbabilities) {
  PolicyGradientAlgorithm controller(Space(3, "trials: 300 learning_rate: 10"));
  const double losses[] = {1e300, -1e300, 0, 0, 0, kInfinity, 1e-300};
  SearchPlainly(controller, [&](const Proposal& p) { return losses[p.trial % 7]; });
  for (size_t p = 0; p < 3; ++p) {
    double sum = 0;
    for (const double probability : controller.Probabilities(p)) sum += probability;
    EXPECT_NEAR(sum, 1, 1e-9);
  }
}

}  // namespace
}  // namespace consilium
