#include "site_agent/ingest/csv_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
constexpr absl::string_view kStrayReturn = "has a carriage return without a line feed";

}  // namespace

// What the characters read so far of a record ask of the next one.
enum class CsvReader::State {
  kFieldStart,
  kUnquoted,
  kQuoted,
  kAfterQuote,  // A quote inside a quoted field: its end, or the first of two.
  kSkip,        // The record has a problem: to the end of this line.
  kRecordEnd,
  kTooManyFields,
};

void CsvRecord::Assign(uint64_t line, const std::vector<std::string>& fields) {
  line_ = line;
  text_.clear();
  ends_.clear();
  problem_ = "";
  for (const std::string& field : fields) {
    text_ += field;
    ends_.push_back(text_.size());
  }
}

CsvReader::CsvReader(std::unique_ptr<std::istream> input, const CsvOptions& options)
    : input_(std::move(input)), options_(options), buffer_(kBufferBytes) {}

int CsvReader::Peek() {
  if (next_ == filled_) {
    input_->read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    next_ = 0;
    filled_ = static_cast<size_t>(input_->gcount());
    if (filled_ == 0) return kEnd;
  }
  return static_cast<unsigned char>(buffer_[next_]);
}

int CsvReader::Get() {
  int c = Peek();
  if (c == kEnd) return kEnd;
  ++next_;
  ++file_bytes_;
  if (c == '\n') ++line_;
  return c;
}

absl::Status CsvReader::SkipByteOrderMark() {
  started_ = true;
  int first = Peek();
  if (first == 0xFE || first == 0xFF) {
    return absl::InvalidArgumentError("line 1: the file is UTF-16; save it as UTF-8");
  }
  if (first != 0xEF) return absl::OkStatus();
  Get();
  if (Get() != 0xBB || Get() != 0xBF) {
    return absl::InvalidArgumentError("line 1: the file begins with a damaged byte order mark");
  }
  return absl::OkStatus();
}

absl::Status CsvReader::CheckLimits(const CsvRecord& record, uint64_t begin) const {
  const auto too_much = [&](absl::string_view what, uint64_t bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat("line ", record.line_, ": the ", what,
                                                     " has more than ", bytes_max, " bytes"));
  };
  if (file_bytes_ > options_.file_bytes_max) return too_much("file", options_.file_bytes_max);
  if (file_bytes_ - begin > options_.record_bytes_max) {
    return too_much("record", options_.record_bytes_max);
  }
  return absl::OkStatus();
}

absl::Status CsvReader::SkipBlankLines(CsvRecord& record) {
  while (Peek() == '\n' || Peek() == '\r') {
    record.line_ = line_;
    CONSILIUM_RETURN_IF_ERROR(CheckLimits(record, file_bytes_));
    if (Get() == '\r' && Peek() != '\n' && Peek() != kEnd) {
      record.problem_ = kStrayReturn;
      return absl::OkStatus();
    }
  }
  record.line_ = line_;
  return absl::OkStatus();
}

CsvReader::State CsvReader::EndField(CsvRecord& record, State next) const {
  if (record.ends_.size() >= options_.columns_max) return State::kTooManyFields;
  record.ends_.push_back(record.text_.size());
  return next;
}

CsvReader::State CsvReader::Take(State state, char c, CsvRecord& record) {
  const auto refuse = [&](absl::string_view problem) {
    record.problem_ = problem;
    return State::kSkip;
  };
  if (state == State::kSkip) return c == '\n' ? State::kRecordEnd : State::kSkip;
  if (c == '\0') return refuse("has a zero byte");
  if (state == State::kQuoted) {
    if (c == '"') return State::kAfterQuote;
    record.text_.push_back(c);
    return State::kQuoted;
  }
  if (c == '\n') return EndField(record, State::kRecordEnd);
  if (c == '\r') return Peek() == '\n' || Peek() == kEnd ? state : refuse(kStrayReturn);
  if (c == options_.delimiter) return EndField(record, State::kFieldStart);
  if (state == State::kAfterQuote) {
    if (c != '"') return refuse("has text after a closing quote");
    record.text_.push_back('"');
    return State::kQuoted;
  }
  if (c == '"') {
    if (state == State::kFieldStart) return State::kQuoted;
    return refuse("has a quote inside an unquoted field");
  }
  record.text_.push_back(c);
  return State::kUnquoted;
}

absl::StatusOr<bool> CsvReader::Next(CsvRecord& record) {
  if (!started_) CONSILIUM_RETURN_IF_ERROR(SkipByteOrderMark());
  record.text_.clear();
  record.ends_.clear();
  record.problem_ = {};
  CONSILIUM_RETURN_IF_ERROR(SkipBlankLines(record));

  const uint64_t begin = file_bytes_;
  State state = record.problem_.empty() ? State::kFieldStart : State::kSkip;
  while (state != State::kRecordEnd) {
    int c = Get();
    CONSILIUM_RETURN_IF_ERROR(CheckLimits(record, begin));
    if (c == kEnd) {
      if (input_->bad()) {
        return absl::UnavailableError(
            absl::StrCat("line ", record.line_, ": the file could not be read on"));
      }
      if (file_bytes_ == begin && state == State::kFieldStart) return false;
      if (state == State::kQuoted) {
        return absl::InvalidArgumentError(absl::StrCat(
            "line ", record.line_, ": a quoted field is not closed before the file ends"));
      }
      c = '\n';  // The last line need not have one.
    }
    state = Take(state, static_cast<char>(c), record);
    if (state == State::kTooManyFields) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "line ", record.line_, ": the record has more than ", options_.columns_max, " fields"));
    }
  }
  return true;
}

}  // namespace consilium
