#include "sim/commands/assess_command.h"

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/commands/outputs.h"
#include "sim/commands/simulate.h"
#include "sim/commands/trainers.h"
#include "sim/engine/baselines.h"
#include "sim/engine/scenario_checks.h"
#include "sim/report/published.h"
#include "sim/report/summary.h"

namespace consilium {
namespace {

// The model id of the result version, out of what was computed anew.
std::string ResultModel(const ReplayResult& result, const RunId& run) {
  const federation::RunState& state = result.run(run);
  if (!result.mismatches.empty() || !state.result.has_value()) return "";
  return ToHex(state.versions[state.result->value()].model_id);
}

absl::StatusOr<std::map<std::string, double>> ParseNotes(const std::vector<std::string>& notes) {
  std::map<std::string, double> parsed;
  for (const std::string& note : notes) {
    const std::vector<std::string> parts = absl::StrSplit(note, absl::MaxSplits('=', 1));
    double value = 0;
    if (parts.size() != 2 || !absl::SimpleAtod(parts[1], &value)) {
      return absl::InvalidArgumentError(absl::StrFormat("--note %s: write KEY=NUMBER", note));
    }
    parsed[parts[0]] = value;
  }
  return parsed;
}

std::string Finding(const ReplayResult& result, absl::string_view of, uint64_t count) {
  if (result.mismatches.empty()) return absl::StrFormat("%d %s, bit by bit the same", count, of);
  return absl::StrFormat("%d mismatches; the first: %s", result.mismatches.size(),
                         result.mismatches.front());
}

}  // namespace

absl::Status Execute(const AssessCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const auto notes, ParseNotes(command.notes));
  CONSILIUM_ASSIGN_OR_RETURN(const auto presets, ParsePresets(command.presets));
  v1::Scenario scenario;
  if (!command.scenario_file.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(
        scenario,
        LoadScenario(command.scenario_file,
                     std::filesystem::path(command.scenario_file).parent_path().string()));
  }
  std::optional<Published> published;
  if (!command.published_file.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(published, ReadPublished(command.published_file));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Recording recording, OpenRecording(command.source));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan, PlanOf(recording));
  WarnWhereAllTrainAtOnce(plan, presets);
  CONSILIUM_ASSIGN_OR_RETURN(const FederationData data, OpenData(command.source, plan));
  const std::unique_ptr<TrainingPool> trainings = MakeTrainers({});

  CONSILIUM_ASSIGN_OR_RETURN(const ReplayResult replayed,
                             ReplayWithProgress(recording, {}, "replaying"));
  ReplayOptions retrain;
  retrain.data = &data;
  retrain.trainer = &trainings->own();
  CONSILIUM_ASSIGN_OR_RETURN(const ReplayResult retrained,
                             ReplayWithProgress(recording, retrain, "retraining"));

  CONSILIUM_ASSIGN_OR_RETURN(const Baselines baselines,
                             TrainBaselines(plan, {}, data, trainings->own()));
  RunSummary real = SummaryOf(replayed.run(recording.run), {.baselines = &baselines, .target = {}});
  absl::StrAppend(&real.title, " (real processes)");
  std::vector<RunSummary> runs = {real};
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<RunSummary> others,
                             SimulatePresets(presets, plan, scenario, data,
                                             {.baselines = &baselines, .target = {}}, *trainings));
  for (RunSummary& other : others) {
    absl::StrAppend(&other.title, " (simulated)");
    runs.push_back(std::move(other));
  }

  nlohmann::json summary = ToJson(real);
  summary["wall_s"] = real.seconds;
  summary["replay_model_sha256"] = ResultModel(replayed, recording.run);
  summary["retrain_model_sha256"] = ResultModel(retrained, recording.run);
  for (const auto& [key, value] : notes) summary[key] = value;
  summary["simulated"] = nlohmann::json::array();
  for (size_t i = 1; i < runs.size(); ++i) summary["simulated"].push_back(ToJson(runs[i]));

  absl::PrintF("%s\n%s\n", TextTable(real), ComparisonTable(runs));
  if (published.has_value()) {
    const PublishedComparison comparison = CompareWithPublished(*published, plan, runs);
    summary["published"] = ToJson(comparison);
    absl::PrintF("%s\n", TextTable(comparison));
  }
  std::map<std::string, std::string> checks = {
      {"replay of the journal", Finding(replayed, "versions", replayed.programs_run)},
      {"retraining of every update", Finding(retrained, "updates", retrained.updates_retrained)}};
  for (const auto& [check, finding] : checks) absl::PrintF("%s: %s\n", check, finding);
  for (const auto& [key, value] : notes) checks[key] = absl::StrFormat("%g", value);
  CONSILIUM_RETURN_IF_ERROR(WriteOutputs(command.out, summary, runs, checks));
  if (!replayed.mismatches.empty() || !retrained.mismatches.empty()) {
    return absl::DataLossError("the federation does not come out again as it was recorded");
  }
  return absl::OkStatus();
}

}  // namespace consilium
