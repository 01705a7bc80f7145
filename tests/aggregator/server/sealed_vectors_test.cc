// Vectors as sealed blobs: what programs read and write, which state is current, what a sweep
// leaves; the same with a cache as without.

#include "aggregator/server/sealed_vectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "aggregator/merge/run_program.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

constexpr uint64_t kElements = kShardElements + 5;  // Two shards.

class SealedVectorsTest : public ::testing::TestWithParam<size_t> {
 protected:
  SealedVectorsTest() : cache_(GetParam()) {
    auto key = RandomKey();
    blobs_ = *BlobStore::Open(*std::move(key), folder_.File("blobs"));
    vectors_ = std::make_unique<SealedVectors>(RunId("run-1"), kElements, blobs_, cache_);
  }
  void Write(const VectorName& name, Version makes, float value) {
    auto writer = vectors_->OpenForWriting(name, makes);
    ASSERT_THAT(writer, IsOk());
    const std::vector<float> values(kElements, value);
    const std::span<const float> all(values);
    // Out of order, as threads bring them.
    ASSERT_THAT((*writer)->Write(1, all.subspan(kShardElements)), IsOk());
    ASSERT_THAT((*writer)->Write(0, all.first(kShardElements)), IsOk());
    ASSERT_THAT((*writer)->Finish(), IsOk());
  }
  // The value of all elements.
  float Read(const VectorName& name) {
    auto reader = vectors_->OpenForReading(name);
    EXPECT_THAT(reader, IsOk());
    std::vector<float> buffer(kShardElements);
    std::vector<float> values;
    for (size_t shard = 0; shard < 2; ++shard) {
      const auto read = (*reader)->Read(shard, buffer);
      EXPECT_THAT(read, IsOk());
      values.insert(values.end(), read->begin(), read->end());
    }
    EXPECT_THAT(values, ::testing::SizeIs(kElements));
    EXPECT_THAT(values, ::testing::Each(values[0]));
    return values[0];
  }

  TempFolder folder_;
  VectorCache cache_;
  std::shared_ptr<BlobStore> blobs_;
  std::unique_ptr<SealedVectors> vectors_;
};

TEST_P(SealedVectorsTest, GivesBackWhatWasWritten) {
  Write(VectorName::Model(Version(3)), Version(3), 1.5F);
  EXPECT_EQ(Read(VectorName::Model(Version(3))), 1.5F);
  EXPECT_THAT(vectors_->OpenForReading(VectorName::Model(Version(4))),
              IsError(absl::StatusCode::kNotFound, ""));
  EXPECT_THAT(vectors_->OpenForWriting(VectorName::Model(Version(4)), Version(3)),
              IsError(absl::StatusCode::kInvalidArgument, ""));
}

TEST_P(SealedVectorsTest, AVersionsControlVariateIsAVectorOfItsOwn) {
  const Version three(3);
  Write(VectorName::Model(three), three, 1.5F);
  Write(VectorName::Control(three), three, 2.5F);
  EXPECT_EQ(Read(VectorName::Model(three)), 1.5F);
  EXPECT_EQ(Read(VectorName::Control(three)), 2.5F);
  EXPECT_THAT(vectors_->OpenForWriting(VectorName::Control(Version(4)), three),
              IsError(absl::StatusCode::kInvalidArgument, ""));
  ASSERT_EQ(*vectors_->Sweep({VectorName::Model(three)}), 1u);
  VectorCache empty(0);
  SealedVectors after(RunId("run-1"), kElements, blobs_, empty);
  EXPECT_THAT(after.OpenForReading(VectorName::Model(three)), IsOk());
  EXPECT_THAT(after.OpenForReading(VectorName::Control(three)),
              IsError(absl::StatusCode::kNotFound, ""));
}

TEST_P(SealedVectorsTest, StateShowsWithItsVersionOnly) {
  const VectorName slot = VectorName::State(2);
  EXPECT_THAT(vectors_->OpenForReading(slot), IsError(absl::StatusCode::kNotFound, ""));
  vectors_->NoteProgram(Version(1), {2});
  Write(slot, Version(1), 10);
  EXPECT_THAT(vectors_->OpenForReading(slot), IsError(absl::StatusCode::kNotFound, ""));
  ASSERT_THAT(vectors_->SwitchState(Version(1)), IsOk());
  EXPECT_EQ(Read(slot), 10);
  // The next program writes beside it, and runs twice.
  vectors_->NoteProgram(Version(2), {2});
  Write(slot, Version(2), 20);
  EXPECT_EQ(Read(slot), 10);
  Write(slot, Version(2), 20);
  ASSERT_THAT(vectors_->SwitchState(Version(2)), IsOk());
  EXPECT_EQ(Read(slot), 20);
  ASSERT_THAT(vectors_->SwitchState(Version(2)), IsOk());
  EXPECT_EQ(blobs_->List()->size(), 1);
}

TEST_P(SealedVectorsTest, RecoverySaysTheSameAgain) {
  const VectorName slot = VectorName::State(0);
  for (uint64_t version = 1; version <= 3; ++version) {
    vectors_->NoteProgram(Version(version), {0});
    Write(slot, Version(version), static_cast<float>(version));
    ASSERT_THAT(vectors_->SwitchState(Version(version)), IsOk());
  }
  SealedVectors recovered(RunId("run-1"), kElements, blobs_, cache_);
  for (uint64_t version = 1; version <= 3; ++version) {
    recovered.NoteProgram(Version(version), {0});
    ASSERT_THAT(recovered.SwitchState(Version(version)), IsOk());
  }
  EXPECT_EQ(recovered.BlobOf(slot), vectors_->BlobOf(slot));
  EXPECT_THAT(recovered.OpenForReading(slot), IsOk());
}

TEST_P(SealedVectorsTest, SweepLeavesWhatIsNamed) {
  Write(VectorName::Model(Version(0)), Version(0), 0);
  Write(VectorName::Model(Version(1)), Version(1), 1);
  vectors_->NoteProgram(Version(1), {0});
  Write(VectorName::State(0), Version(1), 5);
  Write(VectorName::State(1), Version(1), 6);  // Of a program that was given up.
  ASSERT_THAT(vectors_->SwitchState(Version(1)), IsOk());
  EXPECT_EQ(*vectors_->Sweep({VectorName::Model(Version(1))}), 2);
  EXPECT_EQ(Read(VectorName::Model(Version(1))), 1);
  EXPECT_EQ(Read(VectorName::State(0)), 5);
}

TEST_P(SealedVectorsTest, ProgramsRunOnThem) {
  Write(VectorName::Model(Version(0)), Version(0), 2);
  VectorProgram program;
  program.result = VectorName::Model(Version(1));
  VectorStep copy;
  copy.op = VectorStep::Op::kCopy;
  copy.dst = VectorName::Model(Version(1));
  copy.x = VectorName::Model(Version(0));
  program.steps.push_back(copy);
  VectorStep add = copy;
  add.op = VectorStep::Op::kAxpy;
  add.a = 3;
  program.steps.push_back(add);
  Executor executor(2, 16);
  const auto first = RunProgram(program, *vectors_, &executor);
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(Read(VectorName::Model(Version(1))), 8);
  const auto again = RunProgram(program, *vectors_, nullptr);
  EXPECT_EQ(again->payload_root, first->payload_root);
}

TEST_P(SealedVectorsTest, AnUnfinishedVectorIsNothing) {
  {
    auto writer = vectors_->OpenForWriting(VectorName::Model(Version(0)), Version(0));
    ASSERT_THAT(writer, IsOk());
    EXPECT_FALSE((*writer)->Finish().ok());
  }
  EXPECT_EQ(blobs_->List()->size(), 0);
}

TEST_P(SealedVectorsTest, KeepsAnUpdateThatIsReadAgain) {
  const Digest update = {7};
  auto blob = blobs_->NewWriter();
  ASSERT_THAT(blob, IsOk());
  const std::vector<float> values(kElements, 4);
  ASSERT_THAT(blob->Append(
                  {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)}),
              IsOk());
  ASSERT_THAT(blobs_->Seal(*blob, update), IsOk());
  ASSERT_THAT(blob->Sync(), IsOk());
  ASSERT_THAT(blobs_->Commit(*std::move(blob)), IsOk());
  EXPECT_EQ(Read(VectorName::Update(update)), 4);
  EXPECT_EQ(cache_.Find(update), nullptr);
  EXPECT_EQ(Read(VectorName::Update(update)), 4);
  EXPECT_EQ(cache_.Find(update) != nullptr, GetParam() > 0);
}

// Without a cache, and with one that holds everything.
INSTANTIATE_TEST_SUITE_P(Caches, SealedVectorsTest, ::testing::Values(0, size_t{64} << 20));

TEST(VectorCache, ForgetsWhatWasNotUsedLongest) {
  VectorCache cache(4 * 100 * sizeof(float));
  const auto vector = std::make_shared<const std::vector<float>>(100);
  const auto name = [](uint8_t i) { return Digest{i}; };
  for (uint8_t i = 0; i < 4; ++i) cache.Put(name(i), vector);
  EXPECT_NE(cache.Find(name(0)), nullptr);
  cache.Put(name(4), vector);
  EXPECT_EQ(cache.Find(name(1)), nullptr);
  EXPECT_NE(cache.Find(name(0)), nullptr);
  cache.Put(name(5), std::make_shared<const std::vector<float>>(101));
  EXPECT_EQ(cache.Find(name(5)), nullptr);
  cache.Remove(name(0));
  EXPECT_EQ(cache.Find(name(0)), nullptr);
}

TEST(VectorCache, UsesMemoryAgainThatNobodyUses) {
  VectorCache cache(4 * 100 * sizeof(float));
  auto first = cache.NewVector(100);
  const float* const memory = first->data();
  (*first)[7] = 7;
  cache.Put(Digest{1}, first);
  // In use: of the cache, then of who reads it.
  EXPECT_NE(cache.NewVector(100)->data(), memory);
  SharedVector reader = cache.Find(Digest{1});
  cache.Remove(Digest{1});
  first.reset();
  EXPECT_NE(cache.NewVector(100)->data(), memory);
  EXPECT_EQ((*reader)[7], 7);
  reader.reset();
  EXPECT_EQ(cache.NewVector(100)->data(), memory);
}

TEST(VectorCache, KeepsOneSpareOfItsLargestVectors) {
  const VectorCache cache(4 * 100 * sizeof(float));
  auto older = cache.NewVector(100);
  auto newer = cache.NewVector(100);
  const float* const memory = newer->data();
  older.reset();
  newer.reset();
  EXPECT_EQ(VectorCache(0).NewVector(3)->size(), 3);
  EXPECT_EQ(cache.NewVector(100)->data(), memory);
}

TEST(VectorCache, VectorsOutliveIt) {
  std::shared_ptr<std::vector<float>> vector;
  {
    const VectorCache cache(1 << 20);
    vector = cache.NewVector(10);
  }
  EXPECT_EQ(vector->size(), 10);
}

}  // namespace
}  // namespace consilium
