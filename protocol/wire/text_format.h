// Files that people write, as protobuf text format. Unknown fields, wrong types and repeated
// scalars are refused with line and column.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_WIRE_TEXT_FORMAT_H_
#define CONSILIUM_PROTOCOL_WIRE_TEXT_FORMAT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace google::protobuf {
class Message;
}

namespace consilium {

// Parses `text` into `message`. `name` (a path, usually) begins each error:
//   INVALID_ARGUMENT "run.textproto:7:3: Message type "…" has no field named "lerning_rate"."
// Nesting deeper than 32 is refused.
absl::Status ParseTextFormat(absl::string_view text, absl::string_view name,
                             google::protobuf::Message& message);

// The same over what `message` holds already: fields that `text` gives replace those.
absl::Status MergeTextFormat(absl::string_view text, absl::string_view name,
                             google::protobuf::Message& message);

// Reads at most limits::kTextFileBytesMax and parses.
absl::Status ReadTextFormatFile(const std::string& path, google::protobuf::Message& message);

// The canonical bytes of a message for hashing within one build and version of Protobuf:
// deterministic serialization (maps sorted). Unknown fields are dropped first.
std::string DeterministicBytes(const google::protobuf::Message& message);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_TEXT_FORMAT_H_
