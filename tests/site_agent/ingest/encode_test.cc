#include "site_agent/ingest/encode.h"

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/standardisation.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

// Features: a, b, c=x, c=y, c=z, d=2, e=1, e=2, f.
constexpr char kContract[] = R"(
  columns { name: "a" number { min: 0 max: 100 } }
  columns { name: "b" number { min: 0 max: 100 } missing { rule: MEAN } }
  columns { name: "c" category { values: ["x", "y", "z"] } missing { rule: MEAN } }
  columns { name: "d" category { values: ["1", "2"] drop_first: true } }
  columns { name: "e" category { values: ["1", "2"] } missing { rule: CONSTANT constant: 2 } }
  columns { name: "f" number { min: 0 max: 100 } missing { rule: CONSTANT constant: 10 } }
  label { column: "y" binary { positive: "1" negative: "0" } }
)";

v1::DataContract Contract() {
  v1::DataContract contract;
  EXPECT_TRUE(ParseTextFormat(kContract, "contract", contract).ok());
  return contract;
}

struct Table {
  std::vector<RawRow> rows = {
      {{2, 10, 0, 1, 0, 4}, 1, "p"},
      {{6, kMissing, kMissing, 0, kMissing, kMissing}, 0, "q"},
      {{50, 60, 1, 0, 1, 70}, 1, "r"},
      {{7, 80, 2, 1, 1, 6}, 0, "s"},
  };
  std::vector<v1::Split> parts = {v1::TRAIN, v1::TRAIN, v1::VALIDATION, v1::TEST};
  SplitRows input() const { return {rows, parts}; }
};

TEST(Encode, OneHotMissingRulesAndStandardising) {
  v1::Standardisation standardisation;
  for (double mean : {4, 20, 0, 0, 0, 0, 0, 0, 7}) standardisation.add_means(mean);
  for (double deviation : {2, 5, 1, 1, 1, 1, 1, 1, 3}) standardisation.add_deviations(deviation);
  Table table;
  absl::StatusOr<SplitExamples> examples = EncodeRows(Contract(), standardisation, table.input());
  ASSERT_TRUE(examples.ok()) << examples.status();
  ASSERT_EQ(examples->train.count(), 2u);
  EXPECT_EQ(examples->train.features, 9u);
  EXPECT_THAT(examples->train.row(0), ElementsAre(-1, -2, 1, 0, 0, 1, 1, 0, -1));
  // b: the mean; c: all zero; e: its constant "2"; f: (10 − 7)/3.
  EXPECT_THAT(examples->train.row(1), ElementsAre(1, 0, 0, 0, 0, 0, 0, 1, 1));
  EXPECT_THAT(examples->validation.row(0), ElementsAre(23, 8, 0, 1, 0, 0, 0, 1, 21));
  EXPECT_EQ(examples->test.count(), 1u);
  EXPECT_THAT(examples->train.labels, ElementsAre(1, 0));
}

TEST(Encode, WithoutStandardisingNumbersStayAsTheyAre) {
  v1::DataContract contract = Contract();
  Table table;
  EXPECT_THAT(std::string(EncodeRows(contract, {}, table.input()).status().message()),
              HasSubstr("exchanges no statistics"));
  contract.mutable_columns(1)->mutable_missing()->set_rule(v1::Missing::CONSTANT);
  absl::StatusOr<SplitExamples> examples = EncodeRows(contract, {}, table.input());
  ASSERT_TRUE(examples.ok()) << examples.status();
  EXPECT_THAT(examples->train.row(0), ElementsAre(2, 10, 1, 0, 0, 1, 1, 0, 4));
  EXPECT_THAT(examples->train.row(1), ElementsAre(6, 0, 0, 0, 0, 0, 0, 1, 10));
}

TEST(Statistics, SumsOverTrainingRowsOfWhatWasMeasured) {
  Table table;
  absl::StatusOr<v1::StatisticsReport> report = StatisticsOf(Contract(), table.input());
  ASSERT_TRUE(report.ok()) << report.status();
  // Nothing is said of c, d and e: no standardisation needs how many patients have which value.
  EXPECT_THAT(report->counts(), ElementsAre(2, 1, 0, 0, 0, 0, 0, 0, 1));
  EXPECT_THAT(report->sums(), ElementsAre(8, 10, 0, 0, 0, 0, 0, 0, 4));
  EXPECT_THAT(report->sums_of_squares(), ElementsAre(40, 100, 0, 0, 0, 0, 0, 0, 16));
  EXPECT_TRUE(CheckStatistics(Contract(), *report).ok());
}

TEST(Statistics, APatientWithManyRowsCountsOnce) {
  Table table;
  table.rows.push_back({{3, 40, 1, 1, 1, kMissing}, 1, "p"});
  table.rows.push_back({{4, 40, 1, 1, 1, 5}, 1, "t"});
  table.parts.insert(table.parts.end(), {v1::TRAIN, v1::TRAIN});
  const absl::StatusOr<std::vector<uint64_t>> patients =
      PatientsPerFeature(Contract(), table.input());
  ASSERT_TRUE(patients.ok()) << patients.status();
  EXPECT_THAT(*patients, ElementsAre(3, 2, 0, 0, 0, 0, 0, 0, 2));
  EXPECT_EQ(StatisticsOf(Contract(), table.input())->counts(0), 4u);
}

TEST(Encode, RowsOfOnePatientHaveOneNumber) {
  Table table;
  table.rows.push_back({{3, 40, 1, 1, 1, 2}, 1, "p"});
  table.parts.push_back(v1::TRAIN);
  v1::Standardisation standardisation;
  for (int f = 0; f < 9; ++f) {
    standardisation.add_means(0);
    standardisation.add_deviations(1);
  }
  const absl::StatusOr<SplitExamples> examples =
      EncodeRows(Contract(), standardisation, table.input());
  ASSERT_TRUE(examples.ok()) << examples.status();
  ASSERT_EQ(examples->train.patients.size(), 3u);
  EXPECT_EQ(examples->train.patient(0), examples->train.patient(2));
  EXPECT_NE(examples->train.patient(0), examples->train.patient(1));
}

// What the phase is for: standardised training features have mean 0 and deviation 1 over all sites.
TEST(Statistics, FoldedStandardisationCentresThePooledTrainingRows) {
  v1::DataContract contract;
  ASSERT_TRUE(ParseTextFormat(R"(columns { name: "a" number { min: -1e6 max: 1e6 } }
                                 columns { name: "k" number { min: 0 max: 10 } })",
                              "contract", contract)
                  .ok());
  std::map<SiteId, v1::StatisticsReport> reports;
  std::vector<std::vector<RawRow>> sites(3);
  for (int i = 0; i < 90; ++i) {
    sites[static_cast<size_t>(i % 3)].push_back({{1000 + i * i * 0.25, 7.3}, 0, "p"});
  }
  for (size_t s = 0; s < sites.size(); ++s) {
    const std::vector<v1::Split> parts(sites[s].size(), v1::TRAIN);
    absl::StatusOr<v1::StatisticsReport> report = StatisticsOf(contract, {sites[s], parts});
    ASSERT_TRUE(report.ok());
    reports[SiteId("site-" + std::to_string(s))] = *report;
  }
  absl::StatusOr<v1::Standardisation> standardisation = FoldStatistics(contract, reports);
  ASSERT_TRUE(standardisation.ok()) << standardisation.status();
  EXPECT_EQ(standardisation->deviations(1), 1) << "a constant feature";
  double sum = 0, squares = 0;
  for (const std::vector<RawRow>& rows : sites) {
    const std::vector<v1::Split> parts(rows.size(), v1::TRAIN);
    absl::StatusOr<SplitExamples> examples = EncodeRows(contract, *standardisation, {rows, parts});
    ASSERT_TRUE(examples.ok());
    for (size_t i = 0; i < rows.size(); ++i) {
      sum += examples->train.row(i)[0];
      squares += examples->train.row(i)[0] * examples->train.row(i)[0];
      EXPECT_NEAR(examples->train.row(i)[1], 0, 1e-6);
    }
  }
  EXPECT_NEAR(sum / 90, 0, 1e-6);
  EXPECT_NEAR(squares / 90, 1, 1e-6);
}

TEST(Encode, RefusesRowsOfAnotherContract) {
  const auto refused = [](size_t column, double value) {
    Table table;
    table.rows[0].values[column] = value;
    EXPECT_EQ(StatisticsOf(Contract(), table.input()).ok(), false) << column << " " << value;
    v1::Standardisation standardisation;
    for (int f = 0; f < 9; ++f) {
      standardisation.add_means(0);
      standardisation.add_deviations(1);
    }
    return std::string(EncodeRows(Contract(), standardisation, table.input()).status().message());
  };
  EXPECT_THAT(refused(0, kMissing), HasSubstr("\"a\" is missing"));
  EXPECT_THAT(refused(0, 101), HasSubstr("\"a\" is out of its range"));
  EXPECT_THAT(refused(2, 3), HasSubstr("\"c\" is none of its values"));
  EXPECT_THAT(refused(2, -1), HasSubstr("\"c\" is none of its values"));
  EXPECT_THAT(refused(2, 0.5), HasSubstr("\"c\" is none of its values"));
  Table table;
  table.rows[3].values.pop_back();
  EXPECT_FALSE(EncodeRows(Contract(), {}, table.input()).ok());
  table = Table();
  table.parts.pop_back();
  EXPECT_FALSE(EncodeRows(Contract(), {}, table.input()).ok());
  EXPECT_FALSE(StatisticsOf(Contract(), table.input()).ok());
}

}  // namespace
}  // namespace consilium
