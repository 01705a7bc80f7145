#include "models/spec/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr char kMetadata[] = "__metadata__";
constexpr size_t kAlignment = 8;

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("safetensors header: ", what));
}

absl::Status TooMany(absl::string_view what) {
  return absl::ResourceExhaustedError(absl::StrCat("safetensors header: ", what));
}

// Levels: 1 the header, 2 the metadata or one tensor, 3 a list of a tensor.
class HeaderEvents final : public nlohmann::json::json_sax_t {
 public:
  absl::Status status() const { return status_; }
  SafetensorsHeader TakeHeader() { return std::move(header_); }

  bool start_object(size_t) override {
    if (level_ == 0 || (level_ == 1 && !name_.empty())) {
      ++level_;
      return true;
    }
    return Fail(Wrong("an object where none belongs"));
  }

  bool key(std::string& key) override { return level_ == 1 ? StartEntry(key) : StartField(key); }

  bool string(std::string& value) override {
    if (level_ == 2 && in_metadata_) {
      header_.metadata[field_] = std::move(value);
      return true;
    }
    if (level_ != 2 || field_ != "dtype") return Fail(Wrong("a text where none belongs"));
    if (value != "F32") return Fail(Wrong("a tensor is not of type F32"));
    return true;
  }

  bool start_array(size_t) override {
    if (level_ != 2 || in_metadata_ || field_ == "dtype") {
      return Fail(Wrong("a list where none belongs"));
    }
    ++level_;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (level_ != 3) return Fail(Wrong("a number where none belongs"));
    std::vector<uint64_t>& list = field_ == "shape" ? shape_ : offsets_;
    if (list.size() == limits::kRankMax) {
      return Fail(TooMany(absl::StrFormat("a list has more than %d numbers", limits::kRankMax)));
    }
    list.push_back(value);
    return true;
  }

  bool end_array() override {
    --level_;
    return true;
  }

  bool end_object() override {
    --level_;
    if (level_ != 1) return true;
    name_.clear();
    return in_metadata_ ? true : FinishTensor();
  }

  bool null() override { return Fail(Wrong("a null where none belongs")); }
  bool boolean(bool) override { return Fail(Wrong("a truth value where none belongs")); }
  bool number_integer(int64_t) override { return Fail(Wrong("a negative number")); }
  bool number_float(double, const std::string&) override {
    return Fail(Wrong("a number that is not a whole one, or too large"));
  }
  bool binary(nlohmann::json::binary_t&) override { return Fail(Wrong("binary data")); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(Wrong(absl::StrCat("is not JSON at byte ", position)));
  }

 private:
  bool Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return false;
  }

  bool StartEntry(std::string& key) {
    if (key.empty() || key.size() > limits::kTensorNameCharsMax) {
      return Fail(TooMany(
          absl::StrFormat("a name must have 1 to %d characters", limits::kTensorNameCharsMax)));
    }
    if (!names_.insert(key).second) return Fail(Wrong("a name is there twice"));
    if (names_.size() > limits::kTensorsMax + 1) {
      return Fail(TooMany(absl::StrFormat("more than %d tensors", limits::kTensorsMax)));
    }
    name_ = std::move(key);
    in_metadata_ = name_ == kMetadata;
    fields_.clear();
    shape_.clear();
    offsets_.clear();
    if (!in_metadata_)
      header_.tensors.push_back({.name = name_, .shape = {}, .begin = 0, .end = 0});
    return true;
  }

  bool StartField(std::string& key) {
    if (!in_metadata_ && key != "dtype" && key != "shape" && key != "data_offsets") {
      return Fail(Wrong("a tensor has a field that the format does not know"));
    }
    if (!fields_.insert(key).second) return Fail(Wrong("a field is there twice"));
    field_ = std::move(key);
    return true;
  }

  bool FinishTensor() {
    if (fields_.size() != 3 || offsets_.size() != 2) {
      return Fail(Wrong("a tensor needs dtype, shape and two data_offsets"));
    }
    TensorPlace& tensor = header_.tensors.back();
    uint64_t bytes = sizeof(float);
    for (const uint64_t size : shape_) {
      // A size of zero would hide an overflow beside it, and no model has a use for it.
      if (size == 0 || size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
          __builtin_mul_overflow(bytes, size, &bytes)) {
        return Fail(Wrong("a shape is empty or too large"));
      }
      tensor.shape.push_back(static_cast<int64_t>(size));
    }
    tensor.begin = offsets_[0];
    tensor.end = offsets_[1];
    if (tensor.end < tensor.begin || tensor.end - tensor.begin != bytes) {
      return Fail(Wrong("a tensor's data_offsets do not fit its shape"));
    }
    return true;
  }

  absl::Status status_;
  SafetensorsHeader header_;
  int level_ = 0;
  bool in_metadata_ = false;
  std::string name_;   // Of the entry that is being read; empty between entries.
  std::string field_;  // Of the entry.
  std::set<std::string> names_;
  std::set<std::string> fields_;
  std::vector<uint64_t> shape_;
  std::vector<uint64_t> offsets_;
};

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t data_bytes) {
  if (json.empty() || json.front() != '{') return Wrong("does not begin with '{'");
  HeaderEvents events;
  const bool parsed = nlohmann::json::sax_parse(json.begin(), json.end(), &events);
  CONSILIUM_RETURN_IF_ERROR(events.status());
  if (!parsed) return Wrong("is not JSON");
  SafetensorsHeader header = events.TakeHeader();
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorPlace& a, const TensorPlace& b) { return a.begin < b.begin; });
  uint64_t end = 0;
  for (const TensorPlace& tensor : header.tensors) {
    if (tensor.begin != end) return Wrong("tensors overlap or leave a gap");
    end = tensor.end;
  }
  if (end != data_bytes) {
    return Wrong(absl::StrFormat("describes %d bytes, but the file holds %d", end, data_bytes));
  }
  return header;
}

std::string FormatSafetensorsHeader(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json[kMetadata] = header.metadata;
  for (const TensorPlace& tensor : header.tensors) {
    json[tensor.name] = nlohmann::ordered_json{
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
  }
  // Text that is not UTF-8 is replaced: dump() would throw.
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

}  // namespace consilium
