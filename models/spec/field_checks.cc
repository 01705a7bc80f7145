#include "models/spec/field_checks.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <string>
#include <vector>

namespace consilium {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void CheckText(const FieldDescriptor& field, absl::string_view text, Complaints& complaints) {
  complaints.Require(IsUtf8(text), field.full_name(), "is not UTF-8; save the file as UTF-8");
}

void CheckField(const Message& message, const FieldDescriptor& field, Complaints& complaints) {
  const Reflection& reflection = *message.GetReflection();
  const bool is_message = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (!is_message && field.type() != FieldDescriptor::TYPE_STRING) return;
  std::string scratch;
  if (!field.is_repeated()) {
    if (is_message) {
      CheckFieldsKnown(reflection.GetMessage(message, &field), complaints);
    } else {
      CheckText(field, reflection.GetStringReference(message, &field, &scratch), complaints);
    }
    return;
  }
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    if (is_message) {
      CheckFieldsKnown(reflection.GetRepeatedMessage(message, &field, i), complaints);
    } else {
      CheckText(field, reflection.GetRepeatedStringReference(message, &field, i, &scratch),
                complaints);
    }
  }
}

}  // namespace

void CheckFieldsKnown(const Message& message, Complaints& complaints) {
  const Reflection& reflection = *message.GetReflection();
  complaints.Require(reflection.GetUnknownFields(message).empty(),
                     message.GetDescriptor()->full_name(),
                     "has a field that this build does not know; update it");
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) CheckField(message, *field, complaints);
}

bool IsUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || text.size() - i <= static_cast<size_t>(more)) return false;
    uint32_t code = lead & (0x3F >> more);
    for (int k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      code = (code << 6) | (next & 0x3F);
    }
    const uint32_t smallest = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
    if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace consilium
