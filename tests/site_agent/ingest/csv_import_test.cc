// Real files, and the rules of an import as a whole. Expected numbers were computed from the files
// by Python's csv module and math.fsum, and stand in FLamby's paper where it gives them.

#include "site_agent/ingest/csv_import.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/features.h"
#include "models/spec/standardisation.h"
#include "protocol/core/files.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/encode.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

v1::DataContract ZooContract(const std::string& name) {
  v1::DataContract contract;
  absl::Status status = ReadTextFormatFile(
      std::string(CONSILIUM_ZOO_FOLDER) + "/contracts/" + name + ".contract.textproto", contract);
  EXPECT_TRUE(status.ok()) << status;
  return contract;
}

RowSink Into(std::vector<RawRow>& rows) {
  return [&rows](const RawRow& row) {
    rows.push_back(row);
    return absl::OkStatus();
  };
}

v1::DataContract SmallContract() {
  v1::DataContract contract;
  EXPECT_TRUE(ParseTextFormat(R"(columns { name: "a" number { min: 0 max: 9 } }
                                 label { column: "y" binary { positive: "1" negative: "0" } })",
                              "contract", contract)
                  .ok());
  return contract;
}

absl::StatusOr<ImportReport> ImportText(const std::string& text, std::vector<RawRow>& rows) {
  return ImportCsv(std::make_unique<std::istringstream>(text), SmallContract(), Into(rows));
}

TEST(CsvImport, ReportsRefusedRowsWithLineAndReason) {
  std::vector<RawRow> rows;
  absl::StatusOr<ImportReport> report =
      ImportText("y,a\n1,5\n\n0,x\n0,\"2\"\n7,2\n1,2,3\n0,9\n", rows);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->rows_read, 6u);
  EXPECT_EQ(report->rows_stored, 3u);
  EXPECT_EQ(report->rows_refused, 3u);
  ASSERT_THAT(report->refusals, SizeIs(3));
  EXPECT_EQ(report->refusals[0].line, 4u);
  EXPECT_EQ(report->refusals[0].column, "a");
  EXPECT_EQ(report->refusals[0].reason, "is not a number");
  EXPECT_EQ(report->refusals[1].line, 6u);
  EXPECT_EQ(report->refusals[1].column, "y");
  EXPECT_EQ(report->refusals[2].line, 7u);
  ASSERT_THAT(rows, SizeIs(3));
  EXPECT_EQ(rows[2].values[0], 9);
}

// Whoever watches an import sees it go on, and can end it, also where no row is good.
TEST(CsvImport, ARowIsToldOfWhetherItIsGoodOrNot) {
  const auto import = [](const std::string& text, const RowRead& row_read) {
    std::vector<RawRow> rows;
    return ImportCsv(std::make_unique<std::istringstream>(text), SmallContract(), Into(rows),
                     row_read);
  };
  int read = 0;
  const RowRead count = [&read] {
    ++read;
    return absl::OkStatus();
  };
  ASSERT_THAT(import("y,a\n1,5\n0,x\n7,2\n", count), IsOk());
  EXPECT_EQ(read, 3);
  read = 0;
  EXPECT_EQ(import("y,a\n0,x\n0,x\n0,x\n",
                   [&read] { return ++read < 2 ? absl::OkStatus() : absl::CancelledError("no"); })
                .status(),
            absl::CancelledError("no"));
  EXPECT_EQ(read, 2);
}

TEST(CsvImport, RefusalsBeyondTheLimitAreOnlyCounted) {
  std::string text = "y,a\n";
  for (size_t i = 0; i < limits::kRefusedRowsReportedMax + 5; ++i) text += "1,10\n";
  std::vector<RawRow> rows;
  absl::StatusOr<ImportReport> report = ImportText(text + "1,1\n", rows);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->rows_refused, limits::kRefusedRowsReportedMax + 5);
  EXPECT_THAT(report->refusals, SizeIs(limits::kRefusedRowsReportedMax));
  EXPECT_THAT(rows, SizeIs(1));
}

TEST(CsvImport, EndsWithTheFirstErrorOfFileOrSink) {
  std::vector<RawRow> rows;
  EXPECT_EQ(ImportText("", rows).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ImportText("y,a\n", rows).status().message()), HasSubstr("no rows"));
  EXPECT_THAT(std::string(ImportText("y,b\n1,2\n", rows).status().message()),
              HasSubstr("no column \"a\""));
  EXPECT_FALSE(ImportText("y,a\n1,2\n1,\"2\n", rows).ok());
  int taken = 0;
  const RowSink full = [&taken](const RawRow&) {
    return ++taken < 2 ? absl::OkStatus() : absl::ResourceExhaustedError("disk full");
  };
  EXPECT_EQ(
      ImportCsv(std::make_unique<std::istringstream>("y,a\n1,1\n1,1\n1,1\n"), SmallContract(), full)
          .status(),
      absl::ResourceExhaustedError("disk full"));
  EXPECT_EQ(taken, 2);
  EXPECT_EQ(ImportCsvFile("/no/such/file.csv", SmallContract(), Into(rows)).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(RealFiles, HeartDiseaseAtFourHospitals) {
  const char* folder = std::getenv("CONSILIUM_DATASETS");
  if (folder == nullptr) GTEST_SKIP() << "CONSILIUM_DATASETS is not set";
  struct Hospital {
    uint64_t rows_read, rows_stored;
    int sick, patients;
    double ages;
  };
  const std::map<std::string, Hospital> hospitals = {{"cleveland", {303, 303, 139, 303, 16495}},
                                                     {"hungarian", {294, 261, 98, 261, 12468}},
                                                     {"switzerland", {123, 46, 45, 46, 2607}},
                                                     {"va", {200, 130, 101, 129, 7722}}};
  const v1::DataContract contract = ZooContract("heart_disease");
  EXPECT_THAT(FeaturesOf(contract), SizeIs(13));
  std::map<SiteId, v1::StatisticsReport> reports;
  for (const auto& entry : hospitals) {
    const Hospital& expected = entry.second;
    std::vector<RawRow> rows;
    absl::StatusOr<ImportReport> report =
        ImportCsvFile(std::string(folder) + "/heart-disease-uci/processed." + entry.first + ".data",
                      contract, Into(rows));
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->rows_read, expected.rows_read);
    EXPECT_EQ(report->rows_stored, expected.rows_stored);
    ASSERT_EQ(rows.size(), expected.rows_stored);
    for (const RowRefusal& refusal : report->refusals) EXPECT_EQ(refusal.reason, "is missing");
    int sick = 0;
    double ages = 0;
    std::map<std::string, int> patients;
    for (const RawRow& row : rows) {
      sick += row.label == 1;
      ages += row.values[0];
      ++patients[row.patient_id];
    }
    EXPECT_EQ(sick, expected.sick) << entry.first;
    EXPECT_EQ(ages, expected.ages) << entry.first;
    EXPECT_EQ(static_cast<int>(patients.size()), expected.patients) << entry.first;
    const std::vector<v1::Split> parts(rows.size(), v1::TRAIN);
    absl::StatusOr<v1::StatisticsReport> statistics = StatisticsOf(contract, {rows, parts});
    ASSERT_TRUE(statistics.ok()) << statistics.status();
    reports[SiteId(entry.first)] = *statistics;
  }
  absl::StatusOr<v1::Standardisation> pooled = FoldStatistics(contract, reports);
  ASSERT_TRUE(pooled.ok()) << pooled.status();
  const std::vector<Feature> features = FeaturesOf(contract);
  std::map<std::string, std::pair<double, double>> moments;
  for (int f = 0; f < pooled->means_size(); ++f) {
    moments[features[static_cast<size_t>(f)].name] = {pooled->means(f), pooled->deviations(f)};
  }
  EXPECT_NEAR(moments["age"].first, 53.097297297297295, 1e-9);
  EXPECT_NEAR(moments["age"].second, 9.401767702865316, 1e-9);
  EXPECT_NEAR(moments["cholesterol"].first, 220.1364864864865, 1e-9);
  EXPECT_NEAR(moments["cholesterol"].second, 93.55128102944298, 1e-9);
  EXPECT_NEAR(moments["st_depression"].first, 0.8943243243243243, 1e-12);
  EXPECT_NEAR(moments["st_depression"].second, 1.086424934386622, 1e-12);
  EXPECT_EQ(moments["chest_pain=4"], (std::pair<double, double>(0, 1)));
}

TEST(ImportCsvFile, TakesARegularFile) {
  const TempFolder folder;
  const std::string path = folder.File("table.csv");
  std::vector<RawRow> rows;
  const v1::DataContract contract = SmallContract();
  ASSERT_THAT(WriteFileDurably(path, "y,a\n1,5\n0,7\n"), IsOk());
  ASSERT_THAT(ImportCsvFile(path, contract, Into(rows)), IsOk());
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[1].values, std::vector<double>{7});
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(ImportCsvFile(path, contract, Into(rows)),
              IsError(absl::StatusCode::kInvalidArgument, path + " is not a regular file"));
  EXPECT_THAT(ImportCsvFile(folder.File("none.csv"), contract, Into(rows)),
              IsError(absl::StatusCode::kNotFound, "none.csv"));
}

// scikit-learn's file: its first line counts rows and features, and 0 means malignant there. The
// contract is for tables with a header and 1 for malignant.
TEST(RealFiles, WisconsinDiagnosticBreastCancer) {
  std::ifstream file(CONSILIUM_WDBC_FILE, std::ios::binary);
  if (!file.is_open()) GTEST_SKIP() << "scripts/setup has not put the table there";
  v1::DataContract contract = ZooContract("wdbc");
  ASSERT_EQ(contract.columns_size(), 30);
  std::string first_line, row;
  std::getline(file, first_line);
  EXPECT_EQ(first_line, "569,30,malignant,benign");
  auto table = std::make_unique<std::stringstream>();
  for (const v1::Column& column : contract.columns()) *table << column.name() << ',';
  *table << "malignant\n";
  while (std::getline(file, row)) {
    row.back() = row.back() == '0' ? '1' : '0';
    *table << row << '\n';
  }
  std::vector<RawRow> rows;
  absl::StatusOr<ImportReport> report = ImportCsv(std::move(table), contract, Into(rows));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->rows_stored, 569u);
  EXPECT_EQ(report->rows_refused, 0u);
  double malignant = 0, largest_area = 0;
  for (const RawRow& patient : rows) {
    malignant += patient.label;
    largest_area = std::max(largest_area, patient.values[23]);
  }
  EXPECT_EQ(malignant, 212);
  EXPECT_EQ(largest_area, 4254);
}

}  // namespace
}  // namespace consilium
