#include "protocol/wire/journal_export.h"

#include <gtest/gtest.h>

#include <fstream>

#include "protocol/core/files.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

class JournalExportTest : public testing::Test {
 protected:
  void SetUp() override {
    signer_.emplace(*SigningKey::Generate());
    recipient_.emplace(*GenerateRecipientKey());
  }

  std::string Export(size_t update_bytes, uint8_t updates = 1) {
    v1::ExportHeader header;
    header.set_run_id("wdbc-1");
    header.set_aggregator_signing_key(
        std::string(signer_->public_key().begin(), signer_->public_key().end()));
    std::string file;
    auto writer = JournalExportWriter::Create(header, recipient_->public_key, *signer_,
                                              [&file](absl::string_view bytes) {
                                                file.append(bytes.data(), bytes.size());
                                                return absl::OkStatus();
                                              });
    EXPECT_TRUE(writer.ok());
    for (uint64_t i = 1; i <= 3; ++i) {
      v1::JournalEntry entry;
      entry.set_sequence(i);
      entry.mutable_site_removed()->set_site_id("a-site-to-look-for");
      EXPECT_TRUE((*writer)->AddEntry(entry).ok());
    }
    for (uint8_t i = 0; i < updates; ++i) {
      const Digest id = {static_cast<uint8_t>(7 + i)};
      EXPECT_TRUE((*writer)->AddUpdate(id, std::string(update_bytes, 'u')).ok());
    }
    EXPECT_TRUE((*writer)->Finish().ok());
    return file;
  }

  absl::StatusOr<JournalExport> Read(const std::string& file, ReadExportOptions options = {}) {
    const std::string path = folder_.File("export");
    std::ofstream(path, std::ios::binary) << file;
    return ReadJournalExport(path, *recipient_, options);
  }

  std::optional<SigningKey> signer_;
  std::optional<RecipientKey> recipient_;
  TempFolder folder_;
};

TEST_F(JournalExportTest, RoundTripAcrossRecords) {
  const auto read = Read(Export(3'500'000));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->header.run_id(), "wdbc-1");
  ASSERT_EQ(read->entries.size(), 3u);
  EXPECT_EQ(read->entries[2].sequence(), 3u);
  EXPECT_EQ(read->updates.at(Digest{7}), std::string(3'500'000, 'u'));
}

TEST_F(JournalExportTest, NothingIsReadableWithoutTheKey) {
  const std::string file = Export(1000);
  EXPECT_EQ(file.find("a-site-to-look-for"), std::string::npos);
  EXPECT_EQ(file.find("uuuuuuuu"), std::string::npos);
  recipient_.emplace(*GenerateRecipientKey());
  EXPECT_EQ(Read(file).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(JournalExportTest, EveryFlippedByteAndEveryCutIsFound) {
  const std::string file = Export(100);
  for (size_t i = 0; i < file.size(); ++i) {
    std::string altered = file;
    altered[i] ^= 0x20;
    EXPECT_FALSE(Read(altered).ok()) << "byte " << i;
    EXPECT_FALSE(Read(file.substr(0, i)).ok()) << "cut at " << i;
  }
}

TEST_F(JournalExportTest, RecordsCanNotBeLeftOutOrSwapped) {
  const std::string file = Export(3'500'000);
  constexpr size_t kBegin = 19 + 32;
  constexpr size_t kRecord = 4 + (1 << 20) + 16;
  std::string without = file;
  without.erase(kBegin + kRecord, kRecord);
  EXPECT_EQ(Read(without).status().code(), absl::StatusCode::kDataLoss);
  const std::string swapped = file.substr(0, kBegin) + file.substr(kBegin + kRecord, kRecord) +
                              file.substr(kBegin, kRecord) + file.substr(kBegin + 2 * kRecord);
  EXPECT_FALSE(Read(swapped).ok());
}

TEST_F(JournalExportTest, AnotherAggregatorsSignatureIsRefused) {
  ReadExportOptions options;
  options.aggregator_key = SigningKey::Generate()->public_key();
  EXPECT_EQ(Read(Export(10), options).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(JournalExportTest, LargerThanAllowedIsNotRead) {
  ReadExportOptions options;
  options.file_bytes_max = 1000;
  EXPECT_EQ(Read(Export(2000), options).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(JournalExportTest, MoreEntriesThanAllowedAreNotRead) {
  ReadExportOptions options;
  options.entries_max = 3;  // As many as there are.
  EXPECT_TRUE(Read(Export(10), options).ok());
  options.entries_max = 2;
  EXPECT_EQ(Read(Export(10), options).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(JournalExportTest, MoreUpdatesThanAllowedAreNotRead) {
  ReadExportOptions options;
  options.entries_max = 3;  // More than there are entries would hide it.
  const auto as_many = Read(Export(10, 3), options);
  ASSERT_TRUE(as_many.ok()) << as_many.status();
  EXPECT_EQ(as_many->updates.size(), 3u);
  const absl::Status more = Read(Export(10, 4), options).status();
  EXPECT_EQ(more.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(more.message().find("more than 3 updates"), std::string::npos) << more;
}

TEST_F(JournalExportTest, RecipientKeyFile) {
  const std::string path = folder_.File("recipient.key");
  ASSERT_TRUE(WriteRecipientKey(*recipient_, path).ok());
  const auto read = ReadRecipientKey(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->public_key, recipient_->public_key);
  ASSERT_TRUE(WriteFileDurably(path, "not a key", 0600).ok());
  EXPECT_EQ(ReadRecipientKey(path).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(WriteFileDurably(path, std::string(64, 'a'), 0644).ok());
  EXPECT_EQ(ReadRecipientKey(path).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace consilium
