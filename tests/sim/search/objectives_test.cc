#include "sim/search/objectives.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

v1::SearchSpace Objectives(const std::string& objectives) {
  return SpaceOf(
      "name: 's' parameters { path: 'p' integer { min: 1 max: 2 } } "
      "random { trials: 1 } " +
      objectives);
}

Json RunOf(double score, double seconds) {
  return {{"best_score", score},
          {"final_score", score + 1},
          {"seconds", seconds},
          {"upload_bytes", 4000},
          {"wall_seconds", 0.5},
          {"energy_joules", 40.0},
          {"federated", {{"auroc", 0.75}, {"log_loss", nullptr}}},
          {"sites", {{{"name", "a"}, {"updates", 3}}, {{"name", "b"}, {"updates", 5}}}}};
}

constexpr ModelSize kSize = {120, 100};

TEST(ResultOf, TakesQuantitiesAndNumbersOfTheSummary) {
  const TrialResult result = ResultOf(Objectives(R"(
    objectives { quantity: BEST_SCORE direction: MINIMISE }
    objectives { quantity: FINAL_SCORE direction: MINIMISE }
    objectives { quantity: PARAMETERS direction: MINIMISE }
    objectives { quantity: MULTIPLY_ADDS direction: MINIMISE }
    objectives { quantity: VIRTUAL_SECONDS direction: MINIMISE }
    objectives { quantity: UPLOAD_BYTES direction: MINIMISE }
    objectives { summary: "federated.auroc" direction: MAXIMISE }
    objectives { summary: "sites.1.updates" direction: MAXIMISE }
  )"),
                                      RunOf(0.25, 12), kSize);
  ASSERT_EQ(result.error, "");
  EXPECT_EQ(result.objectives, (std::vector<double>{0.25, 1.25, 120, 100, 12, 4000, 0.75, 5}));
  EXPECT_EQ(result.deviations, std::vector<double>(8, 0.0));
  EXPECT_EQ(result.costs.parameters, 120U);
  EXPECT_EQ(result.costs.multiply_adds, 100U);
  EXPECT_EQ(result.costs.virtual_seconds, 12);
  EXPECT_EQ(result.costs.wall_seconds, 0.5);
}

TEST(ResultOf, TakesEnergyWhereItWasMeasured) {
  const v1::SearchSpace space =
      Objectives("objectives { quantity: ENERGY_JOULES direction: MINIMISE }");
  EXPECT_EQ(ResultOf(space, RunOf(0.25, 12), kSize).objectives, std::vector<double>{40});
  Json unmeasured = RunOf(0.25, 12);
  unmeasured["energy_joules"] = nullptr;
  EXPECT_EQ(ResultOf(space, unmeasured, kSize).error, "its summary has no number at energy_joules");
}

TEST(ResultOf, IsTheMeanOverSeedsWithItsDeviation) {
  const Json summary = {{"seeds", {RunOf(1, 10), RunOf(2, 20), RunOf(6, 60)}}, {"loss_mean", 3}};
  const TrialResult result = ResultOf(
      Objectives("objectives { quantity: BEST_SCORE direction: MINIMISE }"), summary, kSize);
  ASSERT_EQ(result.error, "");
  EXPECT_DOUBLE_EQ(result.objectives[0], 3);
  EXPECT_DOUBLE_EQ(result.deviations[0], std::sqrt(7));  // (4 + 1 + 9)/2.
  EXPECT_DOUBLE_EQ(result.costs.virtual_seconds, 30);
}

// arXiv:1807.11626 with w = −0.07: a model of the target's cost has its own score, one of twice the
// cost 2^−0.07 = 0.9526 of it.
TEST(ResultOf, AScoreForItsCost) {
  const auto value = [](double target) {
    const TrialResult result = ResultOf(
        Objectives("objectives { score_for_cost { multiply_adds_target: " + std::to_string(target) +
                   " } direction: MAXIMISE }"),
        RunOf(0.8, 1), kSize);
    EXPECT_EQ(result.error, "");
    return result.objectives[0];
  };
  EXPECT_DOUBLE_EQ(value(100), 0.8);
  EXPECT_NEAR(value(50), 0.8 * 0.952638, 1e-6);
  EXPECT_NEAR(value(200), 0.8 / 0.952638, 1e-6);
}

TEST(ResultOf, SaysWhichNumberIsNotThere) {
  const auto error = [](const std::string& path, const Json& summary) {
    return ResultOf(Objectives("objectives { summary: '" + path + "' direction: MINIMISE }"),
                    summary, kSize)
        .error;
  };
  EXPECT_EQ(error("federated.log_loss", RunOf(1, 1)),
            "its summary has no number at federated.log_loss");
  for (const char* path :
       {"federated", "federated.auroc.x", "sites.2.updates", "sites.a", "none"}) {
    EXPECT_NE(error(path, RunOf(1, 1)), "") << path;
  }
  // One seed without it is enough.
  EXPECT_NE(error("best_score", {{"seeds", {RunOf(1, 1), Json::object()}}}), "");
  EXPECT_NE(error("best_score", {{"seeds", Json::array()}}), "");
  EXPECT_NE(error("best_score", Json()), "");
  EXPECT_NE(error("best_score", {{"seeds", {RunOf(1e308, 1), RunOf(-1e308, 1)}}}), "");
}

}  // namespace
}  // namespace consilium
