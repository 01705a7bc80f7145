#include "privacy/at_rest/blob_store.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "privacy/at_rest/hash_chain.h"
#include "privacy/at_rest/hex.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

class BlobStoreTest : public testing::Test {
 protected:
  std::unique_ptr<BlobStore> Open() {
    absl::StatusOr<std::unique_ptr<BlobStore>> store =
        BlobStore::Open(key_.Clone(), folder_.File("blobs"));
    EXPECT_THAT(store, IsOk());
    return *std::move(store);
  }

  static absl::StatusOr<Digest> Put(BlobStore& store, const std::string& text) {
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobWriter writer, store.NewWriter());
    CONSILIUM_RETURN_IF_ERROR(
        writer.Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    const Digest digest = DigestOf(text);
    CONSILIUM_RETURN_IF_ERROR(store.Seal(writer, digest));
    CONSILIUM_RETURN_IF_ERROR(writer.Sync());
    CONSILIUM_RETURN_IF_ERROR(store.Commit(std::move(writer)));
    return digest;
  }

  static absl::StatusOr<std::string> Get(const BlobStore& store, const Digest& digest) {
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, store.Read(digest));
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint8_t> text, reader.ReadAll(1 << 20));
    return std::string(text.begin(), text.end());
  }

  std::string PathOf(const Digest& digest) { return folder_.File("blobs/" + Hex(digest)); }

  size_t Unfinished() {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.File("blobs/tmp")),
                      std::filesystem::directory_iterator()));
  }

  TempFolder folder_;
  SecretBytes key_ = *RandomKey();
};

TEST_F(BlobStoreTest, KeepsListsAndRemoves) {
  std::vector<Digest> digests;
  {
    auto store = Open();
    EXPECT_THAT(*store->List(), testing::IsEmpty());
    for (const char* text : {"a", "b", "c", "d"}) digests.push_back(*Put(*store, text));
    EXPECT_THAT(Put(*store, "a"), IsOk());
  }
  auto store = Open();
  EXPECT_THAT(*store->List(), testing::UnorderedElementsAreArray(digests));
  EXPECT_EQ(*Get(*store, digests[1]), "b");
  EXPECT_TRUE(store->Has(digests[1]));
  ASSERT_THAT(store->Remove(digests[1]), IsOk());
  ASSERT_THAT(store->Remove(digests[1]), IsOk());
  EXPECT_FALSE(store->Has(digests[1]));
  EXPECT_THAT(Get(*store, digests[1]), IsError(absl::StatusCode::kNotFound, Hex(digests[1])));
  EXPECT_EQ(store->List()->size(), 3u);
}

TEST_F(BlobStoreTest, SwappedFilesAreNoticed) {
  auto store = Open();
  const Digest a = *Put(*store, "a");
  const Digest b = *Put(*store, "b");
  ASSERT_EQ(rename(PathOf(a).c_str(), PathOf(b).c_str()), 0);
  EXPECT_THAT(Get(*store, b), IsError(absl::StatusCode::kDataLoss, "another's name"));
}

TEST_F(BlobStoreTest, UnfinishedFilesGoAtOpen) {
  { auto store = Open(); }
  {
    ChildProcess child([&](const std::function<void()>& reach) {
      auto store = Open();
      absl::StatusOr<SealedBlobWriter> writer = store->NewWriter();
      if (store->Seal(*writer, DigestOf("x")).ok() && writer->Sync().ok()) reach();
      return 1;
    });
    ASSERT_TRUE(child.reached());
  }
  EXPECT_EQ(Unfinished(), 1u);
  auto store = Open();
  EXPECT_EQ(Unfinished(), 0u);
  EXPECT_FALSE(store->Has(DigestOf("x")));
}

TEST_F(BlobStoreTest, UnsealedWriterIsNotCommitted) {
  auto store = Open();
  EXPECT_THAT(store->Commit(*store->NewWriter()),
              IsError(absl::StatusCode::kFailedPrecondition, "sealed under its digest"));
  absl::StatusOr<SealedBlobWriter> writer = store->NewWriter();
  ASSERT_THAT(store->Seal(*writer, DigestOf("x")), IsOk());
  EXPECT_THAT(store->Commit(*std::move(writer)),
              IsError(absl::StatusCode::kFailedPrecondition, "order"));
  EXPECT_EQ(Unfinished(), 0u);
}

TEST_F(BlobStoreTest, ForeignFileIsReported) {
  auto store = Open();
  ASSERT_THAT(WriteFileDurably(folder_.File("blobs/README"), "x"), IsOk());
  EXPECT_THAT(store->List(), IsError(absl::StatusCode::kInternal, "README"));
}

TEST_F(BlobStoreTest, ManyThreadsWriteAtOnce) {
  auto store = Open();
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      for (int i = 0; i < 8; ++i) {
        EXPECT_THAT(Put(*store, std::to_string(t * (i % 2) + i)), IsOk());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const absl::StatusOr<std::vector<Digest>> digests = store->List();
  ASSERT_THAT(digests, IsOk());
  for (const Digest& digest : *digests) {
    const absl::StatusOr<std::string> text = Get(*store, digest);
    ASSERT_THAT(text, IsOk());
    EXPECT_EQ(DigestOf(*text), digest);
  }
}

TEST_F(BlobStoreTest, AnotherKeyReadsNothing) {
  Digest digest;
  {
    auto store = Open();
    digest = *Put(*store, "a");
  }
  key_ = *RandomKey();
  EXPECT_THAT(Get(*Open(), digest), IsError(absl::StatusCode::kDataLoss, "of another store"));
}

}  // namespace
}  // namespace consilium
