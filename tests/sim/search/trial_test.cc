#include "sim/search/trial.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "protocol/wire/derived_seed.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

constexpr char kTwoObjectives[] = R"(
  name: "two"
  parameters { path: "x" real { min: 0 max: 1 } }
  objectives { quantity: BEST_SCORE direction: MAXIMISE }
  objectives { quantity: PARAMETERS direction: MINIMISE }
  random { trials: 5 }
)";

Trial TrialOf(uint64_t number, std::vector<double> objectives) {
  Trial trial;
  trial.proposal.trial = number;
  trial.result.objectives = std::move(objectives);
  return trial;
}

using Numbers = std::vector<uint64_t>;

TEST(BestTrials, AreThoseThatNoneBeatsInAll) {
  const v1::SearchSpace space = SpaceOf(kTwoObjectives);
  const std::vector<Trial> trials = {
      TrialOf(0, {0.9, 100}),  // The best score.
      TrialOf(1, {0.8, 50}),   // Cheaper.
      TrialOf(2, {0.8, 60}),   // As good as 1 and dearer.
      TrialOf(3, {0.5, 10}),   // The cheapest.
      TrialOf(4, {0.4, 20}),   // Worse than 3 in both.
      TrialOf(5, {0.5, 10}),   // As 3.
  };
  EXPECT_EQ(BestTrials(space, trials), Numbers({0, 1, 3, 5}));
}

TEST(BestTrials, OfOneObjectiveIsTheBest) {
  const v1::SearchSpace space = SpaceOf(std::string(kTwoReals) + "random { trials: 3 }");
  EXPECT_EQ(BestTrials(space, {TrialOf(0, {3}), TrialOf(1, {1}), TrialOf(2, {2})}), Numbers({1}));
  EXPECT_EQ(BestTrials(space, {}), Numbers());
}

TEST(BestTrials, LeavesOutWhatFailedWasKnownOrStoppedEarly) {
  const v1::SearchSpace space = SpaceOf(std::string(kTwoReals) + "random { trials: 3 }");
  std::vector<Trial> trials = {TrialOf(0, {3}), TrialOf(1, {1}), TrialOf(2, {2}), TrialOf(3, {2})};
  trials[1].result = {};
  trials[1].result.error = "no";
  trials[3].same_as = 2;
  EXPECT_EQ(BestTrials(space, trials), Numbers({2}));
  trials[0].proposal.rung = 1;
  EXPECT_EQ(BestTrials(space, trials), Numbers({0}));
}

// Against the definition, over random trials with ties.
TEST(BestTrials, AgreesWithTheDefinition) {
  const v1::SearchSpace space = SpaceOf(kTwoObjectives);
  RandomStream random(SeedPath{1, "trials", ""});
  for (int round = 0; round < 50; ++round) {
    std::vector<Trial> trials;
    for (uint64_t i = 0; i < 30; ++i) {
      trials.push_back(TrialOf(
          i, {static_cast<double>(random.NextBelow(8)), static_cast<double>(random.NextBelow(8))}));
    }
    Numbers expected;
    for (const Trial& one : trials) {
      const auto& a = one.result.objectives;
      bool beaten = false;
      for (const Trial& other : trials) {
        const auto& b = other.result.objectives;
        beaten = beaten || (b[0] >= a[0] && b[1] <= a[1] && b != a);
      }
      if (!beaten) expected.push_back(one.number());
    }
    EXPECT_EQ(BestTrials(space, trials), expected);
  }
}

}  // namespace
}  // namespace consilium
