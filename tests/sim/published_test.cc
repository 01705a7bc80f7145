// Published figures beside ours, computed in the same way.

#include "sim/report/published.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;

constexpr char kHeart[] =
    CONSILIUM_SOURCE_DIR "/sim/scenarios/heart-disease-four-hospitals/published.json";

Scores ErrorsOf(double errors_per_100) {
  Scores scores;
  scores.examples = 50;
  scores.errors_per_100 = errors_per_100;
  return scores;
}

RunSummary TwoCentres() {
  RunSummary run;
  run.title = "RULE";
  run.sites.resize(2);
  run.sites[0].federated = ErrorsOf(10);
  run.sites[1].federated = ErrorsOf(40);
  run.sites[0].pooled = ErrorsOf(20);
  run.sites[1].pooled = ErrorsOf(20);
  run.federated = ErrorsOf(16);
  run.pooled = ErrorsOf(20);
  return run;
}

TEST(Published, TheHeartDiseaseRowIsThatOfTheBenchmark) {
  const auto published = ReadPublished(kHeart);
  ASSERT_THAT(published, IsOk());
  EXPECT_NE(published->citation.find("arXiv:2210.04620"), std::string::npos);
  ASSERT_EQ(published->results.size(), 7u);
  EXPECT_EQ(published->results[1].rule, "FedAvg");
  EXPECT_EQ(published->results[1].mean_over_centres, 0.685);
  EXPECT_EQ(published->results[1].all_patients, 0.748);
  EXPECT_EQ(published->results[2].all_patients, std::nullopt);
}

TEST(Published, OursIsTheUnweightedMeanOverCentres) {
  const auto published = ReadPublished(kHeart);
  ASSERT_THAT(published, IsOk());
  const auto comparison = CompareWithPublished(*published, v1::RunPlan(), {TwoCentres()});
  ASSERT_EQ(comparison.ours.size(), 2u);
  EXPECT_DOUBLE_EQ(*comparison.ours[0].mean_over_centres, 0.8);
  EXPECT_DOUBLE_EQ(*comparison.ours[1].mean_over_centres, 0.75);
  EXPECT_DOUBLE_EQ(*comparison.ours[1].all_patients, 0.84);
  const nlohmann::json json = ToJson(comparison);
  EXPECT_EQ(json.at("ours").at("results").at(1).at("rule"), "RULE");
  const std::string text = TextTable(comparison);
  for (const char* part : {"0.750", "0.685", "not the same protocol", "published: none"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  }
}

TEST(Published, ACentreWithoutAScoreLeavesNoMean) {
  RunSummary run = TwoCentres();
  run.sites[1].federated.reset();
  const auto published = ReadPublished(kHeart);
  ASSERT_THAT(published, IsOk());
  const auto comparison = CompareWithPublished(*published, v1::RunPlan(), {run});
  EXPECT_EQ(comparison.ours[1].mean_over_centres, std::nullopt);
}

TEST(Published, RefusesAFileOfAnotherForm) {
  const TempFolder folder;
  const std::string path = folder.File("p.json");
  EXPECT_THAT(ReadPublished(path), IsError(StatusCode::kNotFound, "p.json"));
  for (const char* text : {"", "[]", R"({"metric": "AUROC"})", R"({"metric": "accuracy"})",
                           R"({"metric": "accuracy", "benchmark": 1})"}) {
    ASSERT_THAT(WriteFileDurably(path, text), IsOk());
    EXPECT_THAT(ReadPublished(path), IsError(StatusCode::kInvalidArgument, "p.json")) << text;
  }
}

}  // namespace
}  // namespace consilium
