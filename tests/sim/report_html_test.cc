// report.html: one page that needs nothing else and does nothing else, with the run's data in it.

#include "sim/report/report_html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "sim/report/embedded.h"

namespace consilium {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

constexpr char kHostile[] = "</script><b>";

size_t Count(const std::string& text, const std::string& word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

// Two hospitals, two versions that were selected by `metric`, of which the second has values.
RunSummary RunBy(v1::Metric metric) {
  RunSummary run;
  run.title = absl::StrCat("FEDBUFF", kHostile);
  run.dataset = absl::StrCat("biopsies", kHostile);
  run.metric = metric;
  run.versions = 4711;
  run.seconds = 10;
  run.staleness = {3, 1};
  auto sums = std::make_shared<v1::MetricSums>();
  sums->set_examples(5);
  for (const char* name : {"northern", kHostile}) {
    SiteSummary site;
    site.name = name;
    site.idle_fraction = 0.25;
    run.sites.push_back(site);
    run.site_curves.push_back({name, {{7, 1, 0.875, sums}, {8, 2, std::nullopt, sums}}});
    run.activity.push_back({name, "train", 1, 2});
    MergedUpdate update;
    update.site = name;
    update.version = 1;
    update.coefficient = 0.5;
    run.merged.push_back(update);
  }
  CurvePoint first;
  CurvePoint second;
  second.version = 1;
  second.seconds = 7;
  second.validation_loss = 0.375;
  second.score = 0.75;
  run.curve = {first, second};
  return run;
}

// Without the library, which is Debian's.
std::string OwnPartOf(const std::string& html) {
  return absl::StrReplaceAll(html, {{embedded::ChartJs(), ""}});
}

// What the page's scripts read.
Json DataIn(const std::string& html) {
  const std::string begin = R"(<script id="data" type="application/json">)";
  const size_t at = html.find(begin);
  EXPECT_NE(at, std::string::npos);
  const size_t end = html.find("</script>", at);
  return Json::parse(html.substr(at + begin.size(), end - at - begin.size()));
}

TEST(ReportHtml, NeedsNothingFromOutside) {
  const std::string html = ReportHtml({RunBy(v1::LOG_LOSS)}, {{"clock", "virtual"}});
  EXPECT_THAT(html, HasSubstr("Chart.js v"));
  EXPECT_THAT(html, HasSubstr("http-equiv=\"Content-Security-Policy\"\n  content=\"default-src "
                              "'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                              "img-src data:\""));
  EXPECT_THAT(html, Not(HasSubstr("/*DATA*/")));
  EXPECT_THAT(html, Not(HasSubstr("/*CHART_JS*/")));
  const std::string own = OwnPartOf(html);
  ASSERT_LT(own.size(), html.size());
  for (const char* word : {"src=", "href=", "http:", "https:", "//cdn", "url(", "@import", "fetch(",
                           "XMLHttpRequest", "innerHTML", "document.write"}) {
    EXPECT_THAT(own, Not(HasSubstr(word)));
  }
  EXPECT_THAT(html, Not(HasSubstr("src=\"")));
}

TEST(ReportHtml, HasACanvasForEveryChart) {
  const std::string own = OwnPartOf(ReportHtml({RunBy(v1::LOG_LOSS)}, {}));
  const std::vector<std::string> charts = {"loss",     "by_updates", "by_bytes",  "site_curves",
                                           "activity", "weights",    "staleness", "influence"};
  for (const std::string& chart : charts) {
    EXPECT_EQ(Count(own, absl::StrCat("<canvas id=\"", chart, "\">")), 1u) << chart;
    // Somebody draws on it.
    EXPECT_GE(Count(own, absl::StrCat("\"", chart, "\"")), 2u) << chart;
  }
  EXPECT_EQ(Count(own, "<canvas"), charts.size());
}

TEST(ReportHtml, HasTheDataOfTheRun) {
  const Json data = DataIn(ReportHtml({RunBy(v1::LOG_LOSS)}, {{"clock", "virtual"}}));
  const Json& run = data.at("runs").at(0);
  EXPECT_EQ(run.at("sites").at(0).at("name"), "northern");
  EXPECT_EQ(run.at("sites").at(0).at("idle_fraction"), 0.25);
  EXPECT_EQ(run.at("versions"), 4711);
  EXPECT_EQ(run.at("staleness"), Json({3, 1}));
  EXPECT_EQ(run.at("curve").at(1).at("validation_loss"), 0.375);
  EXPECT_EQ(data.at("checks").at("clock"), "virtual");
  // A hospital's version without the score is left out of its curve.
  EXPECT_EQ(data.at("site_curves").at(0).at("points"), Json::parse(R"([{"x": 7, "y": 0.875}])"));
  EXPECT_EQ(data.at("activity").at(0).at("span"), Json({1, 2}));
  EXPECT_EQ(data.at("weights").at(0).at("y"), 0.5);
}

TEST(ReportHtml, TextsFromOutsideAreTextsOnly) {
  const std::string html = ReportHtml({RunBy(v1::LOG_LOSS)}, {{kHostile, kHostile}});
  EXPECT_THAT(html, Not(HasSubstr(kHostile)));
  EXPECT_THAT(html, HasSubstr("\\u003c/script>\\u003cb>"));
  // Of the library, the data and the page.
  EXPECT_EQ(Count(OwnPartOf(html), "</script>"), 3u);
  const Json data = DataIn(html);
  EXPECT_EQ(data.at("runs").at(0).at("sites").at(1).at("name"), kHostile);
  EXPECT_EQ(data.at("checks").at(kHostile), kHostile);
}

TEST(ReportHtml, DrawsTheScoreWhereTheRunWasSelectedByNoLoss) {
  const auto drawn = [](const RunSummary& run) {
    return DataIn(ReportHtml({run}, {})).at("drawn_curve");
  };
  const Json loss = {{"key", "validation_loss"}, {"name", "validation loss"}};
  EXPECT_EQ(drawn(RunBy(v1::LOG_LOSS)), loss);
  EXPECT_EQ(drawn(RunBy(v1::AUROC)), Json({{"key", "score"}, {"name", "validation AUROC"}}));
  // The scores of the curve are the target's.
  RunSummary run = RunBy(v1::LOG_LOSS);
  run.target.emplace();
  run.target->set_metric(v1::C_INDEX);
  EXPECT_EQ(drawn(run), Json({{"key", "score"}, {"name", "validation C_INDEX"}}));
  run = RunBy(v1::ACCURACY);
  run.curve[1].score.reset();
  EXPECT_EQ(drawn(run), loss);
  run = RunBy(v1::COX_LOSS);
  run.curve[1].validation_loss.reset();
  EXPECT_EQ(drawn(run), Json({{"key", "score"}, {"name", "validation COX_LOSS"}}));
  run.curve[1].score.reset();
  EXPECT_EQ(drawn(run).at("key"), "");
  // Nobody has validation patients.
  run.curve[1].test_loss = 1;
  EXPECT_EQ(drawn(run), Json({{"key", "test_loss"}, {"name", "test loss"}}));
  run = RunBy(v1::C_INDEX);
  run.curve[1] = {};
  run.curve[1].test_loss = 1;
  EXPECT_EQ(drawn(run), Json({{"key", "test_loss"}, {"name", "test loss"}}));
  run.curve[1].test_score = 0.5;
  EXPECT_EQ(drawn(run), Json({{"key", "test_score"}, {"name", "test C_INDEX"}}));
}

TEST(ReportHtml, ThePageDrawsWhatTheDataNames) {
  const std::string own = OwnPartOf(ReportHtml({RunBy(v1::AUROC)}, {}));
  EXPECT_THAT(own, HasSubstr("const named = data.drawn_curve.name;"));
  EXPECT_THAT(own, HasSubstr("const drawn = data.drawn_curve.key;"));
  EXPECT_THAT(own, HasSubstr("y: p[drawn]"));
  EXPECT_THAT(own, HasSubstr("y: { title: { display: true, text: named } }"));
}

}  // namespace
}  // namespace consilium
