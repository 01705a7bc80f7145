#include "site_agent/ingest/contract_check.h"

#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "models/spec/features.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

absl::Status Wrong(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("contract: ", where, ": ", what));
}

absl::Status AddAll(const google::protobuf::RepeatedPtrField<std::string>& values,
                    std::optional<int> same_index, ValueMatcher& matcher) {
  for (int i = 0; i < values.size(); ++i) {
    CONSILIUM_RETURN_IF_ERROR(matcher.Add(values[i], same_index.value_or(i)));
  }
  return absl::OkStatus();
}

// Empty, or why `number` is not one that the contract allows.
std::string CheckNumber(const v1::Number& rule, absl::string_view field, double& value) {
  std::optional<double> number = ParseNumber(field);
  if (!number) return "is not a number";
  if (*number < rule.min()) return absl::StrCat("is below the contract's minimum of ", rule.min());
  if (*number > rule.max()) return absl::StrCat("is above the contract's maximum of ", rule.max());
  if (rule.integer() && std::floor(*number) != *number) return "is not a whole number";
  value = *number + 0.0;  // −0 becomes 0, so that equal rows have equal bits.
  return "";
}

absl::Status CheckRange(absl::string_view where, const v1::Number& number) {
  if (!std::isfinite(number.min()) || !std::isfinite(number.max()) || number.min() > number.max()) {
    return Wrong(where, "min and max must be finite, and min not above max");
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(absl::string_view where, const v1::Tensor& tensor) {
  if (TensorElements(tensor) == 0) {
    return Wrong(where, "a tensor needs a shape, without dimensions of zero");
  }
  v1::Number range;
  range.set_min(tensor.min());
  range.set_max(tensor.max());
  return CheckRange(where, range);
}

// A run's check asks it too, but later: a site stores what it then could not read back.
absl::Status CheckTensorNumbers(const v1::DataContract& contract) {
  size_t numbers = 0;
  for (const v1::Column& column : contract.columns()) {
    if (column.has_tensor()) numbers += TensorElements(column.tensor());
    if (numbers <= limits::kFeaturesMax) continue;
    return Wrong("columns", absl::StrCat("the tensors of a row have at most ", limits::kFeaturesMax,
                                         " numbers"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ContractCheck> ContractCheck::Create(const v1::DataContract& contract) {
  ContractCheck check;
  const v1::CsvFormat& csv = contract.csv();
  if (csv.delimiter().size() > 1) return Wrong("csv.delimiter", "is more than one character");
  if (!csv.delimiter().empty()) check.delimiter_ = csv.delimiter()[0];
  if (check.delimiter_ == '"' || check.delimiter_ == '\n' || check.delimiter_ == '\r') {
    return Wrong("csv.delimiter", "is a quote or a line break");
  }
  if (absl::Status status = AddAll(csv.missing_tokens(), 0, check.missing_); !status.ok()) {
    return Wrong("csv.missing_tokens", status.message());
  }
  for (const v1::Column& column : contract.columns()) {
    CONSILIUM_RETURN_IF_ERROR(check.AddColumn(column));
  }
  if (check.columns_.empty()) return Wrong("columns", "there are none");
  CONSILIUM_RETURN_IF_ERROR(CheckTensorNumbers(contract));
  CONSILIUM_RETURN_IF_ERROR(check.AddLabel(contract.label()));
  check.patient_column_ = contract.patient_id_column();
  check.expects_header_ = csv.header() != v1::CsvFormat::ABSENT;
  if (!check.expects_header_) {
    CONSILIUM_RETURN_IF_ERROR(check.Bind({csv.column_names().begin(), csv.column_names().end()}));
  }
  return check;
}

absl::Status ContractCheck::AddColumn(const v1::Column& column) {
  const std::string where = absl::StrCat("column \"", column.name(), "\"");
  if (column.name().empty()) return Wrong("columns", "one has no name");
  CheckedColumn checked;
  checked.spec = column;
  if (column.has_number()) {
    CONSILIUM_RETURN_IF_ERROR(CheckRange(where, column.number()));
  } else if (column.has_category()) {
    const auto& values = column.category().values();
    if (values.size() < 2 || values.size() > limits::kCategoryValuesMax) {
      return Wrong(where, absl::StrCat("a category has 2 to ", limits::kCategoryValuesMax,
                                       " values, not ", values.size()));
    }
    if (absl::Status status = AddAll(values, std::nullopt, checked.values); !status.ok()) {
      return Wrong(where, status.message());
    }
    if (column.missing().rule() == v1::Missing::CONSTANT &&
        !checked.values.FindNumber(column.missing().constant())) {
      return Wrong(where, "missing.constant is none of its values");
    }
  } else if (column.has_tensor()) {
    CONSILIUM_RETURN_IF_ERROR(CheckTensor(where, column.tensor()));
  } else {
    return Wrong(where, "is neither a number, a category nor a tensor");
  }
  columns_.push_back(std::move(checked));
  return absl::OkStatus();
}

absl::Status ContractCheck::AddLabel(const v1::Label& label) {
  const std::string where = absl::StrCat("label \"", label.column(), "\"");
  if (label.column().empty()) return Wrong("label", "has no column");
  label_ = label;
  absl::Status status;
  switch (label.kind_case()) {
    case v1::Label::kBinary:
      if (label.binary().positive().empty() || label.binary().negative().empty()) {
        return Wrong(where, "needs a positive and a negative value");
      }
      status = AddAll(label.binary().positive(), 1, label_values_);
      if (status.ok()) status = AddAll(label.binary().negative(), 0, label_values_);
      break;
    case v1::Label::kClasses:
      if (label.classes().values_size() < 2 ||
          static_cast<size_t>(label.classes().values_size()) > limits::kClassesMax) {
        return Wrong(where, absl::StrCat("has 2 to ", limits::kClassesMax, " classes"));
      }
      status = AddAll(label.classes().values(), std::nullopt, label_values_);
      break;
    case v1::Label::kReal:
      return CheckRange(where, label.real());
    case v1::Label::kSurvival:
      if (!(label.survival().time_max() > 0 && std::isfinite(label.survival().time_max()))) {
        return Wrong(where, "needs a time_max above 0");
      }
      if (label.survival().event_column().empty() || label.survival().observed().empty() ||
          label.survival().censored().empty()) {
        return Wrong(where, "needs an event_column, a value for observed and one for censored");
      }
      status = AddAll(label.survival().observed(), 1, label_values_);
      if (status.ok()) status = AddAll(label.survival().censored(), 0, label_values_);
      break;
    case v1::Label::KIND_NOT_SET:
      return Wrong(where, "is neither binary, classes, real nor survival");
  }
  return status.ok() ? status : Wrong(where, status.message());
}

absl::Status ContractCheck::RefuseTensors() const {
  for (const CheckedColumn& column : columns_) {
    if (!column.spec.has_tensor()) continue;
    return Wrong(absl::StrCat("column \"", column.spec.name(), "\""),
                 "is a tensor, which a CSV file can not hold; NPZ and IDX files can");
  }
  return absl::OkStatus();
}

absl::Status ContractCheck::BindHeader(const CsvRecord& header) {
  if (!header.problem().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the header line ", header.problem()));
  }
  std::vector<absl::string_view> names;
  for (size_t i = 0; i < header.size(); ++i) {
    names.push_back(absl::StripAsciiWhitespace(header.field(i)));
  }
  const absl::Status bound = Bind(names);
  if (bound.ok() || names.size() > 1) return bound;
  return absl::InvalidArgumentError(
      absl::StrCat(bound.message(), "; its first line has one field: is the delimiter \"",
                   absl::string_view(&delimiter_, 1), "\" right (csv.delimiter)?"));
}

absl::Status ContractCheck::Bind(const std::vector<absl::string_view>& names) {
  constexpr size_t kTwice = std::numeric_limits<size_t>::max();
  absl::flat_hash_map<absl::string_view, size_t> positions;
  for (size_t i = 0; i < names.size(); ++i) {
    auto inserted = positions.emplace(names[i], i);
    if (!inserted.second) inserted.first->second = kTwice;
  }
  file_columns_ = names.size();
  absl::flat_hash_map<absl::string_view, int> used;
  // `field`: which of the contract names it.
  const auto find = [&](absl::string_view field, const std::string& name,
                        size_t& position) -> absl::Status {
    const auto refuse = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat("the file has ", what, " \"", name,
                                                     "\", which the contract's ", field, " names"));
    };
    auto found = positions.find(name);
    if (found == positions.end()) return refuse("no column");
    if (found->second == kTwice) return refuse("two columns");
    if (++used[name] > 1) return Wrong(absl::StrCat("column \"", name, "\""), "is named twice");
    position = found->second;
    return absl::OkStatus();
  };
  for (CheckedColumn& column : columns_) {
    if (column.spec.has_tensor()) continue;
    CONSILIUM_RETURN_IF_ERROR(find("columns", column.spec.name(), column.position));
  }
  CONSILIUM_RETURN_IF_ERROR(find("label.column", label_.column(), label_position_));
  if (label_.has_survival()) {
    CONSILIUM_RETURN_IF_ERROR(
        find("label.survival.event_column", label_.survival().event_column(), event_position_));
  }
  if (patient_column_.empty()) return absl::OkStatus();
  return find("patient_id_column", patient_column_, patient_position_);
}

bool ContractCheck::IsMissing(absl::string_view field) const {
  return absl::StripAsciiWhitespace(field).empty() || missing_.Find(field).has_value();
}

std::string ContractCheck::CheckColumn(const CheckedColumn& column, absl::string_view field,
                                       double& value) const {
  if (IsMissing(field)) {
    value = std::numeric_limits<double>::quiet_NaN();
    const v1::Missing::Rule rule = column.spec.missing().rule();
    const bool allowed = rule == v1::Missing::CONSTANT || rule == v1::Missing::MEAN;
    return allowed ? "" : "is missing";
  }
  if (column.spec.has_number()) return CheckNumber(column.spec.number(), field, value);
  std::optional<int> index = column.values.Find(field);
  if (!index) return "is none of the contract's values";
  value = *index;
  return "";
}

std::string ContractCheck::CheckLabel(absl::string_view field, double& value) const {
  if (IsMissing(field)) return "is missing";
  if (label_.has_real()) return CheckNumber(label_.real(), field, value);
  if (label_.has_survival()) {
    v1::Number times;
    times.set_max(label_.survival().time_max());
    return CheckNumber(times, field, value);
  }
  std::optional<int> index = label_values_.Find(field);
  if (!index) return "is none of the contract's label values";
  value = *index;
  return "";
}

std::string ContractCheck::CheckEvent(absl::string_view field, double& value) const {
  if (IsMissing(field)) return "is missing";
  const std::optional<int> observed = label_values_.Find(field);
  if (!observed) return "is none of the contract's values for observed and censored";
  if (*observed == 1) return value > 0 ? "" : "is observed at time 0, when nobody was watched yet";
  value = 0 - value;  // Not −0, so that equal rows have equal bits.
  return "";
}

std::string ContractCheck::CheckPatient(absl::string_view field, std::string& id) const {
  if (IsMissing(field)) return "is missing";
  const absl::string_view text = absl::StripAsciiWhitespace(field);
  if (text.size() > limits::kPatientIdBytesMax) {
    return absl::StrCat("is longer than ", limits::kPatientIdBytesMax, " bytes");
  }
  id.assign(text.data(), text.size());
  return "";
}

std::optional<RowRefusal> ContractCheck::Check(const CsvRecord& record, RawRow& row) const {
  if (!record.problem().empty()) {
    return RowRefusal{record.line(), "", std::string(record.problem())};
  }
  if (record.size() != file_columns_) {
    return RowRefusal{record.line(), "",
                      absl::StrCat("has ", record.size(), " fields instead of ", file_columns_)};
  }
  row.values.resize(columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    const CheckedColumn& column = columns_[c];
    row.values[c] = 0;
    if (column.spec.has_tensor()) continue;
    std::string reason = CheckColumn(column, record.field(column.position), row.values[c]);
    if (!reason.empty()) return RowRefusal{record.line(), column.spec.name(), std::move(reason)};
  }
  std::string reason = CheckLabel(record.field(label_position_), row.label);
  if (!reason.empty()) return RowRefusal{record.line(), label_.column(), std::move(reason)};
  if (label_.has_survival()) {
    reason = CheckEvent(record.field(event_position_), row.label);
    if (!reason.empty()) {
      return RowRefusal{record.line(), label_.survival().event_column(), std::move(reason)};
    }
  }
  if (patient_column_.empty()) {
    row.patient_id = PatientIdOfContent(row);
    return std::nullopt;
  }
  reason = CheckPatient(record.field(patient_position_), row.patient_id);
  if (!reason.empty()) return RowRefusal{record.line(), patient_column_, std::move(reason)};
  return std::nullopt;
}

std::string PatientIdOfContent(const RawRow& row) {
  FieldHasher hasher("consilium.patient_of_content.v1");
  hasher.Add(std::span<const double>(row.values)).Add(row.label);
  if (!row.tensors.empty()) {
    hasher.Add(absl::string_view(reinterpret_cast<const char*>(row.tensors.data()),
                                 row.tensors.size() * sizeof(float)));
  }
  return ToHex(hasher.Finish());
}

}  // namespace consilium
