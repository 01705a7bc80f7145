// Which run is better, and when that is more than noise.

#include "sim/report/comparison.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "protocol/core/files.h"
#include "sim/commands/compare_command.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

// A summary.json of runs with these losses, by seed from 1.
Json SummaryWith(const std::vector<double>& losses) {
  Json seeds = Json::array();
  for (size_t i = 0; i < losses.size(); ++i) {
    seeds.push_back({{"seed", i + 1},
                     {"federated", {{"log_loss", losses[i]}}},
                     {"sites", Json::array({{{"federated", {{"log_loss", losses[i] + 1}}}},
                                            {{"federated", nullptr}}})},
                     {"target", {{"seconds", 10 * losses[i]}}},
                     {"curve", Json::array({{{"seconds", 1}, {"validation_loss", nullptr}},
                                            {{"seconds", 2}, {"validation_loss", losses[i]}}})}});
  }
  return {{"seeds", seeds}};
}

Experiment Of(const std::string& name, const std::vector<double>& losses) {
  auto experiment = ExperimentOf(name, SummaryWith(losses));
  EXPECT_THAT(experiment, IsOk());
  return *experiment;
}

// Student's own data on two drugs' hours of sleep (Biometrika 6, 1908, p. 20): the mean difference
// is 1.58; with its paired deviation 1.23 and t(9; .975) = 2.262 the interval is ±.88.
TEST(PairedDifference, StudentsSleepData) {
  const std::vector<double> second = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  const std::vector<double> first = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
  const Difference difference = PairedDifference(second, first);
  EXPECT_EQ(difference.pairs, 10u);
  EXPECT_NEAR(difference.mean, 1.58, 1e-9);
  EXPECT_NEAR(difference.half_width.value(), 0.8799, 2e-4);
  EXPECT_TRUE(difference.BeyondNoise());
}

TEST(StudentT, MeetsTheTableBeyondItsEnd) {
  EXPECT_NEAR(StudentT975(40), 2.021, 1e-3);
  EXPECT_NEAR(StudentT975(120), 1.980, 1e-3);
}

TEST(Comparison, OfARunWithItselfFindsNoDifference) {
  const std::vector<std::string> said = Sentences({Of("a", {0.5, 0.6}), Of("b", {0.5, 0.6})});
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "b and a have the same test loss.");
}

TEST(Comparison, SaysWhichIsBetterAndWhetherSeedsAloneCouldMakeThat) {
  const Experiment a = Of("a", {0.50, 0.60, 0.70, 0.40});
  const Experiment clearly = Of("clearly", {0.41, 0.50, 0.59, 0.30});
  const Experiment hardly = Of("hardly", {0.45, 0.65, 0.68, 0.41});
  const std::vector<std::string> said = Sentences({a, clearly, hardly});
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[0].find("clearly has the lower test loss, by 0.1000 against a"), std::string::npos)
      << said[0];
  EXPECT_NE(said[0].find("more than seeds make."), std::string::npos);
  EXPECT_NE(said[1].find("no more than seeds make"), std::string::npos) << said[1];
}

TEST(Comparison, PairsOnlySeedsThatBothHave) {
  const Json json = ComparisonJson({Of("a", {0.5, 0.6, 0.7}), Of("b", {0.4, 0.5})});
  const Json& difference = json["differences"][0];
  EXPECT_EQ(difference["loss"]["pairs"], 2);
  EXPECT_NEAR(difference["loss"]["mean"].get<double>(), -0.1, 1e-12);
  EXPECT_NEAR(difference["worst_loss"]["mean"].get<double>(), -0.1, 1e-12);
  EXPECT_NEAR(difference["target_seconds"]["mean"].get<double>(), -1, 1e-12);
  EXPECT_EQ(json["experiments"][0]["seeds"][0]["curve"].size(), 1);
}

TEST(Comparison, OneSeedSaysNothingOfNoise) {
  auto a = ExperimentOf("a", SummaryWith({0.5})["seeds"][0]);
  auto b = ExperimentOf("b", SummaryWith({0.4})["seeds"][0]);
  ASSERT_THAT(a, IsOk());
  ASSERT_THAT(b, IsOk());
  EXPECT_NE(Sentences({*a, *b})[0].find("nothing can be said about noise"), std::string::npos);
}

TEST(Comparison, RefusesWhatIsNoSummary) {
  for (const char* text : {"[]", "3", "{}", R"({"seeds": []})", R"({"seeds": [1]})",
                           R"({"federated": {"log_loss": "low"}})",
                           R"({"seeds": [{"federated": {"log_loss": 1}}]})"}) {
    EXPECT_THAT(ExperimentOf("x", Json::parse(text)),
                IsError(absl::StatusCode::kInvalidArgument, "x: "))
        << text;
  }
  Json twice = SummaryWith({0.5, 0.6});
  twice["seeds"][1]["seed"] = 1;
  EXPECT_THAT(ExperimentOf("x", twice), IsError(absl::StatusCode::kInvalidArgument, "comes twice"));
}

TEST(Comparison, APageHoldsNamesAsTextOnly) {
  const std::string page = ComparisonHtml({Of("</script><b>", {1}), Of("b", {2})});
  EXPECT_EQ(page.find("</script><b>"), std::string::npos);
  EXPECT_EQ(page.find("/*DATA*/"), std::string::npos);
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
}

TEST(Comparison, AFoldersNameMayBeAnything) {
  const TempFolder folder;
  CompareCommand command;
  command.out = folder.File("out");
  for (const char* name : {"M\xfcnchen", "b"}) {
    const std::string run = folder.File(name);
    ASSERT_THAT(MakeFolders(run, 0700), IsOk());
    ASSERT_THAT(WriteFileDurably(run + "/summary.json", SummaryWith({0.5, 0.6}).dump()), IsOk());
    command.runs.push_back(run);
  }
  ASSERT_THAT(Execute(command), IsOk());
  const auto written = ReadFile(folder.File("out/compare.json"), 1 << 20);
  ASSERT_THAT(written, IsOk());
  EXPECT_EQ(Json::parse(*written).at("experiments")[0].at("name"), "M\xef\xbf\xbdnchen");
}

}  // namespace
}  // namespace consilium
