#include "sim/report/json_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;

std::string Nested(size_t depth, const std::string& open, const std::string& close) {
  std::string text;
  for (size_t i = 0; i < depth; ++i) text += open;
  for (size_t i = 0; i < depth; ++i) text += close;
  return text;
}

TEST(JsonFile, WhatIsNestedTooDeepIsRefused) {
  EXPECT_THAT(ParseJson("x", Nested(kJsonDepthMax, "[", "]")), IsOk());
  EXPECT_THAT(ParseJson("x", Nested(kJsonDepthMax + 1, "[", "]")),
              IsError(StatusCode::kInvalidArgument, "x: is nested deeper than 32"));
  EXPECT_THAT(ParseJson("x", Nested(1 << 20, "[", "")),
              IsError(StatusCode::kInvalidArgument, "nested deeper"));
  EXPECT_THAT(
      ParseJson("x", absl::StrCat(Nested(kJsonDepthMax, "{\"a\":", ""), "[]", Nested(32, "}", ""))),
      IsError(StatusCode::kInvalidArgument, "nested deeper"));
}

// Nor is what stands beside each other, or in a string.
TEST(JsonFile, BracketsInTextsAreNone) {
  const std::string brackets = Nested(100, "[", "{");
  const auto json = ParseJson("x", absl::StrCat("[\"\\\"", brackets, "\", [], [[]]]"));
  ASSERT_THAT(json, IsOk());
  EXPECT_EQ(json->at(0), absl::StrCat("\"", brackets));
  std::string flat = "[0";
  for (int i = 0; i < 1000; ++i) flat += ", [{}]";
  EXPECT_THAT(ParseJson("x", flat + "]"), IsOk());
}

TEST(JsonFile, WhatIsNotJsonIsRefused) {
  for (const char* text : {"", "{", "]]", "\"", "\"\\", "{\"a\": 1,}", "\xff"}) {
    EXPECT_THAT(ParseJson("x", text), IsError(StatusCode::kInvalidArgument, "x: is not JSON"));
  }
}

TEST(JsonFile, ALargeOneIsRefusedWithWhatToDo) {
  const TempFolder folder;
  const std::string path = folder.File("summary.json");
  EXPECT_THAT(ReadJsonFile(path, "do less"), IsError(StatusCode::kNotFound, path));
  ASSERT_THAT(WriteFileDurably(path, "[1, 2]"), IsOk());
  EXPECT_THAT(ReadJsonFile(path, "do less", 6), IsOk());
  EXPECT_THAT(ReadJsonFile(path, "do less", 5),
              IsError(StatusCode::kResourceExhausted, "at most 5 are read: do less"));
}

}  // namespace
}  // namespace consilium
