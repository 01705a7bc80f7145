// What an enum field of a text-format file may be, where somebody wrote something else: Protobuf's
// parser says only that it does not know the value.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_WIRE_ENUM_HINT_H_
#define CONSILIUM_PROTOCOL_WIRE_ENUM_HINT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace google::protobuf {
class Descriptor;
}

namespace consilium {

// Where the parser stood when it refused: line and column from 0, as it tells them.
struct TextPosition {
  int line = 0;
  int column = 0;
};

// What `error` goes on with, " It can be FEDAVG, FEDBUFF.": for a message of the parser about the
// value of an enum field of `text`, which is of type `root`; without the value that stands for
// none. Empty for any other error, and where the field is not found. Takes time linear in the text.
std::string EnumHint(absl::string_view text, const google::protobuf::Descriptor& root,
                     TextPosition position, const std::string& error);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_ENUM_HINT_H_
