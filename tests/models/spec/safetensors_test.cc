#include "models/spec/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/limits.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The fixtures are written by the format's own library (fixtures/make_tensor_files.py).
std::string Fixture(const char* name) { return absl::StrCat(CONSILIUM_FIXTURES_FOLDER, "/", name); }

const Layout& TinyLayout() {
  static const auto* layout =
      new Layout{{{"hidden.bias", {2}}, {"hidden.weight", {2, 3}}, {"scale", {}}}};
  return *layout;
}

class TensorFileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.File(name); }

  std::string Write(const std::string& bytes) const {
    std::ofstream(Path("file"), std::ios::binary) << bytes;
    return Path("file");
  }

  // A file with this header and so many bytes of data.
  std::string WriteWithHeader(const std::string& json, size_t data_bytes) const {
    std::string bytes;
    for (int i = 0; i < 8; ++i)
      bytes.push_back(static_cast<char>(uint64_t{json.size()} >> (8 * i)));
    return Write(bytes + json + std::string(data_bytes, '\0'));
  }

  const TempFolder folder_;
};

TEST_F(TensorFileTest, ReadsWhatTheFormatsOwnLibraryWrote) {
  const auto file = TensorFile::Open(Fixture("tiny.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->tensors()[1].name, "hidden.weight");
  EXPECT_THAT(file->tensors()[1].shape, ElementsAre(2, 3));
  EXPECT_TRUE(file->tensors()[2].shape.empty());
  EXPECT_EQ(file->metadata().at("description"), "größer als \"nichts\"\n");
  std::vector<float> weight(6);
  ASSERT_TRUE(file->Read(file->tensors()[1], weight).ok());
  EXPECT_THAT(weight, ElementsAre(0, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f));
  EXPECT_FALSE(file->Read(file->tensors()[0], weight).ok());

  // By the layout's order, whatever the file's is.
  const Layout layout{{{"scale", {}}, {"hidden.weight", {2, 3}}, {"hidden.bias", {2}}}};
  std::vector<float> model(9);
  const absl::Status read = file->ReadModel(layout, model);
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_THAT(model, ElementsAre(3.0e-39f, 0, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f, 0.5f, -1.25f));
}

TEST_F(TensorFileTest, WritesTheSameBytesAsTheFormatsOwnLibrary) {
  const auto original = TensorFile::Open(Fixture("tiny.safetensors"));
  ASSERT_TRUE(original.ok()) << original.status();
  std::vector<float> values(9);
  ASSERT_TRUE(original->ReadModel(TinyLayout(), values).ok());
  const absl::Status written = WriteTensorFile(
      Path("copy"), {.layout = &TinyLayout(), .values = values, .metadata = original->metadata()});
  ASSERT_TRUE(written.ok()) << written;
  EXPECT_EQ(*ReadFile(Path("copy"), 1 << 20), *ReadFile(Fixture("tiny.safetensors"), 1 << 20));
  // Nothing else is left behind.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()),
                          std::filesystem::directory_iterator()),
            1);
}

TEST_F(TensorFileTest, KeepsEveryBitOfEveryFiniteNumber) {
  RandomStream random(SeedPath{1, "safetensors_test", "", 0});
  std::vector<float> values;
  while (values.size() < 30000) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random.Next()));
    if (std::isfinite(value)) values.push_back(value);
  }
  const Layout layout{{{"b", {100, 200}}, {"a", {10000}}}};
  ASSERT_TRUE(
      WriteTensorFile(Path("m"), {.layout = &layout, .values = values, .metadata = {}}).ok());
  const auto file = TensorFile::Open(Path("m"));
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> back(values.size());
  ASSERT_TRUE(file->ReadModel(layout, back).ok());
  // The bits are what is compared. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
  EXPECT_EQ(memcmp(back.data(), values.data(), values.size() * sizeof(float)), 0);
}

TEST_F(TensorFileTest, AModelOfAnotherLayoutIsRefused) {
  const auto file = TensorFile::Open(Fixture("tiny.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto refused = [&](const Layout& layout) {
    std::vector<float> room(layout.elements());
    return std::string(file->ReadModel(layout, room).message());
  };
  Layout layout = TinyLayout();
  layout.tensors[1].shape = {3, 2};
  EXPECT_THAT(refused(layout), HasSubstr("\"hidden.weight\" has another shape"));
  layout = TinyLayout();
  layout.tensors[2].name = "offset";
  EXPECT_THAT(refused(layout), HasSubstr("\"offset\" is missing"));
  layout = TinyLayout();
  layout.tensors.pop_back();
  EXPECT_THAT(refused(layout), HasSubstr("\"scale\" is none of the model's"));
  std::vector<float> small(8);
  EXPECT_FALSE(file->ReadModel(TinyLayout(), small).ok());
}

TEST_F(TensorFileTest, ANumberThatIsNotFiniteIsRefused) {
  const Layout layout{{{"a", {1}}, {"b", {2}}}};
  const std::vector<float> values = {1, 2, std::nanf("")};
  ASSERT_TRUE(
      WriteTensorFile(Path("m"), {.layout = &layout, .values = values, .metadata = {}}).ok());
  std::vector<float> room(3);
  EXPECT_THAT(std::string(TensorFile::Open(Path("m"))->ReadModel(layout, room).message()),
              HasSubstr("\"b\" holds a number that is not finite"));
}

TEST_F(TensorFileTest, OtherTypesAreRefused) {
  const absl::Status status = TensorFile::Open(Fixture("other_types.safetensors")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not of type F32"));
}

TEST_F(TensorFileTest, WhatIsNoTensorFileIsRefused) {
  EXPECT_EQ(TensorFile::Open(Path("nothing")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(TensorFile::Open(folder_.path()).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(TensorFile::Open(Path("pipe")).status().code(), absl::StatusCode::kInvalidArgument);
  for (const std::string& bytes :
       {std::string(), std::string("1234567"), std::string(8, '\0'),
        std::string("\x10\0\0\0\0\0\0\0{}", 10), std::string("\x02\0\0\0\0\0\0\0[]", 10)}) {
    EXPECT_EQ(TensorFile::Open(Write(bytes)).status().code(), absl::StatusCode::kInvalidArgument)
        << bytes.size();
  }
  // A header that claims to be endless is refused before room is made for it.
  EXPECT_EQ(TensorFile::Open(Write("\xff\xff\xff\xff\xff\xff\xff\x7f{}")).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(TensorFile::Open(Write(std::string("\x02\0\0\0\0\0\0\0{}", 10))).ok());
}

TEST_F(TensorFileTest, AFileThatShrinksWhileReadIsDataLoss) {
  const Layout layout{{{"a", {4}}}};
  const std::vector<float> values(4);
  ASSERT_TRUE(
      WriteTensorFile(Path("m"), {.layout = &layout, .values = values, .metadata = {}}).ok());
  const auto file = TensorFile::Open(Path("m"));
  ASSERT_EQ(truncate(Path("m").c_str(), 70), 0);
  std::vector<float> room(4);
  EXPECT_EQ(file->ReadModel(layout, room).code(), absl::StatusCode::kDataLoss);
}

TEST_F(TensorFileTest, WritingFailsWithoutATrace) {
  const Layout layout{{{"a", {4}}}};
  const std::vector<float> values(3);
  EXPECT_EQ(
      WriteTensorFile(Path("m"), {.layout = &layout, .values = values, .metadata = {}}).code(),
      absl::StatusCode::kInvalidArgument);
  const std::vector<float> four(4);
  // The name is taken by a folder, so only the renaming fails.
  std::filesystem::create_directories(Path("m/inside"));
  EXPECT_FALSE(
      WriteTensorFile(Path("m"), {.layout = &layout, .values = four, .metadata = {}}).ok());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()),
                          std::filesystem::directory_iterator()),
            1);
}

constexpr char kTensorA[] = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";

TEST(SafetensorsHeader, HostileHeadersAreRefused) {
  const struct {
    std::string json;
    uint64_t data_bytes;
    const char* message;
  } cases[] = {
      {"", 0, "does not begin"},
      {" {}", 0, "does not begin"},
      {"{", 0, "not JSON"},
      {"{}x", 0, "not JSON"},
      {"{\"a\":1}", 0, "a number where none belongs"},
      {"{\"a\":\"x\"}", 0, "a text where none belongs"},
      {"{\"a\":[]}", 0, "a list where none belongs"},
      {"{\"a\":null}", 0, "a null"},
      {"{\"a\":true}", 0, "a truth value"},
      {"{\"a\":{}}", 0, "needs dtype"},
      {"{\"a\":{\"b\":{}}}", 0, "does not know"},
      {"{\"a\":{\"shape\":{}}}", 0, "an object where none belongs"},
      {"{\"a\":{\"dtype\":[1]}}", 0, "a list where none belongs"},
      {"{\"a\":{\"shape\":[[1]]}}", 0, "a list where none belongs"},
      {"{\"a\":{\"shape\":[-1]}}", 0, "a negative number"},
      {"{\"a\":{\"shape\":[1.5]}}", 0, "not a whole one"},
      {"{\"a\":{\"shape\":[99999999999999999999]}}", 0, "not a whole one"},
      {"{\"a\":{\"shape\":[\"1\"]}}", 0, "a text where none belongs"},
      {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "a field is there twice"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "a number where none belongs"},
      {"{\"__metadata__\":{\"a\":{}}}", 0, "an object where none belongs"},
      {"{\"__metadata__\":{\"a\":[]}}", 0, "a list where none belongs"},
      {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "a field is there twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "a name is there twice"},
      {absl::StrCat("{", kTensorA, ",", kTensorA, "}"), 8, "a name is there twice"},
      {absl::StrCat("{", kTensorA, "}"), 9, "describes 8 bytes, but the file holds 9"},
      {absl::StrCat("{", kTensorA, "}"), 4, "describes 8 bytes, but the file holds 4"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not fit"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "do not fit"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,16]}}", 8,
       "two data_offsets"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "empty or too large"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
       "empty or too large"},
      {absl::StrCat("{", kTensorA, R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"), 8,
       "overlap or leave a gap"},
      {absl::StrCat("{", kTensorA, R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})"),
       16, "overlap or leave a gap"},
      {std::string(100000, '['), 0, "does not begin"},
      {"{\"a\":" + std::string(100000, '{'), 0, "not JSON"},
      {"{\"\xff\":{}}", 0, "not JSON"},
  };
  for (const auto& c : cases) {
    const absl::Status status = ParseSafetensorsHeader(c.json, c.data_bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.json.substr(0, 90);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message)) << c.json.substr(0, 90);
  }
}

TEST(SafetensorsHeader, CountsAreBounded) {
  const auto code = [](const std::string& json) {
    return ParseSafetensorsHeader(json, 0).status().code();
  };
  EXPECT_EQ(code("{\"" + std::string(limits::kTensorNameCharsMax + 1, 'x') + "\":{}}"),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{\"a\":{\"shape\":[1,1,1,1,1,1,1,1,1]}}"), absl::StatusCode::kResourceExhausted);
  SafetensorsHeader many;
  for (uint64_t i = 0; i < limits::kTensorsMax + 2; ++i) {
    many.tensors.push_back({absl::StrCat("t", i), {1}, 4 * i, 4 * i + 4});
  }
  const std::string json = FormatSafetensorsHeader(many);
  EXPECT_EQ(ParseSafetensorsHeader(json, 4 * many.tensors.size()).status().code(),
            absl::StatusCode::kResourceExhausted);
  many.tensors.resize(limits::kTensorsMax);
  EXPECT_TRUE(ParseSafetensorsHeader(FormatSafetensorsHeader(many), 4 * many.tensors.size()).ok());
}

// Whatever bytes come, the answer is a Status; what passes covers the data exactly once.
TEST(SafetensorsHeader, MutatedHeaders) {
  RandomStream random(SeedPath{1, "safetensors_mutations", "", 0});
  const std::string valid =
      absl::StrCat("{\"__metadata__\":{\"k\":\"v\"},", kTensorA,
                   R"(,"b":{"dtype":"F32","shape":[1,3],"data_offsets":[8,20]}})");
  ASSERT_TRUE(ParseSafetensorsHeader(valid, 20).ok());
  constexpr char kAlphabet[] = "{}[]:,\"0123456789-.eabkvshpdtyF_ \\u";
  int passed = 0;
  for (int i = 0; i < 10000; ++i) {
    SCOPED_TRACE(testing::Message() << "mutation " << i);
    std::string json = valid;
    const uint64_t changes = 1 + random.NextBelow(3);
    for (uint64_t c = 0; c < changes; ++c) {
      const size_t at = random.NextBelow(json.size());
      const char byte = random.NextBelow(4) == 0
                            ? static_cast<char>(random.NextBelow(256))
                            : kAlphabet[random.NextBelow(sizeof(kAlphabet) - 1)];
      switch (random.NextBelow(3)) {
        case 0:
          json[at] = byte;
          break;
        case 1:
          json.insert(at, 1, byte);
          break;
        default:
          json.erase(at, 1 + random.NextBelow(3));
      }
    }
    const auto header = ParseSafetensorsHeader(json, 20);
    if (!header.ok()) continue;
    ++passed;
    uint64_t covered = 0;
    for (const TensorPlace& tensor : header->tensors) {
      EXPECT_EQ(tensor.begin, covered);
      covered = tensor.end;
    }
    EXPECT_EQ(covered, 20u);
  }
  EXPECT_GT(passed, 60);
}

}  // namespace
}  // namespace consilium
