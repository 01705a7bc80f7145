// The optimizer steps of vector programs against numbers made by NumPy (optimizer_reference.py):
// bit for bit, over several programs that hand their state on.

#include <cstddef>
#include <span>
#include <vector>

#include "aggregator/merge/memory_vector_store.h"
#include "aggregator/merge/run_program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium {
namespace {

namespace reference {
#include "tests/aggregator/merge/optimizer_reference.inc"
constexpr size_t kElements = std::size(kWeights);
}  // namespace reference

using ::testing::ElementsAreArray;
using Op = VectorStep::Op;

constexpr uint64_t kFirst = 0;
constexpr uint64_t kSecond = 1;

// Runs `step` for each of the reference's directions, each in a program of its own.
void RunSteps(const VectorStep& step, const std::vector<uint64_t>& slots,
              MemoryVectorStore& store) {
  ASSERT_TRUE(
      store
          .Put(VectorName::Model(Version(0)),
               std::vector<float>(std::begin(reference::kWeights), std::end(reference::kWeights)))
          .ok());
  for (uint64_t v = 1; v <= reference::kSteps; ++v) {
    Digest id = {};
    id[0] = static_cast<uint8_t>(v);
    const float* const d = reference::kDirections + (v - 1) * reference::kElements;
    ASSERT_TRUE(
        store.Put(VectorName::Update(id), std::vector<float>(d, d + reference::kElements)).ok());
    VectorProgram program;
    program.result = VectorName::Model(Version(v));
    program.state_slots = slots;
    VectorStep copy;
    copy.dst = program.result;
    copy.x = VectorName::Model(Version(v - 1));
    VectorStep optimizer = step;
    optimizer.dst = program.result;
    optimizer.x = VectorName::Update(id);
    program.steps = {copy, optimizer};
    ASSERT_TRUE(RunProgram(program, store, nullptr).ok());
    // A crash before the commit: the program runs again, from the same state.
    ASSERT_TRUE(RunProgram(program, store, nullptr).ok());
    ASSERT_TRUE(store.SwitchState(Version(v)).ok());
  }
}

TEST(OptimizerSteps, AdamMatchesNumPy) {
  MemoryVectorStore store(reference::kElements);
  VectorStep step;
  step.op = Op::kAdam;
  step.y = VectorName::State(kFirst);
  step.z = VectorName::State(kSecond);
  step.a = reference::kRate;
  step.b = reference::kBeta1;
  step.c = reference::kBeta2;
  step.d = reference::kEpsilon;
  RunSteps(step, {kFirst, kSecond}, store);
  EXPECT_THAT(**store.Get(VectorName::Model(Version(reference::kSteps))),
              ElementsAreArray(reference::kAdamWeights));
  EXPECT_THAT(**store.Get(VectorName::State(kFirst)), ElementsAreArray(reference::kAdamFirst));
  EXPECT_THAT(**store.Get(VectorName::State(kSecond)), ElementsAreArray(reference::kAdamSecond));
}

TEST(OptimizerSteps, MomentumMatchesNumPy) {
  MemoryVectorStore store(reference::kElements);
  VectorStep step;
  step.op = Op::kMomentum;
  step.y = VectorName::State(kFirst);
  step.a = reference::kRate;
  step.b = reference::kBeta1;
  RunSteps(step, {kFirst}, store);
  EXPECT_THAT(**store.Get(VectorName::Model(Version(reference::kSteps))),
              ElementsAreArray(reference::kMomentumWeights));
  EXPECT_THAT(**store.Get(VectorName::State(kFirst)), ElementsAreArray(reference::kMomentumFirst));
}

}  // namespace
}  // namespace consilium
