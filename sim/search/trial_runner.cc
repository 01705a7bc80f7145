#include "sim/search/trial_runner.h"

#include <google/protobuf/text_format.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/status_macros.h"
#include "sim/commands/run_command.h"
#include "sim/report/json_file.h"
#include "sim/search/cell_model.h"
#include "sim/search/cell_space.h"
#include "sim/search/objectives.h"
#include "sim/search/search_files.h"
#include "sim/search/trial_process.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

constexpr size_t kWordsBytesMax = size_t{1} << 20;
constexpr size_t kErrorBytesMax = 500;

TrialResult Failed(absl::string_view why) {
  TrialResult result;
  result.error = PrintableText(why, {.bytes_max = kErrorBytesMax});
  if (result.error.empty()) result.error = "it said nothing";
  return result;
}

// What a program says last is why it ends.
std::string LastWords(const std::string& stderr_file, int status) {
  const absl::StatusOr<std::string> words = ReadFile(stderr_file, kWordsBytesMax);
  if (!words.ok() || words->empty()) return absl::StrFormat("ended with status %d", status);
  constexpr absl::string_view kName = "consilium-sim: ";
  const size_t at = words->rfind(std::string(kName));
  if (at != std::string::npos) return words->substr(at + kName.size());
  return words->substr(words->size() - std::min(words->size(), kErrorBytesMax));
}

bool IsEndedBySomebody(int status) {
  return status == -SIGINT || status == -SIGTERM || status == -SIGHUP || status == -SIGQUIT;
}

std::string SpecFileAssignment(const std::string& path) {
  return absl::StrCat("model.spec_file=\"", absl::CEscape(path), "\"");
}

}  // namespace

std::vector<std::string> TrialRunner::AssignmentsFor(const Trial& trial) const {
  std::vector<std::string> assignments = options_.overrides;
  for (std::string& assignment : AssignmentsOf(options_.space, trial.texts)) {
    assignments.push_back(std::move(assignment));
  }
  return assignments;
}

// Absolute: the run config, whose paths begin at its folder, may lie in another one.
std::string TrialRunner::CellModelFile(const Trial& trial) const {
  return std::filesystem::absolute(
             absl::StrFormat("%s/%06d.textproto", options_.folder, trial.number()))
      .string();
}

absl::Status TrialRunner::WriteCellModel(const Trial& trial) const {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ModelSpec base,
                             ReadBaseSpec(options_.run_file, AssignmentsFor(trial)));
  CONSILIUM_ASSIGN_OR_RETURN(
      const CellDesign design,
      CellDesignOf(options_.space.cell(), ValuesOf(options_.space, trial.texts)));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ModelSpec spec, CellModel(base, design));
  std::string text;
  google::protobuf::TextFormat::PrintToString(spec, &text);
  return WriteFileDurably(CellModelFile(trial), text, 0644);
}

std::vector<std::string> TrialRunner::CommandOf(const Trial& trial) const {
  std::vector<std::string> words = {"run", options_.run_file, options_.scenario_file};
  if (!options_.data_folder.empty()) {
    words.insert(words.end(), {"--data", options_.data_folder});
  }
  std::vector<std::string> assignments = AssignmentsFor(trial);
  if (options_.space.has_cell()) assignments.push_back(SpecFileAssignment(CellModelFile(trial)));
  if (const auto end = RungEndAt(options_.space, trial.proposal.rung)) {
    assignments.push_back(absl::StrCat(end->path, "=", end->value));
  }
  for (std::string& assignment : assignments) {
    words.insert(words.end(), {"--set", std::move(assignment)});
  }
  if (!options_.space.seeds().empty()) {
    words.insert(words.end(), {"--seeds", options_.space.seeds()});
  }
  // Trials run beside each other; each is one process of one thread.
  words.insert(words.end(), {"--no-baselines", "--threads", "1"});
  return words;
}

absl::StatusOr<TrialResult> TrialRunner::Run(const Trial& trial) const {
  std::vector<std::string> assignments = AssignmentsFor(trial);
  if (options_.space.has_cell()) {
    const absl::Status written = WriteCellModel(trial);
    if (absl::IsInvalidArgument(written)) return Failed(written.message());
    CONSILIUM_RETURN_IF_ERROR(written);
    assignments.push_back(SpecFileAssignment(CellModelFile(trial)));
  }
  const absl::StatusOr<v1::RunPlan> plan =
      LoadRunPlan(options_.run_file, OverridesByFile(assignments).plan);
  if (!plan.ok()) return Failed(plan.status().message());
  const absl::StatusOr<ModelGraph> graph = GraphOf(*plan);
  if (!graph.ok()) return Failed(graph.status().message());

  const std::string summary_file = absl::StrFormat("%s/%06d.json", options_.folder, trial.number());
  ProcessOptions process;
  process.program = options_.program;
  process.arguments = CommandOf(trial);
  process.arguments.emplace_back("--json");
  process.stdout_file = absl::StrCat(summary_file, ".part");
  process.stderr_file = absl::StrCat(summary_file, ".stderr");
  const absl::Cleanup tidy = [&process] {
    unlink(process.stderr_file.c_str());
    unlink(process.stdout_file.c_str());
  };
  CONSILIUM_ASSIGN_OR_RETURN(const int status, RunProcess(process));
  if (IsEndedBySomebody(status)) {
    return absl::CancelledError(absl::StrFormat("trial %d was ended", trial.number()));
  }
  if (status != 0) return Failed(LastWords(process.stderr_file, status));
  const absl::StatusOr<Json> summary =
      ReadJsonFile(process.stdout_file, "search with fewer seeds or versions");
  if (absl::IsInvalidArgument(summary.status())) return Failed("its summary is no JSON");
  CONSILIUM_RETURN_IF_ERROR(summary.status());
  if (rename(process.stdout_file.c_str(), summary_file.c_str()) != 0) {
    return SystemError("can not rename to", summary_file);
  }
  return ResultOf(options_.space, *summary, {graph->layout.elements(), graph->multiply_adds()});
}

}  // namespace consilium
