#include "privacy/at_rest/sealed_blob.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

constexpr size_t kFileBytesMax = size_t{64} << 20;
constexpr size_t kHeaderBytes = 80;
constexpr size_t kSealedRecordBytes = kBlobRecordBytes + kTagBytes;

using Bytes = std::vector<uint8_t>;

// Different in every record, so that a swap would show.
Bytes Text(size_t size) {
  Bytes text(size);
  uint32_t state = 1;
  for (uint8_t& byte : text) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return text;
}

class SealedBlobTest : public testing::Test {
 protected:
  absl::Status Write(const Bytes& text, size_t piece, const std::string& name,
                     const std::string& path) {
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobWriter writer,
                               SealedBlobWriter::Create(key_, path + ".part"));
    for (size_t at = 0; at < text.size(); at += piece) {
      CONSILIUM_RETURN_IF_ERROR(
          writer.Append(std::span(text).subspan(at, std::min(piece, text.size() - at))));
    }
    EXPECT_EQ(writer.size(), text.size());
    CONSILIUM_RETURN_IF_ERROR(writer.Seal(name));
    CONSILIUM_RETURN_IF_ERROR(writer.Sync());
    return writer.Commit(path);
  }

  absl::StatusOr<Bytes> Read(const std::string& name, const std::string& path) {
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, SealedBlobReader::Open(key_, name, path));
    return reader.ReadAll(kFileBytesMax);
  }

  bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

  TempFolder folder_;
  SecretBytes key_ = *RandomKey();
  std::string path_ = folder_.File("blob");
};

TEST_F(SealedBlobTest, ComesBackAtEverySizeAndInAnyPieces) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{100}, kBlobRecordBytes - 1, kBlobRecordBytes,
        kBlobRecordBytes + 1, 2 * kBlobRecordBytes, 3 * kBlobRecordBytes + 77}) {
    const Bytes text = Text(size);
    for (const size_t piece : {size_t{65'537}, kBlobRecordBytes, 4 * kBlobRecordBytes}) {
      ASSERT_THAT(Write(text, piece, "name", path_), IsOk());
      const absl::StatusOr<Bytes> read = Read("name", path_);
      ASSERT_THAT(read, IsOk());
      EXPECT_TRUE(*read == text) << size << " in pieces of " << piece;
    }
  }
}

TEST_F(SealedBlobTest, ReadsRecordByRecord) {
  const Bytes text = Text(2 * kBlobRecordBytes + 5);
  ASSERT_THAT(Write(text, text.size(), "name", path_), IsOk());
  absl::StatusOr<SealedBlobReader> reader = SealedBlobReader::Open(key_, "name", path_);
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ(reader->size(), text.size());
  EXPECT_EQ(reader->records(), 3u);
  std::vector<size_t> sizes;
  for (auto record = reader->Next(); record.ok() && record->has_value(); record = reader->Next()) {
    sizes.push_back((*record)->size());
  }
  EXPECT_EQ(sizes, (std::vector<size_t>{kBlobRecordBytes, kBlobRecordBytes, 5}));
  EXPECT_EQ((*reader->ReadRecord(1))[0], text[kBlobRecordBytes]);
  EXPECT_EQ((**reader->Next()).size(), 5u);
  EXPECT_THAT(reader->ReadRecord(3), IsError(absl::StatusCode::kOutOfRange, "record 3 of 3"));
  Bytes last(5);
  ASSERT_THAT(reader->ReadRecordInto(2, last), IsOk());
  EXPECT_EQ(last, Bytes(text.end() - 5, text.end()));
  EXPECT_THAT(reader->ReadRecordInto(1, last),
              IsError(absl::StatusCode::kInvalidArgument, "1048576 bytes, not 5"));
  EXPECT_THAT(reader->ReadRecordInto(3, last), IsError(absl::StatusCode::kOutOfRange, ""));
  EXPECT_THAT(reader->ReadAll(text.size() - 1),
              IsError(absl::StatusCode::kResourceExhausted, "at most"));
}

TEST_F(SealedBlobTest, NothingOfTheTextLiesInTheFile) {
  const std::string secret = "Margarete Musterfrau, born 1951";
  const Bytes text(secret.begin(), secret.end());
  ASSERT_THAT(Write(text, 5, "name", path_), IsOk());
  EXPECT_EQ(ReadFile(path_, kFileBytesMax)->find("Margarete"), std::string::npos);
  const std::string once = *ReadFile(path_, kFileBytesMax);
  ASSERT_THAT(Write(text, 5, "name", path_), IsOk());
  EXPECT_NE(*ReadFile(path_, kFileBytesMax), once) << "a key and nonce came twice";
}

TEST_F(SealedBlobTest, AnotherNameOrKeyIsRefused) {
  ASSERT_THAT(Write(Text(10), 10, "name", path_), IsOk());
  EXPECT_THAT(Read("other", path_), IsError(absl::StatusCode::kDataLoss, "another's name"));
  key_ = *RandomKey();
  EXPECT_THAT(Read("name", path_), IsError(absl::StatusCode::kDataLoss, "of another store"));
  EXPECT_THAT(Read("name", folder_.File("none")), IsError(absl::StatusCode::kNotFound, "none"));
}

TEST_F(SealedBlobTest, EveryFlippedByteIsNoticed) {
  ASSERT_THAT(Write(Text(300), 300, "name", path_), IsOk());
  const std::string good = *ReadFile(path_, kFileBytesMax);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    ASSERT_THAT(WriteFileDurably(path_, bad), IsOk());
    EXPECT_THAT(Read("name", path_), IsError(absl::StatusCode::kDataLoss, "")) << "byte " << at;
  }
}

TEST_F(SealedBlobTest, CutAnywhereOrLengthenedIsNoticedAtOpen) {
  ASSERT_THAT(Write(Text(2 * kBlobRecordBytes + 9), 4096, "name", path_), IsOk());
  const std::string good = *ReadFile(path_, kFileBytesMax);
  for (const size_t size : {size_t{0}, size_t{79}, kHeaderBytes, kHeaderBytes + kSealedRecordBytes,
                            kHeaderBytes + 2 * kSealedRecordBytes, good.size() - 1}) {
    ASSERT_THAT(WriteFileDurably(path_, good.substr(0, size)), IsOk());
    EXPECT_THAT(SealedBlobReader::Open(key_, "name", path_),
                IsError(absl::StatusCode::kDataLoss, ""))
        << size;
  }
  ASSERT_THAT(WriteFileDurably(path_, good + "x"), IsOk());
  EXPECT_THAT(SealedBlobReader::Open(key_, "name", path_),
              IsError(absl::StatusCode::kDataLoss, "instead of"));
}

TEST_F(SealedBlobTest, MovedRecordsAreNoticed) {
  const Bytes text = Text(3 * kBlobRecordBytes);
  ASSERT_THAT(Write(text, text.size(), "name", path_), IsOk());
  ASSERT_THAT(Write(text, text.size(), "other", folder_.File("other")), IsOk());
  const std::string good = *ReadFile(path_, kFileBytesMax);
  const std::string other = *ReadFile(folder_.File("other"), kFileBytesMax);
  const auto record = [](const std::string& file, size_t index) {
    return file.substr(kHeaderBytes + index * kSealedRecordBytes, kSealedRecordBytes);
  };
  const std::string header = good.substr(0, kHeaderBytes);
  const std::string swapped = header + record(good, 1) + record(good, 0) + record(good, 2);
  const std::string doubled = header + record(good, 0) + record(good, 0) + record(good, 2);
  const std::string foreign = header + record(good, 0) + record(other, 1) + record(good, 2);
  for (const std::string& bad : {swapped, doubled, foreign}) {
    ASSERT_THAT(WriteFileDurably(path_, bad), IsOk());
    EXPECT_THAT(Read("name", path_), IsError(absl::StatusCode::kDataLoss, "damaged or moved"));
  }
}

TEST_F(SealedBlobTest, StepsHaveAnOrder) {
  absl::StatusOr<SealedBlobWriter> writer = SealedBlobWriter::Create(key_, path_ + ".part");
  EXPECT_THAT(SealedBlobWriter::Create(key_, path_ + ".part"),
              IsError(absl::StatusCode::kAlreadyExists, "exists"));
  EXPECT_THAT(writer->Sync(), IsError(absl::StatusCode::kFailedPrecondition, "order"));
  ASSERT_THAT(writer->Seal("name"), IsOk());
  EXPECT_THAT(writer->Append(Text(1)), IsError(absl::StatusCode::kFailedPrecondition, "order"));
  EXPECT_THAT(writer->Commit(path_), IsError(absl::StatusCode::kFailedPrecondition, "order"));
  ASSERT_THAT(writer->Sync(), IsOk());
  ASSERT_THAT(writer->Commit(path_), IsOk());
  EXPECT_FALSE(Exists(path_ + ".part"));
}

TEST_F(SealedBlobTest, UncommittedFileGoesWithItsWriter) {
  {
    absl::StatusOr<SealedBlobWriter> writer = SealedBlobWriter::Create(key_, path_ + ".part");
    ASSERT_THAT(writer->Append(Text(10)), IsOk());
    SealedBlobWriter moved = *std::move(writer);
    EXPECT_TRUE(Exists(path_ + ".part"));
  }
  EXPECT_FALSE(Exists(path_ + ".part"));
}

// kill -9 between any two steps: the old blob, until the new one is committed.
TEST_F(SealedBlobTest, KillLeavesOldOrNewContent) {
  const Bytes old_text = Text(1000);
  const Bytes new_text = Text(2 * kBlobRecordBytes + 1);
  ASSERT_THAT(Write(old_text, 1000, "name", path_), IsOk());
  for (int steps = 0; steps <= 4; ++steps) {
    {
      ChildProcess child([&](const std::function<void()>& reach) {
        absl::StatusOr<SealedBlobWriter> writer =
            SealedBlobWriter::Create(key_, folder_.File(std::to_string(steps)));
        if (steps > 0 && !writer->Append(new_text).ok()) return 1;
        if (steps > 1 && !writer->Seal("name").ok()) return 1;
        if (steps > 2 && !writer->Sync().ok()) return 1;
        if (steps > 3 && !writer->Commit(path_).ok()) return 1;
        reach();
        return 1;
      });
      ASSERT_TRUE(child.reached()) << steps;
    }
    const absl::StatusOr<Bytes> read = Read("name", path_);
    ASSERT_THAT(read, IsOk());
    EXPECT_TRUE(*read == (steps > 3 ? new_text : old_text)) << steps;
  }
}

// A limit on the size of files stands for the full disk.
TEST_F(SealedBlobTest, FullDiskIsSaidAndLeavesNothing) {
  ChildProcess child([&](const std::function<void()>&) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{kBlobRecordBytes + 4096, kBlobRecordBytes + 4096};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const absl::Status status = Write(Text(2 * kBlobRecordBytes), 4096, "name", path_);
    if (!absl::IsResourceExhausted(status)) return 2;
    if (Exists(path_) || Exists(path_ + ".part")) return 3;
    absl::StatusOr<SealedBlobWriter> writer = SealedBlobWriter::Create(key_, path_ + ".part");
    if (!absl::IsResourceExhausted(writer->Append(Text(2 * kBlobRecordBytes)))) return 4;
    return absl::IsFailedPrecondition(writer->Seal("name")) ? 0 : 5;
  });
  EXPECT_EQ(child.Wait(), 0);
}

}  // namespace
}  // namespace consilium
