#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/run_text.h"
#include "models/spec/describe.h"
#include "models/spec/run_plan.h"
#include "models/spec/safetensors.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

struct DescribeOptions {
  std::string spec_file;
  std::vector<std::string> settings;
};

absl::Status Describe(const CommandLine& line, const DescribeOptions& options) {
  v1::ModelSpec spec;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(options.spec_file, spec));
  std::map<std::string, int64_t> parameters;
  for (const std::string& setting : options.settings) {
    const std::vector<std::string> parts = absl::StrSplit(setting, absl::MaxSplits('=', 1));
    int64_t value = 0;
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &value)) {
      return absl::InvalidArgumentError(absl::StrFormat("--set %s: write NAME=NUMBER", setting));
    }
    parameters[parts[0]] = value;
  }
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, BuildModelGraph(spec, parameters));
  const ModelDescription description = DescribeModel(graph);
  absl::PrintF("%s\n", line.output == CommandLine::Output::kJson
                           ? DescriptionJson(description).dump(2)
                           : DescriptionText(description));
  return absl::OkStatus();
}

absl::StatusOr<v1::RunReport> ReportOf(AdminClient& admin, const std::string& run) {
  v1::GetRunRequest request;
  request.set_run_id(run);
  return admin.Call(&v1::Admin::Stub::GetRun, request);
}

absl::Status List(const CommandLine& line, const std::string& run) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunReport report, ReportOf(admin, run));
  std::string text = absl::StrFormat("%8s %-64s %-23s %-44s %s\n", "VERSION", "MODEL", "COMMITTED",
                                     "VALIDATION", "UPDATES");
  for (const v1::VersionReport& version : report.versions()) {
    std::vector<std::string> sites;
    for (const v1::ContributionReport& part : version.contributions()) {
      if (!part.table_entry()) sites.push_back(part.site_id());
    }
    absl::StrAppendFormat(&text, "%8d %-64s %-23s %-44s %s\n", version.version(),
                          absl::BytesToHexString(version.model_id()),
                          TimeText(version.committed_unix_ns() / 1'000'000'000),
                          ValidationText(report, version), absl::StrJoin(sites, " "));
  }
  Print(line, report, text);
  return absl::OkStatus();
}

struct ExportOptions {
  std::string run;
  std::optional<uint64_t> version;
  std::string out;
};

absl::Status Export(const CommandLine& line, const ExportOptions& options) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunReport report, ReportOf(admin, options.run));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(report.plan()));
  v1::ExportModelRequest request;
  request.set_run_id(options.run);
  if (options.version.has_value()) request.set_version(*options.version);
  std::string payload;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ModelHeader header,
                             admin.ExportModel(request, [&](const std::string& piece) {
                               payload.append(piece);
                               return payload.size() <= graph.layout.payload_bytes()
                                          ? absl::OkStatus()
                                          : absl::DataLossError("the model is too long");
                             }));
  std::vector<float> values(graph.layout.elements());
  if (payload.size() != graph.layout.payload_bytes()) {
    return absl::DataLossError("the model that came is not of the run's layout");
  }
  memcpy(values.data(), payload.data(), payload.size());
  TensorFileContent content;
  content.layout = &graph.layout;
  content.values = values;
  content.metadata = {{"run", options.run},
                      {"version", absl::StrCat(header.version())},
                      {"model_id", absl::BytesToHexString(header.model_id())},
                      {"spec", graph.name}};
  CONSILIUM_RETURN_IF_ERROR(WriteTensorFile(options.out, content));
  Print(line, header,
        absl::StrFormat("%s: version %d, model %s", options.out, header.version(),
                        absl::BytesToHexString(header.model_id())));
  return absl::OkStatus();
}

}  // namespace

void AddModelCommands(CLI::App& app, CommandLine& line) {
  CLI::App* model = app.add_subcommand("model", "Model specs, and the models of a run.");
  model->require_subcommand(1);
  model->footer(
      "Examples:\n  consilium model describe models/zoo/mlp.textproto --set features=30\n"
      "  consilium model list wdbc-1a2b3c4d-1 --data agg\n"
      "  consilium model export wdbc-1a2b3c4d-1 --data agg --out model.safetensors");
  auto describe = std::make_shared<DescribeOptions>();
  CLI::App* describing = model->add_subcommand(
      "describe", "Layers, shapes, parameters, multiply-adds and memory of a spec.");
  describing->footer(
      "Example:\n  consilium model describe models/zoo/mlp.textproto --set features=30 --json");
  describing->add_option("SPEC", describe->spec_file, "Model spec (protobuf text)")
      ->required()
      ->check(CLI::ExistingFile);
  describing->add_option("--set", describe->settings, "NAME=NUMBER for a parameter; repeatable");
  describing->callback(
      [&line, describe] { line.chosen = [&line, describe] { return Describe(line, *describe); }; });
  auto run = std::make_shared<std::string>();
  CLI::App* list = model->add_subcommand("list", "The versions of a run.");
  list->footer("Example:\n  consilium model list wdbc-1a2b3c4d-1 --data agg");
  list->add_option("RUN", *run, "As `consilium run list` shows it")->required();
  list->callback([&line, run] { line.chosen = [&line, run] { return List(line, *run); }; });
  auto options = std::make_shared<ExportOptions>();
  CLI::App* exporting = model->add_subcommand("export", "Write a version as a safetensors file.");
  exporting->footer(
      "Example:\n  consilium model export wdbc-1a2b3c4d-1 --data agg --out model.safetensors");
  exporting->add_option("RUN", options->run, "As `consilium run list` shows it")->required();
  exporting->add_option("--version", options->version,
                        "Default: the result; the newest while the run goes on");
  exporting->add_option("--out", options->out, "File")->required();
  exporting->callback(
      [&line, options] { line.chosen = [&line, options] { return Export(line, *options); }; });
}

}  // namespace consilium
