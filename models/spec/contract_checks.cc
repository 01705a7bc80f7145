#include "models/spec/contract_checks.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/features.h"
#include "models/spec/model_graph.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using Strings = google::protobuf::RepeatedPtrField<std::string>;

constexpr int kMissingTokensMax = 64;
constexpr double kTimeMax = 1e30;

// Printable, so that a name can stand in a report or a log line.
bool IsPlainText(absl::string_view text) {
  return !text.empty() && text.size() <= limits::kNameCharsMax &&
         std::none_of(text.begin(), text.end(),
                      [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
}

// Equal for values that rows can not tell apart: blanks around do not count, and numbers compare
// as numbers.
std::string Canonical(double number) { return absl::StrFormat("number %.17g", number + 0.0); }
std::string Canonical(absl::string_view value) {
  value = absl::StripAsciiWhitespace(value);
  double number = 0;
  if (absl::SimpleAtod(value, &number) && std::isfinite(number)) return Canonical(number);
  return absl::StrCat("text ", value);
}

// Collects the values of one list, or of several that must have none in common.
class DistinctValues {
 public:
  // `missing`: canonical.
  DistinctValues(const std::set<std::string>& missing, Complaints& complaints)
      : missing_(missing), complaints_(complaints) {}

  void Add(const std::string& path, const Strings& values) {
    for (const std::string& value : values) {
      if (!IsPlainText(value)) {
        complaints_.Add(path, absl::StrFormat("a value must have 1 to %d printable characters",
                                              limits::kNameCharsMax));
      } else if (missing_.count(Canonical(absl::string_view(value))) > 0) {
        complaints_.Add(path, absl::StrCat("\"", value, "\" is one of csv.missing_tokens"));
      } else if (!seen_.insert(Canonical(absl::string_view(value))).second) {
        complaints_.Add(path, absl::StrCat("\"", value, "\" is there twice"));
      }
    }
  }

  bool Has(double number) const { return seen_.count(Canonical(number)) > 0; }

 private:
  const std::set<std::string>& missing_;
  Complaints& complaints_;
  std::set<std::string> seen_;
};

void CheckCsv(const v1::CsvFormat& csv, Complaints& complaints) {
  const std::string path = "contract.csv";
  const bool absent = csv.header() == v1::CsvFormat::ABSENT;
  complaints.Require(absent || csv.header() == v1::CsvFormat::PRESENT, path + ".header",
                     "must be PRESENT or ABSENT");
  complaints.Require(absent == !csv.column_names().empty(), path + ".column_names",
                     "must be given where the header is ABSENT, and only there");
  complaints.Require(static_cast<size_t>(csv.column_names_size()) <= limits::kCsvColumnsMax,
                     path + ".column_names",
                     absl::StrCat("must be at most ", limits::kCsvColumnsMax));
  const unsigned char delimiter =
      csv.delimiter().size() == 1 ? static_cast<unsigned char>(csv.delimiter()[0]) : '"';
  complaints.Require(
      delimiter == '\t' || (absl::ascii_isprint(delimiter) && !absl::ascii_isalnum(delimiter) &&
                            !absl::StrContains("\"'.+-_", std::string(1, delimiter))),
      path + ".delimiter",
      "must be one character that can not be part of a number, name or quotation");
  complaints.Require(csv.missing_tokens_size() <= kMissingTokensMax, path + ".missing_tokens",
                     absl::StrCat("must be at most ", kMissingTokensMax));
  for (const std::string& token : csv.missing_tokens()) {
    complaints.Require(
        IsPlainText(token), path + ".missing_tokens",
        absl::StrFormat("a token must have 1 to %d printable characters", limits::kNameCharsMax));
  }
}

void CheckNumber(const std::string& path, const v1::Number& number, Complaints& complaints) {
  complaints.Require(
      std::isfinite(number.min()) && std::isfinite(number.max()) && number.min() < number.max(),
      path, "min and max must both be given, and min be below max");
}

void CheckTensor(const std::string& path, const v1::Column& column, Complaints& complaints) {
  const v1::Tensor& tensor = column.tensor();
  complaints.Require(
      static_cast<size_t>(tensor.shape_size()) <= limits::kArrayRankMax &&
          TensorElements(tensor) >= 1,
      path + ".tensor.shape",
      absl::StrFormat("must have 1 to %d dimensions, each at least 1", limits::kArrayRankMax));
  complaints.Require(
      std::isfinite(tensor.min()) && std::isfinite(tensor.max()) && tensor.min() < tensor.max(),
      path + ".tensor", "min and max must both be given, and min be below max");
  complaints.Require(std::isfinite(tensor.mean()), path + ".tensor.mean", "must be finite");
  complaints.Require(
      !tensor.has_deviation() || (std::isfinite(tensor.deviation()) && tensor.deviation() > 0),
      path + ".tensor.deviation", "must be above 0");
  complaints.Require(
      column.missing().rule() == v1::Missing::REFUSE_ROW && column.missing().constant() == 0,
      path + ".missing", "must be REFUSE_ROW: no number of a tensor may be missing");
}

void CheckMissing(const std::string& path, const v1::Column& column,
                  const DistinctValues& categories, Complaints& complaints) {
  const v1::Missing& missing = column.missing();
  if (missing.rule() != v1::Missing::CONSTANT) {
    complaints.Require(
        missing.rule() == v1::Missing::REFUSE_ROW || missing.rule() == v1::Missing::MEAN,
        path + ".rule", "must be REFUSE_ROW, CONSTANT or MEAN");
    complaints.Require(missing.constant() == 0, path + ".constant", "belongs to CONSTANT only");
    return;
  }
  const double constant = missing.constant();
  if (column.has_category()) {
    complaints.Require(categories.Has(constant), path + ".constant",
                       "must be one of the category's values");
    return;
  }
  const v1::Number& number = column.number();
  complaints.Require(constant >= number.min() && constant <= number.max(), path + ".constant",
                     "must be within the column's range");
  complaints.Require(!number.integer() || std::floor(constant) == constant, path + ".constant",
                     "must be a whole number");
}

void CheckColumn(const std::string& path, const v1::Column& column,
                 const std::set<std::string>& missing, Complaints& complaints) {
  DistinctValues categories(missing, complaints);
  if (column.has_number()) {
    CheckNumber(path + ".number", column.number(), complaints);
  } else if (column.has_category()) {
    const Strings& values = column.category().values();
    if (values.size() < 2 || values.size() > limits::kCategoryValuesMax) {
      complaints.Add(
          path + ".category.values",
          absl::StrFormat("must be 2 to %d, not %d", limits::kCategoryValuesMax, values.size()));
      return;
    }
    categories.Add(path + ".category.values", values);
  } else if (column.has_tensor()) {
    CheckTensor(path, column, complaints);
    return;
  } else {
    complaints.Add(path, "must be a number, a category or a tensor");
    return;
  }
  CheckMissing(path + ".missing", column, categories, complaints);
}

void CheckIntervalEnds(const std::string& path, const v1::Survival& survival,
                       Complaints& complaints) {
  const auto& ends = survival.interval_ends();
  if (ends.size() < kHazardIntervalsMin || ends.size() > kHazardIntervalsMax) {
    complaints.Add(path, absl::StrFormat("must be %d to %d, not %d", kHazardIntervalsMin,
                                         kHazardIntervalsMax, ends.size()));
    return;
  }
  float begin = 0;
  for (int k = 0; k < ends.size(); ++k) {
    // A time travels as an f32, which must tell one end from the next.
    const bool fits = ends[k] > 0 && ends[k] <= kTimeMax;
    const float end = fits ? static_cast<float>(ends[k]) : 0;
    if (!(end > begin)) {
      complaints.Add(path, absl::StrFormat("must ascend from above 0 to at most 1e30, but [%d] is "
                                           "%g (a time has some 7 digits)",
                                           k, ends[k]));
      return;
    }
    if (k > 0 && !(begin < survival.time_max())) {
      complaints.Add(path, absl::StrFormat("[%d] ends an interval that begins at or after "
                                           "time_max, where no patient is watched",
                                           k));
      return;
    }
    begin = end;
  }
}

void CheckSurvival(const std::string& path, const v1::Survival& survival, DistinctValues& values,
                   Complaints& complaints) {
  // A label travels as an f32.
  complaints.Require(survival.time_max() > 0 && survival.time_max() <= kTimeMax, path + ".time_max",
                     "must be above 0 and at most 1e30");
  complaints.Require(!survival.observed().empty() && !survival.censored().empty(), path,
                     "needs a value for observed and one for censored");
  values.Add(path, survival.observed());
  values.Add(path, survival.censored());
  if (!survival.interval_ends().empty())
    CheckIntervalEnds(path + ".interval_ends", survival, complaints);
}

void CheckLabel(const v1::Label& label, const std::set<std::string>& missing,
                Complaints& complaints) {
  const std::string path = "contract.label";
  DistinctValues values(missing, complaints);
  switch (label.kind_case()) {
    case v1::Label::kBinary:
      complaints.Require(!label.binary().positive().empty() && !label.binary().negative().empty(),
                         path + ".binary", "needs a value for positive and one for negative");
      values.Add(path + ".binary", label.binary().positive());
      values.Add(path + ".binary", label.binary().negative());
      return;
    case v1::Label::kClasses: {
      const int count = label.classes().values_size();
      if (count < 2 || static_cast<size_t>(count) > limits::kClassesMax) {
        complaints.Add(path + ".classes.values",
                       absl::StrFormat("must be 2 to %d, not %d", limits::kClassesMax, count));
        return;
      }
      values.Add(path + ".classes.values", label.classes().values());
      return;
    }
    case v1::Label::kReal:
      CheckNumber(path + ".real", label.real(), complaints);
      return;
    case v1::Label::kSurvival:
      CheckSurvival(path + ".survival", label.survival(), values, complaints);
      return;
    case v1::Label::KIND_NOT_SET:
      complaints.Add(path, "must be binary, classes, real or survival");
  }
}

// Columns, label and patient id, each a column of its own, and all of them in the file.
void CheckColumnNames(const v1::DataContract& contract, Complaints& complaints) {
  const bool listed =
      contract.csv().header() == v1::CsvFormat::ABSENT && !contract.csv().column_names().empty();
  std::set<absl::string_view> in_file;
  for (const std::string& name : contract.csv().column_names()) {
    if (!in_file.insert(name).second) {
      complaints.Add("contract.csv.column_names", "a name is there twice");
    }
  }
  std::set<absl::string_view> used;
  const auto use = [&](absl::string_view path, const std::string& name) {
    if (!IsPlainText(name)) {
      complaints.Add(
          path, absl::StrFormat("must have 1 to %d printable characters", limits::kNameCharsMax));
      return;
    }
    if (!used.insert(name).second) {
      complaints.Add(path, absl::StrCat("column \"", name, "\" is used twice"));
    }
    if (listed && in_file.count(name) == 0) {
      complaints.Add(path, absl::StrCat("column \"", name, "\" is not in csv.column_names"));
    }
  };
  for (const v1::Column& column : contract.columns()) use("contract.columns.name", column.name());
  use("contract.label.column", contract.label().column());
  if (contract.label().has_survival()) {
    use("contract.label.survival.event_column", contract.label().survival().event_column());
  }
  if (!contract.patient_id_column().empty()) {
    use("contract.patient_id_column", contract.patient_id_column());
  }
}

}  // namespace

void CheckContract(const v1::DataContract& contract, Complaints& complaints) {
  const std::string& name = contract.name();
  complaints.Require(!name.empty() && name.size() <= limits::kNameCharsMax &&
                         std::all_of(name.begin(), name.end(),
                                     [](unsigned char c) {
                                       return absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
                                              c == '_' || c == '-';
                                     }),
                     "contract.name", "must be 1 to 64 characters of a-z, 0-9, '_' and '-'");
  CheckCsv(contract.csv(), complaints);
  const size_t features = FeatureCount(contract);
  complaints.Require(features >= 1 && features <= limits::kFeaturesMax, "contract.columns",
                     absl::StrFormat("must give the model 1 to %d features, not %d",
                                     limits::kFeaturesMax, features));
  CheckColumnNames(contract, complaints);
  std::set<std::string> missing;
  for (const std::string& token : contract.csv().missing_tokens()) {
    missing.insert(Canonical(absl::string_view(token)));
  }
  for (const v1::Column& column : contract.columns()) {
    const std::string path = IsPlainText(column.name())
                                 ? absl::StrCat("contract.columns.", column.name())
                                 : "contract.columns";
    CheckColumn(path, column, missing, complaints);
  }
  CheckLabel(contract.label(), missing, complaints);
}

}  // namespace consilium
