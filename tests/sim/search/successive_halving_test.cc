#include "sim/search/successive_halving.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

v1::SearchSpace HalvingSpace(int trials, uint64_t seed = 0) {
  return SpaceOf(absl::StrCat(kTwoReals, "seed: ", seed, " successive_halving { trials: ", trials,
                              " versions_min: 2 versions_max: 60 reduction: 3 }"));
}

// Lower at higher rungs, as a curve that falls, and in the same order at all of them.
double FallingCurve(const Proposal& proposal) {
  return proposal.point[0] + proposal.point[1] / 2 - proposal.rung;
}

std::map<uint32_t, std::vector<double>> AtBottomByRung(const std::vector<Tried>& tried) {
  std::map<uint32_t, std::vector<double>> by_rung;
  for (const Tried& one : tried) by_rung[one.proposal.rung].push_back(one.loss + one.proposal.rung);
  for (auto& [rung, losses] : by_rung) std::sort(losses.begin(), losses.end());
  return by_rung;
}

TEST(HalvingAlgorithm, RungsAreOfVersions) {
  const v1::SearchSpace space = HalvingSpace(27);
  EXPECT_EQ(RungEndAt(space, 0)->path, "stop.versions_max");
  EXPECT_EQ(RungEndAt(space, 0)->value, 2U);
  EXPECT_EQ(RungEndAt(space, 3)->value, 54U);
  HalvingAlgorithm halving(space);
  EXPECT_EQ(halving.trials_max(), 27U + 9 + 3 + 1);
}

TEST(HalvingAlgorithm, RungsAreOfVirtualTime) {
  const v1::SearchSpace space =
      SpaceOf(absl::StrCat(kTwoReals,
                           "successive_halving { trials: 16 virtual_ms_min: 1500 "
                           "virtual_ms_max: 24000 reduction: 4 }"));
  EXPECT_EQ(RungEndAt(space, 0)->path, "scenario.stopped_after_ms");
  EXPECT_EQ(RungEndAt(space, 0)->value, 1500U);
  EXPECT_EQ(RungEndAt(space, 2)->value, 24'000U);
  // A log may name rungs that there are not.
  EXPECT_EQ(RungEndAt(space, 40)->value, 24'000U);
  HalvingAlgorithm halving(space);
  EXPECT_EQ(halving.trials_max(), 16U + 4 + 1);
}

TEST(HalvingAlgorithm, ALongTimeHasManyRungs) {
  const v1::SearchSpace space =
      SpaceOf(absl::StrCat(kTwoReals,
                           "successive_halving { trials: 1 virtual_ms_min: 1 "
                           "virtual_ms_max: 1000000000000 reduction: 2 }"));
  EXPECT_EQ(RungEndAt(space, 39)->value, uint64_t{1} << 39);
  EXPECT_EQ(HalvingAlgorithm(space).trials_max(), 1U);
}

TEST(HalvingAlgorithm, KeepsTheBestWhateverTheOrder) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    HalvingAlgorithm halving(HalvingSpace(27, seed));
    const auto by_rung = AtBottomByRung(SearchPlainly(halving, FallingCurve, 1 + seed % 6, seed));
    ASSERT_EQ(by_rung.size(), 4U);
    EXPECT_EQ(by_rung.at(0).size(), 27U);
    for (uint32_t rung = 1; rung < 4; ++rung) {
      EXPECT_NEAR(by_rung.at(rung)[0], by_rung.at(0)[0], 1e-12) << seed << " " << rung;
      // At least as many go on as without early promotions, and never all.
      EXPECT_GE(by_rung.at(rung).size(), by_rung.at(rung - 1).size() / 3);
      EXPECT_LT(by_rung.at(rung).size(), by_rung.at(rung - 1).size());
    }
  }
}

TEST(HalvingAlgorithm, OnlyTheBestThirdGoesOnWhereAllAreKnown) {
  const v1::SearchSpace space = HalvingSpace(27, 5);
  HalvingAlgorithm halving(space);
  // All 27 are asked for before any is told.
  std::vector<Proposal> first;
  while (auto proposal = halving.Ask()) first.push_back(*proposal);
  ASSERT_EQ(first.size(), 27U);
  std::vector<double> losses;
  for (const Proposal& proposal : first) {
    losses.push_back(FallingCurve(proposal));
    halving.Tell(proposal, {losses.back()});
  }
  std::sort(losses.begin(), losses.end());
  std::vector<double> promoted;
  while (auto proposal = halving.Ask()) {
    EXPECT_EQ(proposal->rung, 1U);
    EXPECT_EQ(proposal->point, first[proposal->slot].point);
    promoted.push_back(FallingCurve(*proposal) + 1);
  }
  ASSERT_EQ(promoted.size(), 9U);
  for (size_t i = 0; i < promoted.size(); ++i) EXPECT_NEAR(promoted[i], losses[i], 1e-12);
}

TEST(HalvingAlgorithm, FailedTrialsDoNotGoOn) {
  HalvingAlgorithm halving(HalvingSpace(9));
  const std::vector<Tried> tried = SearchPlainly(halving, [](const Proposal& proposal) {
    return proposal.slot == 4 ? 1.0 : std::numeric_limits<double>::infinity();
  });
  for (const Tried& one : tried) {
    EXPECT_TRUE(one.proposal.rung == 0 || one.proposal.slot == 4U);
  }
  EXPECT_EQ(tried.size(), 10U);
}

TEST(HalvingAlgorithm, GoesOnFromWhatAnEarlierProcessKnew) {
  const v1::SearchSpace space = HalvingSpace(18, 3);
  HalvingAlgorithm whole(space);
  const std::vector<Tried> tried = SearchPlainly(whole, FallingCurve);
  for (size_t known = 0; known <= tried.size(); ++known) {
    HalvingAlgorithm resumed(space);
    for (size_t i = 0; i < known; ++i) resumed.Tell(tried[i].proposal, {tried[i].loss});
    const std::vector<Tried> rest = SearchPlainly(resumed, FallingCurve);
    ASSERT_EQ(rest.size() + known, tried.size()) << known;
    for (size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].proposal.point, tried[known + i].proposal.point) << known << " " << i;
      EXPECT_EQ(rest[i].proposal.rung, tried[known + i].proposal.rung) << known << " " << i;
    }
  }
}

}  // namespace
}  // namespace consilium
