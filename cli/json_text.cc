#include "cli/json_text.h"

#include <google/protobuf/descriptor.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace consilium {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::json;

Json Real(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json Text(const FieldDescriptor& field, const std::string& value) {
  return field.type() == FieldDescriptor::TYPE_BYTES ? absl::BytesToHexString(value) : value;
}

// `index` is -1 for a field that is not repeated.
Json Value(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? r.GetInt32(message, &field) : r.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? r.GetInt64(message, &field) : r.GetRepeatedInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? r.GetUInt32(message, &field) : r.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? r.GetUInt64(message, &field) : r.GetRepeatedUInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Real(one ? r.GetFloat(message, &field) : r.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Real(one ? r.GetDouble(message, &field) : r.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_ENUM:
      return (one ? r.GetEnum(message, &field) : r.GetRepeatedEnum(message, &field, index))->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return Text(field,
                  one ? r.GetString(message, &field) : r.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return JsonOf(one ? r.GetMessage(message, &field)
                        : r.GetRepeatedMessage(message, &field, index));
  }
  return nullptr;
}

Json Map(const Message& message, const FieldDescriptor& field) {
  Json out = Json::object();
  const Reflection& r = *message.GetReflection();
  for (int i = 0; i < r.FieldSize(message, &field); ++i) {
    const Message& entry = r.GetRepeatedMessage(message, &field, i);
    const Json key = Value(entry, *field.message_type()->FindFieldByNumber(1), -1);
    out[key.is_string() ? key.get<std::string>() : key.dump()] =
        Value(entry, *field.message_type()->FindFieldByNumber(2), -1);
  }
  return out;
}

}  // namespace

Json JsonOf(const Message& message) {
  Json out = Json::object();
  const Reflection& r = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (field.is_map()) {
      out[field.name()] = Map(message, field);
    } else if (field.is_repeated()) {
      Json& list = out[field.name()] = Json::array();
      for (int k = 0; k < r.FieldSize(message, &field); ++k) {
        list.push_back(Value(message, field, k));
      }
    } else if (!field.has_presence() || r.HasField(message, &field)) {
      out[field.name()] = Value(message, field, -1);
    }
  }
  return out;
}

}  // namespace consilium
