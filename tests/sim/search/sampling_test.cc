#include "sim/search/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

double NoMatter(const Proposal& proposal) { return static_cast<double>(proposal.trial); }

// By number, so that orders do not count.
std::vector<std::vector<std::string>> TextsByNumber(const v1::SearchSpace& space,
                                                    std::vector<Tried> tried) {
  std::sort(tried.begin(), tried.end(),
            [](const Tried& a, const Tried& b) { return a.proposal.trial < b.proposal.trial; });
  std::vector<std::vector<std::string>> texts;
  for (size_t i = 0; i < tried.size(); ++i) {
    EXPECT_EQ(tried[i].proposal.trial, i);
    texts.push_back(TextsAt(space, tried[i].proposal.point));
  }
  return texts;
}

TEST(TrialNumbers, GivesTheSmallestThatIsFree) {
  TrialNumbers numbers;
  for (const uint64_t taken : {1, 3, 1}) numbers.Take(taken);
  EXPECT_EQ(numbers.Next(), 0U);
  numbers.Take(0);
  EXPECT_EQ(numbers.Next(), 2U);
  numbers.Take(2);
  EXPECT_EQ(numbers.Next(), 4U);
}

TEST(GridAlgorithm, CoversExactlyTheProductTheLastParameterFastest) {
  const v1::SearchSpace space = SpaceOf(R"(
    name: "grid"
    parameters { path: "a" choice { values: ["X", "Y"] } }
    parameters { path: "b" integer { min: 1 max: 3 } }
    parameters { path: "c" real { min: 0 max: 1 grid_points: 2 } }
    objectives { quantity: BEST_SCORE direction: MINIMISE }
    grid {}
  )");
  std::vector<std::vector<std::string>> product;
  for (const char* a : {"X", "Y"}) {
    for (const char* b : {"1", "2", "3"}) {
      for (const char* c : {"0", "1"}) product.push_back({a, b, c});
    }
  }
  for (const size_t in_flight : {1, 5}) {
    GridAlgorithm grid(space);
    EXPECT_EQ(grid.trials_max(), product.size());
    EXPECT_EQ(TextsByNumber(space, SearchPlainly(grid, NoMatter, in_flight)), product);
  }
}

TEST(RandomAlgorithm, TriesTheSamePointsInWhateverOrderResultsCome) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 40 } seed: 3"));
  RandomAlgorithm one(space);
  const auto texts = TextsByNumber(space, SearchPlainly(one, NoMatter));
  EXPECT_EQ(texts.size(), 40U);
  RandomAlgorithm many(space);
  EXPECT_EQ(TextsByNumber(space, SearchPlainly(many, NoMatter, 7, 2)), texts);
  RandomAlgorithm other(SpaceOf(absl::StrCat(kTwoReals, "random { trials: 40 } seed: 4")));
  EXPECT_NE(TextsByNumber(space, SearchPlainly(other, NoMatter)), texts);
}

TEST(RandomAlgorithm, FillsTheGapsThatAnEarlierProcessLeft) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 12 }"));
  RandomAlgorithm whole(space);
  const std::vector<Tried> tried = SearchPlainly(whole, NoMatter);
  RandomAlgorithm resumed(space);
  std::vector<Tried> both;
  for (const size_t known : {0, 1, 4, 7}) {
    resumed.Tell(tried[known].proposal, {tried[known].loss});
    both.push_back(tried[known]);
  }
  const std::vector<Tried> rest = SearchPlainly(resumed, NoMatter);
  EXPECT_EQ(rest.size(), 8U);
  both.insert(both.end(), rest.begin(), rest.end());
  EXPECT_EQ(TextsByNumber(space, both), TextsByNumber(space, tried));
}

TEST(RandomAlgorithm, DrawsNoTrialTwiceAndEndsWhereAllAreTried) {
  const v1::SearchSpace space = SpaceOf(R"(
    name: "few"
    parameters { path: "a" integer { min: 1 max: 3 } }
    parameters { path: "b" choice { values: ["X", "Y"] } }
    objectives { quantity: BEST_SCORE direction: MINIMISE }
    random { trials: 100 }
  )");
  RandomAlgorithm random(space);
  const auto texts = TextsByNumber(space, SearchPlainly(random, NoMatter));
  EXPECT_EQ(texts.size(), 6U);
  EXPECT_EQ(std::set<std::vector<std::string>>(texts.begin(), texts.end()).size(), 6U);
}

// Six cells of a square, expected 1/6 each: χ² with 5 degrees of freedom, below 20.5 but in one of
// a thousand seeds.
TEST(RandomAlgorithm, IsUniform) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 3000 } seed: 1"));
  RandomAlgorithm random(space);
  std::vector<double> cells(6);
  for (const Tried& one : SearchPlainly(random, NoMatter)) {
    const Point& point = one.proposal.point;
    ++cells[static_cast<size_t>(point[0] * 3) * 2 + static_cast<size_t>(point[1] * 2)];
  }
  double chi_squared = 0;
  for (const double count : cells) chi_squared += (count - 500) * (count - 500) / 500;
  EXPECT_LT(chi_squared, 20.5);
}

}  // namespace
}  // namespace consilium
