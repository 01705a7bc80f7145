#include "site_agent/ingest/row_codec.h"

#include <cmath>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

RawRow Row() {
  return {{1.5, std::numeric_limits<double>::quiet_NaN(), -0x1p-1074}, 2, "patient 7"};
}

RawRow ImageRow() {
  RawRow row = Row();
  row.tensors = {0, 255, -0.5f, 0x1p-149f};
  return row;
}

TEST(RowCodec, RoundTrips) {
  absl::StatusOr<RawRow> row = DecodeRow(EncodeRow(Row()));
  ASSERT_TRUE(row.ok()) << row.status();
  ASSERT_EQ(row->values.size(), 3u);
  EXPECT_EQ(row->values[0], 1.5);
  EXPECT_TRUE(std::isnan(row->values[1]));
  EXPECT_EQ(row->values[2], -0x1p-1074);
  EXPECT_EQ(row->label, 2);
  EXPECT_EQ(row->patient_id, "patient 7");
}

TEST(RowCodec, FixedBytesOfVersion1) {
  const std::string expected("\x01\x01\0\0\0\0\0\0\0\0\0\xF8\x3F\0\0\0\0\0\0\xF0\x3F\x01\0p", 24);
  EXPECT_EQ(EncodeRow({{1.5}, 1, "p"}), expected);
}

TEST(RowCodec, TensorsRoundTrip) {
  absl::StatusOr<RawRow> row = DecodeRow(EncodeRow(ImageRow()));
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->tensors, ImageRow().tensors);
  EXPECT_EQ(row->values.size(), 3u);
  EXPECT_EQ(row->patient_id, "patient 7");
}

TEST(RowCodec, FixedBytesOfVersion2) {
  const std::string expected(
      "\x02\x01\0\0\0\0\0\0\0\0\0\xF8\x3F\0\0\0\0\0\0\xF0\x3F\x01\0p"
      "\x01\0\0\0\0\0\0\x40",
      32);
  EXPECT_EQ(EncodeRow({{1.5}, 1, "p", {2}}), expected);
}

TEST(RowCodec, EveryTruncationAndExtensionIsDamage) {
  for (const std::string& bytes : {EncodeRow(Row()), EncodeRow(ImageRow())}) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(DecodeRow(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss)
          << size;
    }
    EXPECT_EQ(DecodeRow(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(RowCodec, HostileCountsAllocateNothing) {
  std::string bytes = EncodeRow(Row());
  bytes.replace(1, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(DecodeRow(bytes).status().code(), absl::StatusCode::kDataLoss);
  std::string version = EncodeRow(Row());
  version[0] = 2;
  EXPECT_FALSE(DecodeRow(version).ok());
  EXPECT_FALSE(DecodeRow(EncodeRow({{std::numeric_limits<double>::infinity()}, 0, "p"})).ok());
  EXPECT_FALSE(DecodeRow(EncodeRow({{1}, std::nan(""), "p"})).ok());
  EXPECT_FALSE(DecodeRow(EncodeRow({{1}, 0, ""})).ok());
  std::string numbers = EncodeRow(ImageRow());
  numbers.replace(numbers.size() - 20, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(DecodeRow(numbers).status().code(), absl::StatusCode::kDataLoss);
  RawRow row = Row();
  row.tensors.assign(limits::kFeaturesMax, 1);
  EXPECT_TRUE(DecodeRow(EncodeRow(row)).ok());
  row.tensors.push_back(1);
  EXPECT_FALSE(DecodeRow(EncodeRow(row)).ok());
  for (const float wrong :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    row.tensors = {1, wrong};
    EXPECT_FALSE(DecodeRow(EncodeRow(row)).ok());
  }
}

// One row has one form: a row that says it has tensors has some.
TEST(RowCodec, NoTensorsAreNotTensors) {
  std::string bytes = EncodeRow(Row());
  bytes[0] = 2;
  EXPECT_FALSE(DecodeRow(bytes + std::string(4, '\0')).ok());
  bytes[0] = 3;
  EXPECT_FALSE(DecodeRow(bytes).ok());
}

// Whatever the bytes, the answer is a row or an error, and a row encodes to the same bytes.
TEST(RowCodec, RandomDamageIsNeverMisread) {
  RandomStream random(SeedPath{17, "row_codec_test", "", 0});
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = EncodeRow(i % 2 == 0 ? Row() : ImageRow());
    for (uint64_t flips = random.NextBelow(4) + 1; flips > 0; --flips) {
      bytes[random.NextBelow(bytes.size())] = static_cast<char>(random.Next());
    }
    absl::StatusOr<RawRow> row = DecodeRow(bytes);
    if (!row.ok()) continue;
    EXPECT_EQ(EncodeRow(*row), bytes);
  }
}

}  // namespace
}  // namespace consilium
