#include "sim/commands/run_command.h"

#include <stdio.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "sim/cluster/rank_leader.h"
#include "sim/cluster/rank_worker.h"
#include "sim/commands/interruption.h"
#include "sim/commands/kept_stages.h"
#include "sim/commands/outputs.h"
#include "sim/commands/simulate.h"
#include "sim/engine/baselines.h"
#include "sim/engine/saved_simulation.h"
#include "sim/engine/scenario_checks.h"
#include "sim/report/run_text.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

constexpr size_t kSeedsMax = 1000;
constexpr uint64_t kMibMax = uint64_t{1} << 20;

// What is the same for all seeds.
struct Experiment {
  v1::RunPlan plan;
  v1::Scenario scenario;
  std::vector<v1::AggregationConfig::Preset> presets;
  std::optional<v1::StopConfig::Target> target;
};

// Who computes.
struct Trainers {
  std::unique_ptr<RankLeader> leader;  // Null without ranks.
  std::unique_ptr<TrainingPool> pool;
  std::unique_ptr<WallWorkers> workers;  // On a wall clock.
};

struct SeedResult {
  std::optional<uint64_t> seed;
  RunSummary summary;
  std::vector<RunSummary> others;  // One a preset.
};

std::string FolderOfData(const RunCommand& command) {
  return command.data_folder.empty()
             ? std::filesystem::path(command.scenario_file).parent_path().string()
             : command.data_folder;
}

// Trained, or as an earlier process trained them.
absl::StatusOr<Baselines> BaselinesFor(const v1::RunPlan& plan, const v1::Scenario& scenario,
                                       const FederationData& data, const SaveAs& save,
                                       TrainingPool& trainings) {
  SimulationInput input;
  input.plan = plan;
  input.scenario = scenario;
  input.data = &data;
  input.trainer_name = trainings.trainer_name();
  std::optional<Baselines> baselines;
  if (save.runs != nullptr) baselines = save.runs->FindBaselines(save.name, input);
  if (baselines.has_value()) return *std::move(baselines);
  CONSILIUM_ASSIGN_OR_RETURN(baselines,
                             TrainBaselines(plan, scenario.baselines(), data, trainings.own()));
  if (save.runs != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(save.runs->KeepBaselines(save.name, input, *baselines));
  }
  return *std::move(baselines);
}

// The experiment of one seed, with its data.
struct SeedInput {
  std::optional<uint64_t> seed;
  v1::RunPlan plan;
  v1::Scenario scenario;
  FederationData data;
};

// With what a simulation would refuse of it.
absl::StatusOr<SeedInput> LoadSeed(const RunCommand& command, const Experiment& experiment,
                                   std::optional<uint64_t> seed) {
  SeedInput input = {seed, experiment.plan, experiment.scenario, {}};
  if (seed.has_value()) {
    input.plan.mutable_config()->set_seed(*seed);
    input.plan.mutable_config()->mutable_data()->mutable_split()->set_seed(*seed);
    input.scenario.set_seed(*seed);
  }
  CONSILIUM_ASSIGN_OR_RETURN(input.data,
                             LoadScenarioData(input.scenario, input.plan, FolderOfData(command)));
  CONSILIUM_RETURN_IF_ERROR(CheckScenarioAgainst(input.scenario, input.plan, input.data));
  return input;
}

absl::StatusOr<SeedResult> RunSeed(const RunCommand& command, const Experiment& experiment,
                                   const SavedRuns* saved, const Trainers& trainers,
                                   const SeedInput& input) {
  const auto& [seed, plan, scenario, data] = input;
  TrainingPool& trainings = *trainers.pool;
  const OnWallClock wall = {trainers.workers.get(), trainers.leader.get()};
  const std::string suffix = seed.has_value() ? absl::StrCat("-seed-", *seed) : "";
  const SaveAs save = {saved, absl::StrCat("run", suffix), command.idle_mib << 20, seed};
  std::optional<Baselines> trained;
  if (command.baselines == RunCommand::Baselines::kTrain) {
    CONSILIUM_ASSIGN_OR_RETURN(trained, BaselinesFor(plan, scenario, data, save, trainings));
  }
  const SummaryOptions options = {.baselines = trained.has_value() ? &*trained : nullptr,
                                  .target = experiment.target};
  const std::string data_sha256 = ToHex(DigestOf(data));
  const std::string scenario_sha256 =
      ToHex(Sha256Of(absl::string_view(DeterministicBytes(scenario))));
  SeedResult result;
  result.seed = seed;
  CONSILIUM_ASSIGN_OR_RETURN(result.summary,
                             Simulate(plan, scenario, data, options, trainings, save, wall));
  CONSILIUM_ASSIGN_OR_RETURN(
      result.others, SimulatePresets(experiment.presets, plan, scenario, data, options, trainings,
                                     {saved, suffix, save.idle_bytes_max, seed}, wall));
  const auto say_of_what = [&](RunSummary& summary) {
    summary.data_sha256 = data_sha256;
    summary.scenario_sha256 = scenario_sha256;
  };
  say_of_what(result.summary);
  for (RunSummary& other : result.others) say_of_what(other);
  return result;
}

nlohmann::json ToJson(const SeedResult& result) {
  nlohmann::json json = ToJson(result.summary);
  if (result.others.empty()) return json;
  json["simulated"] = nlohmann::json::array();
  for (const RunSummary& other : result.others) json["simulated"].push_back(ToJson(other));
  return json;
}

nlohmann::json ToJson(const std::vector<SeedResult>& results) {
  if (results.size() == 1) return ToJson(results[0]);
  nlohmann::json seeds = nlohmann::json::array();
  double sum = 0;
  double squares = 0;
  for (const SeedResult& result : results) {
    nlohmann::json one = ToJson(result);
    one["seed"] = *result.seed;
    seeds.push_back(std::move(one));
    const Scores& scores = result.summary.federated;
    const double loss =
        scores.log_loss.value_or(scores.cox_loss.value_or(scores.mse.value_or(NAN)));
    sum += loss;
    squares += loss * loss;
  }
  const double n = static_cast<double>(results.size());
  const double variance = std::max(0.0, (squares - sum * sum / n) / (n - 1));
  return {{"seeds", std::move(seeds)},
          {"loss_mean", sum / n},
          {"loss_seed_deviation", std::sqrt(variance)}};
}

// Null without --out.
absl::StatusOr<std::unique_ptr<SavedRuns>> OpenSavedRuns(
    const RunCommand& command, const Experiment& experiment,
    const std::vector<std::optional<uint64_t>>& seeds) {
  if (command.out.empty()) {
    if (command.begin == SavedRunsOptions::Begin::kEither) return nullptr;
    return absl::InvalidArgumentError("--resume and --restart need --out");
  }
  if (!(command.checkpoint_s >= 0) || command.journal_mib > kMibMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--checkpoint-s takes seconds from 0 on, --journal-mib at most %d", kMibMax));
  }
  SavedRunsOptions options;
  options.out = command.out;
  options.interval = absl::Seconds(command.checkpoint_s);
  options.journal_updates_bytes_max = command.journal_mib << 20;
  options.begin = command.begin;
  options.clock = command.clock == RunCommand::Clock::kWall ? SavedRunsOptions::Clock::kWall
                                                            : SavedRunsOptions::Clock::kVirtual;
  SavedRuns::Experiment what = {
      experiment.plan, experiment.scenario, ArithmeticOf(command.trainers.kind), {}};
  for (const std::optional<uint64_t>& seed : seeds) {
    if (seed.has_value()) what.seeds.push_back(*seed);
  }
  return SavedRuns::Open(std::move(options), what);
}

absl::StatusOr<Experiment> ReadExperiment(const RunCommand& command) {
  CONSILIUM_RETURN_IF_ERROR(CheckOrderOfFiles(command.run_file, command.scenario_file));
  v1::RunConfig file;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(command.run_file, file));
  const std::vector<std::string> kept = StagesKeptFrom(file, command.overrides);
  if (!kept.empty()) {
    spdlog::warn(
        "{} keeps its {}, which is not what the preset given by --set stands for; "
        "--simulate takes a preset with its own defaults",
        command.run_file, absl::StrJoin(kept, ", "));
  }
  if (LiveShareKeptBesideK(file, command.overrides)) {
    spdlog::warn(
        "{} keeps its aggregation.trigger.buffer.live_share_min: where that share of the live "
        "sites is more than the K given by --set, it is K; with --set "
        "aggregation.trigger.buffer.live_share_min=0 it is not",
        command.run_file);
  }
  Experiment experiment;
  const Overrides overrides = OverridesByFile(command.overrides);
  CONSILIUM_ASSIGN_OR_RETURN(experiment.plan, LoadRunPlan(command.run_file, overrides.plan));
  CONSILIUM_ASSIGN_OR_RETURN(
      experiment.scenario,
      LoadScenario(command.scenario_file, FolderOfData(command), overrides.scenario));
  CONSILIUM_ASSIGN_OR_RETURN(experiment.presets, ParsePresets(command.presets));
  WarnWhereAllTrainAtOnce(experiment.plan, experiment.presets);
  if (!command.target.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(experiment.target, ParseTarget(command.target));
  }
  if (command.clock == RunCommand::Clock::kWall) {
    CONSILIUM_RETURN_IF_ERROR(CheckScenarioOnWallClock(experiment.scenario));
    if (command.begin == SavedRunsOptions::Begin::kGoOn) {
      return absl::InvalidArgumentError("--resume: no run goes on on a wall clock");
    }
  }
  return experiment;
}

absl::StatusOr<RankIdentity> IdentityOf(const RunCommand& command, const Experiment& experiment) {
  return RankIdentityOf(experiment.plan, experiment.scenario, ArithmeticOf(command.trainers.kind));
}

absl::StatusOr<std::unique_ptr<RankLeader>> GatherRanks(const RunCommand& command,
                                                        const Experiment& experiment) {
  CONSILIUM_ASSIGN_OR_RETURN(const RankIdentity own, IdentityOf(command, experiment));
  CONSILIUM_ASSIGN_OR_RETURN(
      std::unique_ptr<RankLeader> leader,
      RankLeader::Gather(*command.ranks, own, MakeTrainer(command.trainers.kind)));
  spdlog::info("with {}", leader->Describe());
  return leader;
}

// Why it can not, rank 0 tells.
absl::StatusOr<RankIdentity> IdentityOf(const RunCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const Experiment experiment, ReadExperiment(command));
  return IdentityOf(command, experiment);
}

// A rank other than 0.
absl::Status Serve(const RunCommand& command) {
  RankWorkerOptions options = {IdentityOf(command), FolderOfData(command),
                               ThreadsOf(command.trainers, command.ranks),
                               [&] { return MakeTrainer(command.trainers.kind); }};
  return RankWorker(*command.ranks, std::move(options)).Serve();
}

}  // namespace

absl::Status CheckOrderOfFiles(const std::string& run_file, const std::string& scenario_file) {
  v1::RunConfig run;
  v1::Scenario scenario;
  const bool is_swapped = !ReadTextFormatFile(run_file, run).ok() &&
                          ReadTextFormatFile(run_file, scenario).ok() &&
                          ReadTextFormatFile(scenario_file, run).ok();
  if (!is_swapped) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(run_file, " is a scenario and ", scenario_file,
                   " a run config: write them the other way round, RUN SCENARIO"));
}

Overrides OverridesByFile(const std::vector<std::string>& overrides) {
  constexpr absl::string_view kScenario = "scenario.";
  Overrides by_file;
  for (const std::string& override : overrides) {
    if (absl::StartsWith(override, kScenario)) {
      by_file.scenario.push_back(override.substr(kScenario.size()));
    } else {
      by_file.plan.push_back(override);
    }
  }
  return by_file;
}

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

namespace {

absl::StatusOr<Trainers> MakeAllTrainers(const RunCommand& command, const Experiment& experiment) {
  Trainers trainers;
  if (command.ranks != nullptr) {
    CONSILIUM_ASSIGN_OR_RETURN(trainers.leader, GatherRanks(command, experiment));
  }
  if (command.clock == RunCommand::Clock::kVirtual) {
    trainers.pool = MakeTrainers(command.trainers, command.ranks, trainers.leader.get());
    return trainers;
  }
  trainers.pool = MakeTrainers({.kind = command.trainers.kind, .threads = 1});
  trainers.workers = std::make_unique<WallWorkers>(trainers.leader != nullptr
                                                       ? trainers.leader->WorkersByRank()
                                                       : WorkersOnThreads(command.trainers));
  return trainers;
}

std::string WordOf(const RunCommand& command) {
  if (command.out.empty()) {
    return "\nconsilium-sim: interrupted; without --out nothing of it is kept\n";
  }
  if (command.clock == RunCommand::Clock::kWall) {
    return "\nconsilium-sim: interrupted; a run on a wall clock does not go on\n";
  }
  // Which would begin anew again.
  const bool restarts = command.begin == SavedRunsOptions::Begin::kRestart;
  return absl::StrFormat(
      "\nconsilium-sim: interrupted; the same command%s goes on from the newest checkpoint in %s "
      "(--checkpoint-s %g)\n",
      restarts ? " without --restart" : "", command.out, command.checkpoint_s);
}

void PrintSeed(const std::vector<RunSummary>& runs) {
  absl::PrintF("%s\n%s\n", runs[0].title, TextTable(runs[0]));
  if (runs.size() > 1) absl::PrintF("%s\n", ComparisonTable(runs));
  const std::string targets = TargetText(runs);
  if (!targets.empty()) absl::PrintF("%s\n", targets);
}

void PrintEnd(const RunCommand& command, const std::vector<std::vector<RunSummary>>& by_seed) {
  if (by_seed.size() > 1) absl::PrintF("%s\n", SeedMeansTable(by_seed));
  if (command.out.empty()) return;
  absl::PrintF("wrote %s: report.html, summary.json, events, tables, journal\n", command.out);
}

// Rank 0 of several, or the only process.
absl::Status Lead(const RunCommand& command) {
  if (command.idle_mib > kMibMax) {
    return absl::InvalidArgumentError(absl::StrFormat("--idle-mib takes at most %d", kMibMax));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Experiment experiment, ReadExperiment(command));
  std::vector<std::optional<uint64_t>> seeds = {std::nullopt};
  if (!command.seeds.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> given, ParseSeeds(command.seeds));
    seeds.assign(given.begin(), given.end());
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Trainers trainers, MakeAllTrainers(command, experiment));
  // Before anything is written: what is refused leaves nothing behind.
  std::optional<SeedInput> input;
  CONSILIUM_ASSIGN_OR_RETURN(input, LoadSeed(command, experiment, seeds.front()));
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<SavedRuns> saved,
                             OpenSavedRuns(command, experiment, seeds));
  const bool on_wall_clock = command.clock == RunCommand::Clock::kWall;
  const WordWhenInterrupted word(WordOf(command));
  std::vector<SeedResult> results;
  std::vector<RunSummary> runs;
  std::vector<std::vector<RunSummary>> by_seed;
  for (const std::optional<uint64_t>& seed : seeds) {
    if (!input.has_value()) {
      CONSILIUM_ASSIGN_OR_RETURN(input, LoadSeed(command, experiment, seed));
    }
    CONSILIUM_ASSIGN_OR_RETURN(SeedResult result,
                               RunSeed(command, experiment, saved.get(), trainers, *input));
    input.reset();
    std::vector<RunSummary> of_seed = {result.summary};
    of_seed.insert(of_seed.end(), result.others.begin(), result.others.end());
    by_seed.push_back(of_seed);
    for (RunSummary& run : of_seed) {
      if (seed.has_value()) absl::StrAppend(&run.title, ", seed ", *seed);
    }
    if (command.output == RunCommand::Output::kText) PrintSeed(of_seed);
    runs.insert(runs.end(), of_seed.begin(), of_seed.end());
    results.push_back(std::move(result));
  }
  nlohmann::json json = ToJson(results);
  json["trainer"] = std::string(NameOf(command.trainers.kind));
  json["clock"] = on_wall_clock ? "wall" : "virtual";
  if (on_wall_clock) json["workers"] = trainers.workers->size();
  if (command.output == RunCommand::Output::kJson) absl::PrintF("%s\n", json.dump(2));
  CONSILIUM_RETURN_IF_ERROR(
      WriteOutputs(command.out, json, runs,
                   {{"clock", on_wall_clock ? "wall (workers)" : "virtual (simulated)"}}));
  if (command.output == RunCommand::Output::kText) PrintEnd(command, by_seed);
  return absl::OkStatus();
}

}  // namespace

absl::Status Execute(const RunCommand& command) {
  if (command.ranks != nullptr && command.ranks->rank() != 0) return Serve(command);
  const absl::Status status = Lead(command);
  if (command.ranks != nullptr) DismissRanks(*command.ranks, status);
  return status;
}

}  // namespace consilium
