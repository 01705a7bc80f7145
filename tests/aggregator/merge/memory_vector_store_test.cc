#include "aggregator/merge/memory_vector_store.h"

#include <vector>

#include "gtest/gtest.h"

namespace consilium {
namespace {

absl::Status WriteWhole(MemoryVectorStore& store, const VectorName& name, Version makes,
                        float value) {
  auto writer = store.OpenForWriting(name, makes);
  if (!writer.ok()) return writer.status();
  const std::vector<float> values(store.elements(), value);
  if (absl::Status status = (*writer)->Write(0, values); !status.ok()) return status;
  return (*writer)->Finish();
}

float FirstOf(const MemoryVectorStore& store, const VectorName& name) {
  auto values = store.Get(name);
  return values.ok() ? (**values)[0] : -1;
}

TEST(MemoryVectorStore, StateShowsOnlyWhenItsVersionCommits) {
  MemoryVectorStore store(5);
  const VectorName slot = VectorName::State(3);
  ASSERT_TRUE(WriteWhole(store, slot, Version(1), 10).ok());
  EXPECT_TRUE(absl::IsNotFound(store.OpenForReading(slot).status()));
  ASSERT_TRUE(store.SwitchState(Version(1)).ok());
  EXPECT_EQ(FirstOf(store, slot), 10);

  ASSERT_TRUE(WriteWhole(store, slot, Version(2), 20).ok());
  EXPECT_EQ(FirstOf(store, slot), 10);
  ASSERT_TRUE(store.SwitchState(Version(1)).ok());  // Said again by recovery.
  EXPECT_EQ(FirstOf(store, slot), 10);
  ASSERT_TRUE(store.SwitchState(Version(2)).ok());
  EXPECT_EQ(FirstOf(store, slot), 20);
}

TEST(MemoryVectorStore, AVectorThatWasNotFinishedIsNotThere) {
  MemoryVectorStore store(5);
  const VectorName model = VectorName::Model(Version(1));
  {
    auto writer = store.OpenForWriting(model, Version(1));
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Write(0, std::vector<float>(5, 1)).ok());
  }
  EXPECT_TRUE(absl::IsNotFound(store.OpenForReading(model).status()));
}

TEST(MemoryVectorStore, RefusesWhatIsNotItsToHold) {
  MemoryVectorStore store(5);
  EXPECT_TRUE(
      absl::IsInvalidArgument(store.Put(VectorName::Model(Version(0)), std::vector<float>(4))));
  EXPECT_TRUE(absl::IsInvalidArgument(store.Put(VectorName::State(0), std::vector<float>(5))));
  EXPECT_TRUE(absl::IsInvalidArgument(
      store.OpenForWriting(VectorName::Model(Version(2)), Version(1)).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(store.OpenForWriting(VectorName::Update({}), Version(1)).status()));
}

TEST(MemoryVectorStore, AReaderKeepsAForgottenVector) {
  MemoryVectorStore store(5);
  const VectorName model = VectorName::Model(Version(0));
  ASSERT_TRUE(store.Put(model, std::vector<float>(5, 7)).ok());
  auto reader = store.OpenForReading(model);
  ASSERT_TRUE(reader.ok());
  store.Forget(model);
  EXPECT_TRUE(absl::IsNotFound(store.OpenForReading(model).status()));
  EXPECT_EQ((*(*reader)->Read(0, {}))[4], 7);
}

}  // namespace
}  // namespace consilium
