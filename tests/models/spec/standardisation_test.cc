#include "models/spec/standardisation.h"

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/features.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Features: a (0 to 10), c=y, k (-5 to 5).
v1::DataContract Contract() {
  v1::DataContract contract;
  EXPECT_TRUE(ParseTextFormat(R"(
      columns { name: "a" number { min: 0 max: 10 } }
      columns { name: "c" category { values: ["x", "y"] drop_first: true } }
      columns { name: "k" number { min: -5 max: 5 } })",
                              "contract", contract)
                  .ok());
  return contract;
}

v1::StatisticsReport Report(const std::string& text) {
  v1::StatisticsReport report;
  EXPECT_TRUE(ParseTextFormat(text, "report", report).ok());
  return report;
}

// a: 1, 3. k: 2, 2.
const char kNorth[] = "counts: [2, 2, 2] sums: [4, 1, 4] sums_of_squares: [10, 1, 8]";
// a: 5, 7, 9. k: not measured, 2, 2.
const char kSouth[] = "counts: [3, 3, 2] sums: [21, 2, 4] sums_of_squares: [155, 2, 8]";

std::string Complaint(const std::string& report) {
  return std::string(CheckStatistics(Contract(), Report(report)).message());
}

TEST(Features, NamesInOrder) {
  std::vector<std::string> names;
  for (const Feature& feature : FeaturesOf(Contract())) names.push_back(feature.name);
  EXPECT_THAT(names, ElementsAre("a", "c=y", "k"));
  EXPECT_EQ(FeatureCount(Contract()), names.size());
}

TEST(FoldStatistics, PopulationMeanAndDeviationOverSites) {
  absl::StatusOr<v1::Standardisation> folded = FoldStatistics(
      Contract(), {{SiteId("north"), Report(kNorth)}, {SiteId("south"), Report(kSouth)}});
  ASSERT_TRUE(folded.ok()) << folded.status();
  // a: 1, 3, 5, 7, 9 has mean 5 and variance 8. k is constant. c stays 0 or 1.
  EXPECT_THAT(folded->means(), ElementsAre(5, 0, 2));
  EXPECT_THAT(folded->deviations(), ElementsAre(std::sqrt(8.0), 1, 1));
  EXPECT_TRUE(CheckStandardisation(Contract(), *folded).ok());
}

TEST(FoldStatistics, AFeatureThatNobodyMeasured) {
  absl::StatusOr<v1::Standardisation> folded =
      FoldStatistics(Contract(), {{SiteId("s"), Report("counts: [1, 1, 0] sums: [4, 1, 0] "
                                                       "sums_of_squares: [16, 1, 0]")}});
  ASSERT_TRUE(folded.ok()) << folded.status();
  EXPECT_EQ(folded->means(2), 0);
  EXPECT_EQ(folded->deviations(2), 1);
}

TEST(FoldStatistics, RefusesNothingAndNamesTheSite) {
  EXPECT_FALSE(FoldStatistics(Contract(), {}).ok());
  absl::StatusOr<v1::Standardisation> folded = FoldStatistics(
      Contract(), {{SiteId("north"), Report(kNorth)}, {SiteId("south"), Report("counts: 1")}});
  EXPECT_THAT(std::string(folded.status().message()), HasSubstr("site south"));
}

TEST(CheckStatistics, RefusesWhatNoRowsCanGive) {
  EXPECT_EQ(Complaint(kNorth), "");
  EXPECT_THAT(Complaint("counts: [2, 2] sums: [4, 1] sums_of_squares: [10, 1]"),
              HasSubstr("one entry for each of 3 features"));
  EXPECT_THAT(Complaint("counts: [2, 2, 2] sums: [4, 1, nan] sums_of_squares: [10, 1, 8]"),
              HasSubstr("feature k: a sum is not finite"));
  EXPECT_THAT(Complaint("counts: [2, 2, 2] sums: [4, 1, 4] sums_of_squares: [inf, 1, 8]"),
              HasSubstr("feature a: a sum is not finite"));
  EXPECT_THAT(Complaint("counts: [2, 2, 2] sums: [20.5, 1, 4] sums_of_squares: [210.2, 1, 8]"),
              HasSubstr("feature a: the sum can not come"));
  EXPECT_THAT(Complaint("counts: [2, 2, 2] sums: [-0.5, 1, 4] sums_of_squares: [10, 1, 8]"),
              HasSubstr("feature a: the sum can not come"));
  EXPECT_THAT(Complaint("counts: [2, 2, 2] sums: [4, 1, 4] sums_of_squares: [7.9, 1, 8]"),
              HasSubstr("feature a: the sum of squares is less"));
  EXPECT_THAT(Complaint("counts: [2, 2, 2] sums: [4, 1, 4] sums_of_squares: [201, 1, 8]"),
              HasSubstr("feature a: the sum of squares can not come"));
  EXPECT_THAT(Complaint("counts: [2, 2, 0] sums: [4, 1, 0] sums_of_squares: [10, 1, -1]"),
              HasSubstr("feature k: the sum of squares is less"));
  EXPECT_THAT(Complaint("counts: [2, 18446744073709551615, 2] sums: [4, 1, 4] "
                        "sums_of_squares: [10, 1, 8]"),
              HasSubstr("feature c=y: the count"));
}

TEST(CheckStandardisation, RefusesWhatWouldBreakExamples) {
  const auto complaint = [](const std::string& text) {
    v1::Standardisation standardisation;
    EXPECT_TRUE(ParseTextFormat(text, "standardisation", standardisation).ok());
    return std::string(CheckStandardisation(Contract(), standardisation).message());
  };
  EXPECT_EQ(complaint("means: [1, 0, 0] deviations: [1, 1, 1]"), "");
  EXPECT_THAT(complaint("means: [1, 0] deviations: [1, 1]"), HasSubstr("one entry for each"));
  EXPECT_THAT(complaint("means: [1, nan, 0] deviations: [1, 1, 1]"), HasSubstr("feature c=y"));
  EXPECT_THAT(complaint("means: [1, 0, 0] deviations: [1, 1, 0]"), HasSubstr("feature k"));
  EXPECT_THAT(complaint("means: [1, 0, 0] deviations: [-1, 1, 1]"), HasSubstr("feature a"));
}

TEST(StandardisationHash, DependsOnEveryBit) {
  v1::Standardisation a;
  EXPECT_TRUE(ParseTextFormat("means: [1, 0] deviations: [1, 2]", "a", a).ok());
  v1::Standardisation b = a;
  EXPECT_EQ(StandardisationHash(a), StandardisationHash(b));
  b.set_deviations(1, std::nextafter(2.0, 3.0));
  EXPECT_NE(StandardisationHash(a), StandardisationHash(b));
  // The same numbers, divided otherwise.
  v1::Standardisation c;
  EXPECT_TRUE(ParseTextFormat("means: [1, 0, 1] deviations: [2]", "c", c).ok());
  EXPECT_NE(StandardisationHash(a), StandardisationHash(c));
}

}  // namespace
}  // namespace consilium
