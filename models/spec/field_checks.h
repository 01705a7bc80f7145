// What protobuf lets pass and a plan must not hold: fields of a newer build, whose meaning would be
// ignored in silence, and text that no peer's parser takes.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_FIELD_CHECKS_H_
#define CONSILIUM_MODELS_SPEC_FIELD_CHECKS_H_

#include "absl/strings/string_view.h"
#include "models/spec/complaints.h"

namespace google::protobuf {
class Message;
}

namespace consilium {

// Complains of each message within `message` that has unknown fields, and of each string that is
// not UTF-8 (as files from old spreadsheets are), by the name in the .proto file.
void CheckFieldsKnown(const google::protobuf::Message& message, Complaints& complaints);

// RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(absl::string_view text);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_FIELD_CHECKS_H_
