// The line of progress: one line of any terminal, with what it says whole where there is room.

#include "protocol/core/progress.h"

#include <gtest/gtest.h>

#include <string>

namespace consilium {
namespace {

// With the longest name of a rule and of a metric, and wide numbers.
const ProgressLine kLongest = {"STALENESS_WEIGHTED_TABLE", 0.5,
                               "seed 100 v9999/9999 BALANCED_ACCURACY 0.1234 virtual 99m",
                               absl::Minutes(99)};

TEST(ProgressLine, IsWholeIn80Columns) {
  const std::string text = TextOf(kLongest, 80);
  EXPECT_LT(text.size(), 80u);
  EXPECT_NE(text.find(" 50% " + kLongest.detail + " wall 99m left 99m"), std::string::npos) << text;
}

TEST(ProgressLine, HasABarAndTheWholeNameWhereThereIsRoom) {
  const ProgressLine line = {"FEDBUFF", 0.25, "v1/4", absl::Seconds(2)};
  EXPECT_EQ(TextOf(line, 200), "FEDBUFF [======                  ]  25% v1/4 wall 2.0s left 6.0s");
  EXPECT_EQ(TextOf(line, 50), "FEDBUFF [==       ]  25% v1/4 wall 2.0s left 6.0s");
  // Name and bar give way before what is said.
  EXPECT_EQ(TextOf(line, 44), "FEDBUF [=   ]  25% v1/4 wall 2.0s left 6.0s");
  EXPECT_EQ(TextOf(line, 41), "[==      ]  25% v1/4 wall 2.0s left 6.0s");
  EXPECT_EQ(TextOf(line, 36), "FEDBU  25% v1/4 wall 2.0s left 6.0s");
  EXPECT_EQ(TextOf(line, 10), " 25% v1/4");
}

TEST(ProgressLine, StaysOneLineOfAnyWidth) {
  for (size_t columns = 0; columns < 200; ++columns) {
    EXPECT_LE(TextOf(kLongest, columns).size(), columns == 0 ? 0 : columns - 1) << columns;
  }
}

TEST(ProgressLine, GuessesNothingAtTheBeginning) {
  EXPECT_NE(TextOf({"x", 0, "", absl::Seconds(1)}, 80).find("left ?"), std::string::npos);
}

TEST(ShortDuration, HasTwoDigitsAndAUnit) {
  EXPECT_EQ(ShortDuration(absl::ZeroDuration()), "0ms");
  EXPECT_EQ(ShortDuration(absl::Milliseconds(850)), "850ms");
  EXPECT_EQ(ShortDuration(absl::Milliseconds(999.9)), "1.0s");
  EXPECT_EQ(ShortDuration(absl::Seconds(9.96)), "10s");
  EXPECT_EQ(ShortDuration(absl::Seconds(99)), "99s");
  EXPECT_EQ(ShortDuration(absl::Seconds(100)), "2m");
  EXPECT_EQ(ShortDuration(absl::Minutes(99)), "99m");
  EXPECT_EQ(ShortDuration(absl::Minutes(100)), "1.7h");
  EXPECT_EQ(ShortDuration(absl::Hours(99)), "99h");
  EXPECT_EQ(ShortDuration(absl::Hours(24 * 30)), "30d");
}

}  // namespace
}  // namespace consilium
