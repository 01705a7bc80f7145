// What the tool prints: results on stdout, as text or JSON.
//
// Threads: one.

#ifndef CONSILIUM_CLI_OUTPUT_H_
#define CONSILIUM_CLI_OUTPUT_H_

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "cli/command.h"

namespace consilium {

// The message as JSON, or `text`, as the command line asked.
void Print(const CommandLine& line, const google::protobuf::Message& message,
           absl::string_view text);

// The same for what is no message of the services.
void Print(const CommandLine& line, const nlohmann::json& value, absl::string_view text);

// "2026-11-21 14:02:11 UTC"; "-" for 0.
std::string TimeText(int64_t unix_s);

}  // namespace consilium

#endif  // CONSILIUM_CLI_OUTPUT_H_
