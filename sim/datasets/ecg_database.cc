#include "sim/datasets/ecg_database.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "sim/datasets/idx_writer.h"
#include "sim/datasets/scp_statements.h"
#include "sim/datasets/wfdb_record.h"
#include "site_agent/ingest/csv_file.h"
#include "site_agent/ingest/csv_reader.h"

namespace consilium {
namespace {

// The fields of a line, in the order of the columns that were asked for.
using Fields = std::vector<absl::string_view>;
using FieldsSink = std::function<absl::Status(const Fields& fields)>;

absl::Status At(const std::string& path, uint64_t line, const absl::Status& status) {
  return {status.code(), absl::StrCat(path, ": line ", line, ": ", status.message())};
}

absl::StatusOr<std::vector<size_t>> PlacesOf(const std::vector<std::string>& columns,
                                             const CsvRecord& header) {
  std::vector<size_t> places;
  for (const std::string& column : columns) {
    size_t place = 0;
    while (place < header.size() && header.field(place) != column) ++place;
    if (place == header.size()) {
      return absl::DataLossError(absl::StrCat("there is no column \"", column, "\""));
    }
    places.push_back(place);
  }
  return places;
}

// Those `columns` of each line of a CSV file with a header.
absl::Status ForEachLine(const std::string& path, const std::vector<std::string>& columns,
                         const FieldsSink& sink) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<std::istream> input, OpenCsvFile(path));
  CsvReader reader(std::move(input), CsvOptions());
  CsvRecord record;
  std::vector<size_t> places;
  Fields fields(columns.size());
  for (bool is_header = true;; is_header = false) {
    const absl::StatusOr<bool> more = reader.Next(record);
    if (!more.ok())
      return {more.status().code(), absl::StrCat(path, ": ", more.status().message())};
    if (!*more) {
      return is_header ? absl::DataLossError(absl::StrCat(path, " is empty")) : absl::OkStatus();
    }
    if (!record.problem().empty()) {
      return At(path, record.line(), absl::DataLossError(record.problem()));
    }
    if (is_header) {
      absl::StatusOr<std::vector<size_t>> found = PlacesOf(columns, record);
      if (!found.ok()) return At(path, record.line(), found.status());
      places = *std::move(found);
      continue;
    }
    if (record.size() <= *std::max_element(places.begin(), places.end())) {
      return At(path, record.line(), absl::DataLossError("the line has too few fields"));
    }
    for (size_t i = 0; i < places.size(); ++i) fields[i] = record.field(places[i]);
    if (const absl::Status taken = sink(fields); !taken.ok()) return At(path, record.line(), taken);
  }
}

std::string PathIn(const std::string& folder, const std::string& file) {
  return (std::filesystem::path(folder) / file).string();
}

absl::StatusOr<ScpClasses> ReadStatements(const std::string& path) {
  ScpClasses classes;
  const auto take = [&classes](const Fields& fields) {
    double diagnostic = 0;
    const bool is_diagnostic = absl::SimpleAtod(fields[1], &diagnostic) && diagnostic == 1;
    if (fields[0].empty() || (is_diagnostic && fields[2].empty())) {
      return absl::DataLossError("a statement without its name or its class");
    }
    const std::string of_class(is_diagnostic ? fields[2] : "");
    if (classes.emplace(fields[0], of_class).second) return absl::OkStatus();
    return absl::DataLossError("the statement is there twice");
  };
  CONSILIUM_RETURN_IF_ERROR(ForEachLine(path, {"", "diagnostic", "diagnostic_class"}, take));
  return classes;
}

// "15709.0", as pandas writes a whole number in a column in which some are missing.
absl::StatusOr<int32_t> WholeNumber(absl::string_view text, absl::string_view column) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !(value >= 0) ||
      value > std::numeric_limits<int32_t>::max() || value != static_cast<int32_t>(value)) {
    return absl::DataLossError(absl::StrCat(column, " is no whole number from 0 on"));
  }
  return static_cast<int32_t>(value);
}

// Nothing of a record without a diagnostic statement.
absl::StatusOr<std::optional<EcgRecord>> ParseRecord(const Fields& fields,
                                                     const ScpClasses& statements) {
  EcgRecord record;
  CONSILIUM_ASSIGN_OR_RETURN(record.patient, WholeNumber(fields[0], "patient_id"));
  CONSILIUM_ASSIGN_OR_RETURN(record.site, WholeNumber(fields[1], "site"));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<std::string> codes, ParseScpCodes(fields[2]));
  for (const std::string& code : codes) {
    if (statements.count(code) > 0) continue;
    return absl::DataLossError("scp_codes has a statement that the other table has not");
  }
  record.file = std::string(fields[3]);
  if (record.file.empty()) return absl::DataLossError("filename_lr is empty");
  const std::optional<bool> abnormal = IsAbnormal(codes, statements);
  if (!abnormal.has_value()) return std::nullopt;
  record.abnormal = *abnormal;
  return record;
}

// Grows to `bytes` and no further.
class SignalFile {
 public:
  SignalFile(size_t records, uint64_t bytes) : records_(records), bytes_(bytes) {}

  absl::Status Append(const EcgRecord& from, const WfdbRecord& record) {
    const WfdbHeader& header = record.header;
    if (file_.empty()) {
      CONSILIUM_RETURN_IF_ERROR(Begin(header));
    } else if (header.signals.size() != signals_ || header.samples != samples_ ||
               header.samples_per_s != samples_per_s_) {
      return absl::DataLossError(absl::StrCat(
          from.file, " has another shape or sampling rate than the records before it"));
    }
    for (const float item : record.millivolts) AppendIdxFloat(item, file_);
    return absl::OkStatus();
  }

  std::string Take() { return std::move(file_); }

 private:
  absl::Status Begin(const WfdbHeader& header) {
    signals_ = header.signals.size();
    samples_ = header.samples;
    samples_per_s_ = header.samples_per_s;
    const uint32_t shape[] = {static_cast<uint32_t>(records_), static_cast<uint32_t>(signals_),
                              static_cast<uint32_t>(samples_)};
    file_ = IdxHeader(IdxType::kFloat, shape);
    const uint64_t items = uint64_t{signals_} * samples_;  // Within the limits of a header.
    if ((bytes_ - std::min<uint64_t>(bytes_, file_.size())) / sizeof(float) / items < records_) {
      return absl::DataLossError(
          absl::StrCat("the signals of ", records_, " records have more than ", bytes_, " bytes"));
    }
    file_.reserve(file_.size() + records_ * items * sizeof(float));
    return absl::OkStatus();
  }

  size_t records_;
  uint64_t bytes_;
  std::string file_;
  size_t signals_ = 0;
  size_t samples_ = 0;
  double samples_per_s_ = 0;
};

absl::StatusOr<std::string> MakeSignals(const std::string& folder,
                                        const std::vector<EcgRecord>& records, uint64_t bytes) {
  SignalFile file(records.size(), bytes);
  for (const EcgRecord& from : records) {
    CONSILIUM_ASSIGN_OR_RETURN(const WfdbRecord record, ReadWfdbRecord(folder, from.file));
    CONSILIUM_RETURN_IF_ERROR(file.Append(from, record));
  }
  return file.Take();
}

template <typename Of>
std::string MakeNumbers(const std::vector<EcgRecord>& records, Of of) {
  std::vector<int32_t> numbers;
  numbers.reserve(records.size());
  for (const EcgRecord& record : records) numbers.push_back(of(record));
  return IdxOfInt32(numbers);
}

absl::StatusOr<std::string> MakeContent(const std::string& folder, const v1::EcgArray& array,
                                        const std::vector<EcgRecord>& records, uint64_t bytes) {
  switch (array.content()) {
    case v1::EcgArray::SIGNAL:
      return MakeSignals(folder, records, bytes);
    case v1::EcgArray::ABNORMAL:
      return MakeNumbers(records, [](const EcgRecord& r) { return r.abnormal ? 1 : 0; });
    case v1::EcgArray::PATIENT:
      return MakeNumbers(records, [](const EcgRecord& r) { return r.patient; });
    case v1::EcgArray::SITE:
      return MakeNumbers(records, [](const EcgRecord& r) { return r.site; });
    default:
      return absl::InvalidArgumentError("ecg_array.content must be given");
  }
}

}  // namespace

absl::StatusOr<std::vector<EcgRecord>> ReadEcgTable(const std::string& folder,
                                                    const std::string& database,
                                                    const std::string& statements) {
  CONSILIUM_ASSIGN_OR_RETURN(const ScpClasses classes, ReadStatements(PathIn(folder, statements)));
  std::vector<EcgRecord> records;
  const auto take = [&](const Fields& fields) {
    CONSILIUM_ASSIGN_OR_RETURN(std::optional<EcgRecord> record, ParseRecord(fields, classes));
    if (record.has_value()) records.push_back(*std::move(record));
    return absl::OkStatus();
  };
  const std::string path = PathIn(folder, database);
  CONSILIUM_RETURN_IF_ERROR(
      ForEachLine(path, {"patient_id", "site", "scp_codes", "filename_lr"}, take));
  if (records.empty()) {
    return absl::DataLossError(absl::StrCat(path, " has no record with a diagnostic statement"));
  }
  return records;
}

absl::StatusOr<std::string> MakeEcgArray(const std::string& folder, const v1::EcgArray& array,
                                         uint64_t bytes) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<EcgRecord> records,
                             ReadEcgTable(folder, array.database(), array.statements()));
  CONSILIUM_ASSIGN_OR_RETURN(std::string file, MakeContent(folder, array, records, bytes));
  if (file.size() == bytes) return file;
  return absl::DataLossError(absl::StrCat("the array has ", file.size(), " bytes, not ", bytes));
}

}  // namespace consilium
