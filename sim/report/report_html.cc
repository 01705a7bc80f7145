#include "sim/report/report_html.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_replace.h"
#include "sim/report/embedded.h"

namespace consilium {

namespace {

using Json = nlohmann::json;

// Pictures of more would be black.
constexpr size_t kSitesDrawnMax = 30;
constexpr size_t kActivitiesDrawnMax = 5'000;
constexpr size_t kUpdatesDrawnMax = 20'000;

// Of those with the most training patients, the first ones by name.
std::set<std::string> SitesDrawn(const RunSummary& run) {
  std::vector<const SiteSummary*> sites;
  for (const SiteSummary& site : run.sites) sites.push_back(&site);
  std::stable_sort(sites.begin(), sites.end(), [](const SiteSummary* a, const SiteSummary* b) {
    return a->train_examples > b->train_examples;
  });
  if (sites.size() > kSitesDrawnMax) sites.resize(kSitesDrawnMax);
  std::set<std::string> names;
  for (const SiteSummary* site : sites) names.insert(site->name);
  return names;
}

Json SiteCurvesJson(const RunSummary& run, const std::set<std::string>& drawn) {
  Json curves = Json::array();
  for (const SiteCurve& curve : run.site_curves) {
    if (!drawn.contains(curve.site)) continue;
    Json points = Json::array();
    for (const SiteCurve::Point& point : curve.points) {
      if (point.score.has_value()) points.push_back({{"x", point.seconds}, {"y", *point.score}});
    }
    if (points.empty()) continue;
    curves.push_back({{"site", curve.site}, {"points", std::move(points)}});
  }
  return curves;
}

// Those of the beginning, so that no interval in between is missing.
Json ActivityJson(const RunSummary& run, const std::set<std::string>& drawn) {
  Json activity = Json::array();
  for (const SiteActivity& one : run.activity) {
    if (activity.size() == kActivitiesDrawnMax) break;
    if (!drawn.contains(one.site)) continue;
    activity.push_back({{"site", one.site}, {"kind", one.kind}, {"span", {one.begin, one.end}}});
  }
  return activity;
}

Json WeightsJson(const RunSummary& run, const std::set<std::string>& drawn) {
  Json weights = Json::array();
  for (const MergedUpdate& update : run.merged) {
    if (weights.size() == kUpdatesDrawnMax) break;
    if (!drawn.contains(update.site)) continue;
    weights.push_back({{"site", update.site}, {"x", update.version}, {"y", update.coefficient}});
  }
  return weights;
}

// Of all runs alike.
DrawnCurve CurveOf(const std::vector<RunSummary>& runs) {
  if (runs.empty()) return {};
  CurveHas has;
  for (const RunSummary& run : runs) {
    for (const CurvePoint& point : run.curve) {
      has.loss |= point.validation_loss.has_value();
      has.score |= point.score.has_value();
      has.test_loss |= point.test_loss.has_value();
      has.test_score |= point.test_score.has_value();
    }
  }
  return CurveToDraw(MetricOfCurve(runs.front()), has);
}

}  // namespace

std::string ReportHtml(const std::vector<RunSummary>& runs,
                       const std::map<std::string, std::string>& checks) {
  Json data = {{"runs", Json::array()}, {"checks", checks}};
  for (const RunSummary& run : runs) data["runs"].push_back(ToJson(run));
  const DrawnCurve curve = CurveOf(runs);
  data["drawn_curve"] = {{"key", curve.key}, {"name", curve.name}};
  if (!runs.empty()) {
    const std::set<std::string> drawn = SitesDrawn(runs[0]);
    data["drawn"] = drawn;
    data["site_curves"] = SiteCurvesJson(runs[0], drawn);
    data["activity"] = ActivityJson(runs[0], drawn);
    data["weights"] = WeightsJson(runs[0], drawn);
  }
  // "</script>" inside a name must not end the script element.
  const std::string json = absl::StrReplaceAll(
      data.dump(-1, ' ', true, Json::error_handler_t::replace), {{"<", "\\u003c"}});
  return absl::StrReplaceAll(embedded::ReportTemplate(), {{"/*CHART_JS*/", embedded::ChartJs()},
                                                          {"/*DATA*/", absl::string_view(json)}});
}

}  // namespace consilium
