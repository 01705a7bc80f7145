#include "sim/search/search_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using testing::HasSubstr;
using testing::Not;

v1::SearchSpace Space() {
  return SpaceOf(R"(
    name: "two"
    parameters { path: "p" choice { values: ["</script>", "=1+1", "a,\"b\"", "-0.5"] } }
    objectives { quantity: BEST_SCORE direction: MAXIMISE }
    objectives { quantity: PARAMETERS direction: MINIMISE }
    random { trials: 4 }
  )");
}

std::vector<Trial> Trials() {
  std::vector<Trial> trials(5);
  const v1::SearchSpace space = Space();
  for (size_t i = 0; i < trials.size(); ++i) {
    trials[i].proposal = {i, {(static_cast<double>(i % 4) + 0.5) / 4}, 0, 0};
    trials[i].texts = TextsAt(space, trials[i].proposal.point);
    trials[i].result.objectives = {0.5 + 0.1 * static_cast<double>(i), 100};
    trials[i].result.deviations = {0.01, 0};
    trials[i].result.costs = {100, 90, 12.5, 4e6, 0.25};
  }
  trials[1].result = {};
  trials[1].result.error = "no <b>, \"really\"";
  trials[4].same_as = 0;
  return trials;
}

TEST(SearchJson, HasEveryTrial) {
  const nlohmann::json json = SearchJson(Space(), Trials());
  EXPECT_EQ(json.at("algorithm"), "random");
  EXPECT_EQ(json.at("best"), std::vector<uint64_t>({3}));
  EXPECT_EQ(json.at("objectives")[1].at("direction"), "MINIMISE");
  ASSERT_EQ(json.at("trials").size(), 5U);
  EXPECT_EQ(json.at("trials")[2].at("parameters").at("p"), "a,\"b\"");
  EXPECT_EQ(json.at("trials")[2].at("objectives").at("best_score"), 0.7);
  EXPECT_EQ(json.at("trials")[0].at("costs").at("upload_bytes"), 4e6);
  EXPECT_EQ(json.at("trials")[1].at("error"), "no <b>, \"really\"");
  EXPECT_FALSE(json.at("trials")[1].contains("objectives"));
  EXPECT_EQ(json.at("trials")[4].at("same_as"), 0);
}

TEST(SearchCsv, IsALineATrialThatNoSpreadsheetRuns) {
  const std::vector<std::string> lines =
      absl::StrSplit(SearchCsv(Space(), Trials()), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0],
            "trial,rung,same_as,p,best_score,best_score_deviation,parameters,parameters_deviation,"
            "cost.parameters,cost.multiply_adds,cost.virtual_seconds,cost.upload_bytes,"
            "cost.wall_seconds,best,error");
  EXPECT_EQ(lines[1], "0,0,,</script>,0.5,0.01,100,0,100,90,12.5,4000000,0.25,0,");
  EXPECT_EQ(lines[2], "1,0,,'=1+1,,,,,,,,,,0,\"no <b>, \"\"really\"\"\"");
  EXPECT_THAT(lines[3], HasSubstr(",\"a,\"\"b\"\"\",0.7,"));
  EXPECT_EQ(lines[4], "3,0,,-0.5,0.8,0.01,100,0,100,90,12.5,4000000,0.25,1,");
  EXPECT_THAT(lines[5], HasSubstr("4,0,0,"));
}

TEST(SearchText, BeginsWithTheBest) {
  const std::vector<std::string> lines =
      absl::StrSplit(SearchText(Space(), Trials(), 2), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_TRUE(absl::StartsWith(lines[0], "trial  best_score  parameters  p"));
  EXPECT_TRUE(absl::StartsWith(lines[1], "3 *    0.8"));
  EXPECT_TRUE(absl::StartsWith(lines[2], "2      0.7"));
  EXPECT_EQ(lines[3], "4 trials, 1 more were known; 1 failed. *: the best.");
}

TEST(SearchHtml, IsSelfContainedAndNoTextLeavesItsScript) {
  const std::string html = SearchHtml(Space(), Trials());
  EXPECT_THAT(html, HasSubstr("Chart.js v"));
  EXPECT_THAT(html, HasSubstr("\\u003c/script>"));
  EXPECT_THAT(html, Not(HasSubstr("\"</script>")));
  EXPECT_THAT(html, Not(HasSubstr("/*DATA*/")));
  EXPECT_THAT(html, Not(HasSubstr("src=\"")));
}

}  // namespace
}  // namespace consilium
