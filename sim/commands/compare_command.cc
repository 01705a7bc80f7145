#include "sim/commands/compare_command.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/report/comparison.h"
#include "sim/report/json_file.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

namespace fs = std::filesystem;

constexpr char kSummary[] = "summary.json";

// The folder of a run: where its summary is given, the one that it lies in.
fs::path FolderOf(const std::string& argument) {
  fs::path path = fs::path(argument).lexically_normal();
  if (path.filename() == kSummary) path = path.parent_path();
  if (!path.has_filename()) path = path.parent_path();
  return path;
}

// What each run is called, none as another: the name of its folder; where several have that, their
// paths; and where those are one, with a number behind.
std::vector<std::string> NamesOf(const std::vector<std::string>& arguments) {
  std::map<std::string, int> folders;
  for (const std::string& argument : arguments) ++folders[FolderOf(argument).filename().string()];
  std::map<std::string, int> given;
  std::vector<std::string> names;
  for (const std::string& argument : arguments) {
    const fs::path folder = FolderOf(argument);
    const bool is_alone = folder.has_filename() && folders[folder.filename().string()] == 1;
    std::string name = is_alone ? folder.filename().string() : folder.string();
    if (name.empty()) name = argument;
    const int before = given[name]++;
    if (before > 0) absl::StrAppend(&name, " (", before + 1, ")");
    names.push_back(std::move(name));
  }
  return names;
}

absl::StatusOr<Experiment> ReadExperiment(const std::string& argument, const std::string& name) {
  fs::path path = argument;
  if (fs::is_directory(path)) path /= kSummary;
  CONSILIUM_ASSIGN_OR_RETURN(const nlohmann::json json,
                             ReadJsonFile(path.string(), "compare runs of fewer --seeds"));
  return ExperimentOf(name, json);
}

}  // namespace

absl::Status Execute(const CompareCommand& command) {
  if (command.runs.size() < 2) {
    return absl::InvalidArgumentError("compare needs two runs or more");
  }
  std::vector<Experiment> experiments;
  const std::vector<std::string> names = NamesOf(command.runs);
  for (size_t i = 0; i < command.runs.size(); ++i) {
    CONSILIUM_ASSIGN_OR_RETURN(Experiment experiment, ReadExperiment(command.runs[i], names[i]));
    experiments.push_back(std::move(experiment));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const DecidedBy decided_by, DecideBy(experiments, command.metric));
  for (const std::string& warning : WarningsOf(experiments)) spdlog::warn("{}", warning);
  // A folder's name may be anything.
  const std::string json = ComparisonJson(experiments, decided_by)
                               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  if (command.output == CompareCommand::Output::kJson) {
    absl::PrintF("%s\n", json);
  } else {
    for (const std::string& sentence : Sentences(experiments, decided_by)) {
      absl::PrintF("%s\n", sentence);
    }
    absl::PrintF("Decided by the test %s; --metric takes another.\n",
                 decided_by.has_value() ? v1::Metric_Name(*decided_by) : "loss");
  }
  if (command.out.empty()) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(command.out, 0755));
  CONSILIUM_RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(command.out, "/compare.json"), absl::StrCat(json, "\n"), 0644));
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(absl::StrCat(command.out, "/compare.csv"),
                                             ComparisonCsv(experiments), 0644));
  return WriteFileDurably(absl::StrCat(command.out, "/compare.html"),
                          ComparisonHtml(experiments, decided_by), 0644);
}

}  // namespace consilium
