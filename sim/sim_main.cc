// consilium-sim: federations on virtual time, and recorded federations run again.

#include <stdio.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "models/torch/torch_model.h"
#include "protocol/core/nearest_word.h"
#include "protocol/core/process_memory.h"
#include "protocol/core/status_macros.h"
#include "sim/cluster/launcher.h"
#include "sim/cluster/ranks.h"
#include "sim/commands/assess_command.h"
#include "sim/commands/check_command.h"
#include "sim/commands/compare_command.h"
#include "sim/commands/data_command.h"
#include "sim/commands/replay_command.h"
#include "sim/commands/run_command.h"
#include "sim/commands/search_command.h"
#include "sim/commands/split_command.h"
#include "sim/commands/stack_command.h"
#include "sim/commands/trainers.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

// 0 done, 1 failed, 2 wrong usage or config.
int ExitCode(const absl::Status& status) {
  if (status.ok()) return 0;
  fprintf(stderr, "consilium-sim: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

constexpr char kRunExamples[] = R"(Examples:
  consilium-sim run run.textproto scenario.textproto --data tables --out out/first
  consilium-sim run run.textproto scenario.textproto --simulate FEDAVG,FEDBUFF --seeds 1..5
  consilium-sim run run.textproto scenario.textproto --set training.local_steps=50
  consilium-sim run run.textproto scenario.textproto --out out/first --resume
  mpirun -n 4 consilium-sim run run.textproto scenario.textproto --out out/first
  sbatch sim/cluster/slurm_job.sh run.textproto scenario.textproto --out out/first
  mpirun -n 5 consilium-sim run run.textproto scenario.textproto --clock wall --out out/wall
  consilium-sim run run.textproto scenario.textproto --json --no-baselines | jq .federated)";

constexpr char kExitCodes[] = R"(
Every command ends with 0 where it is done, 1 where it failed, 2 for wrong usage, run config or
scenario.)";

constexpr char kDataHelp[] =
    "Folder of the scenario's data files; default: beside the scenario, and for a data set with a "
    "name where it is found ($CONSILIUM_DATASETS, `data fetch`)";
constexpr char kSimulateHelp[] =
    "Rules to simulate beside it, each with its own defaults and about as many merged updates; "
    "comma-separated";
constexpr char kOutHelp[] = "Folder for summary.json, report.html, events and tables";
constexpr char kRunOutHelp[] =
    "Folder for summary.json, report.html, events, tables and journal, and for checkpoints: the "
    "same command goes on where its process was ended. A folder of another run config, scenario or "
    "seed is refused";
constexpr char kClockHelp[] =
    "virtual simulates; wall makes workers of the ranks other than 0, or without ranks of "
    "--threads: each trains and evaluates its hospitals in real time and updates are merged as "
    "they "
    "come, so that only the journal gives the same models again";
constexpr char kJournalHelp[] =
    "Room for updates in a journal, MiB; 0: none, and a replay then has to train them again";

constexpr char kIdleHelp[] =
    "Room in memory for what hospitals hold between their tasks, MiB. The rest lies in a file "
    "without "
    "a name in --out, or without that where $TMPDIR says, or in /var/tmp; it is gone with the "
    "process";

constexpr char kCompareExamples[] = R"(Examples:
  consilium-sim compare out/fedavg out/fedbuff
  consilium-sim compare out/fedavg out/fedbuff out/ca2fl --out out/compared
  consilium-sim compare out/fedavg out/fedbuff --metric AUROC
Warns where runs differ in their data, their split over hospitals, their scenario or their number of
seeds.)";

constexpr char kReplayExamples[] = R"(Examples:
  consilium-sim replay run.export --key recipient.key
  consilium-sim replay run.export --key recipient.key --retrain \
    --data north=north.csv --data east=east.csv
  consilium-sim replay run.export --key recipient.key --set aggregation.trigger.buffer.updates=4 \
    --data north=north.csv --data east=east.csv
  consilium-sim replay run.export --key recipient.key --without west --out out/without-west
With --set or --without, sites with --data train again; the recorded updates of the others are
merged again as they are, an approximation that the result names. The recorded
plan has its defaults filled in; a K that is set takes the place of ADAPTIVE's
share of the live sites.)";

constexpr char kSplitExamples[] = R"(Examples:
  consilium-sim data split run.textproto scenario.textproto --preview
  consilium-sim data split run.textproto scenario.textproto --out hospitals)";

constexpr char kDataListExamples[] = R"(Examples:
  consilium-sim data list
  consilium-sim data list eicu-demo
  consilium-sim data list --json | jq '.datasets[] | select(.state == "present") | .name'
Looked for in the --data folder, $CONSILIUM_DATASETS, $XDG_DATA_HOME/consilium/datasets (default
~/.local/share) and where its package puts it. Ends with 1 where files are damaged.)";

constexpr char kDataFetchExamples[] = R"(Examples:
  consilium-sim data fetch wdbc digits fashion-mnist
  consilium-sim data fetch diabetes-130us --from downloads
  consilium-sim data fetch eicu-demo --from https://files.example.org/eicu --into /srv/datasets
Ends with 0 where every file is there and has its SHA-256, 1 where one has not, 2 for wrong usage;
the same command goes on where it was cut off.)";

constexpr char kCheckExamples[] = R"(Examples:
  consilium-sim check --runs 5000
  consilium-sim check --seed 1000000 --runs 1000000000 --time 600 --out found
  consilium-sim check --replay found
Ends with 0 where all hold, 1 where one does not, 2 for wrong usage.)";

constexpr char kSearchExamples[] = R"(Examples:
  consilium-sim search space.textproto run.textproto scenario.textproto --out out/search
  consilium-sim search space.textproto run.textproto scenario.textproto --out out/search --workers 4
  consilium-sim search space.textproto run.textproto scenario.textproto --out out/search --json
  mpirun -n 4 consilium-sim search space.textproto run.textproto scenario.textproto --out out/search

SPACE is a SearchSpace in protobuf text format (docs/search.md):
  name: "rates"
  parameters {
    path: "training.optimizer.sgd.learning_rate" real { min: 0.001 max: 1 scale: LOG }
  }
  parameters { path: "training.local_steps" integer { min: 1 max: 50 } }
  parameters { path: "aggregation.preset" choice { values: ["FEDAVG", "FEDBUFF"] } }
  objectives { quantity: BEST_SCORE direction: MINIMISE }
  random { trials: 40 }

Algorithms: grid, random, differential_evolution, successive_halving, aging_evolution,
policy_gradient, cma_es and nsga2.)";

constexpr char kSearchOutHelp[] =
    "Folder for trials.csv, trials.json, report.html, events and each trial's summary: the same "
    "command goes on where its process was ended. A folder of another search is refused";

constexpr char kStackExamples[] = R"(Examples:
  consilium-sim stack space.textproto large/run.textproto out/cells --set cell.cells=6
  consilium-sim stack space.textproto large/run.textproto out/cells --trial 41 \
    --set cell.stages=3 --set cell.compound.phi=2 --out large/cells.textproto

SPACE is the search space, which has a cell (docs/search.md):
  name: "cells"
  cell { nodes: 4 stages: 2 cells: 1 channels: 8 }
  objectives { quantity: BEST_SCORE direction: MAXIMISE }
  aging_evolution { population: 20 sample: 5 trials: 200 })";

constexpr char kAssessExamples[] = R"(Example:
  consilium-sim assess run.export --key recipient.key --data north=north.csv --data east=east.csv \
    --scenario scenario.textproto --simulate FEDAVG,FEDASYNC,FEDBUFF,CA2FL --out out/report)";

void AddTrainer(CLI::App* sub, TrainerKind& trainer) {
  const std::map<std::string, TrainerKind> kinds = {
      {std::string(NameOf(TrainerKind::kLibTorch)), TrainerKind::kLibTorch},
      {std::string(NameOf(TrainerKind::kFused)), TrainerKind::kFused}};
  sub->add_option("--trainer", trainer,
                  "libtorch trains as real agents do; fused is several times as fast for small "
                  "perceptrons and gives the same numbers only up to rounding")
      ->transform(CLI::CheckedTransformer(kinds).description("libtorch or fused"))
      ->default_str(std::string(NameOf(trainer)));
}

void AddRun(CLI::App& app, RunCommand& command) {
  CLI::App* sub = app.add_subcommand("run", "Simulate a run config under a scenario.");
  sub->footer(kRunExamples);
  sub->add_option("RUN", command.run_file, "Run config (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("SCENARIO", command.scenario_file, "Scenario (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--data", command.data_folder, kDataHelp);
  sub->add_option(
      "--set", command.overrides,
      "path=value over the run config, whose other fields stay; spec.PATH=VALUE over its "
      "model spec, scenario.PATH=VALUE over the scenario; repeatable");
  sub->add_option("--simulate", command.presets, kSimulateHelp)->delimiter(',');
  sub->add_option("--seeds", command.seeds,
                  "One seed, or a range like 1..5: of run, split and scenario, over what the files "
                  "say");
  sub->add_option(
      "--target", command.target,
      "METRIC=VALUE: tell when the validation score is first reached, without stopping");
  sub->add_option("--out", command.out, kRunOutHelp);
  CLI::Option* resume = sub->add_flag_callback(
      "--resume", [&command] { command.begin = SavedRunsOptions::Begin::kGoOn; },
      "Refuse an --out in which there is nothing to go on from");
  sub->add_flag_callback(
         "--restart", [&command] { command.begin = SavedRunsOptions::Begin::kRestart; },
         "Begin anew in an --out of earlier simulations, which are lost")
      ->excludes(resume);
  sub->add_option("--checkpoint-s", command.checkpoint_s,
                  "Seconds between checkpoints: as much is lost when the process is ended")
      ->capture_default_str();
  sub->add_option("--journal-mib", command.journal_mib, kJournalHelp)->capture_default_str();
  sub->add_option("--idle-mib", command.idle_mib, kIdleHelp)->capture_default_str();
  const std::map<std::string, RunCommand::Clock> clocks = {{"virtual", RunCommand::Clock::kVirtual},
                                                           {"wall", RunCommand::Clock::kWall}};
  sub->add_option("--clock", command.clock, kClockHelp)
      ->transform(CLI::CheckedTransformer(clocks).description("virtual or wall"))
      ->default_str("virtual");
  AddTrainer(sub, command.trainers.kind);
  sub->add_option(
         "--threads", command.trainers.threads,
         "Hospitals trained beside each other, by each rank where there are several; 0: one a "
         "processor. The models are the same with any number")
      ->check(CLI::Range(size_t{0}, kTrainingThreadsMax))
      ->capture_default_str();
  sub->add_flag_callback(
      "--no-baselines", [&command] { command.baselines = RunCommand::Baselines::kLeaveOut; },
      "Do not train the hospitals' own and the pooled models");
  sub->add_flag_callback(
      "--json", [&command] { command.output = RunCommand::Output::kJson; }, "Summary as JSON");
}

void AddRecording(CLI::App* sub, RecordingSource& source) {
  sub->add_option("EXPORT", source.export_file, "What `consilium run export` wrote")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--key", source.key_file, "The recipient's private key")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--aggregator-key", source.aggregator_key,
                  "The aggregator's signing key, as `consilium status` shows it; without it nobody "
                  "vouches for the export");
  sub->add_option("--data", source.data, "SITE=CSV, the hospital's table; repeatable");
}

void AddReplay(CLI::App& app, ReplayCommand& command) {
  CLI::App* sub = app.add_subcommand(
      "replay",
      "Run a recorded federation again, bit by bit; or with another plan, or without some sites.");
  sub->footer(kReplayExamples);
  AddRecording(sub, command.source);
  sub->add_flag_callback(
      "--retrain", [&command] { command.updates = ReplayCommand::Updates::kRetrained; },
      "Train every update again from its recorded base; needs --data for each site");
  sub->add_option("--set", command.overrides,
                  "path=value over the recorded run config, spec.PATH=VALUE over its model spec: "
                  "what would have come of it, each site at its recorded pace; repeatable. Another "
                  "aggregation.preset comes with its own defaults");
  sub->add_option("--without", command.without,
                  "A site to leave out: what would have come of the run; repeatable");
  sub->add_option(
      "--out", command.out,
      "Folder for summary.json, report.html, events and tables, with --set or --without");
  AddTrainer(sub, command.trainer);
  sub->add_flag_callback(
      "--json", [&command] { command.output = ReplayCommand::Output::kJson; }, "Result as JSON");
}

void AddAssess(CLI::App& app, AssessCommand& command) {
  CLI::App* sub = app.add_subcommand(
      "assess",
      "Replay and retrain a recorded federation and report on it: scores beside the "
      "hospitals' own and the pooled models, and beside other rules, simulated.");
  sub->footer(kAssessExamples);
  AddRecording(sub, command.source);
  sub->add_option("--scenario", command.scenario_file, "Speeds of the sites in simulations");
  sub->add_option("--simulate", command.presets, kSimulateHelp)->delimiter(',');
  sub->add_option("--published", command.published_file,
                  "Published figures to set ours beside (sim/report/published.h)")
      ->check(CLI::ExistingFile);
  sub->add_option("--note", command.notes, "KEY=NUMBER, copied into summary.json; repeatable");
  sub->add_option("--out", command.out, kOutHelp);
}

void AddCompare(CLI::App& app, CompareCommand& command) {
  CLI::App* sub = app.add_subcommand(
      "compare", "Say which of several runs is better, and whether seeds alone could make that.");
  sub->footer(kCompareExamples);
  sub->add_option(
         "RUNS", command.runs,
         "Folders of `consilium-sim run --out`, or their summary.json; the others are held "
         "against the first")
      ->required()
      ->expected(2, 100)
      ->check(CLI::ExistingPath);
  sub->add_option("--metric", command.metric,
                  "What decides, on test patients: a metric of the run config, for instance AUROC; "
                  "default: what all runs were selected by (stop.select_by), else the loss");
  sub->add_option("--out", command.out, "Folder for compare.html, compare.json and compare.csv");
  sub->add_flag_callback(
      "--json", [&command] { command.output = CompareCommand::Output::kJson; },
      "Comparison as JSON");
}

void AddSearch(CLI::App& app, SearchCommand& command) {
  CLI::App* sub = app.add_subcommand(
      "search", "Try values of run config, model spec and scenario, and say which are best.");
  sub->footer(kSearchExamples);
  sub->add_option("SPACE", command.space_file, "Search space (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("RUN", command.run_file, "Run config (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("SCENARIO", command.scenario_file, "Scenario (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--data", command.data_folder, kDataHelp);
  sub->add_option("--set", command.overrides,
                  "path=value of every trial, as of `consilium-sim run`; repeatable");
  sub->add_option("--out", command.out, kSearchOutHelp)->required();
  sub->add_option(
         "--workers", command.workers,
         "Trials at once, each a process of one thread (under mpirun: of each rank); default: "
         "one a core")
      ->check(CLI::Range(1, 256));
  sub->add_flag_callback(
      "--json", [&command] { command.output = SearchCommand::Output::kJson; }, "Trials as JSON");
}

void AddStack(CLI::App& app, StackCommand& command) {
  CLI::App* sub = app.add_subcommand(
      "stack",
      "Write the model spec of a network of the cells that a search found, deeper or wider than "
      "there.");
  sub->footer(kStackExamples);
  sub->add_option("SPACE", command.space_file, "Search space (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("RUN", command.run_file,
                  "Run config of the large set: its model spec gives input, loss and head")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("SEARCH", command.search_folder, "--out of the search")
      ->required()
      ->check(CLI::ExistingDirectory);
  sub->add_option("--trial", command.trial, "Whose cell; default: the best one's");
  sub->add_option(
      "--set", command.overrides,
      "cell.stages, cell.cells, cell.channels, cell.pooling or cell.compound.phi=value; "
      "path=value over the run config; repeatable");
  sub->add_option("--out", command.out, "File to write; default: stdout");
}

void AddDataList(CLI::App& data, DataListCommand& command) {
  CLI::App* sub = data.add_subcommand(
      "list", "Data sets that scenarios can name: licence, size, hospitals, and where they are.");
  sub->footer(kDataListExamples);
  sub->add_option("NAMES", command.names, "All that is known of these; default: a line for each");
  sub->add_option("--data", command.data_folder, "Folder to look into first");
  sub->add_flag_callback(
      "--json", [&command] { command.output = DataListCommand::Output::kJson; },
      "All that is known, as JSON");
}

void AddDataFetch(CLI::App& data, DataFetchCommand& command) {
  CLI::App* sub = data.add_subcommand(
      "fetch", "Bring the files of data sets here, and check the SHA-256 of each.");
  sub->footer(kDataFetchExamples);
  sub->add_option("NAMES", command.names, "Data sets of `data list`")->required();
  sub->add_option("--from", command.from,
                  "Folder or https, http or file address that has the files; default: where a "
                  "package has put them, else the manifest's address");
  sub->add_option("--into", command.into,
                  "Folder; default: $XDG_DATA_HOME/consilium/datasets, where runs look for them");
  sub->add_flag_callback(
      "--json", [&command] { command.output = DataFetchCommand::Output::kJson; }, "Result as JSON");
}

void AddDataSplit(CLI::App& data, SplitCommand& command) {
  CLI::App* sub = data.add_subcommand("split", "Deal one table out as a CSV file a hospital.");
  sub->footer(kSplitExamples);
  sub->add_option("RUN", command.run_file, "Run config (for its data contract)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("SCENARIO", command.scenario_file, "Scenario (for its partition)")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--data", command.data_folder, kDataHelp);
  sub->add_option("--out", command.out, "Folder");
  sub->add_flag_callback(
      "--preview", [&command] { command.mode = SplitCommand::Mode::kPreview; },
      "Show sizes and labels of each hospital, and write nothing");
  sub->add_flag_callback(
      "--json", [&command] { command.output = SplitCommand::Output::kJson; },
      "The preview as JSON");
}

struct DataCommands {
  DataListCommand list;
  DataFetchCommand fetch;
  SplitCommand split;
};

void AddData(CLI::App& app, DataCommands& commands) {
  CLI::App* data = app.add_subcommand("data", "Data of virtual hospitals.");
  data->require_subcommand(1);
  data->footer(kDataListExamples);
  AddDataList(*data, commands.list);
  AddDataFetch(*data, commands.fetch);
  AddDataSplit(*data, commands.split);
}

absl::Status ExecuteData(const CLI::App& data, const DataCommands& commands) {
  if (data.got_subcommand("list")) return Execute(commands.list);
  if (data.got_subcommand("fetch")) return Execute(commands.fetch);
  return Execute(commands.split);
}

void AddCheck(CLI::App& app, CheckCommand& command) {
  CLI::App* sub = app.add_subcommand(
      "check",
      "Hold random federations (rules, faults, attacks, absences; without learning) to what must "
      "hold of each: every update ends once, weights add up, nothing is told that the journal does "
      "not tell, every run ends, limits are kept. One that breaks it is made as small as it gets.");
  sub->footer(kCheckExamples);
  sub->add_option("--runs", command.runs, "Federations, each of the next seed")
      ->capture_default_str();
  sub->add_option("--seed", command.seed, "Of the first")->capture_default_str();
  sub->add_option("--time", command.time_s, "No new one after so many seconds; 0: no limit")
      ->capture_default_str();
  sub->add_option("--out", command.out,
                  "Folder for run config and scenario of one that breaks an invariant")
      ->capture_default_str();
  sub->add_option("--replay", command.replay, "Such a folder: only that one, again")
      ->check(CLI::ExistingDirectory);
  sub->add_flag_callback(
      "--json", [&command] { command.output = CheckCommand::Output::kJson; }, "Result as JSON");
}

absl::Status ExecuteAlone(const CLI::App& app, absl::FunctionRef<absl::Status()> execute) {
  if (!IsLaunchedWithOthers(getenv)) return execute();
  return absl::InvalidArgumentError(
      absl::StrCat("`", app.get_subcommands().front()->get_name(),
                   "` is one process's work, and a launcher has started several: only `run` and "
                   "`search` are distributed over ranks"));
}

template <typename Command>
absl::Status ExecuteOverRanks(Command& command) {
  if (IsOneOfSeveralAlone(getenv)) {
    spdlog::warn(
        "srun has started several of this program without --mpi=pmix: each simulates by itself "
        "all that it is asked to");
  }
  if (!IsLaunchedWithOthers(getenv)) return Execute(command);
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<Ranks> ranks, JoinRanks());
  command.ranks = ranks.get();
  try {
    return Execute(command);
  } catch (...) {
    // The others were not told to leave, so that an orderly end would wait for them for ever.
    ranks->GiveUpTogether();
    throw;
  }
}

// The parser says what it misses; a word that is no command is the likelier cause.
std::string Complaint(const CLI::App* app, const CLI::Error& error) {
  const std::string complaint = CLI::FailureMessage::simple(app, error);
  const std::vector<std::string> strange = app->remaining(/*recurse=*/true);
  const CLI::App* at = app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  std::vector<std::string> commands;
  for (const CLI::App* sub : at->get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(sub->get_name());
  }
  if (strange.empty() || commands.empty()) return complaint;
  const std::string nearest = NearestWord(strange.front(), commands);
  return absl::StrCat("there is no command ", strange.front(),
                      nearest.empty() ? "." : absl::StrCat("; did you mean ", nearest, "?"),
                      " Commands: ", absl::StrJoin(commands, ", "), "\n", complaint);
}

int Main(int argc, char** argv) {
  // An export of a real federation's journal is opened with a key.
  KeepMemoryToItself();
  InitialiseTorch();
  // stdout is for results alone.
  spdlog::set_default_logger(spdlog::stderr_color_mt("consilium-sim"));
  CLI::App app(
      "Simulates federations of hospitals on a virtual clock, with the production engines.",
      "consilium-sim");
  app.require_subcommand(1);
  app.failure_message(Complaint);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.footer(absl::StrCat(kRunExamples, kExitCodes));
  RunCommand run;
  ReplayCommand replay;
  AssessCommand assess;
  CheckCommand check;
  CompareCommand compare;
  SearchCommand search;
  StackCommand stack;
  DataCommands data;
  AddRun(app, run);
  AddReplay(app, replay);
  AddAssess(app, assess);
  AddCheck(app, check);
  AddCompare(app, compare);
  AddSearch(app, search);
  AddStack(app, stack);
  AddData(app, data);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto execute = [&] {
    if (app.got_subcommand("run")) return ExecuteOverRanks(run);
    if (app.got_subcommand("search")) return ExecuteOverRanks(search);
    return ExecuteAlone(app, [&] {
      if (app.got_subcommand("replay")) return Execute(replay);
      if (app.got_subcommand("assess")) return Execute(assess);
      if (app.got_subcommand("check")) return Execute(check);
      if (app.got_subcommand("compare")) return Execute(compare);
      if (app.got_subcommand("stack")) return Execute(stack);
      return ExecuteData(*app.get_subcommand("data"), data);
    });
  };
  // Our own code throws nothing; the standard library and LibTorch do where memory is out. What
  // another thread than this one throws ends the process at once.
  try {
    return ExitCode(execute());
  } catch (const std::bad_alloc&) {
    return ExitCode(absl::ResourceExhaustedError(
        "out of memory: take fewer sites, a smaller model or fewer --threads; what --out has saved "
        "is kept"));
  } catch (const std::exception& error) {
    return ExitCode(absl::InternalError(error.what()));
  }
}

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) { return consilium::Main(argc, argv); }
