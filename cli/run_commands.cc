#include <stdio.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/run_text.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"

namespace consilium {
namespace {

constexpr char kRunHelp[] = "As `consilium run list` shows it";

// A config that names a file that is not there is a wrong config.
absl::StatusOr<v1::RunPlan> LoadPlan(const std::string& file) {
  absl::StatusOr<v1::RunPlan> plan = LoadRunPlan(file);
  if (absl::IsNotFound(plan.status())) {
    return absl::InvalidArgumentError(plan.status().message());
  }
  return plan;
}

absl::Status Validate(const CommandLine& line, const std::string& file) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan, LoadPlan(file));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  Print(line, plan,
        absl::StrFormat("%s is good: %d features, %d parameters, plan %s", file,
                        FeatureCount(plan.contract()), graph.layout.elements(),
                        ToHex(PlanHash(plan))));
  return absl::OkStatus();
}

absl::Status Submit(const CommandLine& line, const std::string& file) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan, LoadPlan(file));
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::SubmitRunRequest request;
  *request.mutable_plan() = plan;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::SubmitRunResponse response,
                             admin.Call(&v1::Admin::Stub::SubmitRun, request));
  // Of the JSON they are a part.
  if (line.output == CommandLine::Output::kText) {
    for (const std::string& warning : response.warnings()) {
      absl::FPrintF(stderr, "warning: %s\n", warning);
    }
  }
  Print(line, response,
        absl::StrFormat("%s\nplan %s\neach site approves this run by its id before it trains: "
                        "consilium-agent approve --store STORE --run %s",
                        response.run_id(), absl::BytesToHexString(response.plan_hash()),
                        response.run_id()));
  return absl::OkStatus();
}

absl::Status List(const CommandLine& line) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ListRunsResponse runs,
                             admin.Call(&v1::Admin::Stub::ListRuns, v1::ListRunsRequest()));
  std::string text =
      absl::StrFormat("%-40s %-20s %8s %6s %s\n", "RUN", "PHASE", "VERSION", "SITES", "SUBMITTED");
  for (const v1::RunSummary& run : runs.runs()) {
    absl::StrAppendFormat(&text, "%-40s %-20s %8d %6d %s\n", run.run_id(), run.phase(),
                          run.version(), run.sites(), TimeText(run.submitted_unix_s()));
  }
  Print(line, runs, text);
  return absl::OkStatus();
}

absl::Status Status(const CommandLine& line, const std::string& run) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::GetRunRequest request;
  request.set_run_id(run);
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunReport report,
                             admin.Call(&v1::Admin::Stub::GetRun, request));
  Print(line, report, RunText(report));
  return absl::OkStatus();
}

struct WatchOptions {
  std::string run;
  // Stop watching when this version has committed; 0: when the run has ended.
  uint64_t until_version = 0;
};

absl::Status Watch(const CommandLine& line, const WatchOptions& options) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  const bool terminal = isatty(STDERR_FILENO) == 1;
  v1::RunReport last;
  std::optional<VersionLines> lines;
  const absl::Status watched = admin.WatchRun(options.run, [&](const v1::RunReport& report) {
    last = report;
    if (!lines.has_value()) lines.emplace(report.current_version());
    if (terminal) fputs("\r\033[K", stderr);
    if (line.output == CommandLine::Output::kText) {
      fputs(lines->Next(report).c_str(), stdout);
      fflush(stdout);
    }
    if (terminal) absl::FPrintF(stderr, "%s", ProgressText(report));
    return options.until_version > 0 && report.current_version() >= options.until_version
               ? AdminClient::Watch::kStop
               : AdminClient::Watch::kGoOn;
  });
  if (terminal) fputs("\r\033[K", stderr);
  CONSILIUM_RETURN_IF_ERROR(watched);
  Print(line, last, RunText(last));
  return absl::OkStatus();
}

absl::Status Stop(const CommandLine& line, const std::string& run) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::StopRunRequest request;
  request.set_run_id(run);
  CONSILIUM_ASSIGN_OR_RETURN(const v1::StopRunResponse done,
                             admin.Call(&v1::Admin::Stub::StopRun, request));
  Print(line, done,
        absl::StrCat(run, done.had_ended() ? " has ended already"
                                           : " is stopping: no update is merged any more"));
  return absl::OkStatus();
}

struct PurgeOptions {
  std::string run;
  bool with_models = false;
};

absl::Status Purge(const CommandLine& line, const PurgeOptions& options) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::PurgeRunRequest request;
  request.set_run_id(options.run);
  request.set_with_models(options.with_models);
  CONSILIUM_ASSIGN_OR_RETURN(const v1::PurgeRunResponse done,
                             admin.Call(&v1::Admin::Stub::PurgeRun, request));
  Print(line, done,
        absl::StrFormat("%s: %d blobs removed, all updates and all models; its journal stays",
                        options.run, done.blobs_removed()));
  return absl::OkStatus();
}

struct ExportOptions {
  std::string run;
  std::string recipient;
  std::string out;
  enum class Updates { kWith, kWithout } updates = Updates::kWith;
};

// Hexadecimal digits, or a file that holds them.
absl::StatusOr<std::string> RecipientBytes(const std::string& given) {
  std::string hex = given;
  if (!DigestFromHex(hex).has_value()) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(given, 256));
    hex = std::string(absl::StripTrailingAsciiWhitespace(text));
  }
  const std::optional<Digest> key = DigestFromHex(hex);
  if (!key.has_value()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--recipient %s: give 64 hexadecimal digits or a .pub file of `consilium pki recipient`",
        given));
  }
  return ToBytes(*key);
}

absl::Status Export(const CommandLine& line, const ExportOptions& options) {
  v1::ExportRunRequest request;
  request.set_run_id(options.run);
  CONSILIUM_ASSIGN_OR_RETURN(*request.mutable_recipient_public_key(),
                             RecipientBytes(options.recipient));
  request.set_with_updates(options.updates == ExportOptions::Updates::kWith);
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  const std::string temporary = absl::StrCat(options.out, ".new");
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  uint64_t bytes = 0;
  const absl::Status written = admin.ExportRun(request, [&](const std::string& piece) {
    file.write(piece.data(), static_cast<std::streamsize>(piece.size()));
    bytes += piece.size();
    return file ? absl::OkStatus()
                : absl::UnavailableError(absl::StrCat("can not write ", temporary));
  });
  file.close();
  if (!written.ok() || !file) {
    remove(temporary.c_str());
    return written.ok() ? absl::UnavailableError(absl::StrCat("can not write ", temporary))
                        : written;
  }
  if (rename(temporary.c_str(), options.out.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("can not rename to ", options.out));
  }
  v1::WrittenFile summary;
  summary.set_file(options.out);
  summary.set_bytes(bytes);
  Print(line, summary,
        absl::StrFormat("%s: %d bytes, readable by the recipient alone", options.out, bytes));
  return absl::OkStatus();
}

}  // namespace

void AddRunCommands(CLI::App& app, CommandLine& line) {
  CLI::App* run = app.add_subcommand("run", "Training runs.");
  run->require_subcommand(1);
  run->footer(
      "Examples:\n  consilium run validate run.textproto\n"
      "  consilium run submit run.textproto --data agg\n"
      "  consilium run list --data agg");
  auto name = std::make_shared<std::string>();
  enum class Takes { kNothing, kRun, kRunConfig };
  const auto add = [&](const char* command, const char* what, const char* example, Takes takes,
                       auto action) {
    CLI::App* sub = run->add_subcommand(command, what);
    sub->footer(absl::StrCat("Example:\n  consilium run ", example));
    if (takes == Takes::kRun) sub->add_option("RUN", *name, kRunHelp)->required();
    if (takes == Takes::kRunConfig) {
      sub->add_option("RUN_CONFIG", *name, "Run config (protobuf text)")
          ->required()
          ->check(CLI::ExistingFile);
    }
    sub->callback([&line, name, action] {
      line.chosen = [&line, name, action] { return action(line, *name); };
    });
  };
  add("validate", "Say whether a run config can work, and if not, why.", "validate run.textproto",
      Takes::kRunConfig, Validate);
  add("submit", "Start a run.", "submit run.textproto --data agg", Takes::kRunConfig, Submit);
  add("list", "All runs.", "list --data agg --json", Takes::kNothing,
      [](const CommandLine& l, const std::string&) { return List(l); });
  add("status", "One run in numbers.", "status wdbc-1a2b3c4d-1 --data agg", Takes::kRun, Status);
  add("stop", "End a run; accepted updates that are not merged get NOT_INCLUDED.",
      "stop wdbc-1a2b3c4d-1 --data agg", Takes::kRun, Stop);
  auto purge = std::make_shared<PurgeOptions>();
  CLI::App* purging = run->add_subcommand(
      "purge",
      "Remove the updates AND ALL MODELS of an ended run, its result too; export the model first. "
      "Can not be undone.");
  purging->footer(
      "Examples:\n  consilium model export wdbc-1a2b3c4d-1 --data agg --out model.safetensors\n"
      "  consilium run purge wdbc-1a2b3c4d-1 --data agg --with-models");
  purging->add_option("RUN", purge->run, kRunHelp)->required();
  purging->add_flag("--with-models", purge->with_models,
                    "Must be given: the models go too, and no replay can make them again here");
  purging->callback(
      [&line, purge] { line.chosen = [&line, purge] { return Purge(line, *purge); }; });
  auto watch = std::make_shared<WatchOptions>();
  CLI::App* watching = run->add_subcommand("watch", "Follow a run until it ends.");
  watching->footer("Example:\n  consilium run watch wdbc-1a2b3c4d-1 --data agg --until-version 10");
  watching->add_option("RUN", watch->run, kRunHelp)->required();
  watching->add_option("--until-version", watch->until_version, "Return at this version already");
  watching->callback(
      [&line, watch] { line.chosen = [&line, watch] { return Watch(line, *watch); }; });
  auto options = std::make_shared<ExportOptions>();
  CLI::App* exporting = run->add_subcommand(
      "export", "Write the run's journal, signed and encrypted, for consilium-sim replay.");
  exporting->footer(
      "Example:\n  consilium run export wdbc-1a2b3c4d-1 --data agg --recipient reader.key.pub "
      "--out run.export");
  exporting->add_option("RUN", options->run, kRunHelp)->required();
  exporting->add_option("--recipient", options->recipient, "Public key, or file of it")->required();
  exporting->add_option("--out", options->out, "File")->required();
  exporting->add_flag_callback(
      "--without-updates", [options] { options->updates = ExportOptions::Updates::kWithout; },
      "Leave the updates out: decisions can be replayed, models only by retraining");
  exporting->callback(
      [&line, options] { line.chosen = [&line, options] { return Export(line, *options); }; });
}

}  // namespace consilium
