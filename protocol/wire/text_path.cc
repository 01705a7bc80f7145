#include "protocol/wire/text_path.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Steps = std::span<const std::string>;

constexpr size_t kStepsMax = 32;

// By which people know an element of a list.
constexpr std::array<const char*, 4> kNameFields = {"name", "site_id", "site", "column"};

class Assignment {
 public:
  Assignment(const std::string& whole, std::string value)
      : whole_(whole), value_(std::move(value)) {}

  absl::Status Set(Steps steps, Message& message) const {
    const FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(steps[0]);
    if (field == nullptr || steps.size() == 1) return Merge(steps, message);
    if (field->is_map()) return SetEntry(*field, steps, message);
    if (field->type() != FieldDescriptor::TYPE_MESSAGE) return Merge(steps, message);
    if (field->is_repeated()) return SetElements(*field, steps, message);
    return Set(steps.subspan(1), *message.GetReflection()->MutableMessage(&message, field));
  }

 private:
  absl::Status Refuse(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(whole_, ": ", what));
  }

  // The parser knows what may be there, and says so where something else is.
  absl::Status Merge(Steps steps, Message& message) const {
    const std::string text =
        absl::StrCat(absl::StrJoin(steps, " { "), ": ", value_, std::string(steps.size() - 1, '}'));
    CONSILIUM_RETURN_IF_ERROR(CheckAlone(text, steps[0], message));
    return MergeTextFormat(text, whole_, message);
  }

  // A value may have braces and names of fields in it, and so end before its time and go on with
  // other fields than its own ("FEDAVG transform { … }"). `text` is what would be merged into a
  // message like this one.
  absl::Status CheckAlone(const std::string& text, const std::string& own,
                          const Message& message) const {
    const std::unique_ptr<Message> alone(message.New());
    CONSILIUM_RETURN_IF_ERROR(ParseTextFormat(text, whole_, *alone));
    google::protobuf::TextFormat::ParseInfoTree places;
    google::protobuf::TextFormat::Parser parser;
    parser.WriteLocationsTo(&places);
    parser.ParseFromString(text, alone.get());
    const google::protobuf::Descriptor& type = *message.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      const bool is_own = field.name() == own;
      // Of a list, it may add several elements.
      if (is_own && !field.is_map()) continue;
      const int first_other = is_own ? 1 : field.is_repeated() ? 0 : -1;
      if (places.GetLocation(&field, first_other).line < 0) continue;
      return Refuse(absl::StrFormat(
          "sets more than the path names, of %s: write each as path=value of its own",
          field.name()));
    }
    return absl::OkStatus();
  }

  absl::Status SetEntry(const FieldDescriptor& field, Steps steps, Message& message) const {
    const FieldDescriptor* const key = field.message_type()->map_key();
    // A key may have dots in it.
    const std::string name = absl::StrJoin(steps.subspan(1), ".");
    const bool text = key->type() == FieldDescriptor::TYPE_STRING;
    const std::string merged =
        absl::StrFormat("%s { key: %s value: %s }", steps[0],
                        text ? absl::StrCat("\"", absl::CEscape(name), "\"") : name, value_);
    CONSILIUM_RETURN_IF_ERROR(CheckAlone(merged, steps[0], message));
    return MergeTextFormat(merged, whole_, message);
  }

  absl::Status SetElements(const FieldDescriptor& field, Steps steps, Message& message) const {
    if (steps.size() < 3) {
      return Refuse(absl::StrFormat("name a field of %s, too", absl::StrJoin(steps, ".")));
    }
    const auto* const reflection = message.GetReflection();
    int set = 0;
    for (int i = 0; i < reflection->FieldSize(message, &field); ++i) {
      Message& element = *reflection->MutableRepeatedMessage(&message, &field, i);
      if (!IsMeant(steps, i, element)) continue;
      CONSILIUM_RETURN_IF_ERROR(Set(steps.subspan(2), element));
      ++set;
    }
    if (set > 0) return absl::OkStatus();
    return Refuse(steps[1] == "*" ? absl::StrFormat("no element of %s has %s", steps[0], steps[2])
                                  : absl::StrFormat("%s has no element '%s'", steps[0], steps[1]));
  }

  static bool IsMeant(Steps steps, int index, const Message& element) {
    const auto* const reflection = element.GetReflection();
    if (steps[1] == "*") {
      const FieldDescriptor* const next = element.GetDescriptor()->FindFieldByName(steps[2]);
      return next != nullptr && (next->is_repeated() ? reflection->FieldSize(element, next) > 0
                                                     : reflection->HasField(element, next));
    }
    int wanted = 0;
    if (absl::SimpleAtoi(steps[1], &wanted)) return wanted == index;
    for (const char* const name : kNameFields) {
      const FieldDescriptor* const field = element.GetDescriptor()->FindFieldByName(name);
      if (field == nullptr || field->type() != FieldDescriptor::TYPE_STRING) continue;
      return !field->is_repeated() && reflection->GetString(element, field) == steps[1];
    }
    return false;
  }

  const std::string& whole_;
  const std::string value_;
};

}  // namespace

absl::Status SetByPath(const std::string& assignment, Message& message) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(absl::StrFormat("'%s': write path=value.", assignment));
  }
  const std::vector<std::string> steps = absl::StrSplit(assignment.substr(0, equals), '.');
  if (steps.size() > kStepsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s': a path has at most %d steps.", assignment, kStepsMax));
  }
  return Assignment(assignment, assignment.substr(equals + 1)).Set(steps, message);
}

}  // namespace consilium
