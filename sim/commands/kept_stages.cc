#include "sim/commands/kept_stages.h"

#include <array>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protocol/wire/text_path.h"
#include "sim/search/space.h"

namespace consilium {
namespace {

constexpr absl::string_view kAggregation = "aggregation";

using Stages = std::array<std::pair<const char*, bool>, 8>;

// Which of them the config has.
Stages StagesOf(const v1::AggregationConfig& aggregation) {
  return {{
      {"aggregation.trigger", aggregation.has_trigger()},
      {"aggregation.staleness", aggregation.has_staleness()},
      {"aggregation.server", aggregation.has_server()},
      {"aggregation.rate_correction", aggregation.has_rate_correction()},
      {"aggregation.concurrency", aggregation.has_concurrency()},
      {"aggregation.mixing_alpha", aggregation.mixing_alpha() != 0},
      {"aggregation.transform", aggregation.has_transform()},
      {"aggregation.entry_age_versions_max", aggregation.entry_age_versions_max() != 0},
  }};
}

bool IsOfAggregation(absl::string_view path) {
  return path == kAggregation || absl::StartsWith(path, "aggregation.");
}

// What of them is of `aggregation`, over the config.
v1::RunConfig WithAggregation(v1::RunConfig config, const std::vector<std::string>& overrides) {
  for (const std::string& override : overrides) {
    if (!IsOfAggregation(override.substr(0, override.find('=')))) continue;
    // What is wrong with it, the plan's own loader says.
    [[maybe_unused]] const absl::Status set = SetByPath(override, config);
  }
  return config;
}

}  // namespace

std::vector<std::string> StagesKeptFrom(const v1::RunConfig& file,
                                        const std::vector<std::string>& overrides) {
  const v1::RunConfig given = WithAggregation({}, overrides);
  const v1::AggregationConfig& chosen = given.aggregation();
  if (chosen.preset() == v1::AggregationConfig::PRESET_UNSPECIFIED ||
      chosen.preset() == file.aggregation().preset()) {
    return {};
  }
  const Stages in_file = StagesOf(file.aggregation());
  const Stages in_overrides = StagesOf(chosen);
  std::vector<std::string> kept;
  for (size_t i = 0; i < in_file.size(); ++i) {
    if (in_file[i].second && !in_overrides[i].second) kept.emplace_back(in_file[i].first);
  }
  return kept;
}

std::vector<std::string> StagesKeptWhereSearched(const v1::RunConfig& file,
                                                 const std::vector<std::string>& overrides,
                                                 const v1::SearchSpace& space) {
  std::set<std::string> kept;
  // Of trials in which `varied` has `value`, and every other parameter its first one.
  const auto add = [&](const v1::SearchParameter* varied, const std::string& value) {
    std::vector<std::string> trial = overrides;
    for (const v1::SearchParameter& parameter : space.parameters()) {
      trial.push_back(
          absl::StrCat(parameter.path(), "=", &parameter == varied ? value : TextAt(parameter, 0)));
    }
    for (std::string& stage : StagesKeptFrom(file, trial)) kept.insert(std::move(stage));
  };
  add(nullptr, "");
  for (const v1::SearchParameter& parameter : space.parameters()) {
    if (!IsOfAggregation(parameter.path())) continue;
    for (const std::string& value : parameter.choice().values()) add(&parameter, value);
  }
  return {kept.begin(), kept.end()};
}

bool LiveShareKeptBesideK(const v1::RunConfig& config, const std::vector<std::string>& overrides) {
  const v1::RunConfig given = WithAggregation({}, overrides);
  const v1::RunConfig changed = WithAggregation(config, overrides);
  const v1::Trigger::Buffer& buffer = given.aggregation().trigger().buffer();
  return buffer.updates() != 0 && !buffer.has_live_share_min() &&
         changed.aggregation().trigger().buffer().live_share_min() > 0;
}

}  // namespace consilium
