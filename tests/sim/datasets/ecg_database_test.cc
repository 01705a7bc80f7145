#include "sim/datasets/ecg_database.h"

#include <gtest/gtest.h>
#include <string.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "sim/datasets/scp_statements.h"
#include "site_agent/ingest/array_files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"

namespace consilium {
namespace {

using absl::StatusCode;

TEST(ScpStatementsTest, CodesAreThoseOfADictionary) {
  using Codes = std::vector<std::string>;
  EXPECT_EQ(*ParseScpCodes("{'NORM': 100.0, 'SR': 0.0}"), (Codes{"NORM", "SR"}));
  EXPECT_EQ(*ParseScpCodes(" {'PRC(S)':0} "), (Codes{"PRC(S)"}));
  EXPECT_EQ(*ParseScpCodes("{}"), Codes());
  for (const char* text :
       {"", "{", "}", "'NORM': 1", "{'NORM'}", "{NORM: 1}", "{'NORM': x}", "{'': 1}", "{'A': 1,}",
        "{'A': 1: 2}", "{'A'B': 1}", "{'A: 1}", "{'A': 1, {'B': 1}}", "{\"A\": 1}"}) {
    EXPECT_THAT(ParseScpCodes(text), IsError(StatusCode::kDataLoss, "no dictionary")) << text;
  }
  std::string many = "{'A0': 1";
  for (size_t i = 1; i <= kScpCodesMax; ++i) absl::StrAppend(&many, ", 'A", i, "': 1");
  EXPECT_THAT(ParseScpCodes(many + "}"), IsError(StatusCode::kResourceExhausted, "64"));
}

TEST(ScpStatementsTest, AbnormalIsWhatIsDiagnosedAndNotNormal) {
  const ScpClasses classes = {{"NORM", "NORM"}, {"AMI", "MI"}, {"SR", ""}};
  EXPECT_EQ(IsAbnormal({"NORM", "SR"}, classes), false);
  EXPECT_EQ(IsAbnormal({"NORM", "AMI"}, classes), true);
  EXPECT_EQ(IsAbnormal({"AMI", "NORM"}, classes), true);
  EXPECT_EQ(IsAbnormal({"SR", "UNKNOWN"}, classes), std::nullopt);
  EXPECT_EQ(IsAbnormal({}, classes), std::nullopt);
}

constexpr char kStatements[] =
    ",description,diagnostic,diagnostic_class\n"
    "NORM,normal,1.0,NORM\n"
    "AMI,\"infarction, anterior\",1.0,MI\n"
    "SR,sinus rhythm,,\n";
constexpr char kDatabase[] =
    "ecg_id,patient_id,site,scp_codes,filename_lr\n"
    "1,7.0,0.0,\"{'NORM': 100.0, 'SR': 0.0}\",in/r1\n"
    "2,8.0,3.0,\"{'SR': 0.0}\",in/none\n"
    "3,9.0,3.0,\"{'AMI': 15.0}\",in/r3\n";

class EcgDatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    Write(folder_.File("s.csv"), kStatements);
    Write(folder_.File("d.csv"), kDatabase);
    std::filesystem::create_directories(folder_.File("in"));
    WriteRecord("r1", "r1 1 100 2", 3, std::string("\x01\x00\x02\x00", 4));
    WriteRecord("r3", "r3 1 100 2", -1, std::string("\x01\x00\xfe\xff", 4));
  }

  void WriteRecord(const std::string& name, const std::string& line, int checksum,
                   const std::string& data) const {
    Write(folder_.File(absl::StrCat("in/", name, ".hea")),
          absl::StrCat(line, "\n", name, ".dat 16 1000/mV 16 0 1 ", checksum, " 0 I\n"));
    Write(folder_.File(absl::StrCat("in/", name, ".dat")), data);
  }

  absl::StatusOr<std::string> Make(v1::EcgArray::Content content, uint64_t bytes) const {
    v1::EcgArray array;
    array.set_database("d.csv");
    array.set_statements("s.csv");
    array.set_content(content);
    return MakeEcgArray(folder_.path(), array, bytes);
  }

  // The array as a run reads it.
  Array ReadBack(v1::EcgArray::Content content, uint64_t bytes) const {
    const auto file = Make(content, bytes);
    EXPECT_THAT(file, IsOk());
    Write(folder_.File("made.idx"), file.value_or(""));
    const auto format = IdxFormat(folder_.File("made.idx"));
    EXPECT_THAT(format, IsOk());
    auto array = ReadIdxFile(folder_.File("made.idx"), *format);
    EXPECT_THAT(array, IsOk());
    return *std::move(array);
  }

  TempFolder folder_;
};

TEST_F(EcgDatabaseTest, BecomesArraysOfTheDiagnosedRecords) {
  const Array signal = ReadBack(v1::EcgArray::SIGNAL, 16 + 16);
  EXPECT_EQ(signal.rows(), 2u);
  EXPECT_EQ(signal.row_shape(), (std::vector<uint64_t>{1, 2}));
  EXPECT_FLOAT_EQ(static_cast<float>(signal.Number(1)), .002f);
  EXPECT_FLOAT_EQ(static_cast<float>(signal.Number(3)), -.002f);
  const Array abnormal = ReadBack(v1::EcgArray::ABNORMAL, 8 + 8);
  EXPECT_EQ(abnormal.Text(0) + abnormal.Text(1), "01");
  const Array patient = ReadBack(v1::EcgArray::PATIENT, 8 + 8);
  EXPECT_EQ(patient.Text(0) + patient.Text(1), "79");
  const Array site = ReadBack(v1::EcgArray::SITE, 8 + 8);
  EXPECT_EQ(site.Text(0) + site.Text(1), "03");
}

TEST_F(EcgDatabaseTest, HasTheBytesThatItMustHave) {
  EXPECT_THAT(Make(v1::EcgArray::SIGNAL, 31), IsError(StatusCode::kDataLoss, "more than 31"));
  EXPECT_THAT(Make(v1::EcgArray::SIGNAL, 3), IsError(StatusCode::kDataLoss, "more than 3"));
  EXPECT_THAT(Make(v1::EcgArray::SIGNAL, 33), IsError(StatusCode::kDataLoss, "32 bytes, not 33"));
  EXPECT_THAT(Make(v1::EcgArray::SITE, 17), IsError(StatusCode::kDataLoss, "16 bytes, not 17"));
  EXPECT_THAT(Make(v1::EcgArray::CONTENT_UNSPECIFIED, 16),
              IsError(StatusCode::kInvalidArgument, "content"));
}

TEST_F(EcgDatabaseTest, NamesTheRecordThatIsDamaged) {
  const auto refuses = [&](const char* words) {
    EXPECT_THAT(Make(v1::EcgArray::SIGNAL, 32), IsError(StatusCode::kDataLoss, words));
  };
  WriteRecord("r3", "r3 1 100 2", 5, std::string(4, '\0'));
  refuses("in/r3.dat: signal 1 (I): its checksum is 0");
  WriteRecord("r3", "r3 1 100 1", 1, std::string("\x01\x00", 2));
  refuses("in/r3 has another shape");
  WriteRecord("r3", "r3 1 500 2", -1, std::string("\x01\x00\xfe\xff", 4));
  refuses("in/r3 has another shape or sampling rate");
}

TEST_F(EcgDatabaseTest, NamesTheLineThatIsWrong) {
  const auto refuses = [&](const char* from, const char* to, const char* words) {
    Write(folder_.File("d.csv"), absl::StrReplaceAll(kDatabase, {{from, to}}));
    EXPECT_THAT(ReadEcgTable(folder_.path(), "d.csv", "s.csv"),
                IsError(StatusCode::kDataLoss, words))
        << to;
  };
  refuses("9.0", "", "d.csv: line 4: patient_id");
  refuses("9.0", "9.5", "d.csv: line 4: patient_id");
  refuses("9.0", "-9", "d.csv: line 4: patient_id");
  refuses("9.0", "1e30", "d.csv: line 4: patient_id");
  refuses("9.0", "nan", "d.csv: line 4: patient_id");
  refuses("9.0,3.0", "9.0,", "d.csv: line 4: site");
  refuses("'AMI': 15.0", "'AMI'", "d.csv: line 4: scp_codes is no dictionary");
  refuses("'AMI'", "'XYZ'", "d.csv: line 4: scp_codes has a statement");
  refuses(",in/r3", ",", "d.csv: line 4: filename_lr");
  refuses(",in/r3", "", "d.csv: line 4: the line has too few fields");
  refuses("patient_id", "patient", "d.csv: line 1: there is no column \"patient_id\"");
  refuses("'NORM': 100.0, 'SR': 0.0}\"", "'SR': 0}\"x", "d.csv: line 2");
  refuses(kDatabase, "", "d.csv is empty");
  refuses(strchr(kDatabase, '\n'), "\n", "d.csv has no record");
}

TEST_F(EcgDatabaseTest, NamesTheStatementThatIsWrong) {
  const auto refuses = [&](const char* from, const char* to, const char* words) {
    Write(folder_.File("s.csv"), absl::StrReplaceAll(kStatements, {{from, to}}));
    EXPECT_THAT(ReadEcgTable(folder_.path(), "d.csv", "s.csv"),
                IsError(StatusCode::kDataLoss, words))
        << to;
  };
  refuses("SR,", ",", "s.csv: line 4: a statement without its name");
  refuses(",MI", ",", "s.csv: line 3: a statement without its name or its class");
  refuses("SR,", "AMI,", "s.csv: line 4: the statement is there twice");
  refuses("diagnostic_class", "class", "s.csv: line 1: there is no column \"diagnostic_class\"");
}

TEST_F(EcgDatabaseTest, LeadsOutOfNoFolder) {
  Write(folder_.File("d.csv"), absl::StrReplaceAll(kDatabase, {{"in/r1", "../r1"}}));
  EXPECT_THAT(Make(v1::EcgArray::SIGNAL, 32),
              IsError(StatusCode::kInvalidArgument, "leaves the folder"));
  std::filesystem::remove(folder_.File("s.csv"));
  EXPECT_THAT(Make(v1::EcgArray::SITE, 16), IsError(StatusCode::kNotFound, "s.csv"));
}

}  // namespace
}  // namespace consilium
