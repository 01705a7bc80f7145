#include "protocol/core/printable_text.h"

#include <string>

#include "gtest/gtest.h"

namespace consilium {
namespace {

TEST(PrintableText, OrdinaryTextStays) {
  EXPECT_EQ(PrintableText(""), "");
  EXPECT_EQ(PrintableText("St. Mary's, 37 \xc2\xb0"
                          "C \xe2\x89\xa4 \xf0\x9f\x98\x80"),
            "St. Mary's, 37 \xc2\xb0"
            "C \xe2\x89\xa4 \xf0\x9f\x98\x80");
}

TEST(PrintableText, BytesThatAreNoTextAreWrittenOut) {
  EXPECT_EQ(PrintableText("a\xff"
                          "b"),
            "a\\xffb");
  EXPECT_EQ(PrintableText("\xc0\xaf"), "\\xc0\\xaf");                  // Overlong '/'.
  EXPECT_EQ(PrintableText("\xed\xa0\x80"), "\\xed\\xa0\\x80");         // A surrogate.
  EXPECT_EQ(PrintableText("\xf4\x90\x80\x80").substr(0, 4), "\\xf4");  // Beyond U+10FFFF.
  EXPECT_EQ(PrintableText("\xe2\x82"), "\\xe2\\x82");                  // Cut short.
}

TEST(PrintableText, NothingIsObeyed) {
  EXPECT_EQ(PrintableText("a\nALARM: b\r"), "a\\x0aALARM: b\\x0d");
  EXPECT_EQ(PrintableText("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(PrintableText("\xc2\x9b"), "\\x9b");        // CSI as one character.
  EXPECT_EQ(PrintableText("\xe2\x80\xae"), "\\u202e");  // Right to left.
  EXPECT_EQ(PrintableText(std::string(1, '\0')), "\\x00");
}

TEST(PrintableText, LineFeedsStayWhereLinesAreWanted) {
  const PrintableOptions lines = {.lines = PrintableOptions::Lines::kMany};
  EXPECT_EQ(PrintableText("a\nb\x1b", lines), "a\nb\\x1b");
}

TEST(PrintableText, IsCutBetweenCharacters) {
  const std::string euros = "\xe2\x82\xac\xe2\x82\xac";
  EXPECT_EQ(PrintableText(euros, {.bytes_max = 5}), "\xe2\x82\xac");
  EXPECT_EQ(PrintableText(euros, {.bytes_max = 6}), euros);
  EXPECT_EQ(PrintableText(std::string(9000, '\n')).size(), 2000U);
}

}  // namespace
}  // namespace consilium
