#include "site_agent/runtime/statistics_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::site {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint8_t kKey[] = {1, 2, 3};

struct Table {
  std::vector<RawRow> rows;
  std::vector<v1::Split> parts;

  explicit Table(int patients) {
    for (int i = 0; i < patients; ++i) Add("p" + std::to_string(i), i);
  }
  void Add(const std::string& patient, double x) {
    rows.push_back({{x}, 0, patient});
    parts.push_back(v1::TRAIN);
  }
  std::vector<uint64_t> patients(std::span<const uint8_t> key = kKey) const {
    const auto sets = MeasuredSetsOf(SmallContract(), {.rows = rows, .parts = parts}, key, 5);
    return sets.empty() ? std::vector<uint64_t>() : sets[0].patients;
  }
};

TEST(StatisticsSets, DifferencesCountPatients) {
  const std::vector<uint64_t> a = {1, 3, 5, 7};
  EXPECT_EQ(DifferenceOf(a, a), 0u);
  EXPECT_EQ(DifferenceOf(a, {}), 4u);
  EXPECT_EQ(DifferenceOf(a, std::vector<uint64_t>{1, 3, 7}), 1u);
  EXPECT_EQ(DifferenceOf(a, std::vector<uint64_t>{1, 3, 6, 7}), 1u);
  EXPECT_EQ(DifferenceOf(std::vector<uint64_t>{0, 3, 9}, a), 3u);
}

TEST(StatisticsSets, OnePatientMoreOrCorrectedIsOneOfDifference) {
  const Table table(20);
  EXPECT_THAT(table.patients(), SizeIs(20));
  Table more(20);
  more.Add("new", 1);
  EXPECT_EQ(DifferenceOf(table.patients(), more.patients()), 1u);
  Table second_row(20);
  second_row.Add("p3", 1);
  EXPECT_THAT(second_row.patients(), SizeIs(20));
  EXPECT_EQ(DifferenceOf(table.patients(), second_row.patients()), 1u);
  Table corrected(20);
  corrected.rows[7].values[0] = 100;
  EXPECT_EQ(DifferenceOf(table.patients(), corrected.patients()), 1u);
  Table moved(20);
  moved.parts[7] = v1::TEST;
  EXPECT_EQ(DifferenceOf(table.patients(), moved.patients()), 1u);
  Table unmeasured(20);
  unmeasured.rows[7].values[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(DifferenceOf(table.patients(), unmeasured.patients()), 1u);
}

// Names can be guessed; the hashes of guesses can not be compared without the store's key.
TEST(StatisticsSets, TheHashesAreOfOneStore) {
  const uint8_t other[] = {1, 2, 4};
  EXPECT_EQ(DifferenceOf(Table(20).patients(), Table(20).patients(other)), 20u);
}

TEST(StatisticsSets, WhatIsWithheldIsNotReleased) { EXPECT_THAT(Table(4).patients(), IsEmpty()); }

}  // namespace
}  // namespace consilium::site
