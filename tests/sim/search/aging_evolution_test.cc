#include "sim/search/aging_evolution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

// Twelve choices of five values, and two numbers.
std::string Letters() {
  std::string text = "name: 'letters' objectives { quantity: BEST_SCORE direction: MINIMISE } ";
  for (int i = 0; i < 12; ++i) {
    absl::StrAppend(&text, "parameters { path: 'c", i,
                    "' choice { values: ['a', 'b', 'c', 'd', 'e'] } } ");
  }
  return absl::StrCat(text,
                      "parameters { path: 'n' integer { min: 1 max: 9 } } "
                      "parameters { path: 'r' real { min: 0.001 max: 1 scale: LOG } } "
                      "parameters { path: 'only' choice { values: ['one'] } } ");
}

v1::SearchSpace Space(const std::string& settings, uint64_t seed = 0) {
  return SpaceOf(absl::StrCat(Letters(), "aging_evolution { ", settings, " } seed: ", seed));
}

// Letters that are not the one wanted, and how far the numbers are off.
double Distance(const v1::SearchSpace& space, const Point& point) {
  const std::vector<std::string> texts = TextsAt(space, point);
  double loss = 0;
  for (size_t i = 0; i < 12; ++i) loss += texts[i][0] == "abcde"[i % 5] ? 0 : 1;
  return loss + std::abs(point[12] - 0.5) + std::abs(point[13] - 0.7);
}

double BestLoss(const std::vector<Tried>& tried) {
  double best = std::numeric_limits<double>::infinity();
  for (const Tried& one : tried) best = std::min(best, one.loss);
  return best;
}

size_t Differences(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  size_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] == b[i] ? 0 : 1;
  return count;
}

TEST(AgingEvolution, FindsWhatChanceDoesNot) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const size_t in_flight : {1, 8}) {
      const v1::SearchSpace space = Space("population: 30 sample: 10 trials: 600", seed);
      AgingEvolutionAlgorithm evolution(space);
      const auto loss = [&](const Proposal& p) { return Distance(space, p.point); };
      const std::vector<Tried> tried = SearchPlainly(evolution, loss, in_flight, seed);
      EXPECT_EQ(tried.size(), 600U);
      EXPECT_LT(BestLoss(tried), 0.6) << seed << " " << in_flight;
      RandomAlgorithm random(SpaceOf(absl::StrCat(Letters(), "random { trials: 600 }")));
      EXPECT_GT(BestLoss(SearchPlainly(random, loss)), 3);
    }
  }
}

TEST(AgingEvolution, AChildDiffersFromTheBestOfTheYoungestInOneValue) {
  const v1::SearchSpace space = Space("population: 6 sample: 6 trials: 200", 3);
  AgingEvolutionAlgorithm evolution(space);
  std::deque<std::pair<double, std::vector<std::string>>> youngest;
  std::vector<int> mutated(15);
  int of_the_best = 0;
  SearchPlainly(evolution, [&](const Proposal& proposal) {
    const std::vector<std::string> texts = TextsAt(space, proposal.point);
    if (proposal.trial >= 6) {
      const auto best = std::min_element(youngest.begin(), youngest.end());
      bool found = false;
      for (const auto& [loss, parent] : youngest) {
        if (Differences(parent, texts) != 1) continue;
        found = true;
        for (size_t i = 0; i < 15; ++i) mutated[i] += parent[i] == texts[i] ? 0 : 1;
      }
      EXPECT_TRUE(found) << proposal.trial;
      of_the_best += Differences(best->second, texts) == 1 ? 1 : 0;
    }
    // Old age takes the best as any other: the first trial is never matched.
    const double loss = proposal.trial == 0 ? -100 : static_cast<double>(proposal.trial % 7);
    youngest.push_back({loss, texts});
    if (youngest.size() > 6) youngest.pop_front();
    return loss;
  });
  // One of six draws is the best of six in two of three cases.
  EXPECT_GT(of_the_best, 100);
  for (size_t i = 0; i < 14; ++i) EXPECT_GT(mutated[i], 0) << i;
  EXPECT_EQ(mutated[14], 0);  // It has one value.
}

TEST(AgingEvolution, WaitsForASampleAndThenForNobody) {
  AgingEvolutionAlgorithm evolution(Space("population: 6 sample: 3 trials: 20"));
  std::vector<Proposal> first;
  while (std::optional<Proposal> proposal = evolution.Ask()) first.push_back(*proposal);
  ASSERT_EQ(first.size(), 6U);
  evolution.Tell(first[4], {1.0});
  evolution.Tell(first[1], {std::numeric_limits<double>::infinity()});
  EXPECT_FALSE(evolution.Ask().has_value());
  evolution.Tell(first[2], {2.0});
  for (uint64_t trial = 6; trial < 20; ++trial) EXPECT_EQ(evolution.Ask()->trial, trial);
  EXPECT_FALSE(evolution.Ask().has_value());
}

TEST(AgingEvolution, GoesOnFromWhatAnEarlierProcessKnew) {
  const v1::SearchSpace space = Space("population: 8 sample: 4 trials: 60", 4);
  const auto loss = [&](const Proposal& p) { return Distance(space, p.point); };
  AgingEvolutionAlgorithm whole(space);
  const std::vector<Tried> tried = SearchPlainly(whole, loss);
  for (const size_t known : {1, 7, 8, 9, 40}) {
    AgingEvolutionAlgorithm resumed(space);
    for (size_t i = 0; i < known; ++i) resumed.Tell(tried[i].proposal, {tried[i].loss});
    const std::vector<Tried> rest = SearchPlainly(resumed, loss);
    ASSERT_EQ(rest.size() + known, tried.size());
    for (size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].proposal.point, tried[known + i].proposal.point) << known << " " << i;
    }
  }
  AgingEvolutionAlgorithm other(Space("population: 8 sample: 4 trials: 60", 5));
  EXPECT_NE(SearchPlainly(other, loss).back().proposal.point, tried.back().proposal.point);
}

TEST(AgingEvolution, ASpaceOfOnePointIsTriedAsItIs) {
  AgingEvolutionAlgorithm evolution(
      SpaceOf("name: 's' parameters { path: 'a' choice { values: ['1'] } } "
              "objectives { quantity: BEST_SCORE direction: MINIMISE } "
              "aging_evolution { population: 2 sample: 1 trials: 5 }"));
  EXPECT_EQ(SearchPlainly(evolution, [](const Proposal&) { return 1.0; }).size(), 5U);
}

}  // namespace
}  // namespace consilium
