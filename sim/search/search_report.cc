#include "sim/search/search_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "sim/report/csv_files.h"
#include "sim/report/embedded.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

std::string AlgorithmName(const v1::SearchSpace& space) {
  const auto* const field =
      v1::SearchSpace::descriptor()->FindFieldByNumber(static_cast<int>(space.algorithm_case()));
  return field == nullptr ? "" : field->name();
}

Json ToJson(const v1::SearchSpace& space, const Trial& trial) {
  Json json = {{"trial", trial.number()}};
  if (const auto end = RungEndAt(space, trial.proposal.rung)) {
    json["rung"] = trial.proposal.rung;
    json[std::string(end->title)] = end->value;
  }
  if (trial.same_as.has_value()) json["same_as"] = *trial.same_as;
  for (int i = 0; i < space.parameters_size(); ++i) {
    json["parameters"][space.parameters(i).path()] = trial.texts[static_cast<size_t>(i)];
  }
  if (!trial.succeeded()) {
    json["error"] = trial.result.error;
    return json;
  }
  for (size_t i = 0; i < trial.result.objectives.size(); ++i) {
    const std::string& name = space.objectives(static_cast<int>(i)).name();
    json["objectives"][name] = trial.result.objectives[i];
    json["deviations"][name] = trial.result.deviations[i];
  }
  const TrialCosts& costs = trial.result.costs;
  json["costs"] = {{"parameters", costs.parameters},
                   {"multiply_adds", costs.multiply_adds},
                   {"virtual_seconds", costs.virtual_seconds},
                   {"upload_bytes", costs.upload_bytes},
                   {"wall_seconds", costs.wall_seconds}};
  return json;
}

std::string Number(double value) { return absl::StrFormat("%.9g", value); }

std::vector<std::string> CsvTitles(const v1::SearchSpace& space) {
  std::vector<std::string> titles = {"trial", "rung", "same_as"};
  for (const auto& parameter : space.parameters()) titles.push_back(CsvCell(parameter.path()));
  for (const auto& objective : space.objectives()) {
    titles.push_back(objective.name());
    titles.push_back(absl::StrCat(objective.name(), "_deviation"));
  }
  // No objective has a dot in its name.
  for (const char* cost : {"cost.parameters", "cost.multiply_adds", "cost.virtual_seconds",
                           "cost.upload_bytes", "cost.wall_seconds", "best", "error"}) {
    titles.emplace_back(cost);
  }
  return titles;
}

// Those that succeeded: the best, and then the others, each by the first objective.
std::vector<const Trial*> BestFirst(const v1::SearchSpace& space,
                                    const std::vector<Trial>& trials) {
  struct Ranked {
    bool other = false;
    double loss = 0;
    const Trial* trial = nullptr;
  };
  const std::vector<uint64_t> best = BestTrials(space, trials);
  std::vector<Ranked> ranked;
  for (const Trial& trial : trials) {
    if (!trial.succeeded() || trial.same_as.has_value()) continue;
    ranked.push_back({!std::binary_search(best.begin(), best.end(), trial.number()),
                      LossesOf(space, trial.result.objectives)[0], &trial});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return std::make_pair(a.other, a.loss) < std::make_pair(b.other, b.loss);
  });
  std::vector<const Trial*> sorted;
  for (const Ranked& one : ranked) sorted.push_back(one.trial);
  return sorted;
}

// `mark` stands behind the number.
std::vector<std::string> TextRow(const v1::SearchSpace& space, const Trial& trial,
                                 absl::string_view mark) {
  std::vector<std::string> row = {absl::StrCat(trial.number(), mark)};
  if (const auto end = RungEndAt(space, trial.proposal.rung)) {
    row.push_back(absl::StrCat(end->value));
  }
  for (const double value : trial.result.objectives) row.push_back(absl::StrFormat("%.6g", value));
  row.insert(row.end(), trial.texts.begin(), trial.texts.end());
  return row;
}

std::string Aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, row[i], std::string(widths[i] - row[i].size() + 2, ' '));
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return text;
}

}  // namespace

Json SearchJson(const v1::SearchSpace& space, const std::vector<Trial>& trials) {
  Json json = {{"name", space.name()},        {"algorithm", AlgorithmName(space)},
               {"seeds", space.seeds()},      {"parameters", Json::array()},
               {"objectives", Json::array()}, {"best", BestTrials(space, trials)},
               {"trials", Json::array()}};
  for (const auto& parameter : space.parameters()) json["parameters"].push_back(parameter.path());
  for (const auto& objective : space.objectives()) {
    json["objectives"].push_back(
        {{"name", objective.name()},
         {"direction", v1::SearchObjective::Direction_Name(objective.direction())}});
  }
  for (const Trial& trial : trials) json["trials"].push_back(ToJson(space, trial));
  return json;
}

std::string SearchCsv(const v1::SearchSpace& space, const std::vector<Trial>& trials) {
  const std::vector<uint64_t> best = BestTrials(space, trials);
  std::string csv = absl::StrCat(absl::StrJoin(CsvTitles(space), ","), "\n");
  for (const Trial& trial : trials) {
    std::vector<std::string> row = {absl::StrCat(trial.number()), absl::StrCat(trial.proposal.rung),
                                    trial.same_as.has_value() ? absl::StrCat(*trial.same_as) : ""};
    for (const std::string& text : trial.texts) row.push_back(CsvCell(text));
    if (trial.succeeded()) {
      for (size_t i = 0; i < trial.result.objectives.size(); ++i) {
        row.push_back(Number(trial.result.objectives[i]));
        row.push_back(Number(trial.result.deviations[i]));
      }
      const TrialCosts& costs = trial.result.costs;
      row.push_back(absl::StrCat(costs.parameters));
      row.push_back(absl::StrCat(costs.multiply_adds));
      for (const double cost : {costs.virtual_seconds, costs.upload_bytes, costs.wall_seconds}) {
        row.push_back(Number(cost));
      }
    } else {
      row.resize(row.size() + 2 * static_cast<size_t>(space.objectives_size()) + 5);
    }
    row.emplace_back(std::binary_search(best.begin(), best.end(), trial.number()) ? "1" : "0");
    row.push_back(CsvCell(trial.result.error));
    absl::StrAppend(&csv, absl::StrJoin(row, ","), "\n");
  }
  return csv;
}

std::string SearchText(const v1::SearchSpace& space, const std::vector<Trial>& trials,
                       size_t rows_max) {
  const std::vector<uint64_t> best = BestTrials(space, trials);
  std::vector<std::vector<std::string>> rows(1);
  rows[0] = {"trial"};
  if (const auto end = RungEndAt(space, 0)) rows[0].emplace_back(end->title);
  for (const auto& objective : space.objectives()) rows[0].push_back(objective.name());
  for (const auto& parameter : space.parameters()) rows[0].push_back(parameter.path());
  for (const Trial* trial : BestFirst(space, trials)) {
    if (rows.size() > rows_max) break;
    const bool chosen = std::binary_search(best.begin(), best.end(), trial->number());
    rows.push_back(TextRow(space, *trial, chosen ? " *" : ""));
  }
  size_t failed = 0;
  size_t repeated = 0;
  for (const Trial& trial : trials) {
    failed += trial.succeeded() ? 0 : 1;
    repeated += trial.same_as.has_value() ? 1 : 0;
  }
  std::string text = absl::StrCat(Aligned(rows), trials.size() - repeated, " trials");
  if (repeated > 0) absl::StrAppend(&text, ", ", repeated, " more were known");
  if (failed > 0) absl::StrAppend(&text, "; ", failed, " failed");
  return absl::StrCat(
      text, best.size() > 1 ? ". *: none is better in all objectives.\n" : ". *: the best.\n");
}

std::string SearchHtml(const v1::SearchSpace& space, const std::vector<Trial>& trials) {
  // "</script>" inside a text must not end the script element.
  const std::string json = absl::StrReplaceAll(
      SearchJson(space, trials).dump(-1, ' ', true, Json::error_handler_t::replace),
      {{"<", "\\u003c"}});
  return absl::StrReplaceAll(embedded::SearchTemplate(), {{"/*CHART_JS*/", embedded::ChartJs()},
                                                          {"/*DATA*/", absl::string_view(json)}});
}

}  // namespace consilium
