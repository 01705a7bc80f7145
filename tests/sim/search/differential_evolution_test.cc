#include "sim/search/differential_evolution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

// Rosenbrock's valley over x in [-2, 2], y in [-1, 3]: 0 at (1, 1) alone.
double Rosenbrock(const Proposal& proposal) {
  const double x = -2 + 4 * proposal.point[0];
  const double y = -1 + 4 * proposal.point[1];
  return (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x);
}

v1::SearchSpace EvolutionSpace(const std::string& settings, uint64_t seed = 0) {
  return SpaceOf(absl::StrCat(kTwoReals, "differential_evolution { ", settings, " } seed: ", seed));
}

double BestLoss(const std::vector<Tried>& tried) {
  double best = std::numeric_limits<double>::infinity();
  for (const Tried& one : tried) best = std::min(best, one.loss);
  return best;
}

TEST(EvolutionAlgorithm, ReachesTheOptimumOfAClosedForm) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const size_t in_flight : {1, 8}) {
      EvolutionAlgorithm evolution(
          EvolutionSpace("population: 20 generations: 150 crossover: 0.9 mutation: 0.7", seed));
      const std::vector<Tried> tried = SearchPlainly(evolution, Rosenbrock, in_flight, seed);
      EXPECT_EQ(tried.size(), 20U * 151);
      EXPECT_LT(BestLoss(tried), 1e-8) << seed << " " << in_flight;
    }
  }
}

TEST(EvolutionAlgorithm, IsBetterThanChance) {
  int better = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EvolutionAlgorithm evolution(
        EvolutionSpace("population: 10 generations: 19 crossover: 0.7 mutation: 0.5", seed));
    RandomAlgorithm random(SpaceOf(absl::StrCat(kTwoReals, "random { trials: 200 } seed: ", seed)));
    const auto bowl = [](const Proposal& proposal) {
      return std::hypot(proposal.point[0] - 0.3, proposal.point[1] - 0.6);
    };
    const std::vector<Tried> evolved = SearchPlainly(evolution, bowl);
    EXPECT_EQ(evolved.size(), 200U);
    better += BestLoss(evolved) < BestLoss(SearchPlainly(random, bowl)) ? 1 : 0;
  }
  EXPECT_GE(better, 18);
}

// The definition, by hand: with F and CR given, each coordinate of an offspring is its parent's or
// the mutant's of three others, and at least one is the mutant's.
TEST(EvolutionAlgorithm, AnOffspringIsMadeOfAParentAndThreeOthers) {
  EvolutionAlgorithm evolution(
      EvolutionSpace("population: 5 generations: 4 crossover: 0.5 mutation: 0.5", 9));
  std::vector<Point> population(5);
  std::vector<double> losses(5);
  const auto is_mutant = [&](const Proposal& child, size_t j) {
    for (size_t a = 0; a < 5; ++a) {
      for (size_t b = 0; b < 5; ++b) {
        for (size_t c = 0; c < 5; ++c) {
          if (std::set<size_t>({a, b, c, child.slot}).size() < 4) continue;
          const double mutant = population[a][j] + 0.5 * (population[b][j] - population[c][j]);
          if (std::abs(mutant - child.point[j]) < 1e-12) return true;
          // Drawn anew between a and the bound.
          if (mutant < 0 && child.point[j] <= population[a][j]) return true;
          if (mutant > 1 && child.point[j] >= population[a][j]) return true;
        }
      }
    }
    return false;
  };
  int crossed = 0;
  int kept = 0;
  SearchPlainly(evolution, [&](const Proposal& proposal) {
    const double loss = Rosenbrock(proposal);
    EXPECT_EQ(proposal.slot, proposal.trial % 5);
    if (proposal.trial < 5) {
      population[proposal.slot] = proposal.point;
      losses[proposal.slot] = loss;
      return loss;
    }
    int mutants = 0;
    for (size_t j = 0; j < 2; ++j) {
      EXPECT_GE(proposal.point[j], 0);
      EXPECT_LE(proposal.point[j], 1);
      const bool same = proposal.point[j] == population[proposal.slot][j];
      EXPECT_TRUE(same || is_mutant(proposal, j)) << proposal.trial;
      mutants += same ? 0 : 1;
      kept += same ? 1 : 0;
    }
    EXPECT_GE(mutants, 1);
    crossed += mutants;
    if (loss <= losses[proposal.slot]) {
      population[proposal.slot] = proposal.point;
      losses[proposal.slot] = loss;
    }
    return loss;
  });
  EXPECT_EQ(crossed + kept, 40);
  // (1 + CR)/2 of the coordinates of two are the mutant's.
  EXPECT_GE(kept, 4);
  EXPECT_LE(kept, 18);
}

TEST(EvolutionAlgorithm, WaitsForFourPlacesAndThenForNobody) {
  EvolutionAlgorithm evolution(EvolutionSpace("population: 6 generations: 1"));
  std::vector<Proposal> first;
  for (int i = 0; i < 6; ++i) first.push_back(*evolution.Ask());
  EXPECT_FALSE(evolution.Ask().has_value());
  for (int i = 0; i < 3; ++i) evolution.Tell(first[i], {1.0});
  EXPECT_FALSE(evolution.Ask().has_value());
  evolution.Tell(first[5], {1.0});
  // Whose turn it is is known, but for 3 and 4: 5 is next after them.
  for (const uint64_t slot : {0, 1, 2, 5, 5, 5}) EXPECT_EQ(evolution.Ask()->slot, slot);
  EXPECT_FALSE(evolution.Ask().has_value());
}

TEST(EvolutionAlgorithm, AFailedTrialNeverTakesAPlace) {
  EvolutionAlgorithm evolution(EvolutionSpace("population: 8 generations: 40", 2));
  const std::vector<Tried> tried = SearchPlainly(evolution, [](const Proposal& proposal) {
    // Half of the square fails.
    return proposal.point[0] < 0.5 ? std::numeric_limits<double>::infinity() : Rosenbrock(proposal);
  });
  EXPECT_LT(BestLoss(tried), 1e-2);
}

TEST(EvolutionAlgorithm, GoesOnFromWhatAnEarlierProcessKnew) {
  const v1::SearchSpace space = EvolutionSpace("population: 6 generations: 5", 4);
  EvolutionAlgorithm whole(space);
  const std::vector<Tried> tried = SearchPlainly(whole, Rosenbrock);
  for (const size_t known : {1, 5, 6, 7, 20}) {
    EvolutionAlgorithm resumed(space);
    for (size_t i = 0; i < known; ++i) resumed.Tell(tried[i].proposal, {tried[i].loss});
    const std::vector<Tried> rest = SearchPlainly(resumed, Rosenbrock);
    ASSERT_EQ(rest.size() + known, tried.size());
    for (size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].proposal.point, tried[known + i].proposal.point) << known << " " << i;
    }
  }
}

}  // namespace
}  // namespace consilium
