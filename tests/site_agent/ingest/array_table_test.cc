// Arrays as a table, held against a data contract.

#include "site_agent/ingest/array_table.h"

#include <gtest/gtest.h>

#include <bit>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/encode.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/site_agent/ingest/zip_bytes.h"

namespace consilium {
namespace {

using absl::StatusCode;

const std::string kNpz = CONSILIUM_ARRAY_FIXTURES "/arrays.npz";
const std::string kIdx = CONSILIUM_ARRAY_FIXTURES "/images.idx.gz";

v1::DataContract ContractOf(const std::string& text) {
  v1::DataContract contract;
  EXPECT_TRUE(ParseTextFormat(text, "contract", contract).ok()) << text;
  return contract;
}

// Image and label as in arrays.npz.
v1::DataContract ImageContract(const std::string& more = "") {
  return ContractOf(R"(
    name: "images"
    columns { name: "image" tensor { shape: [1, 2, 3] min: 0 max: 255 } }
    label { column: "column" classes { values: ["0", "1"] } })" +
                    more);
}

ArrayColumnSource Column(const std::string& name, const std::string& file = kNpz) {
  return {name, {{file, ""}}};
}

std::vector<ArrayColumnSource> ImageColumns() { return {Column("image"), Column("column")}; }

struct Imported {
  std::vector<RawRow> rows;
  std::vector<size_t> indices;
  ImportReport report;
};

absl::StatusOr<Imported> Import(const std::vector<ArrayColumnSource>& sources,
                                const v1::DataContract& contract) {
  const absl::StatusOr<ArrayTable> table = ArrayTable::Read(sources, {.contract = contract});
  if (!table.ok()) return table.status();
  Imported imported;
  const auto report = ImportArrays(*table, [&](const RawRow& row, size_t index) {
    imported.rows.push_back(row);
    imported.indices.push_back(index);
    return absl::OkStatus();
  });
  if (!report.ok()) return report.status();
  imported.report = *report;
  return imported;
}

TEST(ArrayTableTest, MakesRowsOfArrays) {
  const auto imported = Import(ImageColumns(), ImageContract());
  ASSERT_THAT(imported, IsOk());
  ASSERT_EQ(imported->rows.size(), 4u);
  EXPECT_EQ(imported->report.rows_stored, 4u);
  for (size_t r = 0; r < 4; ++r) {
    const RawRow& row = imported->rows[r];
    EXPECT_EQ(row.label, static_cast<double>(r % 2));
    EXPECT_EQ(row.values, std::vector<double>{0});
    ASSERT_EQ(row.tensors.size(), 6u);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(row.tensors[i], static_cast<float>((6 * r + i) * 7 % 256));
    }
  }
  // Without a patient column a row is known by all of its content.
  std::set<std::string> patients;
  for (const RawRow& row : imported->rows) patients.insert(row.patient_id);
  EXPECT_EQ(patients.size(), 4u);
}

TEST(ArrayTableTest, TakesPatientsAndNumbersAsACsvFileWould) {
  const auto imported = Import({Column("bytes"), Column("column"), Column("site")}, ContractOf(R"(
        name: "t" columns { name: "column" number { min: 0 max: 0.5 } }
        label { column: "site" classes { values: ["nord", "süd", "東"] } }
        patient_id_column: "bytes")"));
  ASSERT_THAT(imported, IsOk());
  // Rows 1 and 3 have a 1; row 2 has no patient.
  ASSERT_EQ(imported->rows.size(), 1u);
  EXPECT_EQ(imported->rows[0].patient_id, "a");
  EXPECT_EQ(imported->report.rows_refused, 3u);
  ASSERT_EQ(imported->report.refusals.size(), 3u);
  EXPECT_EQ(imported->report.refusals[1].line, 3u);
  EXPECT_EQ(imported->report.refusals[1].column, "bytes");
}

TEST(ArrayTableTest, RefusesRowsWhoseTensorsLeaveTheRange) {
  v1::DataContract contract = ImageContract();
  contract.mutable_columns(0)->mutable_tensor()->set_max(100);  // 15 · 7 is more.
  const auto imported = Import(ImageColumns(), contract);
  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->indices, (std::vector<size_t>{0, 1}));
  ASSERT_EQ(imported->report.refusals.size(), 2u);
  EXPECT_EQ(imported->report.refusals[0].line, 3u);
  EXPECT_EQ(imported->report.refusals[0].column, "image");
  EXPECT_EQ(imported->report.refusals[0].reason,
            "holds a number above the contract's maximum of 100");
}

TEST(ArrayTableTest, PutsPartsOneAfterTheOther) {
  const auto table = ArrayTable::Read(
      {{"image", {{kNpz, ""}, {kIdx, ""}}}, {"column", {{kNpz, ""}, {kNpz, "column"}}}},
      {.contract = ImageContract()});
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->rows(), 8u);
  std::vector<double> first, second;
  table->AppendNumbers("image", 1, first);
  table->AppendNumbers("image", 5, second);
  EXPECT_EQ(first, second);
  EXPECT_EQ(first[0], 42);
}

// An archive with a row for each of `numbers`: an image of two of it, and a label.
void WriteArchive(const std::string& path, const std::vector<uint8_t>& numbers) {
  const auto npy = [&numbers](const std::string& more, size_t of_each) {
    std::string items;
    for (const uint8_t number : numbers) items.append(of_each, static_cast<char>(number));
    return NpyBytes(absl::StrCat("{'descr': '|u1', 'fortran_order': False, 'shape': (",
                                 numbers.size(), ",", more, ")}\n"),
                    items);
  };
  ASSERT_THAT(WriteFileDurably(path, ZipBytes({{.name = "image.npy", .packed = npy("2,", 2)},
                                               {.name = "kind.npy", .packed = npy("", 1)}})),
              IsOk());
}

v1::DataContract PairContract() {
  return ContractOf(R"(
    name: "pairs"
    columns { name: "image" tensor { shape: [2] min: 0 max: 255 } }
    label { column: "kind" real { min: 0 max: 255 } })");
}

// Else the images of one file could come beside the labels of another.
TEST(ArrayTableTest, AnArchiveIsOneFileWhateverItsPathNamesLater) {
  const TempFolder folder;
  std::vector<ArrayColumnSource> sources = {{"image", {}}, {"kind", {}}};
  for (const char* name : {"a", "b"}) {
    const std::string path = folder.File(absl::StrCat(name, ".npz"));
    for (ArrayColumnSource& source : sources) source.parts.push_back({path, ""});
    WriteArchive(path, name[0] == 'a' ? std::vector<uint8_t>{1, 2} : std::vector<uint8_t>{3, 4});
    WriteArchive(path + ".other", {8, 9});
  }
  int told = 0;
  const auto replace_both = [&](uint64_t, uint64_t) {
    // After both headers of images; those of labels come next, and then the items.
    if (++told != 2) return absl::OkStatus();
    for (const ArrayColumnSource::Part& part : sources[0].parts) {
      std::filesystem::rename(part.file + ".other", part.file);
    }
    return absl::OkStatus();
  };
  const auto table = ArrayTable::Read(sources, {.contract = PairContract(), .tell = replace_both});
  ASSERT_THAT(table, IsOk());
  ASSERT_GT(told, 4);
  std::vector<double> numbers;
  for (size_t row = 0; row < 4; ++row) {
    EXPECT_EQ(table->Text("kind", row), absl::StrCat(row + 1));
    table->AppendNumbers("image", row, numbers);
  }
  EXPECT_EQ(numbers, (std::vector<double>{1, 1, 2, 2, 3, 3, 4, 4}));
}

TEST(ArrayTableTest, TakesMoreArchivesThanStayOpen) {
  const TempFolder folder;
  constexpr uint8_t kArchives = OpenArchives::kKeptMax + 4;
  std::vector<ArrayColumnSource> sources = {{"image", {}}, {"kind", {}}};
  for (uint8_t n = 0; n < kArchives; ++n) {
    const std::string path = folder.File(absl::StrCat(n, ".npz"));
    WriteArchive(path, {n});
    for (ArrayColumnSource& source : sources) source.parts.push_back({path, ""});
  }
  const auto table = ArrayTable::Read(sources, {.contract = PairContract()});
  ASSERT_THAT(table, IsOk());
  ASSERT_EQ(table->rows(), kArchives);
  for (uint8_t n = 0; n < kArchives; ++n) {
    EXPECT_EQ(table->Text("kind", n), absl::StrCat(n));
    std::vector<double> numbers;
    table->AppendNumbers("image", n, numbers);
    EXPECT_EQ(numbers, std::vector<double>(2, n));
  }
}

TEST(ArrayTableTest, TellsHowFarItIsUnpackedAndEndsWhenItIsTold) {
  using Told = std::vector<std::pair<uint64_t, uint64_t>>;
  Told told;
  size_t ends_at = 0;  // Never.
  const ArrayTableOptions options = {
      .contract = ImageContract(), .tell = [&](uint64_t unpacked, uint64_t of) {
        told.emplace_back(unpacked, of);
        return told.size() == ends_at ? absl::CancelledError("enough") : absl::OkStatus();
      }};
  const auto read = [&](size_t end) {
    told.clear();
    ends_at = end;
    return ArrayTable::Read({{"image", {{kIdx, ""}}}, Column("column")}, options).status();
  };
  EXPECT_THAT(read(0), IsOk());
  const Told all = {{0, 24}, {0, 56}, {24, 56}, {56, 56}};
  EXPECT_EQ(told, all);
  for (size_t end = 1; end <= all.size(); ++end) {
    EXPECT_EQ(read(end), absl::CancelledError("enough")) << end;
    EXPECT_EQ(told.size(), end);
  }
}

TEST(ArrayTableTest, ARowIsToldOfWhetherItIsGoodOrNot) {
  const auto table = ArrayTable::Read(ImageColumns(), {.contract = ImageContract()});
  ASSERT_THAT(table, IsOk());
  v1::DataContract narrow = ImageContract();
  narrow.mutable_columns(0)->mutable_tensor()->set_max(100);  // The last two have more.
  const auto of_narrow = ArrayTable::Read(ImageColumns(), {.contract = narrow});
  ASSERT_THAT(of_narrow, IsOk());
  const ArrayRowSink take = [](const RawRow&, size_t) { return absl::OkStatus(); };
  for (const ArrayTable* of : {&*table, &*of_narrow}) {
    int read = 0;
    EXPECT_THAT(ImportArrays(*of, take,
                             [&read] {
                               ++read;
                               return absl::OkStatus();
                             }),
                IsOk());
    EXPECT_EQ(read, 4);
    read = 0;
    EXPECT_EQ(
        ImportArrays(*of, take,
                     [&read] { return ++read < 4 ? absl::OkStatus() : absl::CancelledError("no"); })
            .status(),
        absl::CancelledError("no"));
  }
}

TEST(ArrayTableTest, NamesWhatDoesNotFit) {
  const auto refused = [](const std::vector<ArrayColumnSource>& sources,
                          const v1::DataContract& contract, const char* words) {
    EXPECT_THAT(Import(sources, contract), IsError(StatusCode::kInvalidArgument, words));
  };
  const auto read = [&refused](const std::vector<ArrayColumnSource>& sources, const char* words) {
    refused(sources, ImageContract(), words);
  };
  const ArrayColumnSource label = Column("column");
  read({{"image", {}}, label}, "has no parts");
  read({{"image", {{kIdx, "x"}}}, label}, "only a *.npz file has");
  read({Column("image"), Column("image"), label}, "\"image\" is there twice");
  read({Column("image"), {"column", {{kNpz, "single"}}}}, "has 24 rows, another one 4");
  read({{"image", {{kNpz, ""}, {kNpz, "column"}}}, label}, "unlike shapes");
  read({Column("image")}, "\"column\" is not among the arrays");
  read({label}, "\"image\" is not among the arrays");
  read({{"image", {{kNpz, "site"}}}, label}, "\"image\" holds texts");
  v1::DataContract other = ImageContract();
  other.mutable_columns(0)->mutable_tensor()->clear_shape();
  for (const uint32_t size : {3, 2}) other.mutable_columns(0)->mutable_tensor()->add_shape(size);
  refused(ImageColumns(), other, "has rows of [2, 3] where the contract says [3, 2]");
  refused(ImageColumns(), ImageContract("patient_id_column: 'nobody'"), "is not among the arrays");
  refused(ImageColumns(), ImageContract("patient_id_column: 'column'"), "named twice");
  other = ImageContract();
  other.mutable_label()->set_column("signed");
  refused({Column("image"), Column("signed")}, other, "has [6] numbers a row");
}

// What would be said of the items, were they unpacked, is that they are damaged.
TEST(ArrayTableTest, WhatAHeaderTellsIsRefusedBeforeAnItemIsUnpacked) {
  const TempFolder folder;
  const auto npy = [](const std::string& shape, size_t items) {
    return NpyBytes(
        absl::StrCat("{'descr': '|u1', 'fortran_order': False, 'shape': ", shape, "}\n"),
        std::string(items, '\0'));
  };
  const std::string file = folder.File("a.npz");
  ASSERT_THAT(WriteFileDurably(
                  file, ZipBytes({{.name = "image.npy", .packed = npy("(4, 2, 3)", 24), .crc = 1},
                                  {.name = "column.npy", .packed = npy("(4,)", 4), .crc = 1},
                                  {.name = "other.npy", .packed = npy("(2, 9)", 18), .crc = 1},
                                  {.name = "none.npy", .packed = npy("(0,)", 0), .crc = 1},
                                  {.name = "empty.npy", .packed = npy("(0, 2, 3)", 0), .crc = 1}})),
              IsOk());
  const ArrayTableOptions of_contract = {.contract = ImageContract()};
  const auto read = [&file](const char* image, const char* label,
                            const ArrayTableOptions& options) {
    return ArrayTable::Read({{"image", {{file, image}}}, {"column", {{file, label}}}}, options)
        .status();
  };
  const StatusCode invalid = StatusCode::kInvalidArgument;
  EXPECT_THAT(read("image", "column", of_contract), IsError(invalid, "is damaged"));
  EXPECT_THAT(read("other", "column", of_contract), IsError(invalid, "has 4 rows, another one 2"));
  EXPECT_THAT(read("image", "image", of_contract), IsError(invalid, "has [2, 3] numbers a row"));
  EXPECT_THAT(read("column", "column", of_contract), IsError(invalid, "has rows of []"));
  EXPECT_THAT(read("empty", "none", of_contract), IsError(invalid, "no rows"));
  EXPECT_THAT(read("image", "column", {.contract = ImageContract(), .bytes_max = 28}),
              IsError(invalid, "is damaged"));
  EXPECT_THAT(read("image", "column", {.contract = ImageContract(), .bytes_max = 27}),
              IsError(StatusCode::kResourceExhausted, "more than 27 bytes unpacked"));
  constexpr uint64_t kRowBytes = sizeof(RawRow) + sizeof(double) + 6 * sizeof(float);
  EXPECT_THAT(
      read("image", "column", {.contract = ImageContract(), .budget = RowBudget(4 * kRowBytes)}),
      IsError(invalid, "is damaged"));
  EXPECT_THAT(read("image", "column",
                   {.contract = ImageContract(), .budget = RowBudget(4 * kRowBytes - 1)}),
              IsError(StatusCode::kResourceExhausted, "bytes of memory"));
}

TEST(RowBudgetTest, NoNumberOfRowsIsTooLargeToRefuse) {
  RowBudget budget(1000);
  for (const uint64_t rows : {uint64_t{1001}, uint64_t{1} << 61, ~uint64_t{0}}) {
    EXPECT_THAT(budget.CheckRoom(rows, 1, 6), IsError(StatusCode::kResourceExhausted, "1000"));
  }
  EXPECT_THAT(budget.CheckRoom(1, 1, 6), IsOk());
  // What is taken is no longer there.
  RawRow row;
  row.values.resize(100);
  ASSERT_THAT(budget.Take(row), IsOk());
  EXPECT_THAT(budget.CheckRoom(1, 100, 0), IsError(StatusCode::kResourceExhausted, "1000"));
  EXPECT_THAT(budget.Take(row), IsError(StatusCode::kResourceExhausted, "1000"));
  EXPECT_THAT(budget.CheckRoom(1, 0, 0), IsError(StatusCode::kResourceExhausted, "1000"));
}

TEST(ArrayTableTest, AnArchiveHasAnArrayForEachColumn) {
  const v1::DataContract contract = ContractOf(R"(
    name: "t"
    columns { name: "image" tensor { shape: [2, 3] min: 0 max: 255 } }
    columns { name: "age" number { min: 0 max: 120 } }
    label { column: "time" survival { time_max: 9 event_column: "died" } }
    patient_id_column: "mrn")");
  std::vector<std::string> columns;
  for (const ArrayColumnSource& source : ArraysOfArchive("a.npz", contract)) {
    columns.push_back(source.column);
    ASSERT_EQ(source.parts.size(), 1u);
    EXPECT_EQ(source.parts[0].file, "a.npz");
    EXPECT_EQ(source.parts[0].array, source.column);
  }
  EXPECT_EQ(columns, (std::vector<std::string>{"image", "age", "time", "died", "mrn"}));
}

// Finite as it lies in the file, and within the contract's range; not as the row has it.
TEST(ArrayTableTest, RefusesNumbersBeyondSinglePrecision) {
  const TempFolder folder;
  std::string items;
  for (const double number : {3.4e38, -3.5e38})
    items += LittleEndian(std::bit_cast<uint64_t>(number), 8);
  const auto npy = [&items](const char* shape) {
    return NpyBytes(
        absl::StrCat("{'descr': '<f8', 'fortran_order': False, 'shape': ", shape, "}\n"), items);
  };
  ASSERT_THAT(WriteFileDurably(folder.File("a.npz"),
                               ZipBytes({{.name = "image.npy", .packed = npy("(2, 1)")},
                                         {.name = "column.npy", .packed = npy("(2,)")}})),
              IsOk());
  const auto imported =
      Import({Column("image", folder.File("a.npz")), Column("column", folder.File("a.npz"))},
             ContractOf(R"(
        name: "t" columns { name: "image" tensor { shape: [1] min: -1e300 max: 1e300 } }
        label { column: "column" real { min: -1e300 max: 1e300 } })"));
  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->indices, std::vector<size_t>{0});
  ASSERT_EQ(imported->report.refusals.size(), 1u);
  EXPECT_EQ(imported->report.refusals[0].reason, "holds a number beyond those of single precision");
}

// A site's store could not read back what is more.
TEST(TensorTest, ARowHasNoMoreNumbersThanAModelTakes) {
  const auto refused = [](const std::string& columns, const char* words) {
    EXPECT_THAT(Import(ImageColumns(),
                       ContractOf("name: 't' " + columns +
                                  " label { column: 'column' classes { values: ['0', '1'] } }")),
                IsError(StatusCode::kInvalidArgument, words));
  };
  const std::string half = "tensor { shape: [256, 128] min: 0 max: 1 } } ";
  const std::string whole = "columns { name: 'a' " + half + "columns { name: 'b' " + half;
  refused(whole, "is not among the arrays");
  refused(whole + "columns { name: 'c' tensor { shape: [1] min: 0 max: 1 } }",
          "at most 65536 numbers");
  refused("columns { name: 'a' tensor { shape: [65536, 65536, 65536] min: 0 max: 1 } }",
          "at most 65536 numbers");
  refused("columns { name: 'a' tensor { shape: [2, 0] min: 0 max: 1 } }", "needs a shape");
  refused("columns { name: 'a' tensor { min: 0 max: 1 } }", "needs a shape");
  refused("columns { name: 'a' tensor { shape: [2] min: 2 max: 1 } }", "min not above max");
  refused("columns { name: 'a' tensor { shape: [2] min: nan max: 1 } }", "must be finite");
}

// A scenario of a few lines may name a file of a few bytes a thousand times.
TEST(ArrayTableTest, ManyPartsAreNoMoreThanTheLimit) {
  std::vector<ArrayColumnSource> columns = ImageColumns();
  EXPECT_THAT(ArrayTable::Read(columns, {.contract = ImageContract(), .bytes_max = 1000}), IsOk());
  for (ArrayColumnSource& column : columns) column.parts.resize(1000, column.parts.front());
  EXPECT_THAT(ArrayTable::Read(columns, {.contract = ImageContract(), .bytes_max = 1000}),
              IsError(StatusCode::kResourceExhausted,
                      "column \"image\": the table has more than 1000 bytes unpacked"));
  EXPECT_THAT(ArrayTable::Read(columns, {.contract = ImageContract()}), IsOk());
}

TEST(TensorTest, ACsvFileCanNotHoldOne) {
  const TempFolder folder;
  EXPECT_THAT(ImportCsvFile(kNpz, ImageContract(), [](const RawRow&) { return absl::OkStatus(); }),
              IsError(StatusCode::kInvalidArgument, "is a tensor, which a CSV file can not hold"));
}

TEST(TensorTest, TheModelSeesShiftedAndScaledNumbersAndNoStatisticsLeave) {
  v1::DataContract contract = ImageContract();
  const auto imported = Import(ImageColumns(), contract);
  ASSERT_THAT(imported, IsOk());
  const std::vector<v1::Split> parts(4, v1::TRAIN);
  const SplitRows rows = {imported->rows, parts};
  auto examples = EncodeRows(contract, {}, rows);
  ASSERT_THAT(examples, IsOk());
  EXPECT_EQ(examples->train.features, 6u);
  EXPECT_EQ(examples->train.row(2)[1], static_cast<float>(91.0 / 255));
  contract.mutable_columns(0)->mutable_tensor()->set_mean(50);
  contract.mutable_columns(0)->mutable_tensor()->set_deviation(10);
  examples = EncodeRows(contract, {}, rows);
  ASSERT_THAT(examples, IsOk());
  EXPECT_EQ(examples->train.row(2)[1], 4.1f);
  const auto statistics = StatisticsOf(contract, rows);
  ASSERT_THAT(statistics, IsOk());
  ASSERT_EQ(statistics->counts_size(), 6);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(statistics->counts(i) + statistics->sums(i), 0);
  std::vector<RawRow> without = imported->rows;
  without[3].tensors.pop_back();
  EXPECT_THAT(EncodeRows(contract, {}, {without, parts}),
              IsError(StatusCode::kInvalidArgument, "does not have the contract's tensors"));
}

}  // namespace
}  // namespace consilium
