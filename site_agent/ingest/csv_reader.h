// A stream of CSV records (RFC 4180) within fixed memory: quoted fields with doubled quotes and
// line breaks, LF or CRLF, a UTF-8 byte order mark. What a file may cost is bounded before it is
// read. Ours because what is packaged grows its buffer with the input and knows no line numbers,
// which every refusal needs.
//
// No message holds anything of the file's content: it may be a patient's.
//
// Ownership: the reader owns its input. Threads: one at a time.

#ifndef CONSILIUM_SITE_AGENT_INGEST_CSV_READER_H_
#define CONSILIUM_SITE_AGENT_INGEST_CSV_READER_H_

#include <cstddef>
#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/wire/limits.h"

namespace consilium {

struct CsvOptions {
  char delimiter = ',';
  uint64_t file_bytes_max = limits::kCsvFileBytesMax;
  // Of one record, its line breaks included.
  size_t record_bytes_max = limits::kCsvLineBytesMax;
  size_t columns_max = limits::kCsvColumnsMax;
};

// One record; reused for the next, so that reading allocates no more than the longest one needs.
class CsvRecord {
 public:
  // Where it begins in the file, from 1.
  uint64_t line() const { return line_; }
  size_t size() const { return ends_.size(); }
  // Without its quotes. Valid until the next record is read into this object.
  absl::string_view field(size_t i) const {
    size_t begin = i == 0 ? 0 : ends_[i - 1];
    return absl::string_view(text_).substr(begin, ends_[i] - begin);
  }
  // Empty, or why this record can not be read, e.g. "has a quote inside an unquoted field"; the
  // reader has gone on to the next line then.
  absl::string_view problem() const { return problem_; }

  // Makes it a record of another format's row, which is what `line` counts then.
  void Assign(uint64_t line, const std::vector<std::string>& fields);

 private:
  friend class CsvReader;
  uint64_t line_ = 0;
  std::string text_;  // The fields, one after the other.
  std::vector<size_t> ends_;
  absl::string_view problem_;
};

class CsvReader {
 public:
  CsvReader(std::unique_ptr<std::istream> input, const CsvOptions& options);

  // Reads the next record; false at the end of the file. Lines with nothing on them are passed
  // over. An error ends the file:
  //   RESOURCE_EXHAUSTED  a record, its fields or the file are more than the options allow
  //   INVALID_ARGUMENT    a quoted field that the file's end cuts off; UTF-16
  //   UNAVAILABLE         the system could not read on
  absl::StatusOr<bool> Next(CsvRecord& record);

 private:
  enum class State;
  static constexpr int kEnd = -1;

  int Get();
  int Peek();
  absl::Status SkipByteOrderMark();
  absl::Status CheckLimits(const CsvRecord& record, uint64_t begin) const;
  absl::Status SkipBlankLines(CsvRecord& record);
  State EndField(CsvRecord& record, State next) const;
  State Take(State state, char c, CsvRecord& record);

  std::unique_ptr<std::istream> input_;
  CsvOptions options_;
  std::vector<char> buffer_;
  size_t next_ = 0;
  size_t filled_ = 0;
  uint64_t file_bytes_ = 0;
  uint64_t line_ = 1;
  bool started_ = false;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_CSV_READER_H_
