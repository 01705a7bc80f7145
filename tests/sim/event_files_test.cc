#include "sim/report/event_files.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "sim/report/event_records.h"

namespace consilium {
namespace {

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(Crc32c, PublishedVectors) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string ascending;
  for (char i = 0; i < 32; ++i) ascending.push_back(i);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eU);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283U);
}

uint64_t LittleEndian(const std::string& file, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(file.at(at + i))) << (8 * i);
  }
  return value;
}

size_t Records(const std::string& file) {
  size_t records = 0;
  size_t at = 0;
  for (; at < file.size(); ++records) at += 8 + 4 + LittleEndian(file, at, 8) + 4;
  EXPECT_EQ(at, file.size());
  return records;
}

// That TensorBoard reads it is tested with its own reader (tests/cli).
TEST(EventFile, HasARecordForEachKnownValue) {
  RunSummary run;
  run.curve.resize(2);
  EXPECT_EQ(Records(EventFile(run)), 1 + 2 * 2);
  run.curve[1].validation_loss = 0.5;
  run.curve[1].score = 0.25;
  run.curve[1].worst_score = 0.75;
  EXPECT_EQ(Records(EventFile(run)), 1 + 2 * 2 + 3);
}

}  // namespace
}  // namespace consilium
