#include "site_agent/ingest/row_codec.h"

#include <cmath>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

RawRow Row() {
  return {{1.5, std::numeric_limits<double>::quiet_NaN(), -0x1p-1074}, 2, "patient 7"};
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

TEST(RowCodec, EveryTruncationAndExtensionIsDamage) {
  const std::string bytes = EncodeRow(Row());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeRow(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss)
        << size;
  }
  EXPECT_EQ(DecodeRow(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
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
}

// Whatever the bytes, the answer is a row or an error, and a row encodes to the same bytes.
TEST(RowCodec, RandomDamageIsNeverMisread) {
  RandomStream random(SeedPath{17, "row_codec_test", "", 0});
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = EncodeRow(Row());
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
