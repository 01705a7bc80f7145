// Any message as JSON for --json: field names as in the protos, bytes as hexadecimal, numbers as
// numbers, absent optional fields left out.
//
// Threads: any.

#ifndef CONSILIUM_CLI_JSON_TEXT_H_
#define CONSILIUM_CLI_JSON_TEXT_H_

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>

namespace consilium {

nlohmann::json JsonOf(const google::protobuf::Message& message);

}  // namespace consilium

#endif  // CONSILIUM_CLI_JSON_TEXT_H_
