// Files that NumPy and the IDX family write, and files that nobody honest writes.

#include "site_agent/ingest/array_files.h"

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/packed_bytes.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/site_agent/ingest/zip_bytes.h"

namespace consilium {
namespace {

using absl::StatusCode;

const char kFixtures[] = CONSILIUM_ARRAY_FIXTURES;

std::string Fixture(const std::string& name) { return absl::StrCat(kFixtures, "/", name); }

std::string Write(const TempFolder& folder, const std::string& name, const std::string& bytes) {
  const std::string path = folder.File(name);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::StatusOr<Array> ReadNpz(const std::string& path, const std::string& name) {
  absl::StatusOr<NpzFile> file = NpzFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::StatusOr<ArrayFormat> format = file->Format(name);
  if (!format.ok()) return format.status();
  return file->Read(name, *format);
}

absl::StatusOr<Array> ReadIdx(const std::string& path) {
  const absl::StatusOr<ArrayFormat> format = IdxFormat(path);
  if (!format.ok()) return format.status();
  return ReadIdxFile(path, *format);
}

Array Given(const std::string& name) {
  absl::StatusOr<Array> array = ReadNpz(Fixture("arrays.npz"), name);
  EXPECT_THAT(array, IsOk());
  return array.ok() ? *std::move(array) : Array({.shape = {0}}, {});
}

TEST(NpzFileTest, ReadsWhatNumpyWrote) {
  const Array image = Given("image");
  EXPECT_EQ(image.rows(), 4u);
  EXPECT_EQ(image.row_shape(), (std::vector<uint64_t>{2, 3}));
  ASSERT_EQ(image.row_items(), 6u);
  const Array signed_items = Given("signed"), swapped = Given("swapped"), single = Given("single"),
              real = Given("double"), truth = Given("truth");
  for (size_t i = 0; i < 24; ++i) {
    const double n = static_cast<double>(i);
    EXPECT_EQ(image.Number(i), static_cast<double>(i * 7 % 256));
    EXPECT_EQ(signed_items.Number(i), n * 1000 - 9000);
    EXPECT_EQ(swapped.Number(i), n * 123456789 - 5);
    EXPECT_EQ(single.Number(i), static_cast<float>(n / 7 - 1));
    EXPECT_EQ(real.Number(i), n / 7 - 1);
    EXPECT_EQ(truth.Number(i), i % 3 == 0 ? 1 : 0);
  }
  EXPECT_EQ(swapped.Text(0), "-5");
  EXPECT_EQ(single.Text(7), "0");
  EXPECT_EQ(std::stod(real.Text(1)), 1.0 / 7 - 1);
}

TEST(NpzFileTest, ReadsTexts) {
  const Array site = Given("site");
  EXPECT_TRUE(site.is_text());
  EXPECT_EQ(site.Text(0), "nord");
  EXPECT_EQ(site.Text(1),
            "s\xc3\xbc"
            "d");
  EXPECT_EQ(site.Text(3), "\xe6\x9d\xb1");
  const Array bytes = Given("bytes");
  EXPECT_EQ(bytes.Text(1), "bc");
  EXPECT_EQ(bytes.Text(2), "");
}

TEST(NpzFileTest, RefusesWhatNumpyMayWriteAndWeDoNotRead) {
  const std::string path = Fixture("arrays.npz");
  const auto refused = [&path](const char* name, const char* words) {
    EXPECT_THAT(ReadNpz(path, name), IsError(StatusCode::kInvalidArgument, words));
  };
  refused("objects", "array \"objects\" its NPY header has a type of items");
  refused("records", "describes records");
  refused("fortran", "Fortran's order");
  refused("half", "has a type of items");
  refused("scalar", "without a dimension");
  EXPECT_THAT(ReadNpz(path, "nothing"), IsError(StatusCode::kNotFound, "is not there"));
}

constexpr char kTwoBytes[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n";

TEST(NpzFileTest, RefusesHostileArchives) {
  const TempFolder folder;
  const std::string npy = NpyBytes(kTwoBytes, "ab");
  const auto read = [&folder](const std::string& bytes) {
    return ReadNpz(Write(folder, "a.npz", bytes), "x");
  };
  ASSERT_THAT(read(ZipBytes({{.name = "x.npy", .packed = npy}})), IsOk());
  const auto invalid = [&read](const std::vector<ZipEntry>& entries, const char* words) {
    EXPECT_THAT(read(ZipBytes(entries)), IsError(StatusCode::kInvalidArgument, words));
  };
  invalid({{.name = "x.npy", .packed = npy}, {.name = "x.npy", .packed = npy}}, "twice");
  invalid({{.name = "x.npy", .packed = npy, .crc = 1}}, "is damaged: CRC");
  invalid({{.name = "x.npy", .packed = npy, .flags = 1}}, "encrypted");
  invalid({{.name = "x.npy", .packed = npy, .method = 12}}, "packed in a way");
  invalid({{.name = "x.npy", .packed = npy, .method = 8, .unpacked_bytes = 1'000'000}},
          "claims more bytes than its packed ones can hold");
  invalid({{.name = "x.npy", .packed = "no NPY file"}}, "is no NPY file");
  invalid({{.name = "x.npy", .packed = npy + "c"}}, "does not have the bytes that its shape says");
  invalid({{.name = "x.npy", .packed = NpyBytes(kTwoBytes, "a")}}, "does not have the bytes");
  EXPECT_THAT(
      read(ZipBytes({{.name = "x.npy", .packed = npy, .method = 8, .unpacked_bytes = 0xfffffff0}})),
      IsError(StatusCode::kResourceExhausted, "more than 2147483648 bytes"));
  EXPECT_THAT(read(ZipBytes({{.name = "x.npy", .packed = npy}}, Zip64::kLocator)),
              IsError(StatusCode::kResourceExhausted, "ZIP64"));
  EXPECT_THAT(read("PK, but no archive"), IsError(StatusCode::kInvalidArgument, "is no NPZ file"));
  EXPECT_THAT(read(""), IsError(StatusCode::kInvalidArgument, "is no NPZ file"));
  std::vector<ZipEntry> many(limits::kArchiveArraysMax + 1);
  for (size_t i = 0; i < many.size(); ++i) many[i].name = absl::StrCat(i, ".npy");
  EXPECT_THAT(read(ZipBytes(many)), IsError(StatusCode::kResourceExhausted, "4096 arrays"));
  EXPECT_THAT(NpzFile::Open(folder.File("none.npz")).status(),
              IsError(StatusCode::kNotFound, "none.npz"));
  EXPECT_THAT(NpzFile::Open(folder.path()).status(),
              IsError(StatusCode::kInvalidArgument, "regular file"));
}

// Every byte of an honest file set to other values: an array or an error, and an error wherever
// the items would differ.
TEST(NpzFileTest, AFlippedByteIsNeverRead) {
  const TempFolder folder;
  const std::string honest = ZipBytes({{.name = "x.npy", .packed = NpyBytes(kTwoBytes, "ab")}});
  for (size_t at = 0; at < honest.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string bytes = honest;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      const absl::StatusOr<Array> array = ReadNpz(Write(folder, "a.npz", bytes), "x");
      if (!array.ok()) continue;
      EXPECT_EQ(array->rows(), 2u);
      EXPECT_EQ(array->Number(0), 'a') << at;
      EXPECT_EQ(array->Number(1), 'b') << at;
    }
  }
}

TEST(NpyHeaderTest, TakesExactlyWhatNumpyWrites) {
  const auto parsed = ParseNpyHeader("{\"shape\": (), 'fortran_order': True, 'descr': '>f8'}  \n");
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(parsed->item_bytes, 8u);
  EXPECT_EQ(parsed->order, std::endian::big);
  for (const char* malformed : {
           "",
           "{",
           "{}",
           "[]",
           "{'descr': '<f4', 'fortran_order': False}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2)} x",
           "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
           "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os')}",
           "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}",
           "{'descr': '=f4', 'fortran_order': False, 'shape': (2,)}",
           "{'descr': '|i4', 'fortran_order': False, 'shape': (2,)}",
           "{'descr': '<U0', 'fortran_order': False, 'shape': (2,)}",
           "{'descr': '<U99999999', 'fortran_order': False, 'shape': (2,)}",
           "{'descr': '|O8', 'fortran_order': False, 'shape': (2,)}",
       }) {
    EXPECT_THAT(ParseNpyHeader(malformed), IsError(StatusCode::kInvalidArgument, "its NPY header"))
        << malformed;
  }
}

TEST(ArrayFormatTest, BoundsTheBytesOfAnyShape) {
  const uint64_t huge = std::numeric_limits<uint64_t>::max();
  for (const std::vector<uint64_t>& shape :
       {std::vector<uint64_t>{huge}, {huge, huge}, {0, huge}, {uint64_t{1} << 31, 2}}) {
    EXPECT_THAT(BytesOf({.shape = shape}),
                IsError(StatusCode::kResourceExhausted, "more than 2147483648 bytes"));
  }
  EXPECT_THAT(BytesOf({.shape = std::vector<uint64_t>(9, 1)}),
              IsError(StatusCode::kResourceExhausted, "9 dimensions"));
  EXPECT_EQ(*BytesOf({.item_bytes = 4, .shape = {3, 5}}), 60u);
  EXPECT_EQ(*BytesOf({.shape = {3, 0}}), 0u);
}

TEST(IdxFileTest, ReadsPlainAndPacked) {
  for (const char* name : {"images.idx", "images.idx.gz"}) {
    const absl::StatusOr<Array> images = ReadIdx(Fixture(name));
    ASSERT_THAT(images, IsOk());
    EXPECT_EQ(images->rows(), 4u);
    EXPECT_EQ(images->row_shape(), (std::vector<uint64_t>{2, 3}));
    for (size_t i = 0; i < 24; ++i) {
      EXPECT_EQ(images->Number(i), static_cast<double>(i * 7 % 256));
    }
  }
  const absl::StatusOr<Array> numbers = ReadIdx(Fixture("numbers.idx"));
  ASSERT_THAT(numbers, IsOk());
  EXPECT_EQ(numbers->Number(0), 1.5);
  EXPECT_EQ(numbers->Number(1), -2);
}

TEST(IdxFileTest, RefusesHostileFiles) {
  const TempFolder folder;
  const std::string plain = Bytes(Fixture("images.idx"));
  const std::string packed = Bytes(Fixture("images.idx.gz"));
  const auto refused = [&folder](const std::string& bytes, StatusCode code, const char* words) {
    EXPECT_THAT(ReadIdx(Write(folder, "a.idx", bytes)), IsError(code, words));
  };
  const StatusCode invalid = StatusCode::kInvalidArgument;
  refused("", invalid, "cut off");
  refused(plain.substr(0, 10), invalid, "cut off");
  refused(plain.substr(0, plain.size() - 1), invalid, "cut off");
  refused(plain + "x", invalid, "goes on after");
  refused(packed.substr(0, packed.size() - 9), invalid, "cut off");
  std::string wrong = plain;
  wrong[2] = 0x0a;
  refused(wrong, invalid, "is no IDX file");
  wrong = plain;
  wrong[3] = 0;
  refused(wrong, invalid, "is no IDX file");
  wrong = plain;
  wrong[3] = 9;
  refused(wrong, invalid, "is no IDX file");
  wrong = plain;
  wrong[4] = '\x7f';
  refused(wrong, StatusCode::kResourceExhausted, "more than 2147483648 bytes");
  wrong = plain;
  wrong[5] = '\x02';  // 2^17 + 4 images of 6 bytes in a file of 40.
  refused(wrong, invalid, "claims more items than its bytes can hold");
  wrong = packed;
  wrong[wrong.size() - 6] ^= 1;  // In the checksum.
  refused(wrong, invalid, "is damaged");
  EXPECT_THAT(ReadIdx(folder.File("none")), IsError(StatusCode::kNotFound, "none"));
}

TEST(NpzFileTest, SaysWhatThereIsInPlaceOfWhatIsNot) {
  const TempFolder folder;
  const auto refusal = [&folder](const std::vector<ZipEntry>& entries) {
    return ReadNpz(Write(folder, "a.npz", ZipBytes(entries)), "x").status();
  };
  EXPECT_THAT(refusal({{.name = "x.txt"}}), IsError(StatusCode::kNotFound, "has no arrays"));
  EXPECT_THAT(refusal({{.name = "\x1b[2J.npy"}, {.name = std::string(9999, 'n') + ".npy"}}),
              IsError(StatusCode::kNotFound, "has \"\\x1b[2J\", \"nnn"));
  std::vector<ZipEntry> many(20);
  for (size_t i = 0; i < many.size(); ++i) many[i].name = absl::StrCat(i, ".npy");
  const absl::Status status = refusal(many);
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "\"0\", \"1\", "));
  EXPECT_THAT(status, IsError(StatusCode::kNotFound, "\"7\" and 12 more"));
  many.assign(limits::kArchiveArraysMax, {.name = std::string(1000, 'n') + ".npy"});
  EXPECT_LT(refusal(many).message().size(), 1000u);
}

// Both are damaged behind their headers, which say what they are all the same.
TEST(ArrayFormatTest, AHeaderIsReadWithoutTheItems) {
  const TempFolder folder;
  const std::string npz =
      Write(folder, "a.npz",
            ZipBytes({{.name = "x.npy", .packed = NpyBytes(kTwoBytes, "ab"), .crc = 1}}));
  const absl::StatusOr<NpzFile> archive = NpzFile::Open(npz);
  ASSERT_THAT(archive, IsOk());
  const auto format = archive->Format("x");
  ASSERT_THAT(format, IsOk());
  EXPECT_EQ(format->shape, std::vector<uint64_t>{2});
  EXPECT_THAT(archive->Read("x", *format), IsError(StatusCode::kInvalidArgument, "is damaged"));
  EXPECT_THAT(archive->Format("y"),
              IsError(StatusCode::kNotFound, "array \"y\" is not there; the file has \"x\""));
  const std::string images = Bytes(Fixture("images.idx"));
  const std::string idx = Write(folder, "a.idx", images.substr(0, images.size() - 1));
  const auto of_images = IdxFormat(idx);
  ASSERT_THAT(of_images, IsOk());
  EXPECT_EQ(of_images->shape, (std::vector<uint64_t>{4, 2, 3}));
  EXPECT_THAT(ReadIdxFile(idx, *of_images), IsError(StatusCode::kInvalidArgument, "cut off"));
}

TEST(ArrayFormatTest, AFileThatChangedAfterItsHeaderWasReadIsRefused) {
  ArrayFormat other = *IdxFormat(Fixture("images.idx"));
  other.shape[0] = 3;
  EXPECT_THAT(ReadIdxFile(Fixture("images.idx"), other),
              IsError(StatusCode::kInvalidArgument, "has changed since"));
  const absl::StatusOr<NpzFile> archive = NpzFile::Open(Fixture("arrays.npz"));
  ASSERT_THAT(archive, IsOk());
  ArrayFormat wider = *archive->Format("image");
  EXPECT_THAT(archive->Read("image", wider), IsOk());
  wider.item_bytes = 2;
  EXPECT_THAT(archive->Read("image", wider),
              IsError(StatusCode::kInvalidArgument, "array \"image\" has changed since"));
}

// Between two openings by path another file could take its place, or a pipe that nobody writes.
TEST(ArrayFormatTest, AFileIsOpenedOnceAndIsARegularOne) {
  const TempFolder folder;
  const std::string npz = folder.File("a.npz");
  const std::string idx = folder.File("a.idx");
  for (const std::string& path : {npz, idx}) {
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    const absl::Status status =
        path == npz ? NpzFile::Open(path).status() : IdxFormat(path).status();
    EXPECT_THAT(status, IsError(StatusCode::kInvalidArgument, path + " is not a regular file"));
    ASSERT_EQ(unlink(path.c_str()), 0);
  }
  std::filesystem::copy_file(Fixture("arrays.npz"), npz);
  std::filesystem::copy_file(Fixture("images.idx"), idx);
  const int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  // Since it was asked last; one for equal ones that follow each other.
  const auto events = [watch] {
    std::array<char, 4096> bytes;
    const ssize_t n = read(watch, bytes.data(), bytes.size());
    return n / static_cast<ssize_t>(sizeof(inotify_event));
  };
  for (const std::string& path : {npz, idx}) {
    ASSERT_GE(inotify_add_watch(watch, path.c_str(), IN_OPEN | IN_CLOSE_NOWRITE), 0);
  }
  {
    const auto file = NpzFile::Open(npz);
    ASSERT_THAT(file, IsOk());
    EXPECT_EQ(events(), 1);
    ASSERT_THAT(file->Read("image", *file->Format("image")), IsOk());
    EXPECT_EQ(events(), 0);
  }
  EXPECT_EQ(events(), 1);  // It is closed.
  ASSERT_THAT(IdxFormat(idx), IsOk());
  EXPECT_EQ(events(), 2);
  close(watch);
}

TEST(NpzFileTest, EachOfThousandsOfArraysIsFoundAndDoubledOnesAreRefused) {
  const TempFolder folder;
  std::vector<ZipEntry> entries;
  const auto add = [&entries](const std::string& name, size_t n) {
    entries.push_back(
        {.name = name + ".npy",
         .packed = NpyBytes(kTwoBytes, {static_cast<char>(n & 0xff), static_cast<char>(n >> 8)})});
  };
  add("doubled", 0);
  const size_t arrays = limits::kArchiveArraysMax - 2;
  for (size_t n = 0; n < arrays; ++n) add(absl::StrCat("a", n), n);
  add("doubled", 1);
  const auto file = NpzFile::Open(Write(folder, "a.npz", ZipBytes(entries)));
  ASSERT_THAT(file, IsOk());
  for (size_t n = 0; n < arrays; ++n) {
    const std::string name = absl::StrCat("a", n);
    const auto format = file->Format(name);
    ASSERT_THAT(format, IsOk()) << name;
    const auto array = file->Read(name, *format);
    ASSERT_THAT(array, IsOk()) << name;
    ASSERT_EQ(array->Number(0) + 256 * array->Number(1), static_cast<double>(n));
  }
  EXPECT_THAT(file->Format("doubled"),
              IsError(StatusCode::kInvalidArgument, "array \"doubled\" is there twice"));
  EXPECT_THAT(file->Format("a"), IsError(StatusCode::kNotFound, "array \"a\" is not there"));
  EXPECT_THAT(file->Format("a1.npy"), IsError(StatusCode::kNotFound, "is not there"));
}

// Each record that could be the archive's end has a list, which libzip would read.
TEST(NpzFileTest, AListOfArraysIsBoundedHoweverOftenItIsNamed) {
  const TempFolder folder;
  const auto open = [&folder](const std::string& bytes) {
    return NpzFile::Open(Write(folder, "a.npz", bytes)).status();
  };
  const auto named = [](size_t name_bytes) {
    std::vector<ZipEntry> entries;
    for (size_t n = 0; n < 200; ++n) {
      entries.push_back({.name = absl::StrCat(n, std::string(name_bytes, 'n'), ".npy")});
    }
    return ZipBytes(entries);
  };
  constexpr size_t kEndBytes = 22;
  const std::string one = named(10'000);  // 2 MB.
  EXPECT_THAT(open(one), IsOk());
  const std::string end = one.substr(one.size() - kEndBytes);
  EXPECT_THAT(open(one + end + end), IsOk());
  const char kWords[] = "a.npz: the list of its arrays has more than 8388608 bytes";
  EXPECT_THAT(open(one + end + end + end + end), IsError(StatusCode::kResourceExhausted, kWords));
  EXPECT_THAT(open(named(50'000)), IsError(StatusCode::kResourceExhausted, kWords));
  // What merely looks like one, among the items and cut off at the end.
  const std::string other = std::string("PK\x05\x06") + std::string(kEndBytes - 4, '\xff');
  const std::string dictionary =
      absl::StrCat("{'descr': '|u1', 'fortran_order': False, 'shape': (", other.size(), ",)}\n");
  EXPECT_THAT(ReadNpz(Write(folder, "b.npz",
                            ZipBytes({{.name = "x.npy", .packed = NpyBytes(dictionary, other)}}) +
                                "PK\x05\x06"),
                      "x"),
              IsOk());
}

TEST(ArrayFormatTest, UnpackingTellsHowFarItIsAndEndsWhenItIsTold) {
  const TempFolder folder;
  constexpr size_t kBytes = (size_t{5} << 20) / 2;
  const std::string items(kBytes, 'i');
  const std::string npz =
      Write(folder, "a.npz",
            ZipBytes({{.name = "x.npy",
                       .packed = NpyBytes("{'descr': '|u1', 'fortran_order': False, 'shape': "
                                          "(2621440,)}\n",
                                          items)}}));
  const std::string idx = Write(folder, "a.idx", std::string("\0\0\x08\x01\0\x28\0\0", 8) + items);
  for (const std::string& path : {npz, idx}) {
    const auto read = [&path](const TellUnpacked& tell) -> absl::StatusOr<Array> {
      if (!absl::EndsWith(path, ".npz")) return ReadIdxFile(path, *IdxFormat(path), tell);
      const auto file = NpzFile::Open(path);
      return file->Read("x", *file->Format("x"), tell);
    };
    uint64_t unpacked = 0;
    int times = 0;
    ASSERT_THAT(read([&](uint64_t bytes) {
                  EXPECT_LE(bytes, uint64_t{1} << 20);
                  unpacked += bytes;
                  ++times;
                  return absl::OkStatus();
                }),
                IsOk());
    EXPECT_EQ(unpacked, kBytes);
    EXPECT_GE(times, 3);
    times = 0;
    EXPECT_EQ(read([&times](uint64_t) {
                return ++times < 2 ? absl::OkStatus() : absl::CancelledError("enough");
              }).status(),
              absl::CancelledError("enough"));
    EXPECT_EQ(times, 2);
  }
}

TEST(PackedBytesTest, NoStreamUnpacksToMoreThanDeflateCan) {
  EXPECT_TRUE(CanUnpackTo(1, 1032));
  EXPECT_FALSE(CanUnpackTo(1, 2064));
}

}  // namespace
}  // namespace consilium
