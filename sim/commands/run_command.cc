#include "sim/commands/run_command.h"

#include <stdio.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_format.h"
#include "sim/commands/outputs.h"
#include "sim/commands/simulate.h"
#include "sim/engine/baselines.h"
#include "site_agent/train/cpu_trainer.h"

namespace consilium {
namespace {

constexpr size_t kSeedsMax = 1000;

struct SeedResult {
  std::optional<uint64_t> seed;
  RunSummary summary;
};

absl::StatusOr<SeedResult> RunSeed(const RunCommand& command, v1::RunPlan plan,
                                   v1::Scenario scenario, std::optional<uint64_t> seed) {
  if (seed.has_value()) {
    plan.mutable_config()->set_seed(*seed);
    plan.mutable_config()->mutable_data()->mutable_split()->set_seed(*seed);
    scenario.set_seed(*seed);
  }
  const std::string folder =
      command.data_folder.empty()
          ? std::filesystem::path(command.scenario_file).parent_path().string()
          : command.data_folder;
  CONSILIUM_ASSIGN_OR_RETURN(const FederationData data, LoadScenarioData(scenario, plan, folder));
  CpuTrainer trainer;
  std::optional<Baselines> baselines;
  if (command.baselines == RunCommand::Baselines::kTrain) {
    CONSILIUM_ASSIGN_OR_RETURN(baselines, TrainBaselines(plan, data, trainer));
  }
  SeedResult result;
  result.seed = seed;
  CONSILIUM_ASSIGN_OR_RETURN(
      result.summary,
      Simulate(plan, scenario, data, baselines.has_value() ? &*baselines : nullptr, trainer));
  return result;
}

nlohmann::json ToJson(const std::vector<SeedResult>& results) {
  if (results.size() == 1) return ToJson(results[0].summary);
  nlohmann::json seeds = nlohmann::json::array();
  double sum = 0;
  double squares = 0;
  for (const SeedResult& result : results) {
    nlohmann::json one = ToJson(result.summary);
    one["seed"] = *result.seed;
    seeds.push_back(std::move(one));
    const double loss =
        result.summary.federated.log_loss.value_or(result.summary.federated.mse.value_or(NAN));
    sum += loss;
    squares += loss * loss;
  }
  const double n = static_cast<double>(results.size());
  const double variance = std::max(0.0, (squares - sum * sum / n) / (n - 1));
  return {{"seeds", std::move(seeds)},
          {"loss_mean", sum / n},
          {"loss_seed_deviation", std::sqrt(variance)}};
}

}  // namespace

absl::StatusOr<std::vector<uint64_t>> ParseSeeds(absl::string_view text) {
  const std::vector<std::string> ends = absl::StrSplit(text, absl::MaxSplits("..", 1));
  uint64_t first = 0;
  uint64_t last = 0;
  if (!absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last) ||
      last < first || last - first >= kSeedsMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--seeds %s: give one number, or a range like 1..5 of at most %d", text, kSeedsMax));
  }
  std::vector<uint64_t> seeds;
  for (uint64_t seed = first; seed <= last; ++seed) seeds.push_back(seed);
  return seeds;
}

absl::Status Execute(const RunCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan,
                             LoadRunPlan(command.run_file, command.overrides));
  v1::Scenario scenario;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(command.scenario_file, scenario));
  std::vector<std::optional<uint64_t>> seeds = {std::nullopt};
  if (!command.seeds.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> given, ParseSeeds(command.seeds));
    seeds.assign(given.begin(), given.end());
  }
  std::vector<SeedResult> results;
  std::vector<RunSummary> runs;
  for (const std::optional<uint64_t>& seed : seeds) {
    CONSILIUM_ASSIGN_OR_RETURN(SeedResult result, RunSeed(command, plan, scenario, seed));
    if (seed.has_value()) absl::StrAppend(&result.summary.title, ", seed ", *seed);
    if (command.output == RunCommand::Output::kText) {
      absl::PrintF("%s\n%s\n", result.summary.title, TextTable(result.summary));
    }
    runs.push_back(result.summary);
    results.push_back(std::move(result));
  }
  const nlohmann::json json = ToJson(results);
  if (command.output == RunCommand::Output::kJson) absl::PrintF("%s\n", json.dump(2));
  return WriteOutputs(command.out, json, runs, {{"clock", "virtual (simulated)"}});
}

}  // namespace consilium
