#include "protocol/wire/text_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "consilium/v1/run_config.pb.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(TextFormatTest, UnknownFieldsAreRefusedWithLineAndColumn) {
  v1::RunConfig config;
  const absl::Status status =
      ParseTextFormat("name: \"x\"\ntraining {\n  lerning_rate: 1\n}\n", "run.textproto", config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), StartsWith("run.textproto:3:"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("lerning_rate"));
}

TEST(TextFormatTest, WrongTypesAndUnknownEnumsAreRefused) {
  v1::RunConfig config;
  EXPECT_FALSE(ParseTextFormat("seed: \"one\"", "f", config).ok());
  EXPECT_FALSE(ParseTextFormat("aggregation { preset: MEDIAN_OF_MEANS }", "f", config).ok());
  EXPECT_FALSE(ParseTextFormat("seed: 1 seed: 2", "f", config).ok());
}

TEST(TextFormatTest, TooLongIsRefusedBeforeItIsParsed) {
  v1::RunConfig config;
  const std::string text(limits::kTextFileBytesMax + 1, ' ');
  EXPECT_EQ(ParseTextFormat(text, "f", config).code(), absl::StatusCode::kResourceExhausted);
}

TEST(TextFormatTest, DeterministicBytesSortMapsAndDropUnknownFields) {
  v1::ModelConfig a;
  v1::ModelConfig b;
  for (int i = 0; i < 50; ++i) {
    (*a.mutable_parameters())[std::string(1, static_cast<char>('A' + i))] = i;
    (*b.mutable_parameters())[std::string(1, static_cast<char>('A' + 49 - i))] = 49 - i;
  }
  EXPECT_EQ(DeterministicBytes(a), DeterministicBytes(b));
  v1::ModelConfig c = a;
  c.GetReflection()->MutableUnknownFields(&c)->AddVarint(999, 1);
  EXPECT_EQ(DeterministicBytes(a), DeterministicBytes(c));
}

}  // namespace
}  // namespace consilium
