#include "sim/commands/search_command.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/progress.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "sim/cluster/rank_identity.h"
#include "sim/cluster/rank_roster.h"
#include "sim/cluster/trial_ranks.h"
#include "sim/commands/kept_stages.h"
#include "sim/commands/run_command.h"
#include "sim/commands/trainers.h"
#include "sim/engine/saved_simulation.h"
#include "sim/engine/scenario_checks.h"
#include "sim/engine/site_data.h"
#include "sim/search/hparams_events.h"
#include "sim/search/search_files.h"
#include "sim/search/search_loop.h"
#include "sim/search/search_report.h"
#include "sim/search/trial_runner.h"
#include "sim/search/trials_log.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

constexpr uint32_t kWorkersMax = 256;
constexpr size_t kRowsShownMax = 10;

// A word as a shell takes it.
std::string Quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::string_view("-_./=:,+%").find(c) != absl::string_view::npos;
  });
  return plain ? word : absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

std::string ShellCommand(const std::vector<std::string>& arguments) {
  std::string text = "consilium-sim";
  for (const std::string& argument : arguments) absl::StrAppend(&text, " ", Quoted(argument));
  return text;
}

absl::Status WriteEvents(const std::string& folder, const std::string& content) {
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0755));
  return WriteFileDurably(absl::StrCat(folder, "/events.out.tfevents.0.consilium"), content, 0644);
}

// Each trial as it becomes known, into the log, TensorBoard's files and the line of progress.
class Notes {
 public:
  Notes(const v1::SearchSpace& space, std::string out, TrialsLog& log, uint64_t trials_max)
      : space_(space), out_(std::move(out)), log_(log), trials_max_(trials_max) {}

  absl::Status Add(const Trial& trial) {
    CONSILIUM_RETURN_IF_ERROR(log_.Append(trial));
    Count(trial);
    return trial.same_as.has_value() ? absl::OkStatus() : AddEvents(trial);
  }

  // One of an earlier process, which may have died before it wrote its events.
  absl::Status AddKnown(const Trial& trial) {
    Count(trial);
    return trial.same_as.has_value() ? absl::OkStatus() : AddEvents(trial);
  }

 private:
  absl::Status AddEvents(const Trial& trial) const {
    return WriteEvents(absl::StrFormat("%s/events/trial-%06d", out_, trial.number()),
                       TrialEventFile(space_, trial));
  }

  void Count(const Trial& trial) {
    ++known_;
    std::string best;
    if (trial.succeeded()) {
      const double loss = LossesOf(space_, trial.result.objectives)[0];
      if (!best_.has_value() || loss < *best_) {
        best_ = loss;
        best_text_ = absl::StrFormat("%.6g", trial.result.objectives[0]);
      }
    }
    progress_.Show(
        static_cast<double>(known_), static_cast<double>(trials_max_),
        absl::StrFormat("trial %d of %d, best %s %s", known_, trials_max_,
                        space_.objectives(0).name(), best_text_.empty() ? "unknown" : best_text_));
  }

  const v1::SearchSpace& space_;
  const std::string out_;
  TrialsLog& log_;
  const uint64_t trials_max_;
  Progress progress_{"searching"};
  uint64_t known_ = 0;
  std::optional<double> best_;  // Loss of the first objective.
  std::string best_text_;
};

absl::Status WriteResults(const std::string& out, const v1::SearchSpace& space,
                          const std::vector<Trial>& trials) {
  const std::pair<std::string, std::string> files[] = {
      {"trials.csv", SearchCsv(space, trials)},
      {"trials.json", absl::StrCat(SearchJson(space, trials).dump(2), "\n")},
      {"report.html", SearchHtml(space, trials)},
  };
  for (const auto& [name, content] : files) {
    CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(absl::StrCat(out, "/", name), content, 0644));
  }
  return absl::OkStatus();
}

absl::Status SomeSucceeded(const std::vector<Trial>& trials) {
  const auto succeeded = [](const Trial& trial) { return trial.succeeded(); };
  if (std::any_of(trials.begin(), trials.end(), succeeded)) return absl::OkStatus();
  if (trials.empty()) return absl::FailedPreconditionError("there was nothing to try");
  return absl::FailedPreconditionError(absl::StrFormat("none of %d trials succeeded; the first: %s",
                                                       trials.size(), trials[0].result.error));
}

absl::Status CheckOptions(const SearchCommand& command, const v1::SearchSpace& space) {
  if (command.out.empty()) return absl::InvalidArgumentError("--out: name a folder");
  if (command.workers > kWorkersMax) {
    return absl::InvalidArgumentError(absl::StrFormat("--workers: from 1 to %d", kWorkersMax));
  }
  if (space.seeds().empty()) return absl::OkStatus();
  const auto seeds = ParseSeeds(space.seeds());
  return seeds.ok()
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrFormat(
                   "seeds: \"%s\" is neither a number nor a range like 1..5", space.seeds()));
}

// What every rank reads by itself.
struct Files {
  v1::SearchSpace space;
  TrialsLog::Identity identity;
  // What a trial meets beyond these, as far as it is known before one: rows, and arithmetic.
  RankIdentity surroundings;
  TrialRunnerOptions trials;
};

// Rows, and what training comes to on them; nothing where the files can not be read as they are.
// NOT_FOUND where the data is not there.
absl::StatusOr<RankIdentity> LookAtData(const SearchCommand& command,
                                        const std::vector<std::string>& assignments) {
  const Overrides overrides = OverridesByFile(assignments);
  const std::string folder =
      command.data_folder.empty()
          ? std::filesystem::path(command.scenario_file).parent_path().string()
          : command.data_folder;
  const auto plan = LoadRunPlan(command.run_file, overrides.plan);
  const auto scenario = LoadScenario(command.scenario_file, folder, overrides.scenario);
  if (!plan.ok() || !scenario.ok()) return RankIdentity();
  const absl::StatusOr<FederationData> data = LoadScenarioData(*scenario, *plan, folder);
  if (absl::IsNotFound(data.status())) return data.status();
  if (!data.ok() || command.ranks == nullptr) return RankIdentity();
  // As `run` trains where nobody says otherwise.
  const std::unique_ptr<Trainer> trainer = MakeTrainer(TrainersOptions().kind);
  return RankIdentity{{"data set", ToHex(DigestOf(*data))},
                      {kArithmeticPart, ToHex(ProbeTraining(*plan, *data, *trainer))}};
}

// A file of data that is missing would fail every trial. Whatever else is wrong with the files as
// they are, a trial's values may mend: ranks then compare what the first ones come to.
absl::StatusOr<RankIdentity> CheckData(const SearchCommand& command, const v1::SearchSpace& space) {
  absl::StatusOr<RankIdentity> found = LookAtData(command, command.overrides);
  if (found.ok() && found->empty() && command.ranks != nullptr) {
    std::vector<std::string> assignments = command.overrides;
    const Point first(static_cast<size_t>(space.parameters_size()));
    for (std::string& assignment : AssignmentsOf(space, TextsAt(space, first))) {
      assignments.push_back(std::move(assignment));
    }
    found = LookAtData(command, assignments);
  }
  if (absl::IsNotFound(found.status())) {
    return absl::InvalidArgumentError(found.status().message());
  }
  return found;
}

absl::StatusOr<Files> ReadFiles(const SearchCommand& command) {
  Files files;
  CONSILIUM_ASSIGN_OR_RETURN(files.space, LoadSearchSpace(command.space_file));
  CONSILIUM_RETURN_IF_ERROR(CheckOptions(command, files.space));
  CONSILIUM_ASSIGN_OR_RETURN(
      files.identity,
      CheckSearchFiles(files.space, {command.run_file, command.scenario_file, command.overrides}));
  TrialRunnerOptions& trials = files.trials;
  trials.space = files.space;
  trials.program = command.program;
  trials.run_file = command.run_file;
  trials.scenario_file = command.scenario_file;
  trials.data_folder = command.data_folder;
  trials.overrides = command.overrides;
  trials.folder = absl::StrCat(command.out, "/trials");
  CONSILIUM_ASSIGN_OR_RETURN(files.surroundings, CheckData(command, files.space));
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(trials.folder, 0755));
  return files;
}

// Trials of this process beside each other.
size_t WorkersOf(const SearchCommand& command) {
  TrainersOptions options;
  options.threads = command.workers;
  return std::min<size_t>(ThreadsOf(options, command.ranks), kWorkersMax);
}

// `runner` outlives what runs by it.
TrialRankOptions RankOptionsOf(const SearchCommand& command, const Files& files,
                               const TrialRunner& runner) {
  TrialRankOptions options;
  RankIdentity identity = files.identity;
  identity.insert(files.surroundings.begin(), files.surroundings.end());
  const absl::StatusOr<std::string> program = DigestOfProgram();
  if (program.ok()) identity["program"] = *program;
  options.identity = program.ok() ? absl::StatusOr<RankIdentity>(identity) : program.status();
  options.places = WorkersOf(command);
  options.run = [&runner](const Trial& trial) { return runner.Run(trial); };
  options.parameters = static_cast<size_t>(files.space.parameters_size());
  options.objectives = static_cast<size_t>(files.space.objectives_size());
  return options;
}

absl::StatusOr<std::vector<Trial>> Search(const SearchCommand& command,
                                          const v1::SearchSpace& space, const TrialRunner& runner,
                                          TrialLeader* leader, TrialsLog& log) {
  const std::unique_ptr<SearchAlgorithm> algorithm = MakeAlgorithm(space);
  SearchLoopInput input;
  input.space = space;
  input.algorithm = algorithm.get();
  input.workers = leader != nullptr ? leader->places() : WorkersOf(command);
  input.known = log.TakeTrials();
  uint64_t trials_max = algorithm->trials_max();
  if (space.trials_max() > 0) trials_max = std::min<uint64_t>(trials_max, space.trials_max());
  Notes notes(space, command.out, log, trials_max);
  if (!input.known.empty()) {
    spdlog::info("{} goes on from {} trials that are known", command.out, input.known.size());
  }
  for (const Trial& trial : input.known) CONSILIUM_RETURN_IF_ERROR(notes.AddKnown(trial));
  input.evaluate = [&runner, leader](const Trial& trial) {
    return leader != nullptr ? leader->Run(trial) : runner.Run(trial);
  };
  input.on_known = [&notes](const Trial& trial) { return notes.Add(trial); };
  return RunSearchLoop(std::move(input));
}

absl::Status WarnOfKeptStages(const SearchCommand& command, const v1::SearchSpace& space) {
  v1::RunConfig file;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(command.run_file, file));
  const std::vector<std::string> kept = StagesKeptWhereSearched(file, command.overrides, space);
  if (kept.empty()) return absl::OkStatus();
  spdlog::warn(
      "{} keeps its {} in trials of other presets, which is not what those stand for: leave that "
      "out of the run config, or search it too",
      command.run_file, absl::StrJoin(kept, ", "));
  return absl::OkStatus();
}

// Rank 0 of several, or the only process.
absl::Status Lead(const SearchCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const Files files, ReadFiles(command));
  CONSILIUM_RETURN_IF_ERROR(WarnOfKeptStages(command, files.space));
  const v1::SearchSpace& space = files.space;
  const TrialRunner runner(files.trials);
  std::unique_ptr<TrialLeader> leader;
  if (command.ranks != nullptr) {
    CONSILIUM_ASSIGN_OR_RETURN(
        leader, TrialLeader::Gather(*command.ranks, RankOptionsOf(command, files, runner)));
    spdlog::info("with {}", leader->Describe());
  }
  CONSILIUM_ASSIGN_OR_RETURN(
      const std::unique_ptr<TrialsLog> log,
      TrialsLog::Open(absl::StrCat(command.out, "/trials.jsonl"), space, files.identity));
  CONSILIUM_RETURN_IF_ERROR(
      WriteEvents(absl::StrCat(command.out, "/events"), SearchEventFile(space)));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Trial> trials,
                             Search(command, space, runner, leader.get(), *log));
  CONSILIUM_RETURN_IF_ERROR(WriteResults(command.out, space, trials));
  if (command.output == SearchCommand::Output::kJson) {
    absl::PrintF("%s\n", SearchJson(space, trials).dump(2));
    return SomeSucceeded(trials);
  }
  CONSILIUM_RETURN_IF_ERROR(SomeSucceeded(trials));
  absl::PrintF("%s", SearchText(space, trials, kRowsShownMax));
  const std::vector<uint64_t> best = BestTrials(space, trials);
  if (best.size() > 1) return absl::OkStatus();
  const auto winner = std::find_if(trials.begin(), trials.end(), [&best](const Trial& trial) {
    return trial.number() == best[0];
  });
  absl::PrintF("\n%s\n", ShellCommand(runner.CommandOf(*winner)));
  return absl::OkStatus();
}

// A rank other than 0. Why it can not, rank 0 tells.
absl::Status Serve(const SearchCommand& command) {
  const absl::StatusOr<Files> files = ReadFiles(command);
  if (!files.ok()) {
    TrialRankOptions options;
    options.identity = files.status();
    options.run = [&files](const Trial&) { return files.status(); };
    return ServeTrials(*command.ranks, options);
  }
  const TrialRunner runner(files->trials);
  return ServeTrials(*command.ranks, RankOptionsOf(command, *files, runner));
}

}  // namespace

absl::Status Execute(const SearchCommand& command) {
  if (command.ranks != nullptr && command.ranks->rank() != 0) return Serve(command);
  const absl::Status status = Lead(command);
  if (command.ranks != nullptr) DismissRanks(*command.ranks, status);
  return status;
}

}  // namespace consilium
