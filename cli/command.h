// How the `consilium` tool is put together: each group of commands adds itself to the parser and
// leaves what is to be done when one of its commands was chosen.
//
// Threads: one.

#ifndef CONSILIUM_CLI_COMMAND_H_
#define CONSILIUM_CLI_COMMAND_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace consilium {

struct CommandLine {
  // The aggregator's data folder, where its admin socket is.
  std::string data;
  enum class Output { kText, kJson } output = Output::kText;
  // Set by the chosen command.
  std::function<absl::Status()> chosen;
};

// `line` outlives the parser.
void AddPkiCommands(CLI::App& app, CommandLine& line);
void AddSiteCommands(CLI::App& app, CommandLine& line);
void AddRunCommands(CLI::App& app, CommandLine& line);
void AddModelCommands(CLI::App& app, CommandLine& line);
void AddStatusCommands(CLI::App& app, CommandLine& line);

}  // namespace consilium

#endif  // CONSILIUM_CLI_COMMAND_H_
