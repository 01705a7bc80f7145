#include "sim/commands/compare_command.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/report/comparison.h"

namespace consilium {
namespace {

// A thousand seeds of long curves.
constexpr uint64_t kSummaryBytesMax = uint64_t{1} << 30;

absl::StatusOr<Experiment> ReadExperiment(const std::string& argument) {
  namespace fs = std::filesystem;
  fs::path path = argument;
  if (fs::is_directory(path)) path /= "summary.json";
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path.string(), kSummaryBytesMax));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": is not JSON"));
  }
  const fs::path folder = fs::path(argument).lexically_normal();
  const std::string name =
      folder.has_filename() ? folder.filename().string() : folder.parent_path().filename().string();
  return ExperimentOf(name, json);
}

}  // namespace

absl::Status Execute(const CompareCommand& command) {
  if (command.runs.size() < 2) {
    return absl::InvalidArgumentError("compare needs two runs or more");
  }
  std::vector<Experiment> experiments;
  std::set<std::string> names;
  for (const std::string& argument : command.runs) {
    CONSILIUM_ASSIGN_OR_RETURN(Experiment experiment, ReadExperiment(argument));
    // Two folders of one name are told apart by their paths.
    if (!names.insert(experiment.name).second) experiment.name = argument;
    experiments.push_back(std::move(experiment));
  }
  // A folder's name may be anything.
  const std::string json =
      ComparisonJson(experiments).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  if (command.output == CompareCommand::Output::kJson) {
    absl::PrintF("%s\n", json);
  } else {
    for (const std::string& sentence : Sentences(experiments)) absl::PrintF("%s\n", sentence);
  }
  if (command.out.empty()) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(command.out, 0755));
  CONSILIUM_RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(command.out, "/compare.json"), absl::StrCat(json, "\n"), 0644));
  return WriteFileDurably(absl::StrCat(command.out, "/compare.html"), ComparisonHtml(experiments),
                          0644);
}

}  // namespace consilium
