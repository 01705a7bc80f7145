#include "site_agent/ingest/contract_check.h"

#include <cmath>
#include <memory>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kContract[] = R"(
  name: "ward"
  csv { missing_tokens: "NA" missing_tokens: "-9" }
  columns { name: "age" number { min: 0 max: 120 integer: true } }
  columns { name: "weight" number { min: 0.5 max: 300 } missing { rule: MEAN } }
  columns {
    name: "stage"
    category { values: ["1", "2", "IIIa"] }
    missing { rule: CONSTANT constant: 2 }
  }
  label { column: "died" binary { positive: ["yes", "1"] negative: ["no", "0"] } }
  patient_id_column: "mrn"
)";

v1::DataContract Contract(const std::string& text = kContract) {
  v1::DataContract contract;
  absl::Status status = ParseTextFormat(text, "contract", contract);
  EXPECT_TRUE(status.ok()) << status;
  return contract;
}

CsvRecord Record(const std::string& line) {
  CsvReader reader(std::make_unique<std::istringstream>(line), {});
  CsvRecord record;
  EXPECT_TRUE(reader.Next(record).ok());
  return record;
}

ContractCheck Bound(const std::string& header = "mrn,died,ignored,stage,weight,age") {
  absl::StatusOr<ContractCheck> check = ContractCheck::Create(Contract());
  EXPECT_TRUE(check.ok()) << check.status();
  EXPECT_TRUE(check->expects_header());
  absl::Status status = check->BindHeader(Record(header));
  EXPECT_TRUE(status.ok()) << status;
  return *check;
}

// "column: reason", or "" where the row is fine.
std::string Refused(const std::string& line) {
  RawRow row;
  std::optional<RowRefusal> refusal = Bound().Check(Record(line), row);
  return refusal ? refusal->column + ": " + refusal->reason : "";
}

TEST(ContractCheck, ReadsColumnsByNameWhateverTheirOrder) {
  RawRow row;
  ASSERT_FALSE(Bound().Check(Record(" p7 ,yes,whatever, IIIa , 71.5,64"), row));
  EXPECT_THAT(row.values, ElementsAre(64, 71.5, 2));
  EXPECT_EQ(row.label, 1);
  EXPECT_EQ(row.patient_id, "p7");
  // Numbers compare as numbers, in categories, labels and missing tokens.
  ASSERT_FALSE(Bound().Check(Record("p8,0.0,,2.00,-9.0,64.0"), row));
  EXPECT_EQ(row.values[2], 1);
  EXPECT_TRUE(std::isnan(row.values[1]));
  EXPECT_EQ(row.label, 0);
  ASSERT_FALSE(Bound().Check(Record("p9,no,,NA,,0"), row));
  EXPECT_TRUE(std::isnan(row.values[2]));
}

TEST(ContractCheck, RefusesByColumnAndRule) {
  EXPECT_EQ(Refused("p,yes,,1,70,64"), "");
  EXPECT_EQ(Refused("p,yes,,1,70"), ": has 5 fields instead of 6");
  EXPECT_EQ(Refused("p,yes,,1,70,64,"), ": has 7 fields instead of 6");
  EXPECT_EQ(Refused("p,yes,,1,70,"), "age: is missing");
  EXPECT_EQ(Refused("p,yes,,1,70,NA"), "age: is missing");
  EXPECT_EQ(Refused("p,yes,,1,70,64.5"), "age: is not a whole number");
  EXPECT_EQ(Refused("p,yes,,1,70,121"), "age: is above the contract's maximum of 120");
  EXPECT_EQ(Refused("p,yes,,1,0.4,64"), "weight: is below the contract's minimum of 0.5");
  EXPECT_EQ(Refused("p,yes,,1,\"70,5\",64"), "weight: is not a number");
  EXPECT_EQ(Refused("p,yes,,1,nan,64"), "weight: is not a number");
  EXPECT_EQ(Refused("p,yes,,1,inf,64"), "weight: is not a number");
  EXPECT_EQ(Refused("p,yes,,1,1e999,64"), "weight: is not a number");
  EXPECT_EQ(Refused("p,yes,,1,0x10,64"), "weight: is not a number");
  EXPECT_EQ(Refused("p,yes,,3,70,64"), "stage: is none of the contract's values");
  EXPECT_EQ(Refused("p,maybe,,1,70,64"), "died: is none of the contract's label values");
  EXPECT_EQ(Refused("p,,,1,70,64"), "died: is missing");
  EXPECT_EQ(Refused(",yes,,1,70,64"), "mrn: is missing");
  EXPECT_EQ(Refused(std::string(257, 'p') + ",yes,,1,70,64"), "mrn: is longer than 256 bytes");
  EXPECT_EQ(Refused("p,yes,,1\"2,70,64"), ": has a quote inside an unquoted field");
}

// A report may travel: it says which rule was broken, and nothing of what the row held.
TEST(ContractCheck, NoRefusalHoldsTheValue) {
  for (const char* line : {"p,yes,,1,70,731.25", "p,yes,,1,731.25,64", "p,yes,,731.25,70,64",
                           "p,731.25,,1,70,64", "p,yes,731.25,1,70,64.5"}) {
    EXPECT_THAT(Refused(line), Not(HasSubstr("731"))) << line;
    EXPECT_NE(Refused(line), "") << line;
  }
}

TEST(ContractCheck, HeaderMustHaveEachColumnOnce) {
  absl::StatusOr<ContractCheck> check = ContractCheck::Create(Contract());
  ASSERT_TRUE(check.ok());
  EXPECT_THAT(std::string(check->BindHeader(Record("mrn,died,stage,weight")).message()),
              ::testing::AllOf(HasSubstr("no column \"age\""), Not(HasSubstr("delimiter"))));
  EXPECT_THAT(std::string(check->BindHeader(Record("mrn;died;stage;weight;age")).message()),
              HasSubstr("; its first line has one field: is the delimiter \",\" right "
                        "(csv.delimiter)?"));
  EXPECT_THAT(std::string(check->BindHeader(Record("mrn,died,age,stage,weight,age")).message()),
              HasSubstr("two columns \"age\""));
  EXPECT_TRUE(check->BindHeader(Record("x,x,mrn,died,stage,weight,age")).ok());
}

TEST(ContractCheck, WithoutPatientColumnEqualRowsAreOnePatient) {
  v1::DataContract contract = Contract();
  contract.clear_patient_id_column();
  absl::StatusOr<ContractCheck> check = ContractCheck::Create(contract);
  ASSERT_TRUE(check.ok());
  ASSERT_TRUE(check->BindHeader(Record("died,stage,weight,age")).ok());
  RawRow a, b, c, d;
  ASSERT_FALSE(check->Check(Record("yes,1,70,64"), a));
  ASSERT_FALSE(check->Check(Record("1,1.0,70.00,64"), b));
  ASSERT_FALSE(check->Check(Record("no,1,70,64"), c));
  ASSERT_FALSE(check->Check(Record("yes,1,NA,64"), d));
  EXPECT_EQ(a.patient_id.size(), 64u);
  EXPECT_EQ(a.patient_id, b.patient_id);
  EXPECT_NE(a.patient_id, c.patient_id);
  EXPECT_NE(a.patient_id, d.patient_id);
}

TEST(ContractCheck, RefusesContractsThatMakeNoSense) {
  const auto complaint = [](const std::string& text) {
    return std::string(ContractCheck::Create(Contract(text)).status().message());
  };
  const std::string label = R"(label { column: "y" binary { positive: "1" negative: "0" } })";
  EXPECT_THAT(complaint(label), HasSubstr("columns: there are none"));
  EXPECT_THAT(complaint(R"(columns { name: "a" })" + label), HasSubstr("neither a number"));
  EXPECT_THAT(complaint(R"(columns { number { max: 1 } })" + label), HasSubstr("has no name"));
  EXPECT_THAT(complaint(R"(columns { name: "a" number { min: 2 max: 1 } })" + label),
              HasSubstr("min not above max"));
  EXPECT_THAT(complaint(R"(columns { name: "a" number { min: 0 max: inf } })" + label),
              HasSubstr("finite"));
  EXPECT_THAT(complaint(R"(columns { name: "a" category { values: ["x"] } })" + label),
              HasSubstr("2 to 256 values"));
  EXPECT_THAT(complaint(R"(columns { name: "a" category { values: ["1", "1.0"] } })" + label),
              HasSubstr("listed twice"));
  EXPECT_THAT(complaint(R"(columns { name: "a" category { values: ["1", "2"] }
                             missing { rule: CONSTANT constant: 3 } })" +
                        label),
              HasSubstr("none of its values"));
  const std::string column = R"(columns { name: "a" number { max: 1 } })";
  EXPECT_THAT(complaint(column), HasSubstr("label: has no column"));
  EXPECT_THAT(complaint(column + R"(label { column: "y" })"), HasSubstr("neither binary"));
  EXPECT_THAT(complaint(column + R"(label { column: "y" binary { positive: "1" negative: "1" } })"),
              HasSubstr("listed twice"));
  EXPECT_THAT(complaint(column + R"(label { column: "y" classes { values: ["1"] } })"),
              HasSubstr("classes"));
  EXPECT_THAT(complaint(R"(csv { delimiter: ";;" })" + column + label), HasSubstr("delimiter"));
  EXPECT_THAT(complaint(R"(csv { header: ABSENT column_names: ["a", "a", "y"] })" + column + label),
              HasSubstr("two columns"));
  EXPECT_THAT(
      complaint(R"(csv { header: ABSENT column_names: ["a", "y"] })" + column + column + label),
      HasSubstr("named twice"));
}

}  // namespace
}  // namespace consilium
