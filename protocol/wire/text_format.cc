#include "protocol/wire/text_format.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/enum_hint.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr int kNestingMax = 32;

// Keeps the first error: the ones after it are mostly its consequences.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  FirstError(absl::string_view name, absl::string_view text,
             const google::protobuf::Descriptor& type)
      : name_(name), parsed_(text), type_(type) {}

  // Protobuf counts from 0; people and editors from 1.
  void AddError(int line, int column, const std::string& message) override {
    if (!text_.empty()) return;
    text_ = line < 0 ? absl::StrCat(name_, ": ", message)
                     : absl::StrFormat("%s:%d:%d: %s%s", name_, line + 1, column + 1, message,
                                       EnumHint(parsed_, type_, {line, column}, message));
  }
  void AddWarning(int, int, const std::string&) override {}

  const std::string& text() const { return text_; }

 private:
  const std::string name_;
  const absl::string_view parsed_;
  const google::protobuf::Descriptor& type_;
  std::string text_;
};

enum class Overwriting { kRefused, kAllowed };

absl::Status ReadText(absl::string_view text, absl::string_view name, Overwriting overwriting,
                      google::protobuf::Message& message) {
  if (text.size() > limits::kTextFileBytesMax) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%s has %d bytes; at most %d are read", name, text.size(), limits::kTextFileBytesMax));
  }
  FirstError errors(name, text, *message.GetDescriptor());
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.SetRecursionLimit(kNestingMax);
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  const bool parsed = overwriting == Overwriting::kAllowed ? parser.Merge(&stream, &message)
                                                           : parser.Parse(&stream, &message);
  if (!parsed) {
    return absl::InvalidArgumentError(errors.text().empty()
                                          ? absl::StrCat(name, ": is not protobuf text format")
                                          : errors.text());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ParseTextFormat(absl::string_view text, absl::string_view name,
                             google::protobuf::Message& message) {
  message.Clear();
  return ReadText(text, name, Overwriting::kRefused, message);
}

absl::Status MergeTextFormat(absl::string_view text, absl::string_view name,
                             google::protobuf::Message& message) {
  return ReadText(text, name, Overwriting::kAllowed, message);
}

absl::Status ReadTextFormatFile(const std::string& path, google::protobuf::Message& message) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits::kTextFileBytesMax));
  return ParseTextFormat(text, path, message);
}

std::string DeterministicBytes(const google::protobuf::Message& message) {
  std::unique_ptr<google::protobuf::Message> known(message.New());
  known->CopyFrom(message);
  known->DiscardUnknownFields();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    known->SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace consilium
