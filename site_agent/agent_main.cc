// consilium-agent: runs inside a hospital. Keeps its patients' rows in an encrypted store, trains
// on them, and sends what its policy allows.

#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "models/torch/torch_model.h"
#include "protocol/core/process_memory.h"
#include "protocol/core/progress.h"
#include "protocol/wire/hash.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/train/cpu_trainer.h"

namespace consilium::site {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int kNeedsPerson = 3;

constexpr char kExitCodes[] =
    "Exit codes:\n"
    "  0 done\n"
    "  1 failed; trying again may help\n"
    "  2 wrong usage, configuration or passphrase\n"
    "  3 `run` only: a person must act, no restart helps (not enrolled, wrong key, damaged\n"
    "    store, certificate expired, fenced, revoked)";

struct Arguments {
  StorePlace place;
  bool json = false;
  std::string join_file;
  ImportOptions import;
  std::vector<std::string> arrays;
  std::string run;
  std::string plan_hash;
  std::string withdraw;
  std::string out;
  bool all_runs = false;
  bool one_by_one = false;
  std::string task_duration_min = "0s";
  std::optional<uint64_t> minimum_count;
};

int Fail(const absl::Status& status) {
  fprintf(stderr, "consilium-agent: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kWrongUsage : kFailed;
}

// Of an agent that ended by itself: whatever keeps it running (systemd, say) has to know whether
// that can help.
int FailRun(const absl::Status& status) {
  const int code = Fail(status);
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kNeedsPerson;
    default:
      return code;
  }
}

void Print(const nlohmann::json& value) { printf("%s\n", value.dump(2).c_str()); }

int Init(const Arguments& arguments) {
  const absl::StatusOr<std::string> protection = InitStore(arguments.place);
  if (!protection.ok()) return Fail(protection.status());
  const std::string& folder = arguments.place.folder;
  if (arguments.json) {
    Print({{"store", folder}, {"protection", *protection}});
    return kDone;
  }
  printf("The store %s is ready.\n%s\nNext: consilium-agent enrol --store %s --join FILE\n",
         folder.c_str(), protection->c_str(), folder.c_str());
  return kDone;
}

int Enrol(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> enrolled = EnrolSite(arguments.place, arguments.join_file);
  if (!enrolled.ok()) return Fail(enrolled.status());
  if (arguments.json) {
    Print(*enrolled);
    return kDone;
  }
  printf(
      "Site %s has joined the federation %s.\n"
      "Compare with what the aggregator shows (consilium site list --json):\n"
      "  certificate  %s\n  signing key  %s\n",
      enrolled->value("site", "").c_str(), enrolled->value("federation", "").c_str(),
      enrolled->value("certificate_sha256", "").c_str(),
      enrolled->value("signing_key_sha256", "").c_str());
  return kDone;
}

unsigned long long Count(const nlohmann::json& value, const char* key) {
  return value.value(key, 0ULL);
}

// `place`: by what a refused row is found again.
void PrintImport(const nlohmann::json& result, const char* place) {
  printf("data set %s: %llu rows read, %llu stored, %llu refused\n",
         result.value("dataset", "").c_str(), Count(result, "rows_read"),
         Count(result, "rows_stored"), Count(result, "rows_refused"));
  const nlohmann::json& refusals = result.at("refusals");
  for (const nlohmann::json& refusal : refusals) {
    const std::string column = refusal.value("column", "");
    printf("  %s %llu: %s %s\n", place, Count(refusal, "line"),
           column.empty() ? "the row" : column.c_str(), refusal.value("reason", "").c_str());
  }
  if (refusals.empty()) return;
  if (Count(result, "rows_refused") > refusals.size()) printf("  ...\n");
  printf("All refused rows, with %s and reason: %s\n", place,
         result.value("report_file", "").c_str());
}

// With a line of progress on a terminal.
absl::StatusOr<nlohmann::json> ImportWithProgress(const StorePlace& place,
                                                  const ImportOptions& options) {
  Progress progress("importing");
  return ImportData(place, options, [&progress](const nlohmann::json& told) {
    // Of another version of the agent, say.
    const auto part = told.find("part");
    if (part == told.end() || !part->is_number()) return;
    progress.Show(
        part->get<double>(), 1,
        told.contains("unpacking") ? "unpacking" : absl::StrCat(Count(told, "rows"), " rows"));
  });
}

int Import(const Arguments& arguments) {
  const bool strict = arguments.import.bad_rows == ImportOptions::BadRows::kImportNothing;
  ImportOptions options = arguments.import;
  for (const std::string& text : arguments.arrays) {
    absl::StatusOr<ArrayColumnSource> column = ArrayColumnOf(text);
    if (!column.ok()) return Fail(column.status());
    options.arrays.push_back(*std::move(column));
  }
  const absl::StatusOr<nlohmann::json> result = ImportWithProgress(arguments.place, options);
  if (!result.ok()) {
    const int code = Fail(result.status());
    if (!options.npz_file.empty() && absl::IsNotFound(result.status())) {
      fprintf(stderr, "--array COLUMN=FILE.npz:NAME takes an array of another name, or file\n");
    }
    return code;
  }
  if (arguments.json) {
    Print(*result);
  } else {
    PrintImport(*result, options.csv_file.empty() ? "row" : "line");
  }
  if (!strict || Count(*result, "rows_refused") == 0) return kDone;
  fprintf(stderr,
          "consilium-agent: nothing was imported: rows were refused, and --strict is given\n");
  return kFailed;
}

int List(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> list = ListData(arguments.place);
  if (!list.ok()) return Fail(list.status());
  if (arguments.json) {
    Print(*list);
    return kDone;
  }
  for (const nlohmann::json& dataset : list->at("datasets")) {
    printf("%s  contract %s  %llu rows (%llu refused)  imported %s\n",
           dataset.value("name", "").c_str(), dataset.value("contract", "").c_str(),
           static_cast<unsigned long long>(dataset.value("rows", 0ULL)),
           static_cast<unsigned long long>(dataset.value("rows_refused", 0ULL)),
           dataset.value("imported", "").c_str());
  }
  return kDone;
}

int Told(const Arguments& arguments, const absl::Status& done, const nlohmann::json& answer,
         const std::string& sentence) {
  if (!done.ok()) return Fail(done);
  if (arguments.json) {
    Print(answer);
  } else {
    printf("%s\n", sentence.c_str());
  }
  return kDone;
}

int Approved(const Arguments& arguments, const absl::Status& done, const std::string& what) {
  return Told(arguments, done, {{"approved", what}}, "approved: " + what);
}

int ApproveRuns(const Arguments& arguments) {
  const StorePlace& place = arguments.place;
  if (arguments.all_runs) return Approved(arguments, Approve(place, std::nullopt), "all runs");
  if (arguments.one_by_one) {
    return Told(arguments, ApproveOneByOne(place), {{"approved", "one by one"}},
                "from now on each run is asked for");
  }
  if (!arguments.withdraw.empty()) {
    return Told(arguments, Withdraw(place, arguments.withdraw), {{"withdrawn", arguments.withdraw}},
                "withdrawn: " + arguments.withdraw);
  }
  std::optional<Digest> hash;
  if (!arguments.plan_hash.empty()) {
    hash = DigestFromHex(arguments.plan_hash);
    if (!hash.has_value()) {
      return Fail(absl::InvalidArgumentError(
          "--plan-hash takes 64 lower-case hexadecimal digits, as `runs list` shows them"));
    }
  }
  if (!arguments.run.empty()) {
    return Approved(arguments, ApproveRun(place, arguments.run, hash), arguments.run);
  }
  return Approved(arguments, Approve(place, hash), arguments.plan_hash);
}

int ShowPolicy(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> policy =
      SitePolicy(arguments.place, arguments.minimum_count);
  if (!policy.ok()) return Fail(policy.status());
  if (arguments.json) {
    Print(*policy);
    return kDone;
  }
  printf("Numbers over fewer than %llu patients do not leave%s.\nRuns are approved %s.\n",
         static_cast<unsigned long long>(policy->value("minimum_count", 0ULL)),
         arguments.minimum_count.has_value() ? ", from the agent's next start" : "",
         policy->value("all_runs_approved", false) ? "all, whatever they are" : "one by one");
  return kDone;
}

// What its people should know of a run that does not go on, from `status`, `list` and `show` alike.
void PrintWhy(const nlohmann::json& run) {
  for (const char* why : {"refusal", "missing_data"}) {
    const std::string sentence = run.value(why, "");
    if (!sentence.empty()) printf("  %s\n", sentence.c_str());
  }
}

void PrintRun(const nlohmann::json& run) {
  printf("run %s: %s, plan %s\n", run.value("run", "").c_str(), run.value("state", "").c_str(),
         run.value("plan_sha256", "").c_str());
  PrintWhy(run);
  for (const auto& [phase, count] : run.at("tasks").items()) {
    printf("  %s %d\n", phase.c_str(), count.get<int>());
  }
}

int ShowRuns(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> runs = ListRuns(arguments.place);
  if (!runs.ok()) return Fail(runs.status());
  if (arguments.json) {
    Print(*runs);
    return kDone;
  }
  for (const nlohmann::json& run : runs->at("runs")) PrintRun(run);
  return kDone;
}

int ShowOneRun(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> run = ShowRun(arguments.place, arguments.run);
  if (!run.ok()) return Fail(run.status());
  if (arguments.json) {
    Print(*run);
    return kDone;
  }
  printf("run %s, plan %s\n", run->value("run", "").c_str(), run->value("plan_sha256", "").c_str());
  PrintWhy(*run);
  if (!run->contains("plan")) {
    printf("%s; its plan is not kept.\n",
           run->contains("refusal") ? "That is final for this run" : "It is over");
    return kDone;
  }
  printf("\nIt would read %s.\n\nWhat would leave this site:\n", run->value("reads", "").c_str());
  for (const nlohmann::json& sentence : run->at("releases")) {
    printf("  * %s\n", sentence.get<std::string>().c_str());
  }
  printf("\nThe whole plan:\n\n%s\nTo approve it: consilium-agent approve --store %s --run %s\n",
         run->value("plan", "").c_str(), arguments.place.folder.c_str(), arguments.run.c_str());
  return kDone;
}

int WriteModel(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> written =
      ExportModel(arguments.place, arguments.run, arguments.out);
  if (!written.ok()) return Fail(written.status());
  if (arguments.json) {
    Print(*written);
    return kDone;
  }
  printf("%s: this site's own model of %s, of version %d with what it kept at version %d\n",
         written->value("file", "").c_str(), arguments.run.c_str(), written->value("version", 0),
         written->value("kept_with", 0));
  return kDone;
}

int ShowStatus(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> status = SiteStatus(arguments.place);
  if (!status.ok()) return Fail(status.status());
  if (arguments.json) {
    Print(*status);
    return kDone;
  }
  if (!status->contains("site")) {
    printf("This site has not joined a federation yet.\n");
    return kDone;
  }
  printf("site %s of the federation %s; the agent %s\n", status->value("site", "").c_str(),
         status->value("federation", "").c_str(),
         !status->value("running", false)   ? "does not run"
         : status->value("attached", false) ? "runs and is attached"
                                            : "runs and is not attached");
  const std::string refused = status->value("refused_for_good_why", "");
  if (!refused.empty()) printf("REFUSED: %s\n", refused.c_str());
  const std::string error = status->value("link_error", "");
  if (!error.empty()) printf("  %s\n", error.c_str());
  const std::string trouble = status->value("certificate_error", "");
  if (trouble.empty()) {
    printf("certificate valid until %s\n", status->value("certificate_not_after", "").c_str());
  } else {
    printf("CERTIFICATE: %s\n", trouble.c_str());
  }
  for (const nlohmann::json& run : status->at("runs")) PrintRun(run);
  return kDone;
}

int Audit(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> audit = VerifyAudit(arguments.place);
  if (!audit.ok()) return Fail(audit.status());
  if (arguments.json) {
    Print(*audit);
    return kDone;
  }
  printf("The journal's chain of %llu rows holds; its head is %s.\nWhat has left this site:\n",
         static_cast<unsigned long long>(audit->value("rows", 0ULL)),
         audit->value("head_sha256", "").c_str());
  for (const auto& [kind, totals] : audit->at("releases").items()) {
    printf("  %-14s %llu times, %llu bytes\n", kind.c_str(),
           static_cast<unsigned long long>(totals.value("count", 0ULL)),
           static_cast<unsigned long long>(totals.value("bytes", 0ULL)));
  }
  return kDone;
}

int Run(const Arguments& arguments) {
  AgentOptions options;
  if (!absl::ParseDuration(arguments.task_duration_min, &options.site.task_duration_min) ||
      options.site.task_duration_min < absl::ZeroDuration()) {
    return Fail(absl::InvalidArgumentError(
        "--task-duration-min takes a time of 0 or more, e.g. 10s or 250ms"));
  }
  InitialiseTorch();
  signal(SIGPIPE, SIG_IGN);
  CpuTrainer trainer;
  const absl::Status status = RunAgent(arguments.place, &trainer, options);
  return status.ok() ? kDone : FailRun(status);
}

// --- arguments ----------------------------------------------------------------------------------

using Command = int (*)(const Arguments&);

CLI::App* AddCommand(CLI::App& parent, Arguments& arguments, const std::string& name,
                     const std::string& what) {
  CLI::App* command = parent.add_subcommand(name, what);
  command->add_option("--store", arguments.place.folder, "The site's store (a folder)")->required();
  command->add_option("--kek", arguments.place.kek_file,
                      "The key file; default: where `init` put it");
  command->add_option("--passphrase-file", arguments.place.passphrase_file,
                      "File whose first line opens the key file; - asks for it");
  return command;
}

void AddJson(CLI::App* command, Arguments& arguments) {
  command->add_flag("--json", arguments.json, "Print JSON");
}

void Remember(CLI::App* command, Command& chosen, Command run) {
  command->callback([&chosen, run] { chosen = run; });
}

void AddJoining(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* init = AddCommand(app, arguments, "init", "Make the store and its key");
  init->get_option("--kek")->description("The key file to make; default: STORE-key/site.kek");
  AddJson(init, arguments);
  init->footer(
      "Examples:\n  consilium-agent init --store /var/lib/consilium/site\n"
      "  consilium-agent init --store /var/lib/consilium/site --passphrase-file -");
  Remember(init, chosen, Init);
  CLI::App* enrol = AddCommand(app, arguments, "enrol", "Join a federation");
  enrol->add_option("--join", arguments.join_file, "The join file of `consilium site add`")
      ->required()
      ->check(CLI::ExistingFile);
  AddJson(enrol, arguments);
  enrol->footer("Example:\n  consilium-agent enrol --store site --join cleveland.join");
  Remember(enrol, chosen, Enrol);
}

// Empty, or what is wrong with an --array.
std::string CheckArray(const std::string& text) {
  const absl::StatusOr<ArrayColumnSource> column = ArrayColumnOf(text);
  if (!column.ok()) return std::string(column.status().message());
  for (const ArrayColumnSource::Part& part : column->parts) {
    const std::string complaint = CLI::ExistingFile(part.file);
    if (!complaint.empty()) return complaint;
  }
  return "";
}

std::string CheckArchiveName(const std::string& file) {
  return absl::EndsWith(file, ".npz") ? "" : "takes a file whose name ends in .npz";
}

void AddRows(CLI::App* command, Arguments& arguments) {
  CLI::Option_group* rows = command->add_option_group("rows", "Where they are: one of these");
  rows->add_option("--csv", arguments.import.csv_file, "The CSV file")->check(CLI::ExistingFile);
  rows->add_option("--npz", arguments.import.npz_file,
                   "NumPy archive: for each column an array of its name, with an entry a row")
      ->check(CLI::ExistingFile)
      ->check(CheckArchiveName);
  rows->add_option("--array", arguments.arrays,
                   "Again for each column: IDX files (also packed, *.gz), or archives with the "
                   "array's name where it is not the column's; several are one after the other")
      ->type_name("COLUMN=FILE[:ARRAY][,FILE...]")
      ->allow_extra_args(false)
      ->check(CheckArray);
  rows->require_option(1);
}

void AddImport(CLI::App& data, Arguments& arguments, Command& chosen) {
  CLI::App* command =
      AddCommand(data, arguments, "import", "Import a table or arrays under a contract");
  command->add_option("--contract", arguments.import.contract_file, "The data contract")
      ->required()
      ->check(CLI::ExistingFile);
  AddRows(command, arguments);
  command->add_option("--dataset", arguments.import.dataset,
                      "Name of the data set, which is replaced; default: the contract's name");
  command->add_option("--report", arguments.import.report_file,
                      "Where refused rows are listed; default: in the store's folder");
  command->add_flag_callback(
      "--strict",
      [&arguments] { arguments.import.bad_rows = ImportOptions::BadRows::kImportNothing; },
      "Import nothing and exit with 1 where a row is refused");
  AddJson(command, arguments);
  command->footer(
      "Examples:\n  consilium-agent data import --store site \\\n"
      "      --contract heart_disease.contract.textproto --csv cleveland.csv\n"
      "  consilium-agent data import --store site \\\n"
      "      --contract pneumoniamnist.contract.textproto --npz chest.npz\n"
      "  consilium-agent data import --store site \\\n"
      "      --contract pneumoniamnist.contract.textproto \\\n"
      "      --array image=chest.npz:train_images,chest.npz:test_images \\\n"
      "      --array label=chest.npz:train_labels,chest.npz:test_labels");
  Remember(command, chosen, Import);
}

void AddData(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* data = app.add_subcommand("data", "Import and list data sets");
  data->require_subcommand(1);
  AddImport(*data, arguments, chosen);
  CLI::App* list = AddCommand(*data, arguments, "list", "Data sets and their sizes");
  AddJson(list, arguments);
  list->footer("Example:\n  consilium-agent data list --store site --json");
  Remember(list, chosen, List);
}

void AddDeciding(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* runs = app.add_subcommand("runs", "Runs that were offered here, and their plans");
  runs->require_subcommand(1);
  CLI::App* list = AddCommand(*runs, arguments, "list", "All runs and their states");
  AddJson(list, arguments);
  list->footer("Example:\n  consilium-agent runs list --store site");
  Remember(list, chosen, ShowRuns);
  CLI::App* show = AddCommand(*runs, arguments, "show", "A run's plan, and what would leave");
  show->add_option("run", arguments.run, "The run's id")->required();
  AddJson(show, arguments);
  show->footer("Example:\n  consilium-agent runs show heart-1 --store site");
  Remember(show, chosen, ShowOneRun);
  CLI::App* model = app.add_subcommand("model", "What a run leaves this site");
  model->require_subcommand(1);
  CLI::App* exported =
      AddCommand(*model, arguments, "export",
                 "Write this site's own model (FEDPER, FEDBN, DITTO) as a safetensors file");
  exported->add_option("run", arguments.run, "The run's id")->required();
  exported->add_option("--out", arguments.out, "File, which only this user may read")->required();
  AddJson(exported, arguments);
  const std::string example =
      "Example:\n  consilium-agent model export heart-1 --store site --out own.safetensors";
  model->footer(example);
  exported->footer(example +
                   "\nIt lies there unsealed: what was learned of this site's patients is in it.");
  Remember(exported, chosen, WriteModel);
  CLI::App* approve = AddCommand(app, arguments, "approve", "Let this site take part in a run");
  CLI::Option_group* which = approve->add_option_group("which");
  CLI::Option* run = which->add_option("--run", arguments.run, "The run's id");
  CLI::Option* hash = which->add_option("--plan-hash", arguments.plan_hash,
                                        "Its plan's hash; alone: of the one run that waits");
  CLI::Option* all = which->add_flag("--all-runs", arguments.all_runs,
                                     "Every run of this federation, until --one-by-one");
  CLI::Option* one_by_one = which->add_flag("--one-by-one", arguments.one_by_one,
                                            "Takes --all-runs back; what runs goes on");
  CLI::Option* withdraw =
      which->add_option("--withdraw", arguments.withdraw, "End this site's part in a run");
  which->require_option(1, 2);  // Two: a run and the hash that its plan must have.
  all->excludes(run)->excludes(hash);
  one_by_one->excludes(run)->excludes(hash)->excludes(all);
  withdraw->excludes(run)->excludes(hash)->excludes(all)->excludes(one_by_one);
  AddJson(approve, arguments);
  approve->footer(
      "Examples:\n  consilium-agent approve --store site --run heart-1\n"
      "  consilium-agent approve --store site --withdraw heart-1");
  Remember(approve, chosen, ApproveRuns);
  CLI::App* policy = AddCommand(app, arguments, "policy", "What this site asks of every run");
  policy->add_option("--minimum-count", arguments.minimum_count,
                     "Numbers over fewer patients do not leave; at least 2, and 5 by default");
  AddJson(policy, arguments);
  policy->footer("Example:\n  consilium-agent policy --store site --minimum-count 10");
  Remember(policy, chosen, ShowPolicy);
}

void AddRunning(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* run = AddCommand(app, arguments, "run", "Run the agent until SIGTERM");
  run->add_option("--task-duration-min", arguments.task_duration_min,
                  "A task takes at least this long here, e.g. 10s; default 0s");
  run->footer(std::string("Example:\n  consilium-agent run --store site\n\n") + kExitCodes);
  Remember(run, chosen, Run);
  CLI::App* status = AddCommand(app, arguments, "status", "The site, its link and its runs");
  AddJson(status, arguments);
  status->footer("Example:\n  consilium-agent status --store site --json");
  Remember(status, chosen, ShowStatus);
  CLI::App* audit = app.add_subcommand("audit", "The record of what has left this site");
  audit->require_subcommand(1);
  CLI::App* verify = AddCommand(*audit, arguments, "verify", "Check the journal's hash chain");
  AddJson(verify, arguments);
  verify->footer("Example:\n  consilium-agent audit verify --store site");
  Remember(verify, chosen, Audit);
}

// The parser says what it misses; the word that it could not place is the likelier cause.
std::string Complaint(const CLI::App* app, const CLI::Error& error) {
  const std::string complaint = CLI::FailureMessage::simple(app, error);
  const std::vector<std::string> strange = app->remaining(/*recurse=*/true);
  if (strange.empty()) return complaint;
  const std::string& word = strange.front();
  if (app->got_subcommand("approve") && word[0] != '-') {
    return "what is " + word + "? Did you mean --run " + word + "?\n" + complaint;
  }
  return "there is no " + word + " here. " + complaint;
}

int Main(int argc, char** argv) {
  KeepMemoryToItself();
  // Answers go to stdout; what happens goes to stderr.
  spdlog::set_default_logger(spdlog::stderr_color_mt("agent"));
  CLI::App app("The agent of one hospital in a Consilium federation.", "consilium-agent");
  app.require_subcommand(1);
  app.failure_message(Complaint);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.footer(std::string("Example:\n"
                         "  consilium-agent init --store site\n"
                         "  consilium-agent enrol --store site --join cleveland.join\n"
                         "  consilium-agent data import --store site --contract "
                         "study.contract.textproto --csv c.csv\n"
                         "  consilium-agent approve --store site --all-runs\n"
                         "  consilium-agent run --store site\n\n") +
             kExitCodes);
  Arguments arguments;
  Command chosen = nullptr;
  AddJoining(app, arguments, chosen);
  AddData(app, arguments, chosen);
  AddDeciding(app, arguments, chosen);
  AddRunning(app, arguments, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  try {
    return chosen(arguments);
  } catch (const nlohmann::json::exception&) {
    return Fail(absl::InternalError(
        "the agent that runs on this store answers in another form: it is of another version"));
  }
}

}  // namespace
}  // namespace consilium::site

int main(int argc, char** argv) { return consilium::site::Main(argc, argv); }
