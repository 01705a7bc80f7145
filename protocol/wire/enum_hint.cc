#include "protocol/wire/enum_hint.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace consilium {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::Tokenizer;

class Silent final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, int, const std::string&) override {}
};

// Where a position is: in which blocks, and behind which word.
struct Place {
  std::vector<std::string> blocks;  // Fields, the outermost first.
  std::string word;
};

bool IsBefore(const Tokenizer::Token& token, TextPosition position) {
  return std::make_pair(token.line, token.column) < std::make_pair(position.line, position.column);
}

Place PlaceOf(absl::string_view text, TextPosition position) {
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  Silent errors;
  Tokenizer tokens(&stream, &errors);
  tokens.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
  Place place;
  while (tokens.Next() && IsBefore(tokens.current(), position)) {
    const std::string& token = tokens.current().text;
    if (tokens.current().type == Tokenizer::TYPE_IDENTIFIER) {
      place.word = token;
    } else if (token == "{" || token == "<") {
      place.blocks.push_back(place.word);
    } else if ((token == "}" || token == ">") && !place.blocks.empty()) {
      // The next block of a list is the same field's.
      place.word = std::move(place.blocks.back());
      place.blocks.pop_back();
    }
  }
  return place;
}

// Of the parser's words: Unknown enumeration value of "X" for field "NAME".
std::string FieldOf(const std::string& error, const Place& place) {
  constexpr absl::string_view kField = "for field \"";
  if (absl::StartsWith(error, "Expected integer or identifier")) return place.word;
  const size_t at = error.find(std::string(kField));
  if (!absl::StartsWith(error, "Unknown enumeration value") || at == std::string::npos) return "";
  const size_t begin = at + kField.size();
  return error.substr(begin, error.find('"', begin) - begin);
}

std::string NamesOf(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    const bool none =
        type.value(i)->number() == 0 && absl::EndsWith(type.value(i)->name(), "UNSPECIFIED");
    if (!none) names.push_back(type.value(i)->name());
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace

std::string EnumHint(absl::string_view text, const Descriptor& root, TextPosition position,
                     const std::string& error) {
  const Place place = PlaceOf(text, position);
  const Descriptor* message = &root;
  for (const std::string& block : place.blocks) {
    const FieldDescriptor* const field = message->FindFieldByName(block);
    message = field == nullptr ? nullptr : field->message_type();
    if (message == nullptr) return "";
  }
  const FieldDescriptor* const field = message->FindFieldByName(FieldOf(error, place));
  if (field == nullptr || field->enum_type() == nullptr) return "";
  const absl::string_view end = absl::EndsWith(error, ".") ? "" : ".";
  return absl::StrCat(end, " It can be ", NamesOf(*field->enum_type()), ".");
}

}  // namespace consilium
