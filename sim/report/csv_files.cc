#include "sim/report/csv_files.h"

#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace consilium {
namespace {

// Shortest text that reads back as the same number is more than a table needs.
std::string Cell(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.9g", *value) : "";
}

// Empty where there are none.
std::string ScoreCells(const std::optional<Scores>& scores) {
  std::string cells = ",";
  if (scores.has_value()) absl::StrAppend(&cells, scores->examples);
  for (const NamedScore& score : NamedScores()) {
    absl::StrAppend(&cells, ",", scores.has_value() ? Cell((*scores).*score.value) : "");
  }
  return cells;
}

// Each with the prefix before it.
std::string ScoreTitles(absl::string_view prefix) {
  std::string titles = absl::StrCat(",", prefix, "examples");
  for (const NamedScore& score : NamedScores()) {
    absl::StrAppend(&titles, ",", prefix, score.name);
  }
  return titles;
}

}  // namespace

std::string CsvCell(absl::string_view text) {
  double number = 0;
  const bool formula =
      !text.empty() && absl::string_view("=+-@").find(text[0]) != std::string::npos;
  const std::string cell =
      absl::StrCat(formula && !absl::SimpleAtod(text, &number) ? "'" : "", text);
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  return absl::StrCat("\"", absl::StrReplaceAll(cell, {{"\"", "\"\""}}), "\"");
}

std::string VersionsCsv(const RunSummary& run) {
  std::string csv = "version,seconds,updates,upload_bytes,validation_loss,score,worst_score\n";
  for (const CurvePoint& point : run.curve) {
    absl::StrAppend(&csv, point.version, ",", Cell(point.seconds), ",", point.updates, ",",
                    point.upload_bytes, ",", Cell(point.validation_loss), ",", Cell(point.score),
                    ",", Cell(point.worst_score), "\n");
  }
  return csv;
}

std::string SitesCsv(const RunSummary& run) {
  std::string csv =
      absl::StrCat("site,train_examples,updates,share,influence,idle_fraction",
                   ScoreTitles("alone_"), ScoreTitles("federated_"), ScoreTitles("pooled_"), "\n");
  for (const SiteSummary& site : run.sites) {
    absl::StrAppend(&csv, CsvCell(site.name), ",", site.train_examples, ",", site.updates, ",",
                    Cell(site.share), ",", Cell(site.influence), ",", Cell(site.idle_fraction),
                    ScoreCells(site.alone), ScoreCells(site.federated), ScoreCells(site.pooled),
                    "\n");
  }
  return csv;
}

std::string UpdatesCsv(const RunSummary& run) {
  std::string csv = "version,site,task,base,staleness,coefficient,factors\n";
  for (const MergedUpdate& update : run.merged) {
    absl::StrAppend(&csv, update.version, ",", CsvCell(update.site), ",", update.task, ",",
                    update.base, ",", update.staleness, ",", Cell(update.coefficient), ",",
                    update.factors, "\n");
  }
  return csv;
}

std::string SiteScoresCsv(const RunSummary& run) {
  std::string csv = absl::StrCat("site,version,seconds,score", ScoreTitles(""), "\n");
  for (const SiteCurve& curve : run.site_curves) {
    for (const SiteCurve::Point& point : curve.points) {
      absl::StrAppend(&csv, CsvCell(curve.site), ",", point.version, ",", Cell(point.seconds), ",",
                      Cell(point.score), ScoreCells(ScoresOf(*point.sums)), "\n");
    }
  }
  return csv;
}

std::string ActivityCsv(const RunSummary& run) {
  std::string csv = "site,kind,begin_seconds,end_seconds\n";
  for (const SiteActivity& activity : run.activity) {
    absl::StrAppend(&csv, CsvCell(activity.site), ",", activity.kind, ",", Cell(activity.begin),
                    ",", Cell(activity.end), "\n");
  }
  return csv;
}

}  // namespace consilium
