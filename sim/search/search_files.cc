#include "sim/search/search_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "protocol/wire/text_path.h"
#include "sim/search/cell_model.h"
#include "sim/search/cell_space.h"

namespace consilium {
namespace {

constexpr absl::string_view kSpecPath = "spec.";
constexpr absl::string_view kScenarioPath = "scenario.";
constexpr char kSpecFilePath[] = "model.spec_file";

struct SearchFiles {
  v1::RunConfig config;
  // Nothing where trials have different ones.
  std::optional<v1::ModelSpec> spec;
  v1::Scenario scenario;

  absl::Status Set(const std::string& assignment) {
    if (absl::StartsWith(assignment, kSpecPath)) {
      if (!spec.has_value()) return absl::OkStatus();
      return SetByPath(assignment.substr(kSpecPath.size()), *spec);
    }
    if (absl::StartsWith(assignment, kScenarioPath)) {
      return SetByPath(assignment.substr(kScenarioPath.size()), scenario);
    }
    return SetByPath(assignment, config);
  }
};

bool IsSearched(const v1::SearchSpace& space, absl::string_view path) {
  return std::any_of(
      space.parameters().begin(), space.parameters().end(),
      [path](const v1::SearchParameter& parameter) { return parameter.path() == path; });
}

absl::StatusOr<v1::ModelSpec> ReadSpec(const std::string& run_file, const v1::RunConfig& config) {
  v1::ModelSpec spec;
  const std::filesystem::path folder = std::filesystem::path(run_file).parent_path();
  const std::string path = (folder / config.model().spec_file()).string();
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(path, spec));
  return spec;
}

absl::StatusOr<SearchFiles> Load(const v1::SearchSpace& space, const SearchFilesOptions& options) {
  SearchFiles files;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(options.run_file, files.config));
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(options.scenario_file, files.scenario));
  for (const std::string& override : options.overrides) {
    if (!absl::StartsWith(override, kSpecPath)) CONSILIUM_RETURN_IF_ERROR(files.Set(override));
  }
  if (IsSearched(space, kSpecFilePath)) return files;
  CONSILIUM_ASSIGN_OR_RETURN(files.spec, ReadSpec(options.run_file, files.config));
  for (const std::string& override : options.overrides) {
    if (absl::StartsWith(override, kSpecPath)) CONSILIUM_RETURN_IF_ERROR(files.Set(override));
  }
  return files;
}

// Those that may differ in type or size.
std::vector<std::string> ExtremesOf(const v1::SearchParameter& parameter) {
  if (parameter.has_choice()) {
    return {parameter.choice().values().begin(), parameter.choice().values().end()};
  }
  return {TextAt(parameter, 0), TextAt(parameter, 1)};
}

absl::Status NamingParameter(const v1::SearchParameter& parameter, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrFormat("parameters (%s): %s", parameter.path(), status.message()));
}

// Of all model specs that trials have.
absl::StatusOr<std::string> SpecsSha256(const v1::SearchSpace& space,
                                        const SearchFilesOptions& options,
                                        const SearchFiles& files) {
  if (files.spec.has_value()) return ToHex(Sha256Of(DeterministicBytes(*files.spec)));
  std::string all;
  for (const std::string& override : options.overrides) {
    if (absl::StartsWith(override, kSpecPath)) absl::StrAppend(&all, override, "\n");
  }
  for (const v1::SearchParameter& parameter : space.parameters()) {
    if (parameter.path() != kSpecFilePath) continue;
    for (const std::string& text : ExtremesOf(parameter)) {
      v1::RunConfig config = files.config;
      CONSILIUM_RETURN_IF_ERROR(SetByPath(absl::StrCat(kSpecFilePath, "=", text), config));
      CONSILIUM_ASSIGN_OR_RETURN(const v1::ModelSpec spec, ReadSpec(options.run_file, config));
      absl::StrAppend(&all, ToHex(Sha256Of(DeterministicBytes(spec))));
    }
  }
  return ToHex(Sha256Of(all));
}

absl::Status CheckOverrides(const v1::SearchSpace& space, const SearchFilesOptions& options) {
  for (const std::string& override : options.overrides) {
    const std::string path = override.substr(0, override.find('='));
    if (IsSearched(space, path) || IsRungEnd(space, path)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--set %s: the search sets it itself", override));
    }
  }
  return absl::OkStatus();
}

// At the ends of every parameter of the cell, and the base that its head is of.
absl::Status CheckCellFiles(const v1::SearchSpace& space, const SearchFiles& files) {
  if (!space.has_cell()) return absl::OkStatus();
  const std::map<std::string, std::string> first =
      ValuesOf(space, TextsAt(space, Point(static_cast<size_t>(space.parameters_size()))));
  for (const v1::SearchParameter& parameter : space.parameters()) {
    if (!IsCellPath(parameter.path())) continue;
    for (const std::string& text : ExtremesOf(parameter)) {
      std::map<std::string, std::string> values = first;
      values[parameter.path()] = text;
      const absl::StatusOr<CellDesign> design = CellDesignOf(space.cell(), values);
      if (!design.ok()) return NamingParameter(parameter, design.status());
      if (!files.spec.has_value()) continue;
      CONSILIUM_RETURN_IF_ERROR(CellModel(*files.spec, *design).status());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckParameters(const v1::SearchSpace& space, const SearchFiles& files) {
  for (const v1::SearchParameter& parameter : space.parameters()) {
    if (IsCellPath(parameter.path())) continue;
    const std::string begin = absl::StrCat(parameter.path(), "=");
    for (const std::string& text : ExtremesOf(parameter)) {
      SearchFiles changed = files;
      const absl::Status set = changed.Set(absl::StrCat(begin, text));
      if (!set.ok()) return NamingParameter(parameter, set);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ModelSpec> ReadBaseSpec(const std::string& run_file,
                                           const std::vector<std::string>& overrides) {
  v1::RunConfig config;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(run_file, config));
  for (const std::string& override : overrides) {
    if (absl::StartsWith(override, kSpecPath) || absl::StartsWith(override, kScenarioPath))
      continue;
    CONSILIUM_RETURN_IF_ERROR(SetByPath(override, config));
  }
  return ReadSpec(run_file, config);
}

absl::StatusOr<TrialsLog::Identity> CheckSearchFiles(const v1::SearchSpace& space,
                                                     const SearchFilesOptions& options) {
  CONSILIUM_RETURN_IF_ERROR(CheckOverrides(space, options));
  CONSILIUM_ASSIGN_OR_RETURN(const SearchFiles files, Load(space, options));
  CONSILIUM_RETURN_IF_ERROR(CheckParameters(space, files));
  CONSILIUM_RETURN_IF_ERROR(CheckCellFiles(space, files));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string specs, SpecsSha256(space, options, files));
  const auto digest = [](const google::protobuf::Message& message) {
    return ToHex(Sha256Of(DeterministicBytes(message)));
  };
  return TrialsLog::Identity{{"space", SpaceSha256(space)},
                             {"run config", digest(files.config)},
                             {"model spec", specs},
                             {"scenario", digest(files.scenario)}};
}

}  // namespace consilium
