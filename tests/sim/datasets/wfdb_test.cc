// WFDB records: against PhysioNet's own library (fixtures/make_wfdb.py), and damaged ones.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/core/files.h"
#include "protocol/wire/limits.h"
#include "sim/datasets/wfdb_header.h"
#include "sim/datasets/wfdb_record.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"

namespace consilium {
namespace {

using absl::StatusCode;

const char kFixtures[] = CONSILIUM_SOURCE_DIR "/tests/sim/datasets/fixtures";

std::string Fixture(const std::string& name) {
  const auto content = ReadFile(absl::StrCat(kFixtures, "/", name), limits::kTextFileBytesMax);
  EXPECT_THAT(content, IsOk());
  return content.value_or("");
}

nlohmann::json JsonFixture(const std::string& name) { return nlohmann::json::parse(Fixture(name)); }

TEST(WfdbRecordTest, ReadsWhatPhysioNetsLibraryWrites) {
  const auto record = ReadWfdbRecord(kFixtures, "waves");
  ASSERT_THAT(record, IsOk());
  const nlohmann::json expected = JsonFixture("waves.json");
  EXPECT_EQ(record->header.samples_per_s, expected.at("rate"));
  ASSERT_EQ(record->header.signals.size(), 3u);
  ASSERT_EQ(record->millivolts.size(), 3 * record->header.samples);
  for (size_t s = 0; s < 3; ++s) {
    EXPECT_EQ(record->header.signals[s].name, expected.at("names")[s]);
    for (size_t i = 0; i < record->header.samples; ++i) {
      EXPECT_EQ(record->millivolts[s * record->header.samples + i],
                expected.at("millivolts")[s][i].get<float>())
          << s << " " << i;
    }
  }
}

TEST(WfdbRecordTest, ReadsPtbXlAsPhysioNetsLibraryDoes) {
  const char* datasets = getenv("CONSILIUM_DATASETS");
  const std::string folder = absl::StrCat(datasets == nullptr ? "" : datasets, "/ecg-ptbxl");
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << "PTB-XL is not here";
  for (const nlohmann::json& expected : JsonFixture("ptbxl.json")) {
    const auto record = ReadWfdbRecord(folder, expected.at("record"));
    ASSERT_THAT(record, IsOk());
    const size_t samples = record->header.samples;
    ASSERT_EQ(samples, 1000u);
    ASSERT_EQ(record->header.signals.size(), 12u);
    for (size_t s = 0; s < 12; ++s) {
      SCOPED_TRACE(absl::StrCat(expected.at("record").get<std::string>(), " ", s));
      EXPECT_EQ(record->header.signals[s].name, expected.at("names")[s]);
      const float* signal = record->millivolts.data() + s * samples;
      double sum = 0;
      double squares = 0;
      for (size_t i = 0; i < samples; ++i) {
        sum += double{signal[i]};
        squares += double{signal[i]} * double{signal[i]};
      }
      EXPECT_EQ(signal[0], expected.at("first")[s].get<float>());
      EXPECT_EQ(signal[samples - 1], expected.at("last")[s].get<float>());
      EXPECT_NEAR(sum, expected.at("sum")[s].get<double>(), 1e-4);
      EXPECT_NEAR(squares, expected.at("squares")[s].get<double>(), 1e-4);
    }
  }
}

// A header of two signals of two samples.
constexpr char kHeader[] =
    "# a comment\n"
    "r 2 100 2\n"
    "r.dat 16 1000(0)/mV 16 0 1 3 0 I\n"
    "r.dat 16 200 16 5 7 65535 0 II\n";
const char kData[] = {1, 0, 7, 0, 2, 0, -8, -1};  // 1, 7; 2, −8.

TEST(WfdbHeaderTest, TakesWhatTheFormatLeavesOpen) {
  auto header = ParseWfdbHeader(kHeader, "r");
  ASSERT_THAT(header, IsOk());
  EXPECT_EQ(header->signals[1].baseline, 5) << "without a baseline the converter's zero is it";
  EXPECT_EQ(header->signals[1].checksum, 65535);
  const std::string text = absl::StrReplaceAll(
      kHeader, {{"\n", "\r\n"}, {"100 2", "100/50(3) 2 12:00:00 01/01/1990"}, {"65535", "-1"}});
  header = ParseWfdbHeader(text, "r");
  ASSERT_THAT(header, IsOk());
  EXPECT_EQ(header->samples_per_s, 100);
  EXPECT_EQ(header->signals[1].checksum, 65535) << "also with a sign";
  header = ParseWfdbHeader("r 1 100 2\nr.dat 16 5 0 0 0 0 0 lead  one", "r");
  ASSERT_THAT(header, IsOk());
  EXPECT_EQ(header->signals[0].name, "lead one");
}

struct Damage {
  const char* from;
  const char* to;
  StatusCode code;
  const char* words;
};

TEST(WfdbHeaderTest, NamesTheLineThatIsWrong) {
  constexpr StatusCode kWrong = StatusCode::kDataLoss;
  constexpr StatusCode kOther = StatusCode::kUnimplemented;
  constexpr StatusCode kMuch = StatusCode::kResourceExhausted;
  for (const Damage& damage : {
           Damage{"r 2 100 2", "r 2 100", kWrong, "line 2: a record has"},
           Damage{"r 2 100 2", "s 2 100 2", kWrong, "line 2: it is another record's"},
           Damage{"r 2 100 2", "r/3 2 100 2", kOther, "line 2: a record of several segments"},
           Damage{"r 2 100 2", "r 0 100 2", kWrong, "line 2: the number of signals"},
           Damage{"r 2 100 2", "r -2 100 2", kWrong, "line 2: the number of signals"},
           Damage{"r 2 100 2", "r 3 100 2", kWrong, "line 4: lines of 2 signals"},
           Damage{"r 2 100 2", "r 1 100 2", kWrong, "line 4: lines of 2 signals"},
           Damage{"r 2 100 2", "r 257 100 2", kMuch, "line 2: more than 256 signals"},
           Damage{"r 2 100 2", "r 2147483647 100 2147483647", kMuch, "line 2: more than"},
           Damage{"r 2 100 2", "r 2 100 16777217", kMuch, "bytes of samples"},
           Damage{"r 2 100 2", "r 2 100 99999999999999999999", kWrong, "number of samples"},
           Damage{"r 2 100 2", "r 2 100 0", kWrong, "line 2: the number of samples"},
           Damage{"r 2 100 2", "r 2 -1 2", kWrong, "line 2: the sampling rate"},
           Damage{"r 2 100 2", "r 2 nan 2", kWrong, "line 2: the sampling rate"},
           Damage{" 16 1000", " 212 1000", kOther, "line 3: another format than 16"},
           Damage{" 16 1000", " 16x2 1000", kOther, "line 3: another format than 16"},
           Damage{" 16 1000", " 16+4 1000", kOther, "line 3: another format than 16"},
           Damage{"1000(0)", "0(0)", kWrong, "line 3: the gain"},
           Damage{"1000(0)", "inf(0)", kWrong, "line 3: the gain"},
           Damage{"1000(0)", "1000(0", kWrong, "line 3: the baseline is not closed"},
           Damage{"1000(0)", "1000(x)", kWrong, "line 3: the baseline"},
           Damage{"1000(0)", "1000(99999999999)", kWrong, "line 3: the baseline"},
           Damage{"/mV", "/uV", kOther, "line 3: units other than mV"},
           Damage{" 7 65535 0 II", " 7", kWrong, "line 4: a signal has"},
           Damage{"65535", "65536", kWrong, "line 4: the checksum"},
           Damage{"65535", "x", kWrong, "line 4: the checksum"},
           Damage{"r.dat 16 200", "s.dat 16 200", kOther, "line 4: a record of several files"},
           Damage{"r.dat 16 1000", "../r.dat 16 1000", kWrong, "line 3: its file lies in another"},
           Damage{"r.dat 16 1000", "/etc/passwd 16 1000", kWrong, "line 3: its file lies"},
           Damage{"r.dat 16 1000", ".. 16 1000", kWrong, "line 3: its file lies in another"},
       }) {
    const std::string text = absl::StrReplaceAll(kHeader, {{damage.from, damage.to}});
    EXPECT_THAT(ParseWfdbHeader(text, "r"), IsError(damage.code, damage.words)) << text;
  }
  EXPECT_THAT(ParseWfdbHeader("", "r"), IsError(kWrong, "line 1"));
  EXPECT_THAT(ParseWfdbHeader("# nothing\n", "r"), IsError(kWrong, "empty"));
  EXPECT_THAT(ParseWfdbHeader(std::string(kWfdbHeaderBytesMax + 1, '\n'), "r"),
              IsError(kMuch, "65536"));
}

TEST(WfdbHeaderTest, TakesNoTruncatedOne) {
  const std::string text = kHeader;
  for (size_t size = 0; size < text.rfind(" 0 II"); ++size) {
    const auto header = ParseWfdbHeader(text.substr(0, size), "r");
    // Digits that are cut off may leave a checksum, which the samples do not have.
    if (header.ok()) {
      EXPECT_FALSE(DecodeFormat16({kData, sizeof(kData)}, *header).ok()) << size;
    }
  }
}

class WfdbFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    Write(folder_.File("r.hea"), kHeader);
    Write(folder_.File("r.dat"), {kData, sizeof(kData)});
  }

  absl::StatusOr<WfdbRecord> Read(const std::string& name = "r") const {
    return ReadWfdbRecord(folder_.path(), name);
  }

  TempFolder folder_;
};

TEST_F(WfdbFilesTest, AreReadInTurn) {
  const auto record = Read();
  ASSERT_THAT(record, IsOk());
  EXPECT_EQ(record->millivolts, (std::vector<float>{.001f, .002f, .01f, -.065f}));
}

TEST_F(WfdbFilesTest, AreRefusedByNameWhereTheyAreDamaged) {
  std::string data(kData, sizeof(kData));
  Write(folder_.File("r.dat"), data.substr(0, 7));
  EXPECT_THAT(Read(), IsError(StatusCode::kDataLoss, "r.dat: 7 bytes"));
  Write(folder_.File("r.dat"), data + "x");
  EXPECT_THAT(Read(), IsError(StatusCode::kResourceExhausted, "r.dat"));
  data[4] = 3;
  Write(folder_.File("r.dat"), data);
  EXPECT_THAT(Read(), IsError(StatusCode::kDataLoss, "r.dat: signal 1 (I): its checksum is 4"));
  data.replace(4, 2, std::string("\x00\x80", 2));
  Write(folder_.File("r.dat"), data);
  EXPECT_THAT(Read(), IsError(StatusCode::kDataLoss, "signal 1 (I): sample 2 was not measured"));
  std::filesystem::remove(folder_.File("r.dat"));
  EXPECT_THAT(Read(), IsError(StatusCode::kNotFound, "r.dat"));
  Write(folder_.File("r.hea"), "r 2 100\n");
  EXPECT_THAT(Read(), IsError(StatusCode::kDataLoss, "r.hea: line 1"));
  Write(folder_.File("r.hea"), std::string(kWfdbHeaderBytesMax + 1, ' '));
  EXPECT_THAT(Read(), IsError(StatusCode::kResourceExhausted, "r.hea"));
  EXPECT_THAT(Read("s"), IsError(StatusCode::kNotFound, "s.hea"));
}

TEST_F(WfdbFilesTest, StayInTheirFolder) {
  for (const std::string& name : {std::string("../r"), std::string("/tmp/r"), std::string(""),
                                  std::string("a/../r"), std::string("r\0x", 3)}) {
    EXPECT_THAT(Read(name), IsError(StatusCode::kInvalidArgument, "leaves the folder")) << name;
  }
}

}  // namespace
}  // namespace consilium
