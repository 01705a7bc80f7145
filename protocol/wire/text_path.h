// One field of a message, set by its path, as people write it on a command line:
//   training.local_steps=10
//   model.parameters.units=32            a map's entry by its key
//   layers.2.linear.units="units"        an element by its index from 0,
//   layers.drop.dropout.probability=.5   by its name, site_id, site or column,
//   layers.*.dropout.probability=.5      or all that have the next field
// The value is protobuf text format, also of a whole message: "{ sgd { learning_rate: 0.1 } }".
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_WIRE_TEXT_PATH_H_
#define CONSILIUM_PROTOCOL_WIRE_TEXT_PATH_H_

#include <string>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}

namespace consilium {

// Sets what `assignment`, "path=value", names, and nothing beside it; a repeated field at the end
// of the path gets one more entry, or those of a list. INVALID_ARGUMENT begins with the assignment,
// or with its path where an element that it names is not there.
absl::Status SetByPath(const std::string& assignment, google::protobuf::Message& message);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_TEXT_PATH_H_
