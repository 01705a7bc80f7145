// Images and signals of a hospital: arrays that `data import` reads, in the store as they are.

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "site_agent/ingest/array_table.h"
#include "site_agent/runtime/data_import.h"
#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

using absl::StatusCode;

const std::string kNpz = CONSILIUM_ARRAY_FIXTURES "/arrays.npz";
const std::string kIdx = CONSILIUM_ARRAY_FIXTURES "/images.idx.gz";

// As in arrays.npz: four images, of three hospitals.
constexpr char kContract[] = R"(
  name: "small"
  columns { name: "image" tensor { shape: [1, 2, 3] min: 0 max: 255 } }
  columns { name: "column" number { min: 0 max: 1 } }
  label { column: "site" classes { values: ["nord", "süd", "東"] } }
  patient_id_column: "hospital")";

class AgentArraysTest : public AgentTest {
 protected:
  AgentArraysTest() { WriteContract(kContract); }

  void WriteContract(const std::string& text) {
    ASSERT_THAT(WriteFileDurably(folder_.File("contract"), text), IsOk());
  }
  ImportOptions Options() const { return {.contract_file = folder_.File("contract")}; }
  ImportOptions Archive(const std::string& file = kNpz) const {
    ImportOptions options = Options();
    options.npz_file = file;
    return options;
  }
  absl::StatusOr<std::vector<RawRow>> StoredRows() {
    if (agent_ == nullptr) store_ = Must(OpenStore(place_));
    auto rows = store_->ReadRows(Must(store_->Datasets()).at(0));
    if (agent_ == nullptr) store_ = nullptr;
    return rows;
  }
};

std::vector<RawRow> RowsOf(const std::vector<ArrayColumnSource>& sources,
                           const std::string& contract_text) {
  v1::DataContract contract;
  EXPECT_THAT(ParseTextFormat(contract_text, "contract", contract), IsOk());
  const auto table = ArrayTable::Read(sources, {.contract = ResolvedContract(contract)});
  EXPECT_THAT(table, IsOk());
  std::vector<RawRow> rows;
  EXPECT_THAT(ImportArrays(*table,
                           [&rows](const RawRow& row, size_t) {
                             rows.push_back(row);
                             return absl::OkStatus();
                           }),
              IsOk());
  return rows;
}

void ExpectEqual(const std::vector<RawRow>& rows, const std::vector<RawRow>& expected) {
  ASSERT_EQ(rows.size(), expected.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].values, expected[i].values) << i;
    EXPECT_EQ(rows[i].label, expected[i].label) << i;
    EXPECT_EQ(rows[i].patient_id, expected[i].patient_id) << i;
    EXPECT_EQ(rows[i].tensors, expected[i].tensors) << i;
  }
}

TEST_F(AgentArraysTest, StoresTheRowsOfAnArchiveInItsOrder) {
  Enrol();
  std::vector<ArrayColumnSource> sources;
  for (const char* column : {"image", "column", "site", "hospital"}) {
    sources.push_back({column, {{kNpz, ""}}});
  }
  const std::vector<RawRow> expected = RowsOf(sources, kContract);
  for (const char* who : {"the store", "the agent"}) {
    const nlohmann::json imported = Must(ImportData(place_, Archive()));
    EXPECT_EQ(imported.at("rows_stored"), 4) << who;
    EXPECT_EQ(imported.at("dataset"), "small");
    ExpectEqual(Must(StoredRows()), expected);
    EXPECT_EQ(At(Must(ListData(place_)), "/datasets/0/rows"), 4);
    if (agent_ == nullptr) StartAgent();
  }
}

TEST_F(AgentArraysTest, WhoListensHearsHowFarAnImportCame) {
  Enrol();
  for (const char* who : {"the store", "the agent"}) {
    std::vector<nlohmann::json> heard;
    Must(ImportData(place_, Archive(),
                    [&heard](const nlohmann::json& told) { heard.push_back(told); }));
    ASSERT_GE(heard.size(), 2u) << who;
    EXPECT_EQ(heard[0], (nlohmann::json{{"part", 0}, {"unpacking", true}}));
    EXPECT_EQ(heard[1], (nlohmann::json{{"part", 0.25}, {"rows", 1}}));
    if (agent_ == nullptr) StartAgent();
  }
}

// At whatever it is told of: while arrays are unpacked, and while rows are stored.
TEST_F(AgentArraysTest, AnImportThatIsEndedChangesNothing) {
  Enrol();
  ASSERT_THAT(ImportData(place_, Archive()), IsOk());
  StartAgent();
  const nlohmann::json listed = Must(ListData(place_));
  std::filesystem::remove(place_.folder + "/import-small.json");
  std::string other = kContract;
  other.replace(other.find("255"), 3, "254");
  WriteContract(other);
  ASSERT_THAT(WriteFileDurably(folder_.File("rows.csv"), "x,y\n1,0\n2,1\n"), IsOk());
  ASSERT_THAT(WriteFileDurably(folder_.File("csv.contract"), R"(
    name: "small"
    columns { name: "x" number { min: 0 max: 9 } }
    label { column: "y" classes { values: ["0", "1"] } })"),
              IsOk());
  const ImportOptions of_csv = {.contract_file = folder_.File("csv.contract"),
                                .csv_file = folder_.File("rows.csv")};
  const auto ended_at = [this](const ImportOptions& options, size_t end) {
    std::vector<nlohmann::json> heard;
    const nlohmann::json answer = HandleRequest(
        *store_, agent_.get(), ImportRequest(options), kNoFile, [&](const nlohmann::json& told) {
          heard.push_back(told);
          return heard.size() == end ? absl::CancelledError("enough") : absl::OkStatus();
        });
    EXPECT_THAT(ResultOf(answer), IsError(StatusCode::kCancelled, "nothing was imported: enough"));
    EXPECT_EQ(heard.size(), end);
    return heard.empty() ? nlohmann::json() : heard.back();
  };
  EXPECT_TRUE(ended_at(Archive(), 1).contains("unpacking"));
  EXPECT_EQ(At(ended_at(Archive(), 2), "/rows"), 1);
  EXPECT_EQ(At(ended_at(of_csv, 1), "/rows"), 1);
  EXPECT_EQ(Must(ListData(place_)), listed);
  EXPECT_EQ(Must(StoredRows()).size(), 4u);
  EXPECT_FALSE(std::filesystem::exists(place_.folder + "/import-small.json"));
  // It can be asked for again.
  EXPECT_EQ(Must(ImportData(place_, of_csv)).at("rows_stored"), 2);
}

TEST_F(AgentArraysTest, StoresArraysOfSeveralFilesOneAfterTheOther) {
  Enrol();
  StartAgent();
  constexpr char kOfParts[] = R"(
    name: "small"
    columns { name: "scan" tensor { shape: [2, 3] min: 0 max: 255 } }
    label { column: "kind" classes { values: ["0", "1"] } })";
  WriteContract(kOfParts);
  ImportOptions options = Options();
  for (const std::string& text :
       {"scan=" + kIdx + "," + kNpz + ":image", "kind=" + kNpz + ":column," + kNpz + ":column"}) {
    options.arrays.push_back(Must(ArrayColumnOf(text)));
  }
  EXPECT_EQ(Must(ImportData(place_, options)).at("rows_stored"), 8);
  ExpectEqual(Must(StoredRows()), RowsOf({{"scan", {{kIdx, ""}, {kNpz, "image"}}},
                                          {"kind", {{kNpz, "column"}, {kNpz, "column"}}}},
                                         kOfParts));
}

TEST_F(AgentArraysTest, RowsThatBreakTheContractAreListedAndLeftOut) {
  Enrol();
  std::string narrow = kContract;
  narrow.replace(narrow.find("255"), 3, "100");  // The third and the fourth image have more.
  WriteContract(narrow);
  ImportOptions options = Archive();
  const nlohmann::json some = Must(ImportData(place_, options));
  EXPECT_EQ(some.at("rows_stored"), 2);
  EXPECT_EQ(At(some, "/refusals/0/line"), 3);
  EXPECT_EQ(At(some, "/refusals/0/column"), "image");
  WriteContract(kContract);
  EXPECT_EQ(Must(ImportData(place_, options)).at("rows_stored"), 4);
  WriteContract(narrow);
  options.bad_rows = ImportOptions::BadRows::kImportNothing;
  EXPECT_EQ(Must(ImportData(place_, options)).at("rows_stored"), 0);
  EXPECT_EQ(Must(StoredRows()).size(), 4u);
}

TEST_F(AgentArraysTest, WhatCanNotBeReadChangesNothing) {
  Enrol();
  ASSERT_THAT(ImportData(place_, Archive()), IsOk());
  const auto bytes = ReadFile(kNpz, 1 << 20);
  ASSERT_THAT(bytes, IsOk());
  ASSERT_THAT(WriteFileDurably(folder_.File("cut.npz"), bytes->substr(0, bytes->size() / 2)),
              IsOk());
  ImportOptions objects = Options();
  objects.arrays = {{"image", {{kNpz, "objects"}}}};
  for (const char* who : {"the store", "the agent"}) {
    EXPECT_THAT(ImportData(place_, Archive(folder_.File("cut.npz"))),
                IsError(StatusCode::kInvalidArgument, "is no NPZ file"))
        << who;
    EXPECT_THAT(ImportData(place_, Archive(folder_.File("none.npz"))),
                IsError(StatusCode::kNotFound, "none.npz"));
    EXPECT_THAT(ImportData(place_, objects),
                IsError(StatusCode::kInvalidArgument, "array \"objects\""));
    EXPECT_EQ(Must(StoredRows()).size(), 4u);
    if (agent_ == nullptr) StartAgent();
  }
}

TEST_F(AgentArraysTest, ARequestNamesOnePlaceOfRows) {
  const nlohmann::json good = ImportRequest(Archive());
  EXPECT_THAT(ImportOptionsOf(good), IsOk());
  const auto refused = [&good](const nlohmann::json& change, const char* words) {
    nlohmann::json request = good;
    request.update(change);
    EXPECT_THAT(ImportOptionsOf(request), IsError(StatusCode::kInvalidArgument, words)) << change;
  };
  const nlohmann::json part = {{"file", "f"}, {"array", ""}};
  refused({{"npz_file", ""}}, "a CSV file, an NPZ archive or arrays");
  refused({{"npz_file", 7}}, "a CSV file, an NPZ archive or arrays");
  refused({{"csv_file", "c"}}, "a CSV file, an NPZ archive or arrays");
  refused({{"arrays", {{{"column", "c"}, {"parts", {part}}}}}},
          "a CSV file, an NPZ archive or arrays");
  refused({{"arrays", {{{"column", "c"}, {"parts", {1, part}}}}}}, "names no file");
  EXPECT_THAT(ImportOptionsOf({{"arrays", 7}, {"contract_file", "c"}}),
              IsError(StatusCode::kInvalidArgument, "an import needs"));
}

// The agent that reads them has another folder of its own.
TEST_F(AgentArraysTest, ARequestNamesFilesByTheirAbsolutePaths) {
  ImportOptions options = Options();
  options.arrays = {{"image", {{"scans.npz", "train"}, {"/other/scans.idx", ""}}}};
  const absl::StatusOr<ImportOptions> asked = ImportOptionsOf(ImportRequest(options));
  ASSERT_THAT(asked, IsOk());
  ASSERT_EQ(asked->arrays.size(), 1u);
  EXPECT_EQ(asked->arrays[0].column, "image");
  const std::vector<ArrayColumnSource::Part>& parts = asked->arrays[0].parts;
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].file, (std::filesystem::current_path() / "scans.npz").string());
  EXPECT_EQ(parts[0].array, "train");
  EXPECT_EQ(parts[1].file, "/other/scans.idx");
  options.arrays.clear();
  options.npz_file = "scans.npz";
  EXPECT_EQ(Must(ImportOptionsOf(ImportRequest(options))).npz_file,
            (std::filesystem::current_path() / "scans.npz").string());
}

TEST(ArrayColumnTest, IsReadFromItsText) {
  const auto column = ArrayColumnOf("image=a.npz:train,b.gz,c.npz,/d:e/f.npz");
  ASSERT_THAT(column, IsOk());
  EXPECT_EQ(column->column, "image");
  std::vector<std::string> parts;
  for (const auto& part : column->parts) parts.push_back(part.file + "|" + part.array);
  EXPECT_EQ(parts, (std::vector<std::string>{"a.npz|train", "b.gz|", "c.npz|", "/d:e/f.npz|"}));
  for (const char* text : {"", "a.npz", "=a.npz"}) {
    EXPECT_THAT(ArrayColumnOf(text), IsError(StatusCode::kInvalidArgument, "names no column"));
  }
  for (const char* text : {"image=", "image=a.npz,", "image=,a.npz"}) {
    EXPECT_THAT(ArrayColumnOf(text), IsError(StatusCode::kInvalidArgument, "without a name"));
  }
}

}  // namespace
}  // namespace consilium::site
