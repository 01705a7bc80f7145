// Scenarios whose tables are NPZ and IDX files.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "protocol/wire/text_format.h"
#include "sim/engine/scenario_checks.h"
#include "sim/engine/site_data.h"
#include "sim/engine/table_files.h"
#include "sim/partition/feature_noise.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

using absl::StatusCode;

const char kFolder[] = CONSILIUM_ARRAY_FIXTURES;

v1::RunPlan Plan() {
  v1::RunPlan plan;
  EXPECT_THAT(ParseTextFormat(R"(
                config { data { split { validation: 0 test: 0 by: PATIENT } } }
                contract {
                  name: "images"
                  columns { name: "image" tensor { shape: [2, 3] min: 0 max: 255 } }
                  label { column: "column" classes { values: ["0", "1"] } }
                })",
                              "plan", plan),
              IsOk());
  return plan;
}

absl::StatusOr<FederationData> Load(const std::string& dataset) {
  v1::Scenario scenario;
  EXPECT_THAT(ParseTextFormat("seed: 1 dataset { " + dataset + " }", "scenario", scenario), IsOk());
  if (absl::Status legal = CheckScenario(scenario); !legal.ok()) return legal;
  return LoadScenarioData(scenario, Plan(), kFolder);
}

TEST(ImageDataTest, ASiteColumnOfAnArchiveTellsWhoseAnImageIs) {
  const auto data = Load("together { file: 'arrays.npz' site_column: 'hospital' }");
  ASSERT_THAT(data, IsOk());
  ASSERT_EQ(data->size(), 3u);
  EXPECT_EQ(data->at(SiteId("south")).rows.size(), 2u);
  EXPECT_EQ(data->at(SiteId("south")).rows[0].tensors[0], 42);
  EXPECT_EQ(data->at(SiteId("east")).rows[0].label, 1);
}

TEST(ImageDataTest, DealsOutImagesAndLabelsOfSeveralFiles) {
  const auto data = Load(R"(partitioned {
      sites: 3
      arrays { column: "image" parts { file: "images.idx.gz" } parts { file: "images.idx" } }
      arrays {
        column: "column"
        parts { file: "arrays.npz" } parts { file: "arrays.npz" array: "column" }
      }
    })");
  ASSERT_THAT(data, IsOk());
  std::multiset<float> firsts;
  for (const auto& entry : *data) {
    for (const RawRow& row : entry.second.rows) firsts.insert(row.tensors[0]);
  }
  EXPECT_EQ(firsts, (std::multiset<float>{0, 0, 42, 42, 84, 84, 126, 126}));
}

TEST(ImageDataTest, ASiteMayHaveAnArchiveOfItsOwn) {
  const auto data = Load("natural { sites { site_id: 'a' file: 'arrays.npz' } }");
  ASSERT_THAT(data, IsOk());
  EXPECT_EQ(data->at(SiteId("a")).rows.size(), 4u);
}

TEST(ImageDataTest, NamesWhatIsWrong) {
  const auto wrong = [](const std::string& dataset, const char* words) {
    EXPECT_THAT(Load(dataset), IsError(StatusCode::kInvalidArgument, words));
  };
  wrong("together { file: 'arrays.npz' site_column: 'site' }", "holds what is no site id");
  wrong("together { file: 'arrays.npz' site_column: 'signed' }",
        "column \"signed\" has [6] numbers a row; a site column is of one value a row");
  wrong(
      "together { site_column: 'who' arrays { column: 'image' parts { file: 'arrays.npz' } } "
      "arrays { column: 'column' parts { file: 'arrays.npz' } } }",
      "column \"who\" is not among the arrays");
  wrong("together { file: 'x.csv' arrays { column: 'c' parts { file: 'f' } } }", "both say where");
  wrong("partitioned { sites: 2 arrays { column: 'c' } }", "each needs a column and a part");
  wrong("partitioned { sites: 2 arrays { column: 'c' parts {} } }", "name a file");
  wrong("partitioned { sites: 2 }", "names neither a file nor arrays");
  EXPECT_THAT(Load("together { file: 'none.npz' site_column: 'hospital' }"),
              IsError(StatusCode::kNotFound, "none.npz"));
  EXPECT_THAT(Load("together { file: 'arrays.npz' site_column: 'clinic' }"),
              IsError(StatusCode::kNotFound, "array \"clinic\" is not there"));
}

// A packed file of a few bytes may hold rows without end.
TEST(ImageDataTest, RowsAreNoMoreThanTheirBudget) {
  const TableSource archive = {kFolder, "arrays.npz", {}};
  const v1::DataContract contract = Plan().contract();
  RowBudget enough;
  EXPECT_THAT(ReadTable(archive, contract, enough), IsOk());
  constexpr uint64_t kThreeRows = 3 * (sizeof(RawRow) + 8 + 6 * 4 + 64);
  RowBudget small(kThreeRows);
  EXPECT_THAT(ReadTable(archive, contract, small),
              IsError(StatusCode::kResourceExhausted, "bytes of memory"));
  RowBudget small_by_site(kThreeRows);
  EXPECT_THAT(ReadTableBySite(archive, "hospital", contract, small_by_site),
              IsError(StatusCode::kResourceExhausted, "bytes of memory"));
  // It is of all tables together.
  RowBudget once(2 * kThreeRows);
  EXPECT_THAT(ReadTable(archive, contract, once), IsOk());
  EXPECT_THAT(ReadTable(archive, contract, once),
              IsError(StatusCode::kResourceExhausted, "bytes of memory"));
}

TEST(ImageDataTest, FeatureNoiseReachesTensorsAndKeepsTheirRange) {
  auto data = Load("natural { sites { site_id: 'a' file: 'arrays.npz' } }");
  ASSERT_THAT(data, IsOk());
  std::vector<RawRow> rows = data->at(SiteId("a")).rows;
  const std::vector<RawRow> before = rows;
  const std::vector<size_t> site_of(rows.size(), 1);
  AddFeatureNoise(Plan().contract(), {.level = 3, .sites = 2, .seed = 1}, site_of, rows);
  size_t changed = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    EXPECT_NE(rows[r].patient_id, before[r].patient_id);
    for (size_t i = 0; i < rows[r].tensors.size(); ++i) {
      changed += rows[r].tensors[i] != before[r].tensors[i];
      EXPECT_GE(rows[r].tensors[i], 0);
      EXPECT_LE(rows[r].tensors[i], 255);
    }
  }
  EXPECT_GT(changed, 20u);
}

}  // namespace
}  // namespace consilium
