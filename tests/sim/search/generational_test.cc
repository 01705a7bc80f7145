#include "sim/search/generational.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;
using Losses = std::vector<double>;
using LossesOfPoint = std::function<Losses(const Point& point)>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Known {
  Proposal proposal;
  Losses losses;
};

struct Order {
  size_t in_flight = 1;
  uint64_t seed = 1;
};

// As SearchPlainly, over several objectives: in the order in which they were told.
std::vector<Known> SearchAll(GenerationalAlgorithm& algorithm, const LossesOfPoint& losses,
                             Order order = {}) {
  RandomStream random(SeedPath{order.seed, "order of results", ""});
  std::vector<Proposal> open;
  std::vector<Known> known;
  while (true) {
    while (open.size() < order.in_flight) {
      std::optional<Proposal> proposal = algorithm.Ask();
      if (!proposal.has_value()) break;
      open.push_back(*std::move(proposal));
    }
    if (open.empty()) break;
    const auto next = open.begin() + static_cast<std::ptrdiff_t>(random.NextBelow(open.size()));
    known.push_back({*next, losses(next->point)});
    open.erase(next);
    algorithm.Tell(known.back().proposal, known.back().losses);
  }
  EXPECT_THAT(algorithm.status(), IsOk());
  return known;
}

std::map<uint64_t, Point> PointsOf(const std::vector<Known>& known) {
  std::map<uint64_t, Point> points;
  for (const Known& one : known)
    EXPECT_TRUE(points.emplace(one.proposal.trial, one.proposal.point).second);
  return points;
}

double BestLoss(const std::vector<Known>& known) {
  double best = kInfinity;
  for (const Known& one : known) best = std::min(best, one.losses[0]);
  return best;
}

// Parameters p0, p1, … in [0, 1].
std::string Reals(int count) {
  std::string text = "name: 'reals' ";
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, "parameters { path: 'p", i, "' real { min: 0 max: 1 } } ");
  }
  return text;
}
constexpr char kOne[] = "objectives { quantity: BEST_SCORE direction: MINIMISE } ";
constexpr char kTwo[] =
    "objectives { quantity: BEST_SCORE direction: MINIMISE } "
    "objectives { quantity: PARAMETERS direction: MINIMISE } ";

v1::SearchSpace CmaEs(int parameters, const std::string& settings, uint64_t seed = 1) {
  return SpaceOf(absl::StrCat(Reals(parameters), kOne, "cma_es { ", settings, " } seed: ", seed));
}
v1::SearchSpace Nsga2(int parameters, const std::string& settings, uint64_t seed = 1) {
  return SpaceOf(absl::StrCat(Reals(parameters), kTwo, "nsga2 { ", settings, " } seed: ", seed));
}

Losses Rosenbrock(const Point& point) {
  const double x = -2 + 4 * point[0];
  const double y = -1 + 4 * point[1];
  return {(1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x)};
}

// Axes of lengths 1 to 10 that lie across the coordinates: x is turned by a reflection.
Losses TurnedEllipsoid(const Point& point) {
  double sum = 0;
  for (const double x : point) sum += x - 0.4;
  double loss = 0;
  const auto n = static_cast<double>(point.size());
  for (size_t i = 0; i < point.size(); ++i) {
    const double turned = point[i] - 0.4 - 2 * sum / n;
    loss += std::pow(1e2, static_cast<double>(i) / (n - 1)) * turned * turned;
  }
  return {loss};
}

TEST(CmaEs, ReachesKnownOptima) {
  for (const uint64_t seed : {1, 2, 3}) {
    GenerationalAlgorithm valley(CmaEs(2, "population: 10 generations: 120", seed));
    EXPECT_LT(BestLoss(SearchAll(valley, Rosenbrock)), 1e-10) << seed;
    GenerationalAlgorithm ellipsoid(CmaEs(8, "population: 12 generations: 500", seed));
    EXPECT_LT(BestLoss(SearchAll(ellipsoid, TurnedEllipsoid)), 1e-8) << seed;
    // On the bounds: 1 of one coordinate, 0 of the other.
    GenerationalAlgorithm corner(CmaEs(2, "population: 10 generations: 60", seed));
    EXPECT_LT(BestLoss(SearchAll(corner, [](const Point& p) { return Losses{p[1] - p[0]}; })),
              -0.9999);
  }
}

TEST(CmaEs, TakesIntegersLogarithmsAndChoicesAsIntervals) {
  const v1::SearchSpace space = SpaceOf(
      absl::StrCat("name: 'mixed' parameters { path: 'n' integer { min: 1 max: 64 scale: LOG } } "
                   "parameters { path: 'r' real { min: 0.0001 max: 1 scale: LOG } } "
                   "parameters { path: 'c' choice { values: ['1', '2', '4'] } } ",
                   kOne, "cma_es { generations: 40 }"));
  EXPECT_EQ(space.cma_es().population(), 7U);  // 4 + ⌊3·ln 3⌋
  GenerationalAlgorithm algorithm(space);
  double n = 0, r = 0, c = 0;
  const std::vector<Known> known = SearchAll(algorithm, [&](const Point& point) {
    const std::vector<std::string> texts = TextsAt(space, point);
    EXPECT_TRUE(absl::SimpleAtod(texts[0], &n) && absl::SimpleAtod(texts[1], &r) &&
                absl::SimpleAtod(texts[2], &c));
    return Losses{std::abs(std::log(n / 24)) + std::abs(std::log(r / 0.003)) + std::abs(c - 2)};
  });
  EXPECT_LT(BestLoss(known), 0.05);
}

// Sigma is the deviation of the first draws around the best of the first generation: of 400
// normal draws its estimate is off by a twentieth in one of four, by a fifth in none.
TEST(CmaEs, DrawsAroundTheBestWithTheDeviationGiven) {
  const v1::SearchSpace space = CmaEs(3, "population: 400 generations: 1 sigma: 0.05");
  GenerationalAlgorithm algorithm(space);
  const Point centre = {0.5, 0.4, 0.6};
  Known best{{}, {kInfinity}};
  double squares = 0;
  for (const Known& one : SearchAll(algorithm, [&](const Point& point) {
         double loss = 0;
         for (size_t i = 0; i < 3; ++i) loss += (point[i] - centre[i]) * (point[i] - centre[i]);
         return Losses{loss};
       })) {
    if (one.proposal.trial < 400) {
      if (one.losses[0] < best.losses[0]) best = one;
      continue;
    }
    for (size_t i = 0; i < 3; ++i) {
      const double off = one.proposal.point[i] - best.proposal.point[i];
      squares += off * off / 1200;
    }
  }
  EXPECT_NEAR(std::sqrt(squares), 0.05, 0.01);
}

// ZDT1 (Zitzler, Deb and Thiele, doi:10.1162/106365600568202): f2 = 1 − √f1 is its front.
Losses Zdt1(const Point& point) {
  double g = 1;
  for (size_t i = 1; i < point.size(); ++i)
    g += 9 * point[i] / static_cast<double>(point.size() - 1);
  return {point[0], g * (1 - std::sqrt(point[0] / g))};
}

// Area that the points dominate below (1.1, 1.1).
double Hypervolume(const std::vector<Known>& known) {
  std::set<std::pair<double, double>> points;
  for (const Known& one : known) points.insert({one.losses[0], one.losses[1]});
  double area = 0;
  double lowest = 1.1;
  for (const auto& point : points) {
    if (point.first >= 1.1 || point.second >= lowest) continue;
    area += (1.1 - point.first) * (lowest - point.second);
    lowest = point.second;
  }
  return area;
}

TEST(Nsga2, ComesToTheFrontOfZdt1) {
  // ∫(1.1 − 1 + √x)dx over [0, 1], and the strip beyond: .1 + 2/3 + .11.
  constexpr double kWhole = 0.1 + 2.0 / 3 + 0.11;
  for (const uint64_t seed : {1, 2, 3}) {
    GenerationalAlgorithm algorithm(Nsga2(6, "population: 40 generations: 100", seed));
    const std::vector<Known> known = SearchAll(algorithm, Zdt1);
    EXPECT_EQ(known.size(), 40U * 101);
    const double area = Hypervolume(known);
    EXPECT_LE(area, kWhole);
    EXPECT_GT(area, kWhole - 0.02) << seed;
    EXPECT_LT(Hypervolume({known.begin(), known.begin() + 400}), area - 0.1);
  }
}

TEST(Nsga2, ExchangesChoicesWholeAndMutatesThem) {
  // A choice between two real parameters: pagmo has it behind them.
  const auto space_of = [](double mutation) {
    return SpaceOf(
        absl::StrCat("name: 'mixed' parameters { path: 'x' real { min: 0 max: 1 } } "
                     "parameters { path: 'c' choice { values: ['a', 'b', 'c', 'd', 'e'] } } "
                     "parameters { path: 'only' choice { values: ['one'] } } "
                     "parameters { path: 'y' real { min: 0 max: 1 } } ",
                     kTwo, "nsga2 { population: 20 generations: 30 mutation: ", mutation, " }"));
  };
  const v1::SearchSpace space = space_of(0.1);
  GenerationalAlgorithm algorithm(space);
  std::set<std::string> late;
  const std::vector<Known> known = SearchAll(algorithm, [&](const Point& point) {
    const std::string letter = TextsAt(space, point)[1];
    const double penalty = letter == "d" ? 0 : 1;
    return Losses{point[0] + penalty, 1 - point[0] + penalty + std::abs(point[3] - 0.25)};
  });
  double penalised = 0;
  for (const Known& one : known) {
    if (one.proposal.trial < 20) continue;
    // The middle of a choice's interval.
    const double scaled = one.proposal.point[1] * 5 - 0.5;
    EXPECT_NEAR(scaled, std::round(scaled), 1e-9);
    if (one.proposal.trial >= 500)
      penalised += TextsAt(space, one.proposal.point)[1] != "d" ? 1 : 0;
  }
  EXPECT_LT(penalised, 40);  // Of 120, of which mutation changes about ten.
  // Without mutation there are no letters but those of the parents.
  GenerationalAlgorithm still(space_of(0));
  std::set<double> first, then;
  for (const Known& one : SearchAll(still, [](const Point& p) { return Losses{p[0], -p[0]}; })) {
    const double letter = std::floor(one.proposal.point[1] * 5);
    (one.proposal.trial < 20 ? first : then).insert(letter);
  }
  EXPECT_TRUE(std::includes(first.begin(), first.end(), then.begin(), then.end()));
}

TEST(Nsga2, CrossoverAndMutationAreAsGiven) {
  GenerationalAlgorithm copies(Nsga2(4, "population: 12 generations: 3 crossover: 0 mutation: 0"));
  std::set<Point> points;
  for (const Known& one : SearchAll(copies, Zdt1)) {
    if (one.proposal.trial < 12) {
      points.insert(one.proposal.point);
    } else {
      EXPECT_TRUE(points.contains(one.proposal.point)) << one.proposal.trial;
    }
  }
  GenerationalAlgorithm all(Nsga2(4, "population: 12 generations: 1 crossover: 0 mutation: 1"));
  points.clear();
  for (const Known& one : SearchAll(all, Zdt1)) {
    EXPECT_TRUE(points.insert(one.proposal.point).second) << one.proposal.trial;
  }
}

struct Case {
  const char* name;
  v1::SearchSpace space;
  LossesOfPoint losses;
};

std::vector<Case> BothAlgorithms(uint64_t seed = 5) {
  return {{"CMA-ES", CmaEs(3, "population: 6 generations: 7", seed), TurnedEllipsoid},
          {"NSGA-II", Nsga2(3, "population: 8 generations: 6", seed), Zdt1}};
}

TEST(GenerationalAlgorithm, TriesTheSamePointsInAnyOrderOfResults) {
  for (const Case& one : BothAlgorithms()) {
    GenerationalAlgorithm single(one.space);
    const auto points = PointsOf(SearchAll(single, one.losses));
    EXPECT_EQ(points.size(), single.trials_max());
    EXPECT_EQ(std::prev(points.end())->first, single.trials_max() - 1);
    for (const Order order : {Order{3, 1}, Order{6, 2}, Order{100, 3}}) {
      GenerationalAlgorithm many(one.space);
      EXPECT_EQ(PointsOf(SearchAll(many, one.losses, order)), points) << one.name;
    }
  }
  std::set<std::map<uint64_t, Point>> all;
  for (const uint64_t seed : {5, 6}) {
    for (const Case& one : BothAlgorithms(seed)) {
      GenerationalAlgorithm algorithm(one.space);
      all.insert(PointsOf(SearchAll(algorithm, one.losses)));
    }
  }
  EXPECT_EQ(all.size(), 4U);
}

TEST(GenerationalAlgorithm, WaitsForAGenerationsEnd) {
  GenerationalAlgorithm algorithm(CmaEs(2, "population: 5 generations: 1"));
  std::vector<Proposal> first;
  while (std::optional<Proposal> proposal = algorithm.Ask()) first.push_back(*proposal);
  ASSERT_EQ(first.size(), 5U);
  for (size_t i = 1; i < 5; ++i) algorithm.Tell(first[i], {1.0});
  EXPECT_FALSE(algorithm.Ask().has_value());
  algorithm.Tell(first[0], {2.0});
  for (uint64_t i = 5; i < 10; ++i) EXPECT_EQ(algorithm.Ask()->trial, i);
  EXPECT_FALSE(algorithm.Ask().has_value());
  EXPECT_THAT(algorithm.status(), IsOk());
}

TEST(GenerationalAlgorithm, GoesOnFromWhatAnEarlierProcessKnew) {
  for (const Case& one : BothAlgorithms()) {
    GenerationalAlgorithm whole(one.space);
    const std::vector<Known> known = SearchAll(whole, one.losses, {.in_flight = 4, .seed = 3});
    const auto points = PointsOf(known);
    for (const size_t lost : {1, 2, 9, 30, 41}) {
      GenerationalAlgorithm resumed(one.space);
      const std::vector<Known> before(known.begin(),
                                      known.end() - static_cast<std::ptrdiff_t>(lost));
      for (const Known& earlier : before) resumed.Tell(earlier.proposal, earlier.losses);
      auto all = PointsOf(SearchAll(resumed, one.losses, {.in_flight = 2, .seed = lost}));
      EXPECT_EQ(all.size(), lost);
      for (const Known& earlier : before) all[earlier.proposal.trial] = earlier.proposal.point;
      EXPECT_EQ(all, points) << one.name << " " << lost;
    }
  }
}

TEST(GenerationalAlgorithm, RefusesAnotherProgramsPoints) {
  for (const uint64_t trial : {2, 7}) {
    const v1::SearchSpace space = CmaEs(2, "population: 5 generations: 3");
    GenerationalAlgorithm whole(space);
    GenerationalAlgorithm resumed(space);
    for (Known& one : SearchAll(whole, Rosenbrock)) {
      if (one.proposal.trial >= 10) break;
      // A last digit is nothing, another value is.
      one.proposal.point[1] += one.proposal.trial == trial ? 1e-3 : 1e-12;
      resumed.Tell(one.proposal, one.losses);
    }
    EXPECT_FALSE(resumed.Ask().has_value());
    EXPECT_THAT(resumed.status(),
                IsError(StatusCode::kFailedPrecondition, absl::StrCat("trial ", trial, " was")));
  }
}

TEST(GenerationalAlgorithm, FailedTrialsAreTheWorstAndDoNotStopIt) {
  for (const Case& one : BothAlgorithms()) {
    const Losses failed(static_cast<size_t>(one.space.objectives_size()), kInfinity);
    for (const double failing : {0.5, 2.0}) {
      GenerationalAlgorithm algorithm(one.space);
      const std::vector<Known> known = SearchAll(algorithm, [&](const Point& point) {
        return point[0] < failing ? failed : one.losses(point);
      });
      EXPECT_EQ(known.size(), algorithm.trials_max());
      double late = 0;
      for (const Known& tried : known) {
        for (const double x : tried.proposal.point) EXPECT_TRUE(x >= 0 && x <= 1) << x;
        if (tried.proposal.trial < known.size() / 2) continue;
        late += tried.proposal.point[0] < failing ? 2.0 / static_cast<double>(known.size()) : 0;
      }
      if (failing < 1) {
        EXPECT_LT(late, 0.4) << one.name;
      }
    }
    // A plateau: nothing to choose by.
    GenerationalAlgorithm flat(one.space);
    const Losses same(failed.size(), 1.0);
    EXPECT_EQ(SearchAll(flat, [&](const Point&) { return same; }).size(), flat.trials_max());
  }
}

}  // namespace
}  // namespace consilium
