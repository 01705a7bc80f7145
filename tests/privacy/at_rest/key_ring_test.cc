#include "privacy/at_rest/key_ring.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "privacy/at_rest/hex.h"
#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

class KeyRingTest : public testing::Test {
 protected:
  TempFolder folder_;
  std::string path_ = folder_.File("store.keys");
  Kek kek_ = *Kek::Random();
};

TEST_F(KeyRingTest, KeysAreKept) {
  std::string blobs;
  {
    absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
    ASSERT_THAT(ring, IsOk());
    blobs = Hex(ring->GetOrCreate("blobs")->span());
    EXPECT_NE(Hex(ring->GetOrCreate("dataset/heart-1")->span()), blobs);
    EXPECT_EQ(Hex(ring->GetOrCreate("blobs")->span()), blobs);
  }
  absl::StatusOr<KeyRing> ring = KeyRing::Open(kek_, path_);
  ASSERT_THAT(ring, IsOk());
  EXPECT_EQ(Hex(ring->Get("blobs")->span()), blobs);
  EXPECT_THAT(ring->Names(), testing::ElementsAre("blobs", "dataset/heart-1"));
  EXPECT_EQ(ReadFile(path_, 4096)->find(blobs), std::string::npos);
  EXPECT_THAT(KeyRing::Create(kek_, path_), IsError(absl::StatusCode::kAlreadyExists, path_));
}

TEST_F(KeyRingTest, RemovedKeyIsGoneFromTheFile) {
  absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
  const std::string first = Hex(ring->GetOrCreate("dataset/heart")->span());
  ASSERT_THAT(ring->GetOrCreate("blobs"), IsOk());
  ASSERT_THAT(ring->Remove("dataset/heart"), IsOk());
  EXPECT_THAT(ring->Remove("dataset/heart"), IsError(absl::StatusCode::kNotFound, "shredded"));
  absl::StatusOr<KeyRing> again = KeyRing::Open(kek_, path_);
  EXPECT_THAT(again->Get("dataset/heart"), IsError(absl::StatusCode::kNotFound, "shredded"));
  EXPECT_THAT(again->Get("blobs"), IsOk());
  EXPECT_NE(Hex(again->GetOrCreate("dataset/heart")->span()), first);
}

TEST_F(KeyRingTest, RewrapKeepsTheKeysAndRetiresTheKek) {
  const Kek next = *Kek::Random();
  absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
  const std::string blobs = Hex(ring->GetOrCreate("blobs")->span());
  ASSERT_THAT(ring->Rewrap(next), IsOk());
  EXPECT_EQ(ring->kek_id(), next.id());
  EXPECT_EQ(Hex(ring->Get("blobs")->span()), blobs);
  EXPECT_THAT(KeyRing::Open(kek_, path_),
              IsError(absl::StatusCode::kFailedPrecondition, "wrapped by the KEK " + next.id()));
  EXPECT_EQ(Hex(KeyRing::Open(next, path_)->Get("blobs")->span()), blobs);
}

TEST_F(KeyRingTest, EveryFlippedByteIsNoticed) {
  {
    absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
    ASSERT_THAT(ring->GetOrCreate("blobs"), IsOk());
  }
  const std::string good = *ReadFile(path_, 4096);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    ASSERT_THAT(WriteFileDurably(path_, bad), IsOk());
    const absl::StatusOr<KeyRing> ring = KeyRing::Open(kek_, path_);
    EXPECT_FALSE(ring.ok() && ring->Get("blobs").ok()) << "byte " << at;
  }
}

TEST_F(KeyRingTest, WrappedKeyUnderAnotherNameDoesNotOpen) {
  {
    absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
    ASSERT_THAT(ring->GetOrCreate("dataset/a"), IsOk());
  }
  std::string content = *ReadFile(path_, 4096);
  content.replace(content.find("dataset/a"), 9, "dataset/b");
  ASSERT_THAT(WriteFileDurably(path_, content), IsOk());
  EXPECT_THAT(KeyRing::Open(kek_, path_)->Get("dataset/b"),
              IsError(absl::StatusCode::kDataLoss, "dataset/b"));
}

TEST_F(KeyRingTest, DoubledLineAndLoosePermissionsAreRefused) {
  {
    absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
    ASSERT_THAT(ring->GetOrCreate("blobs"), IsOk());
  }
  const std::string good = *ReadFile(path_, 4096);
  ASSERT_THAT(WriteFileDurably(path_, good + good.substr(good.find("key "))), IsOk());
  EXPECT_THAT(KeyRing::Open(kek_, path_), IsError(absl::StatusCode::kDataLoss, "damaged"));
  ASSERT_THAT(WriteFileDurably(path_, good), IsOk());
  ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
  EXPECT_THAT(KeyRing::Open(kek_, path_),
              IsError(absl::StatusCode::kFailedPrecondition, "chmod 600"));
}

TEST_F(KeyRingTest, NamesAreChecked) {
  absl::StatusOr<KeyRing> ring = KeyRing::Create(kek_, path_);
  for (const std::string& name : {std::string(""), std::string("a b"), std::string("a\nb"),
                                  std::string("/a"), std::string("A"), std::string(129, 'a')}) {
    EXPECT_THAT(ring->GetOrCreate(name), IsError(absl::StatusCode::kInvalidArgument, "name"));
  }
  EXPECT_THAT(ring->GetOrCreate(std::string(128, 'a')), IsOk());
  EXPECT_THAT(KeyRing::Open(kek_, path_), IsOk());
}

}  // namespace
}  // namespace consilium
