#include "site_agent/ingest/split.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

v1::SplitConfig Config(v1::SplitConfig::By by, uint64_t seed = 7) {
  v1::SplitConfig config;
  config.set_validation(0.15);
  config.set_test(0.25);
  config.set_by(by);
  config.set_seed(seed);
  return config;
}

v1::Label BinaryLabel() {
  v1::Label label;
  label.mutable_binary();
  return label;
}

// `patients` patients with 1 to 4 rows each, a third of them positive, rows shuffled.
std::vector<RawRow> RandomRows(size_t patients, uint64_t seed) {
  RandomStream random(SeedPath{seed, "split_test", "", 0});
  std::vector<RawRow> rows;
  for (size_t p = 0; p < patients; ++p) {
    const double label = random.NextBelow(3) == 0 ? 1 : 0;
    for (uint64_t r = random.NextBelow(4) + 1; r > 0; --r) {
      rows.push_back({{random.NextUnit()}, label, "patient " + std::to_string(p)});
    }
  }
  for (size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[random.NextBelow(i)]);
  return rows;
}

std::map<std::string, v1::Split> PartOfPatient(const v1::SplitConfig& config,
                                               const std::vector<RawRow>& rows) {
  absl::StatusOr<std::vector<v1::Split>> parts = AssignSplit(config, BinaryLabel(), rows);
  EXPECT_TRUE(parts.ok()) << parts.status();
  std::map<std::string, v1::Split> result;
  for (size_t i = 0; i < rows.size(); ++i) {
    auto inserted = result.emplace(rows[i].patient_id, (*parts)[i]);
    EXPECT_EQ(inserted.first->second, (*parts)[i]) << "rows of one patient part";
  }
  return result;
}

class SplitProperty : public testing::TestWithParam<v1::SplitConfig::By> {};

TEST_P(SplitProperty, PatientsNeverPartAndRowOrderDoesNotMatter) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::vector<RawRow> rows = RandomRows(1 + seed % 40, seed);
    const v1::SplitConfig config = Config(GetParam(), seed);
    const std::map<std::string, v1::Split> parts = PartOfPatient(config, rows);
    std::reverse(rows.begin(), rows.end());
    EXPECT_EQ(PartOfPatient(config, rows), parts) << "seed " << seed;
    EXPECT_TRUE(std::any_of(parts.begin(), parts.end(),
                            [](const auto& p) { return p.second == v1::TRAIN; }))
        << "seed " << seed;
  }
}

TEST_P(SplitProperty, AnotherSeedGivesAnotherSplit) {
  const std::vector<RawRow> rows = RandomRows(200, 1);
  EXPECT_NE(PartOfPatient(Config(GetParam(), 1), rows), PartOfPatient(Config(GetParam(), 2), rows));
}

TEST_P(SplitProperty, AllPartsButTrainMayBeEmpty) {
  v1::SplitConfig config = Config(GetParam());
  config.set_validation(0);
  config.set_test(0);
  for (const auto& entry : PartOfPatient(config, RandomRows(30, 3))) {
    EXPECT_EQ(entry.second, v1::TRAIN);
  }
  EXPECT_TRUE(PartOfPatient(config, {}).empty());
  config.set_validation(0.49);
  config.set_test(0.5);
  EXPECT_EQ(PartOfPatient(config, RandomRows(1, 3)).begin()->second, v1::TRAIN);
}

INSTANTIATE_TEST_SUITE_P(Rules, SplitProperty,
                         testing::Values(v1::SplitConfig::PATIENT,
                                         v1::SplitConfig::PATIENT_STRATIFIED));

TEST(Split, SharesOfPatientHashing) {
  std::map<v1::Split, double> counts;
  const size_t patients = 20000;
  for (const auto& entry :
       PartOfPatient(Config(v1::SplitConfig::PATIENT), RandomRows(patients, 5))) {
    counts[entry.second] += 1;
  }
  // Six standard deviations of a binomial share.
  const auto near = [&](double share) { return 6 * std::sqrt(share * (1 - share) * patients); };
  EXPECT_NEAR(counts[v1::TEST], 0.25 * patients, near(0.25));
  EXPECT_NEAR(counts[v1::VALIDATION], 0.15 * patients, near(0.15));
}

// A patient keeps the part whoever else is in the table: the rule PATIENT only.
TEST(Split, PatientHashingDoesNotDependOnOthers) {
  const std::map<std::string, v1::Split> small =
      PartOfPatient(Config(v1::SplitConfig::PATIENT), RandomRows(50, 6));
  const std::map<std::string, v1::Split> large =
      PartOfPatient(Config(v1::SplitConfig::PATIENT), RandomRows(80, 6));
  for (const auto& entry : small) EXPECT_EQ(large.at(entry.first), entry.second);
}

// So that the next version of this code splits a store as this one did. Computed by Python's hmac:
// HKDF-SHA256 as derived_seed.h says, u = its first 53 bits.
TEST(Split, KnownPatients) {
  std::vector<RawRow> rows;
  rows.reserve(12);
  for (int i = 0; i < 12; ++i) rows.push_back({{}, double(i % 2), "patient " + std::to_string(i)});
  absl::StatusOr<std::vector<v1::Split>> parts =
      AssignSplit(Config(v1::SplitConfig::PATIENT), BinaryLabel(), rows);
  ASSERT_TRUE(parts.ok());
  std::string text;
  for (v1::Split part : *parts) text += v1::Split_Name(part).substr(0, 2) + " ";
  EXPECT_EQ(text, "TR VA TR VA TR TE TR TR TR VA TR TR ");
}

TEST(Split, StratifiedCountsHoldWithinEachClass) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    std::vector<RawRow> rows;
    rows.reserve(20 + 41);
    for (int i = 0; i < 20; ++i) rows.push_back({{}, 1, "sick " + std::to_string(i)});
    for (int i = 0; i < 41; ++i) rows.push_back({{}, 0, "well " + std::to_string(i)});
    std::map<std::pair<char, v1::Split>, int> counts;
    for (const auto& entry :
         PartOfPatient(Config(v1::SplitConfig::PATIENT_STRATIFIED, seed), rows)) {
      ++counts[{entry.first[0], entry.second}];
    }
    // 20: 12, 3 and 5 exactly. 41: 24.6, 6.15 and 10.25; the one left goes to train.
    EXPECT_EQ((counts[{'s', v1::TRAIN}]), 12);
    EXPECT_EQ((counts[{'s', v1::VALIDATION}]), 3);
    EXPECT_EQ((counts[{'s', v1::TEST}]), 5);
    EXPECT_EQ((counts[{'w', v1::TRAIN}]), 25);
    EXPECT_EQ((counts[{'w', v1::VALIDATION}]), 6);
    EXPECT_EQ((counts[{'w', v1::TEST}]), 10);
  }
}

TEST(Split, AMixedPatientCountsForTheHighestClass) {
  std::vector<RawRow> rows = {{{}, 0, "mixed"}, {{}, 1, "mixed"}, {{}, 0, "mixed"}};
  for (int i = 0; i < 9; ++i) rows.push_back({{}, 1, "sick " + std::to_string(i)});
  std::map<v1::Split, int> counts;
  for (const auto& entry : PartOfPatient(Config(v1::SplitConfig::PATIENT_STRATIFIED), rows)) {
    ++counts[entry.second];
  }
  EXPECT_EQ(counts[v1::TRAIN], 6);  // Of 10 in one class; 9 and 1 would give 7.
}

TEST(Split, RefusesWhatItCanNotDo) {
  v1::Label real;
  real.mutable_real();
  const std::vector<RawRow> rows = RandomRows(3, 1);
  EXPECT_FALSE(AssignSplit(Config(v1::SplitConfig::PATIENT_STRATIFIED), real, rows).ok());
  EXPECT_TRUE(AssignSplit(Config(v1::SplitConfig::PATIENT), real, rows).ok());
  v1::SplitConfig config = Config(v1::SplitConfig::PATIENT);
  config.set_test(0.85);
  EXPECT_FALSE(AssignSplit(config, BinaryLabel(), rows).ok());
  config.set_test(std::nan(""));
  EXPECT_FALSE(AssignSplit(config, BinaryLabel(), rows).ok());
}

}  // namespace
}  // namespace consilium
