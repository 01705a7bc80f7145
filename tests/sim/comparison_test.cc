// Which run is better, and when that is more than noise.

#include "sim/report/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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

// A run of each seed with this AUROC and loss, which was selected by `metric`.
Experiment Selected(const std::string& name, double auroc, double loss, const char* metric) {
  Json summary = SummaryWith({loss, loss + 0.01});
  for (Json& seed : summary["seeds"]) {
    seed["federated"]["auroc"] = auroc + seed["federated"]["log_loss"].get<double>() / 100;
    seed["federated"]["errors_per_100"] = 25;
    seed["metric"] = metric;
  }
  auto experiment = ExperimentOf(name, summary);
  EXPECT_THAT(experiment, IsOk());
  return *experiment;
}

TEST(Comparison, DecidesByWhatAllRunsWereSelectedBy) {
  const std::vector<Experiment> runs = {Selected("a", 0.7, 0.3, "AUROC"),
                                        Selected("b", 0.8, 0.5, "AUROC")};
  const auto decided_by = DecideBy(runs, "");
  ASSERT_THAT(decided_by, IsOk());
  EXPECT_EQ(*decided_by, v1::AUROC);
  EXPECT_THAT(Sentences(runs, *decided_by)[0],
              testing::HasSubstr("b has the higher test AUROC, by 0.1020 against a"));
  const Json json = ComparisonJson(runs, *decided_by);
  EXPECT_EQ(json["decided_by"], "AUROC");
  EXPECT_NEAR(json["differences"][0]["score"]["mean"].get<double>(), 0.102, 1e-9);
  EXPECT_NEAR(json["differences"][0]["loss"]["mean"].get<double>(), 0.2, 1e-9);
  EXPECT_NE(ComparisonHtml(runs, *decided_by).find("\"decided_by\":\"AUROC\""), std::string::npos);
}

TEST(Comparison, DecidesByTheLossWhereRunsDoNotAgreeOnAnother) {
  const Experiment a = Selected("a", 0.7, 0.3, "AUROC");
  for (const char* metric : {"LOG_LOSS", "AUPRC", "", "no metric"}) {
    const auto decided_by = DecideBy({a, Selected("b", 0.8, 0.5, metric)}, "");
    ASSERT_THAT(decided_by, IsOk());
    EXPECT_EQ(*decided_by, std::nullopt) << metric;
  }
  // Agreed on, and withheld on test patients.
  const auto withheld =
      DecideBy({Selected("a", 0.7, 0.3, "AUPRC"), Selected("b", 0.7, 0.3, "AUPRC")}, "");
  ASSERT_THAT(withheld, IsOk());
  EXPECT_EQ(*withheld, std::nullopt);
}

TEST(Comparison, DecidesByTheMetricThatIsNamed) {
  const std::vector<Experiment> runs = {Selected("a", 0.7, 0.3, "AUROC"),
                                        Selected("b", 0.8, 0.5, "AUROC")};
  const auto log_loss = DecideBy(runs, "LOG_LOSS");
  ASSERT_THAT(log_loss, IsOk());
  EXPECT_THAT(Sentences(runs, *log_loss)[0],
              testing::HasSubstr("a has the lower test LOG_LOSS, by 0.2000 against b"));
  const auto accuracy = DecideBy(runs, "ACCURACY");
  ASSERT_THAT(accuracy, IsOk());
  EXPECT_EQ(ComparisonJson(runs, *accuracy)["experiments"][0]["seeds"][0]["score"], 0.75);
  EXPECT_EQ(Sentences(runs, *accuracy)[0], "b and a have the same test ACCURACY.");
  EXPECT_THAT(DecideBy(runs, "C_INDEX"),
              IsError(absl::StatusCode::kInvalidArgument, "a has no C_INDEX"));
  EXPECT_THAT(DecideBy(runs, "auroc"),
              IsError(absl::StatusCode::kInvalidArgument, "LOG_LOSS, ACCURACY"));
}

TEST(Comparison, WarnsWhereMoreThanTheRunConfigDiffers) {
  const auto of = [](const std::string& name, const std::vector<double>& losses, const char* data,
                     const char* scenario) {
    Json summary = SummaryWith(losses);
    for (Json& seed : summary["seeds"]) {
      seed["data_sha256"] = absl::StrCat(data, seed["seed"].get<int>());
      seed["scenario_sha256"] = absl::StrCat(scenario, seed["seed"].get<int>());
    }
    return *ExperimentOf(name, summary);
  };
  const Experiment a = of("a", {1, 2}, "d", "s");
  EXPECT_TRUE(WarningsOf({a, of("b", {3, 4}, "d", "s")}).empty());
  EXPECT_TRUE(WarningsOf({a, Of("of an earlier program", {3, 4})}).empty());
  EXPECT_THAT(WarningsOf({a, of("b", {3, 4}, "e", "s"), of("c", {3, 4}, "d", "t"),
                          of("d", {3, 4, 5}, "d", "s"), of("e", {3}, "e", "t")}),
              testing::ElementsAre(
                  testing::HasSubstr("b and a differ in their data (rows, hospitals or split): "),
                  testing::HasSubstr("c and a differ in their scenario: "),
                  testing::HasSubstr("d and a differ in their number of seeds (3 and 2): "),
                  testing::HasSubstr("differ in their data (rows, hospitals or split), their "
                                     "scenario, their number of seeds (1 and 2): ")));
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

// A run whose versions were scored by `metric`, with the losses too where there are some.
Experiment Scored(const char* metric, bool has_loss, const char* target = nullptr) {
  Json summary = SummaryWith({0.5, 0.4});
  for (Json& seed : summary["seeds"]) {
    seed["metric"] = metric;
    seed["target"] = target == nullptr ? Json() : Json({{"metric", target}});
    for (Json& point : seed["curve"]) {
      point["score"] = 0.75;
      if (!has_loss) point["validation_loss"] = nullptr;
    }
  }
  auto experiment = ExperimentOf("x", summary);
  EXPECT_THAT(experiment, IsOk());
  return *experiment;
}

TEST(Comparison, DrawsTheScoreOfRunsThatWereSelectedByNoLoss) {
  const auto drawn = [](const std::vector<Experiment>& runs) {
    const Json json = ComparisonJson(runs);
    return absl::StrCat(json["curve"]["key"].get<std::string>(), " ",
                        json["curve"]["name"].get<std::string>());
  };
  const Experiment auroc = Scored("AUROC", true);
  EXPECT_EQ(drawn({auroc, auroc}), "score validation AUROC");
  EXPECT_EQ(ComparisonJson({auroc, auroc})["experiments"][0]["seeds"][0]["curve"][0]["score"],
            0.75);
  EXPECT_EQ(drawn({Scored("LOG_LOSS", true), Scored("LOG_LOSS", true)}),
            "validation_loss validation loss");
  EXPECT_EQ(drawn({Scored("COX_LOSS", false), Scored("COX_LOSS", false)}),
            "score validation COX_LOSS");
  EXPECT_EQ(drawn({Scored("LOG_LOSS", true, "AUPRC"), Scored("LOG_LOSS", true, "AUPRC")}),
            "score validation AUPRC");
  // Curves in different metrics have no common axis.
  EXPECT_EQ(drawn({auroc, Scored("ACCURACY", true)}), "validation_loss validation loss");
  EXPECT_EQ(drawn({auroc, Of("of an earlier program", {1})}), "validation_loss validation loss");
}

TEST(Comparison, ATableHasAllSeedsAndMetrics) {
  const std::string csv = ComparisonCsv({Selected("a, \"b\"", 0.7, 0.3, "AUROC"), Of("=c", {0.5})});
  EXPECT_THAT(csv, testing::StartsWith("run,seed,loss,worst_loss,target_seconds,LOG_LOSS,ACCURACY,"
                                       "BALANCED_ACCURACY,AUROC,METRIC_MSE,C_INDEX,AUPRC,"
                                       "CALIBRATION_ERROR,COX_LOSS\n"
                                       "\"a, \"\"b\"\"\",1,0.3,1.3,3,0.3,0.75,,0.703,,,,,\n"
                                       "\"a, \"\"b\"\"\",2,0.31,"));
  EXPECT_THAT(csv, testing::EndsWith("\n'=c,1,0.5,1.5,5,0.5,,,,,,,,\n"));
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

TEST(Comparison, NoTwoRunsHaveOneName) {
  const TempFolder folder;
  CompareCommand command;
  command.out = folder.File("out");
  for (const char* name : {"x/run", "y/run", "z"}) {
    const std::string run = folder.File(name);
    ASSERT_THAT(MakeFolders(run, 0700), IsOk());
    ASSERT_THAT(WriteFileDurably(run + "/summary.json", SummaryWith({0.5, 0.6}).dump()), IsOk());
    command.runs.push_back(run);
  }
  command.runs.push_back(folder.File("z/"));
  command.runs.push_back(folder.File("x/run/summary.json"));
  ASSERT_THAT(Execute(command), IsOk());
  const auto written = ReadFile(folder.File("out/compare.json"), 1 << 20);
  ASSERT_THAT(written, IsOk());
  std::vector<std::string> names;
  const Json compared = Json::parse(*written);
  for (const Json& experiment : compared.at("experiments")) {
    names.push_back(experiment.at("name").get<std::string>());
  }
  EXPECT_THAT(names,
              testing::ElementsAre(folder.File("x/run"), folder.File("y/run"), folder.File("z"),
                                   folder.File("z") + " (2)", folder.File("x/run") + " (2)"));
  command.runs.resize(2);
  command.runs[1] += "/summary.json";
  command.runs[0] = folder.File("z");
  ASSERT_THAT(Execute(command), IsOk());
  const auto alone = ReadFile(folder.File("out/compare.json"), 1 << 20);
  ASSERT_THAT(alone, IsOk());
  EXPECT_EQ(Json::parse(*alone).at("differences")[0].at("of"), "run");
  EXPECT_EQ(Json::parse(*alone).at("differences")[0].at("against"), "z");
}

}  // namespace
}  // namespace consilium
