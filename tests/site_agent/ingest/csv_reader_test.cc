#include "site_agent/ingest/csv_reader.h"

#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Fields = std::vector<std::string>;

struct Outcome {
  std::vector<Fields> records;     // Without those that have a problem.
  std::vector<std::string> lines;  // "line" or "line: problem".
  absl::Status status;
};

Outcome ReadAll(const std::string& text, CsvOptions options = {}) {
  CsvReader reader(std::make_unique<std::istringstream>(text), options);
  CsvRecord record;
  Outcome outcome;
  while (true) {
    absl::StatusOr<bool> next = reader.Next(record);
    outcome.status = next.status();
    if (!next.ok() || !*next) return outcome;
    std::string line = std::to_string(record.line());
    if (!record.problem().empty()) {
      outcome.lines.push_back(line + ": " + std::string(record.problem()));
      continue;
    }
    outcome.lines.push_back(line);
    Fields fields;
    for (size_t i = 0; i < record.size(); ++i) fields.emplace_back(record.field(i));
    outcome.records.push_back(std::move(fields));
  }
}

TEST(CsvReader, ReadsRfc4180) {
  Outcome outcome = ReadAll("a,b,c\r\n1,\"x,\"\"y\"\"\r\nz\",\n,,\n\"\",q,\"last\"");
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_THAT(outcome.records, ElementsAre(Fields{"a", "b", "c"}, Fields{"1", "x,\"y\"\r\nz", ""},
                                           Fields{"", "", ""}, Fields{"", "q", "last"}));
  // The second record holds a line break, so the third begins on line 4.
  EXPECT_THAT(outcome.lines, ElementsAre("1", "2", "4", "5"));
}

TEST(CsvReader, PassesOverByteOrderMarkAndBlankLines) {
  Outcome outcome = ReadAll(
      "\xEF\xBB\xBF"
      "a;b\n\n\r\n\n1;2\r\n\r\n",
      {.delimiter = ';'});
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_THAT(outcome.records, ElementsAre(Fields{"a", "b"}, Fields{"1", "2"}));
  EXPECT_THAT(outcome.lines, ElementsAre("1", "5"));
}

TEST(CsvReader, EmptyFilesHaveNoRecords) {
  for (const char* text : {"", "\n", "\r\n\r\n", "\xEF\xBB\xBF"}) {
    Outcome outcome = ReadAll(text);
    EXPECT_TRUE(outcome.status.ok()) << outcome.status;
    EXPECT_THAT(outcome.records, IsEmpty());
  }
}

TEST(CsvReader, ARecordWithAProblemCostsOnlyItsLine) {
  Outcome outcome =
      ReadAll("1,2\n3,a\"b\n4,\"x\"y\n5,\rz\n" + std::string("6,\0,7\n", 6) + "8,9\n\r10\n11,12\n");
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_THAT(outcome.records, ElementsAre(Fields{"1", "2"}, Fields{"8", "9"}, Fields{"11", "12"}));
  EXPECT_THAT(outcome.lines,
              ElementsAre("1", "2: has a quote inside an unquoted field",
                          "3: has text after a closing quote",
                          "4: has a carriage return without a line feed", "5: has a zero byte", "6",
                          "7: has a carriage return without a line feed", "8"));
}

TEST(CsvReader, RefusesAnOpenQuoteAtTheEnd) {
  Outcome outcome = ReadAll("1,2\n3,\"never closed\n4,5\n");
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(outcome.status.message()), HasSubstr("line 2: a quoted field"));
  EXPECT_THAT(std::string(outcome.status.message()), ::testing::Not(HasSubstr("never")));
}

TEST(CsvReader, RefusesUtf16) {
  EXPECT_THAT(std::string(ReadAll("\xFF\xFE"
                                  "a")
                              .status.message()),
              HasSubstr("UTF-16"));
  EXPECT_EQ(ReadAll("\xEF\xBB"
                    "a")
                .status.code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CsvReader, BoundsRecordsFieldsAndTheFile) {
  EXPECT_TRUE(ReadAll("12345,789\n1\n", {.record_bytes_max = 10}).status.ok());
  Outcome record = ReadAll("1\n12345,7890\n", {.record_bytes_max = 10});
  EXPECT_EQ(record.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(record.status.message()), HasSubstr("line 2: the record"));
  // A quoted field that swallows line after line meets the same limit.
  EXPECT_EQ(ReadAll("\"a\nb\nc\nd\ne\nf\ng\n", {.record_bytes_max = 10}).status.code(),
            absl::StatusCode::kResourceExhausted);
  // And so does a line that is only passed over.
  EXPECT_EQ(ReadAll("a\"" + std::string(20, 'x'), {.record_bytes_max = 10}).status.code(),
            absl::StatusCode::kResourceExhausted);

  EXPECT_TRUE(ReadAll("1,2,3\n", {.columns_max = 3}).status.ok());
  EXPECT_EQ(ReadAll("1,2,3,\n", {.columns_max = 3}).status.code(),
            absl::StatusCode::kResourceExhausted);

  EXPECT_TRUE(ReadAll("1,2\n", {.file_bytes_max = 4}).status.ok());
  EXPECT_EQ(ReadAll("1,2\n3", {.file_bytes_max = 4}).status.code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadAll("\r\n\r\n\r\n\n\n", {.file_bytes_max = 4}).status.code(),
            absl::StatusCode::kResourceExhausted);
}

// Whatever falls on a boundary of the reader's buffer reads the same.
TEST(CsvReader, BufferBoundariesDoNotMatter) {
  for (size_t before : {65530, 65531, 65532, 65533, 65534, 65535, 65536, 65537}) {
    Outcome outcome = ReadAll(std::string(before, 'x') + "\r\n\"a\"\"b\",c\r\n\r\nd,e\r\n");
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    ASSERT_EQ(outcome.records.size(), 3u) << before;
    EXPECT_THAT(outcome.records[1], ElementsAre("a\"b", "c")) << before;
    EXPECT_THAT(outcome.records[2], ElementsAre("d", "e")) << before;
  }
}

}  // namespace
}  // namespace consilium
