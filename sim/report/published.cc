#include "sim/report/published.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

// Throws what nlohmann throws, for ReadPublished alone.
Published Parse(const Json& file) {
  Published published;
  published.benchmark = file.at("benchmark").get<std::string>();
  published.citation = file.at("citation").get<std::string>();
  const Json& protocol = file.at("protocol");
  published.protocol = {
      protocol.at("split").get<std::string>(), protocol.at("training").get<std::string>(),
      protocol.at("stopping").get<std::string>(), protocol.at("repeats").get<std::string>()};
  for (const Json& result : file.at("results")) {
    AccuracyRow row;
    row.rule = result.at("rule").get<std::string>();
    row.mean_over_centres = result.at("mean_over_centres").get<double>();
    if (result.contains("all_patients")) row.all_patients = result.at("all_patients").get<double>();
    published.results.push_back(std::move(row));
  }
  return published;
}

std::optional<double> AccuracyOf(const std::optional<Scores>& scores) {
  if (!scores.has_value() || !scores->errors_per_100.has_value()) return std::nullopt;
  return 1 - *scores->errors_per_100 / 100;
}

// Absent where a centre has none: a mean over the others would be another figure.
std::optional<double> MeanOverCentres(const RunSummary& run,
                                      std::optional<Scores> SiteSummary::*scores) {
  double sum = 0;
  for (const SiteSummary& site : run.sites) {
    const std::optional<double> accuracy = AccuracyOf(site.*scores);
    if (!accuracy.has_value()) return std::nullopt;
    sum += *accuracy;
  }
  if (run.sites.empty()) return std::nullopt;
  return sum / static_cast<double>(run.sites.size());
}

Protocol ProtocolOf(const v1::RunPlan& plan) {
  const v1::RunConfig& config = plan.config();
  const v1::SplitConfig& split = config.data().split();
  return {absl::StrFormat("%g %% test and %g %% validation of each hospital's patients, seed %d",
                          100 * split.test(), 100 * split.validation(), split.seed()),
          absl::StrFormat("the spec %s, batches of %d, tasks of %d local steps", plan.spec().name(),
                          config.training().batch_examples(), config.training().local_steps()),
          absl::StrFormat("the version with the best validation score, of at most %d",
                          config.stop().versions_max()),
          "one seed"};
}

Json Value(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

Json ToJson(const std::vector<AccuracyRow>& rows) {
  Json list = Json::array();
  for (const AccuracyRow& row : rows) {
    list.push_back({{"rule", row.rule},
                    {"mean_over_centres", Value(row.mean_over_centres)},
                    {"all_patients", Value(row.all_patients)}});
  }
  return list;
}

Json ToJson(const Protocol& protocol) {
  return {{"split", protocol.split},
          {"training", protocol.training},
          {"stopping", protocol.stopping},
          {"repeats", protocol.repeats}};
}

std::string Cell(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.3f", *value) : "-";
}

void AppendRows(const std::vector<AccuracyRow>& rows, std::string& text) {
  for (const AccuracyRow& row : rows) {
    absl::StrAppendFormat(&text, "  %-46s %17s %12s\n", row.rule, Cell(row.mean_over_centres),
                          Cell(row.all_patients));
  }
}

}  // namespace

absl::StatusOr<Published> ReadPublished(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits::kTextFileBytesMax));
  const Json file = Json::parse(text, nullptr, false);
  if (!file.is_object() || !file.contains("metric") || file.at("metric") != "accuracy") {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": must be a JSON object with \"metric\": \"accuracy\""));
  }
  try {
    return Parse(file);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
}

PublishedComparison CompareWithPublished(Published published, const v1::RunPlan& plan,
                                         const std::vector<RunSummary>& runs) {
  PublishedComparison comparison;
  comparison.published = std::move(published);
  comparison.protocol = ProtocolOf(plan);
  if (!runs.empty() && runs.front().pooled.has_value()) {
    comparison.ours.push_back({"pooled training (simulated)",
                               MeanOverCentres(runs.front(), &SiteSummary::pooled),
                               AccuracyOf(runs.front().pooled)});
  }
  for (const RunSummary& run : runs) {
    comparison.ours.push_back(
        {run.title, MeanOverCentres(run, &SiteSummary::federated), AccuracyOf(run.federated)});
  }
  return comparison;
}

Json ToJson(const PublishedComparison& comparison) {
  return {
      {"benchmark", comparison.published.benchmark},
      {"citation", comparison.published.citation},
      {"metric", "accuracy"},
      {"protocol", ToJson(comparison.published.protocol)},
      {"results", ToJson(comparison.published.results)},
      {"ours", {{"protocol", ToJson(comparison.protocol)}, {"results", ToJson(comparison.ours)}}}};
}

std::string TextTable(const PublishedComparison& comparison) {
  const Published& published = comparison.published;
  std::string text =
      absl::StrFormat("%-48s %17s %12s\n", absl::StrCat("accuracy beside ", published.benchmark),
                      "mean over centres", "all patients");
  absl::StrAppend(&text, "published:\n");
  AppendRows(published.results, text);
  absl::StrAppend(&text, "ours:\n");
  AppendRows(comparison.ours, text);
  absl::StrAppend(&text, "not the same protocol:\n");
  const std::pair<const char*, std::string Protocol::*> parts[] = {
      {"split", &Protocol::split},
      {"training", &Protocol::training},
      {"stopping", &Protocol::stopping},
      {"repeats", &Protocol::repeats}};
  for (const auto& [name, part] : parts) {
    absl::StrAppendFormat(&text, "  %-9s published: %s\n  %-9s ours: %s\n", name,
                          published.protocol.*part, "", comparison.protocol.*part);
  }
  absl::StrAppend(&text, published.citation, "\n");
  return text;
}

}  // namespace consilium
