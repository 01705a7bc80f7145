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

#include "absl/time/time.h"
#include "models/torch/torch_model.h"
#include "protocol/wire/hash.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/train/cpu_trainer.h"

namespace consilium::site {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

struct Arguments {
  StorePlace place;
  bool json = false;
  std::string join_file;
  ImportOptions import;
  bool strict = false;
  std::string plan_hash;
  bool all_runs = false;
  std::string task_duration_min = "0s";
  uint64_t minimum_count = kMinimumCountDefault;
};

int Fail(const absl::Status& status) {
  fprintf(stderr, "consilium-agent: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kWrongUsage : kFailed;
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
      "Compare with what the aggregator shows (consilium site list):\n"
      "  certificate  %s\n  signing key  %s\n",
      enrolled->value("site", "").c_str(), enrolled->value("federation", "").c_str(),
      enrolled->value("certificate_sha256", "").c_str(),
      enrolled->value("signing_key_sha256", "").c_str());
  return kDone;
}

unsigned long long Count(const nlohmann::json& value, const char* key) {
  return value.value(key, 0ULL);
}

void PrintImport(const nlohmann::json& result) {
  printf("data set %s: %llu rows read, %llu stored, %llu refused\n",
         result.value("dataset", "").c_str(), Count(result, "rows_read"),
         Count(result, "rows_stored"), Count(result, "rows_refused"));
  const nlohmann::json& refusals = result.at("refusals");
  for (const nlohmann::json& refusal : refusals) {
    const std::string column = refusal.value("column", "");
    printf("  line %llu: %s %s\n", Count(refusal, "line"),
           column.empty() ? "the row" : column.c_str(), refusal.value("reason", "").c_str());
  }
  if (Count(result, "rows_refused") > refusals.size()) printf("  ...\n");
  printf("All refused rows, with line and reason: %s\n", result.value("report_file", "").c_str());
}

int Import(const Arguments& arguments) {
  const absl::StatusOr<nlohmann::json> result = ImportData(arguments.place, arguments.import);
  if (!result.ok()) return Fail(result.status());
  if (arguments.json) {
    Print(*result);
  } else {
    PrintImport(*result);
  }
  return arguments.strict && Count(*result, "rows_refused") > 0 ? kFailed : kDone;
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

int ApproveRuns(const Arguments& arguments) {
  std::optional<Digest> hash;
  if (!arguments.all_runs) {
    hash = DigestFromHex(arguments.plan_hash);
    if (!hash.has_value()) {
      return Fail(absl::InvalidArgumentError(
          "--plan-hash takes 64 lower-case hexadecimal digits, as `status` shows them"));
    }
  }
  const absl::Status approved = Approve(arguments.place, hash);
  if (!approved.ok()) return Fail(approved);
  if (arguments.json) {
    nlohmann::json answer;
    answer["approved"] = hash.has_value() ? arguments.plan_hash : "all runs";
    Print(answer);
    return kDone;
  }
  printf("Approved: %s\n", hash.has_value() ? arguments.plan_hash.c_str() : "all runs");
  return kDone;
}

void PrintRun(const nlohmann::json& run) {
  printf("run %s: %s, plan %s\n", run.value("run", "").c_str(), run.value("state", "").c_str(),
         run.value("plan_sha256", "").c_str());
  for (const auto& [phase, count] : run.at("tasks").items()) {
    printf("  %s %d\n", phase.c_str(), count.get<int>());
  }
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
  options.egress.minimum_count = arguments.minimum_count;
  if (!absl::ParseDuration(arguments.task_duration_min, &options.site.task_duration_min) ||
      options.site.task_duration_min < absl::ZeroDuration()) {
    return Fail(absl::InvalidArgumentError(
        "--task-duration-min takes a time of 0 or more, e.g. 10s or 250ms"));
  }
  InitialiseTorch();
  signal(SIGPIPE, SIG_IGN);
  CpuTrainer trainer;
  const absl::Status status = RunAgent(arguments.place, &trainer, options);
  return status.ok() ? kDone : Fail(status);
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

void AddData(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* data = app.add_subcommand("data", "Import and list data sets");
  data->require_subcommand(1);
  CLI::App* import = AddCommand(*data, arguments, "import", "Import a CSV file under a contract");
  import->add_option("--contract", arguments.import.contract_file, "The data contract")
      ->required()
      ->check(CLI::ExistingFile);
  import->add_option("--csv", arguments.import.csv_file, "The CSV file")
      ->required()
      ->check(CLI::ExistingFile);
  import->add_option("--dataset", arguments.import.dataset,
                     "Name of the data set, which is replaced; default: the contract's name");
  import->add_option("--report", arguments.import.report_file,
                     "Where refused rows are listed; default: in the store's folder");
  import->add_flag("--strict", arguments.strict, "Exit with 1 where a row was refused");
  AddJson(import, arguments);
  import->footer(
      "Example:\n  consilium-agent data import --store site \\\n"
      "      --contract heart_disease.contract.textproto --csv cleveland.csv");
  Remember(import, chosen, Import);
  CLI::App* list = AddCommand(*data, arguments, "list", "Data sets and their sizes");
  AddJson(list, arguments);
  list->footer("Example:\n  consilium-agent data list --store site --json");
  Remember(list, chosen, List);
}

void AddRunning(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* approve = AddCommand(app, arguments, "approve", "Let this site take part in a run");
  CLI::Option_group* which = approve->add_option_group("which");
  which->add_option("--plan-hash", arguments.plan_hash, "The plan's hash, as the log shows it");
  which->add_flag("--all-runs", arguments.all_runs, "Every run of this federation");
  which->require_option(1);
  AddJson(approve, arguments);
  approve->footer("Example:\n  consilium-agent approve --store site --plan-hash 3b0c...");
  Remember(approve, chosen, ApproveRuns);
  CLI::App* run = AddCommand(app, arguments, "run", "Run the agent until SIGTERM");
  run->add_option("--task-duration-min", arguments.task_duration_min,
                  "A task takes at least this long here, e.g. 10s; default 0s");
  run->add_option("--minimum-count", arguments.minimum_count,
                  "Numbers over fewer rows than this do not leave; default 5");
  run->footer("Example:\n  consilium-agent run --store site");
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

int Main(int argc, char** argv) {
  // Answers go to stdout; what happens goes to stderr.
  spdlog::set_default_logger(spdlog::stderr_color_mt("agent"));
  CLI::App app("The agent of one hospital in a Consilium federation.", "consilium-agent");
  app.require_subcommand(1);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.footer(
      "Example:\n"
      "  consilium-agent init --store site\n"
      "  consilium-agent enrol --store site --join cleveland.join\n"
      "  consilium-agent data import --store site --contract study.contract.textproto --csv c.csv\n"
      "  consilium-agent approve --store site --all-runs\n"
      "  consilium-agent run --store site");
  Arguments arguments;
  Command chosen = nullptr;
  AddJoining(app, arguments, chosen);
  AddData(app, arguments, chosen);
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
