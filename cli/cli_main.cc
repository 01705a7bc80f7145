// consilium: the operator's tool.

#include <stdio.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"
#include "cli/command.h"
#include "protocol/core/process_memory.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

// 0 done, 1 failed, 2 wrong usage or config.
int ExitCode(const absl::Status& status) {
  if (status.ok()) return 0;
  fprintf(stderr, "consilium: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

int Main(int argc, char** argv) {
  KeepMemoryToItself();
  // stdout is for results alone.
  spdlog::set_default_logger(spdlog::stderr_color_mt("consilium"));
  CLI::App app("Runs a federation of hospitals: keys, sites, runs, models and audit.", "consilium");
  app.require_subcommand(1);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.footer(
      "Examples:\n"
      "  consilium pki init --dir pki --federation heart-study\n"
      "  consilium-aggregator init --data agg --pki pki --federation heart-study \\\n"
      "      --address aggregator.example.org:7443 \\\n"
      "      --enrolment-address aggregator.example.org:7444 \\\n"
      "      --listen 0.0.0.0:7443 --enrolment-listen 0.0.0.0:7444\n"
      "  consilium-aggregator serve --data agg &\n"
      "  export CONSILIUM_AGGREGATOR_DATA=agg\n"
      "  consilium site add st-mary\n"
      "  consilium run submit run.textproto");
  // Options given after a subcommand count too.
  app.fallthrough();
  CommandLine line;
  app.add_option("--data", line.data, "The aggregator's data folder")
      ->envname("CONSILIUM_AGGREGATOR_DATA");
  app.add_flag_callback(
      "--json", [&line] { line.output = CommandLine::Output::kJson; }, "Results as JSON");
  AddPkiCommands(app, line);
  AddSiteCommands(app, line);
  AddRunCommands(app, line);
  AddModelCommands(app, line);
  AddStatusCommands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return ExitCode(line.chosen());
}

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) { return consilium::Main(argc, argv); }
