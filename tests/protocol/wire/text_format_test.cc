#include "protocol/wire/text_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "consilium/v1/model_spec.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
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

std::string Refused(const std::string& text) {
  v1::RunConfig config;
  return std::string(MergeTextFormat(text, "f", config).message());
}

TEST(TextFormatTest, AnUnknownEnumValueIsToldWhatItCanBe) {
  EXPECT_THAT(Refused("# the rule {\naggregation {\n  limits { } preset: MEDIAN_OF_MEANS\n}"),
              AllOf(StartsWith("f:4:1: "), HasSubstr("MEDIAN_OF_MEANS"), HasSubstr("preset"),
                    HasSubstr(" It can be STALENESS_WEIGHTED_TABLE, FEDAVG, "), EndsWith(".")));
  EXPECT_THAT(Refused("aggregation { preset: MEDIAN }"), Not(HasSubstr("UNSPECIFIED")));
  EXPECT_THAT(Refused("aggregation { preset: \"FEDAVG\" }"),
              HasSubstr("\"FEDAVG\". It can be STALENESS"));
  // The value may be the last word, stand before its block's end, or lie in a later entry of a
  // list.
  EXPECT_THAT(Refused("stop: < select_by: LOGLOSS"), HasSubstr(" It can be LOG_LOSS, ACCURACY"));
  EXPECT_THAT(Refused("stop { target { metric: AUC } }"), HasSubstr(" It can be LOG_LOSS"));
  v1::ModelSpec spec;
  const absl::Status status = MergeTextFormat(
      "layers: [{ name: \"a\" pool { kind: MAX } }, { pool { kind: MEAN } }]", "f", spec);
  EXPECT_THAT(std::string(status.message()), HasSubstr(" It can be MAX, AVERAGE, GLOBAL_AVERAGE."));
  // Fields of other types, and of none, are as they were.
  EXPECT_THAT(Refused("seed: \"one\""), Not(HasSubstr("It can be")));
  EXPECT_THAT(Refused("agregation { preset: MEDIAN }"), Not(HasSubstr("It can be")));
  EXPECT_THAT(Refused("} } { < > preset: MEDIAN"), Not(HasSubstr("It can be")));
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
