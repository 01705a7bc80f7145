// ADAPTIVE: what its plan has, and what holds of it whatever the paces of the sites are.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <span>
#include <string>

#include "aggregator/core/strategies/contributions.h"
#include "tests/aggregator/core/paced_federation.h"

namespace consilium::federation {
namespace {

std::shared_ptr<const v1::RunPlan> AdaptivePlan(const std::string& more = "") {
  return MakePlan({.aggregation = "preset: ADAPTIVE " + more,
                   .config = "training { local_steps: 20 } data { split { validation: 0 } }",
                   .versions_max = 5000});
}

// Of each site: its part of all influence in the last versions over its part of the patients, less
// one; from the contributions alone.
std::map<SiteId, double> Deviations(const RunState& run, size_t window) {
  std::map<SiteId, double> influence;
  double sum = 0;
  for (const VersionState& version : std::span(run.versions).last(window)) {
    for (const Contribution& entry : version.contributions) {
      double whole = entry.coefficient;
      for (const WeightFactor& factor : entry.factors) {
        if (factor.kind == WeightFactor::Kind::kShorterTask) whole /= factor.value;
      }
      influence[entry.site] += whole;
      sum += whole;
    }
  }
  double examples = 0;
  for (const auto& [site, participant] : run.participants) {
    examples += static_cast<double>(participant.train_examples);
  }
  std::map<SiteId, double> deviations;
  for (const auto& [site, participant] : run.participants) {
    const double share = static_cast<double>(participant.train_examples) / examples;
    deviations[site] = influence[site] / sum / share - 1;
  }
  return deviations;
}

class AdaptiveProperty : public ::testing::TestWithParam<uint64_t> {
 protected:
  double Uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(random_() >> 11) / 9007199254740992.0;
  }
  // Up to ten times apart.
  double Pace() { return std::exp(Uniform(0, std::log(10.0))); }

  std::mt19937_64 random_{GetParam()};
};

TEST_P(AdaptiveProperty, KeepsItsContractOrSaysWhoseItCanNot) {
  std::vector<PacedFederation::SiteOptions> sites(2 + GetParam() % 9);
  for (auto& site : sites) {
    site = {.examples = static_cast<uint64_t>(Uniform(20, 200)), .seconds_per_step = Pace()};
  }
  PacedFederation federation(AdaptivePlan(), sites);
  const FairnessRule& rule = *federation.run().stages.fairness;
  for (uint64_t v = 1; v <= 6 * rule.window_versions; ++v) {
    ASSERT_TRUE(federation.RunTo(Version(v)));
    // Half way one of them becomes as fast or slow as another may be.
    if (v == 3 * rule.window_versions) federation.SetPace(0, Pace());
    for (const Contribution& entry : federation.run().versions.back().contributions) {
      ASSERT_GE(entry.coefficient, 0);
    }
    if (v % 10 != 0 || v < 2 * rule.window_versions) continue;
    for (const auto& [site, deviation] : Deviations(federation.run(), rule.window_versions)) {
      const FairShare& fair = federation.run().participants.find(site)->second.fair;
      ASSERT_NEAR(fair.deviation, deviation, 1e-9) << site.value() << ", version " << v;
      EXPECT_GT(fair.updates, 0u) << site.value() << " is left out, version " << v;
      if (std::abs(deviation) <= rule.epsilon) continue;
      ASSERT_TRUE(fair.broken_since.has_value() && fair.told.has_value()) << site.value();
      EXPECT_LT(v - fair.told->value(), rule.window_versions) << site.value();
    }
  }
  EXPECT_TRUE(federation.ReplaysAlike());
}

// Nine hospitals: five updates a version; what each version took is counted from its contributions.
TEST(Adaptive, AVersionTakesAnUpdateOfHalfOfTheLiveMembers) {
  PacedFederation federation(
      AdaptivePlan("fairness { window_versions: 5 }"),
      std::vector<PacedFederation::SiteOptions>(9, {.examples = 10, .seconds_per_step = 1}));
  ASSERT_TRUE(federation.RunTo(Version(10)));
  for (const VersionState& version : std::span(federation.run().versions).subspan(1)) {
    EXPECT_EQ(version.contributions.size(), 5u) << version.version.value();
  }
  // Of those that fall silent nothing is in the window after as many versions.
  for (int site = 3; site < 9; ++site) federation.Silence(site);
  ASSERT_TRUE(federation.RunTo(Version(30)));
  EXPECT_EQ(federation.run().versions.back().contributions.size(), 2u);
  EXPECT_TRUE(federation.ReplaysAlike());
}

TEST(Adaptive, WhoLeavesIsWaitedForNoLonger) {
  TestFederation f({10, 10, 10, 10, 10, 10});
  f.StartRun(AdaptivePlan());
  f.Deliver(SiteId("a"));
  f.Deliver(SiteId("b"));
  ASSERT_FALSE(f.run().pending.has_value());  // Three of six.
  f.Decide(SiteId("e"), RunDecided::Answer::kRefused);
  ASSERT_FALSE(f.run().pending.has_value());  // Three of five.
  f.Decide(SiteId("f"), RunDecided::Answer::kRefused);
  ASSERT_TRUE(f.run().pending.has_value());
  EXPECT_EQ(f.run().pending->contributions.size(), 2u);
}

TEST(Adaptive, TwoSitesMakeVersionsOfTwo) {
  TestFederation f({10, 10});
  f.StartRun(AdaptivePlan());
  f.Deliver(SiteId("a"));
  ASSERT_FALSE(f.run().pending.has_value());
  f.Deliver(SiteId("b"));
  ASSERT_TRUE(f.run().pending.has_value());
}

// All others are away from the beginning: versions are made all the same, of ten updates each.
TEST(Adaptive, OneSiteAloneMakesVersionsOfTen) {
  PacedFederation federation(AdaptivePlan(), std::vector<PacedFederation::SiteOptions>(
                                                 24, {.examples = 10, .seconds_per_step = 1}));
  for (int site = 1; site < 24; ++site) federation.Silence(site);
  ASSERT_TRUE(federation.RunTo(Version(5)));
  for (const VersionState& version : std::span(federation.run().versions).subspan(1)) {
    EXPECT_EQ(version.contributions.size(), 10u) << version.version.value();
  }
  EXPECT_TRUE(federation.ReplaysAlike());
}

INSTANTIATE_TEST_SUITE_P(Seeds, AdaptiveProperty, ::testing::Range<uint64_t>(1, 25));

}  // namespace
}  // namespace consilium::federation
