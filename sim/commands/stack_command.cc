#include "sim/commands/stack_command.h"

#include <google/protobuf/text_format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/report/json_file.h"
#include "sim/search/cell_model.h"
#include "sim/search/cell_space.h"
#include "sim/search/search_files.h"
#include "sim/search/space.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

struct FoundCell {
  uint64_t trial = 0;
  std::map<std::string, std::string> values;  // By path.
};

absl::StatusOr<uint64_t> BestOf(const std::string& path, const Json& search) {
  const auto best = search.at("best").get<std::vector<uint64_t>>();
  if (best.empty()) return absl::NotFoundError(absl::StrCat(path, ": no trial succeeded"));
  // With one objective they are equal in all that was asked for.
  if (best.size() == 1 || search.at("objectives").size() == 1) return best[0];
  return absl::FailedPreconditionError(absl::StrFormat(
      "%s: none of trials %s is better than another in all objectives: choose one with --trial",
      path, absl::StrJoin(best, ", ")));
}

// Throws nlohmann's exceptions for what is not there or of another type.
absl::StatusOr<FoundCell> FindCell(const std::string& path, const Json& search,
                                   const StackCommand& command, const v1::SearchSpace& space) {
  if (search.at("name") != Json(space.name())) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s is of another search space than %s", path, space.name()));
  }
  FoundCell found;
  if (command.trial.has_value()) {
    found.trial = *command.trial;
  } else {
    CONSILIUM_ASSIGN_OR_RETURN(found.trial, BestOf(path, search));
  }
  for (const Json& trial : search.at("trials")) {
    if (trial.at("trial") != Json(found.trial)) continue;
    found.values = trial.at("parameters").get<std::map<std::string, std::string>>();
    return found;
  }
  return absl::NotFoundError(absl::StrFormat("%s has no trial %d", path, found.trial));
}

absl::StatusOr<FoundCell> ReadCell(const StackCommand& command, const v1::SearchSpace& space) {
  const std::string path = absl::StrCat(command.search_folder, "/trials.json");
  CONSILIUM_ASSIGN_OR_RETURN(const Json search,
                             ReadJsonFile(path, "leave trials out of it, or search with fewer"));
  try {
    return FindCell(path, search, command, space);
  } catch (const Json::exception&) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not what a search writes"));
  }
}

// Gives those that are not of the cell.
absl::StatusOr<std::vector<std::string>> Override(const std::vector<std::string>& overrides,
                                                  FoundCell& cell) {
  std::vector<std::string> others;
  for (const std::string& override : overrides) {
    const size_t equals = override.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrFormat("--set %s: has no '='", override));
    }
    if (IsCellPath(override)) {
      cell.values[override.substr(0, equals)] = override.substr(equals + 1);
    } else {
      others.push_back(override);
    }
  }
  return others;
}

}  // namespace

absl::Status Execute(const StackCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::SearchSpace space, LoadSearchSpace(command.space_file));
  if (!space.has_cell()) {
    return absl::InvalidArgumentError(absl::StrCat(command.space_file, ": has no cell"));
  }
  std::error_code unknown;
  if (!command.out.empty() && std::filesystem::exists(command.out, unknown)) {
    return absl::AlreadyExistsError(
        absl::StrCat(command.out, " exists: choose another name or remove it"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(FoundCell cell, ReadCell(command, space));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<std::string> overrides,
                             Override(command.overrides, cell));
  CONSILIUM_ASSIGN_OR_RETURN(const CellDesign design, CellDesignOf(space.cell(), cell.values));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ModelSpec base, ReadBaseSpec(command.run_file, overrides));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ModelSpec spec, CellModel(base, design));
  // As the large run will take it.
  CONSILIUM_ASSIGN_OR_RETURN(v1::RunPlan plan, LoadRunPlan(command.run_file, overrides));
  *plan.mutable_spec() = spec;
  CONSILIUM_ASSIGN_OR_RETURN(plan, ResolvePlan(std::move(plan)));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  std::string text;
  google::protobuf::TextFormat::PrintToString(spec, &text);
  const v1::CellSpace& stacking = design.stacking;
  text = absl::StrFormat(
      "# The cell of trial %d of search %s: stages of %d cells: %d, channels at first: %d.\n"
      "# %d parameters, %d multiply-adds an example.\n%s",
      cell.trial, space.name(), stacking.cells(), stacking.stages(), stacking.channels(),
      graph.layout.elements(), graph.multiply_adds(), text);
  if (!command.out.empty()) return WriteFileDurably(command.out, text, 0644);
  absl::PrintF("%s", text);
  return absl::OkStatus();
}

}  // namespace consilium
