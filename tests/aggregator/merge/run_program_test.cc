// Vector programs against a reference that walks whole vectors one step after another.

#include "aggregator/merge/run_program.h"

#include <cmath>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "aggregator/merge/memory_vector_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Op = VectorStep::Op;

// Two whole shards and a piece.
constexpr uint64_t kElements = 2 * kShardElements + 12345;

Digest Id(uint8_t number) {
  Digest id = {};
  id[0] = number;
  return id;
}
VectorName Model(uint64_t version) { return VectorName::Model(Version(version)); }
VectorName Update(uint8_t number) { return VectorName::Update(Id(number)); }

VectorStep Step(Op op, VectorName dst, VectorName x, double a = 0) {
  VectorStep step;
  step.op = op;
  step.dst = dst;
  step.x = x;
  step.a = a;
  return step;
}
VectorStep Scalar(Op op, VectorName x, VectorName y) {
  VectorStep step;
  step.op = op;
  step.x = x;
  step.y = y;
  return step;
}

RandomStream Random(uint64_t seed) {
  return RandomStream(SeedPath{.run_seed = seed, .purpose = "test", .site = "", .task = 0});
}

std::vector<float> Normals(uint64_t seed, uint64_t count) {
  RandomStream random = Random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

MemoryVectorStore StoreOf(uint64_t elements) {
  MemoryVectorStore store(elements);
  EXPECT_TRUE(store.Put(Model(0), Normals(1, elements)).ok());
  for (uint8_t i = 1; i <= 3; ++i) {
    EXPECT_TRUE(store.Put(Update(i), Normals(1 + i, elements)).ok());
  }
  return store;
}

// Copy, scale, axpy, dot and norm, over whole vectors; sums in long double.
struct Reference {
  std::map<VectorName, std::vector<float>> vectors;
  std::vector<double> scalars;

  std::vector<float>& At(const VectorName& name) {
    std::vector<float>& values = vectors[name];
    values.resize(kElements);
    return values;
  }
  void Do(const VectorStep& step) {
    if (step.op == Op::kDot || step.op == Op::kNormSquared) {
      const std::vector<float>& x = At(step.x);
      const std::vector<float>& y = step.op == Op::kDot ? At(step.y) : x;
      long double sum = 0;
      for (size_t i = 0; i < kElements; ++i) sum += static_cast<long double>(x[i]) * y[i];
      scalars.push_back(static_cast<double>(sum));
      return;
    }
    std::vector<float>& dst = At(step.dst);
    const float a = static_cast<float>(step.a);
    for (size_t i = 0; i < kElements; ++i) {
      if (step.op == Op::kCopy) dst[i] = At(step.x)[i];
      if (step.op == Op::kScale) dst[i] = a * dst[i];
      if (step.op == Op::kAxpy) {
        const float product = a * At(step.x)[i];
        dst[i] = dst[i] + product;
      }
    }
  }
};

// A program of random steps over a few vectors, repeated names included.
VectorProgram RandomProgram(RandomStream& random) {
  const std::vector<VectorName> readable = {Model(0),
                                            Model(1),
                                            Update(1),
                                            Update(2),
                                            Update(3),
                                            VectorName::Scratch(0),
                                            VectorName::Scratch(7)};
  const std::vector<VectorName> writable = {Model(1), VectorName::Scratch(0),
                                            VectorName::Scratch(7)};
  VectorProgram program;
  program.result = Model(1);
  for (int i = 0; i < 8; ++i) {
    const Op ops[] = {Op::kCopy, Op::kScale, Op::kAxpy, Op::kAxpy, Op::kDot, Op::kNormSquared};
    VectorStep step =
        Step(ops[random.NextBelow(std::size(ops))], writable[random.NextBelow(writable.size())],
             readable[random.NextBelow(readable.size())], random.NextNormal());
    step.y = readable[random.NextBelow(readable.size())];
    program.steps.push_back(step);
  }
  return program;
}

TEST(RunProgram, RandomProgramsEqualTheReferenceBitForBit) {
  RandomStream random = Random(11);
  for (int repetition = 0; repetition < 20; ++repetition) {
    MemoryVectorStore store = StoreOf(kElements);
    const VectorProgram program = RandomProgram(random);
    Reference reference;
    reference.At(Model(0)) = Normals(1, kElements);
    for (uint8_t i = 1; i <= 3; ++i) reference.At(Update(i)) = Normals(1 + i, kElements);
    for (const VectorStep& step : program.steps) reference.Do(step);

    const auto result = RunProgram(program, store, nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
    const std::vector<float>& expected = reference.At(Model(1));
    const float* const actual = (*store.Get(Model(1)))->data();
    // The bits are what is compared. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    ASSERT_EQ(memcmp(actual, expected.data(), kElements * sizeof(float)), 0);
    EXPECT_EQ(result->payload_root, MerkleRootOf({reinterpret_cast<const uint8_t*>(expected.data()),
                                                  expected.size() * sizeof(float)}));
    ASSERT_EQ(result->scalars.size(), reference.scalars.size());
    for (size_t i = 0; i < reference.scalars.size(); ++i) {
      // Against the sum of magnitudes, about n·E|xy|: sums of products of random signs cancel.
      EXPECT_NEAR(result->scalars[i], reference.scalars[i],
                  1e-9 * (kElements + std::abs(reference.scalars[i])));
    }
  }
}

TEST(RunProgram, TheNumberOfThreadsChangesNoBit) {
  RandomStream random = Random(12);
  constexpr uint64_t kManyShards = 9 * kShardElements + 17;
  const VectorProgram program = RandomProgram(random);
  MemoryVectorStore alone = StoreOf(kManyShards);
  const auto expected = RunProgram(program, alone, nullptr);
  ASSERT_TRUE(expected.ok());
  for (int threads : {1, 2, 5}) {
    MemoryVectorStore store = StoreOf(kManyShards);
    Executor executor(threads, 64);
    const auto result = RunProgram(program, store, &executor);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->payload_root, expected->payload_root);
    EXPECT_THAT(result->scalars, ElementsAreArray(expected->scalars));
    EXPECT_EQ(**store.Get(Model(1)), **alone.Get(Model(1)));
  }
}

TEST(RunProgram, AVectorOfNoElementsHasTheEmptyRoot) {
  MemoryVectorStore store(0);
  ASSERT_TRUE(store.Put(Model(0), std::vector<float>()).ok());
  VectorProgram program{{Step(Op::kCopy, Model(1), Model(0))}, Model(1), {}};
  program.steps.push_back(Scalar(Op::kNormSquared, Model(0), {}));
  const auto result = RunProgram(program, store, nullptr);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->payload_root, MerkleRootOf({}));
  EXPECT_THAT(result->scalars, ElementsAreArray({0.0}));
}

TEST(RunProgram, AnUnwrittenStateSlotIsZeros) {
  MemoryVectorStore store = StoreOf(10);
  const VectorName slot = VectorName::State(4);
  VectorProgram program;
  program.result = Model(1);
  program.steps = {Step(Op::kCopy, Model(1), slot), Step(Op::kAxpy, Model(1), Update(1), 1)};
  ASSERT_TRUE(RunProgram(program, store, nullptr).ok());
  EXPECT_EQ(**store.Get(Model(1)), **store.Get(Update(1)));
}

TEST(RunProgram, ARunAgainStartsFromTheSameState) {
  MemoryVectorStore store = StoreOf(10);
  const VectorName slot = VectorName::State(0);
  VectorProgram program;
  program.result = Model(1);
  program.state_slots = {0};
  program.steps = {Step(Op::kAxpy, slot, Update(1), 1), Step(Op::kCopy, Model(1), slot)};
  const auto first = RunProgram(program, store, nullptr);
  const auto second = RunProgram(program, store, nullptr);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->payload_root, second->payload_root);
  ASSERT_TRUE(store.SwitchState(Version(1)).ok());
  program.result = Model(2);
  program.steps[1].dst = Model(2);
  const auto next = RunProgram(program, store, nullptr);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ((**store.Get(Model(2)))[3], 2 * (**store.Get(Update(1)))[3]);
}

TEST(RunProgram, AControlVariateIsMadeAndHashedWithItsModel) {
  constexpr uint64_t kElements = kShardElements + 17;
  MemoryVectorStore store = StoreOf(kElements);
  VectorProgram program;
  program.result = Model(1);
  program.control = VectorName::Control(Version(1));
  program.steps = {Step(Op::kCopy, Model(1), Model(0)),
                   Step(Op::kAxpy, *program.control, Update(1), -2)};
  const auto result = RunProgram(program, store, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto control = store.Get(*program.control);
  ASSERT_TRUE(control.ok());
  EXPECT_EQ((**control)[kElements - 1], -2 * (**store.Get(Update(1)))[kElements - 1]);
  const auto root = [&store](const VectorName& name) {
    const std::vector<float>& values = **store.Get(name);
    return MerkleRootOf({reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4});
  };
  const Digest model_root = root(Model(1));
  EXPECT_EQ(result->payload_root, MerkleRootOfTwo(model_root, root(*program.control)));
  EXPECT_NE(result->payload_root, model_root);
  // The next version reads it.
  VectorProgram next;
  next.result = Model(2);
  next.control = VectorName::Control(Version(2));
  next.steps = {Step(Op::kAxpy, *next.control, *program.control, 0.5)};
  ASSERT_TRUE(RunProgram(next, store, nullptr).ok());
  EXPECT_EQ((**store.Get(*next.control))[0], 0.5F * (**control)[0]);
}

TEST(RunProgram, AProgramForScalarsAloneLeavesNothing) {
  MemoryVectorStore store = StoreOf(10);
  VectorProgram program;
  program.steps = {Scalar(Op::kDot, Update(1), Update(2))};
  const auto result = RunProgram(program, store, nullptr);
  ASSERT_TRUE(result.ok());
  double sum = 0;
  for (size_t i = 0; i < 10; ++i) {
    sum += static_cast<double>((**store.Get(Update(1)))[i]) * (**store.Get(Update(2)))[i];
  }
  EXPECT_DOUBLE_EQ(result->scalars[0], sum);
  EXPECT_EQ(result->payload_root, Digest{});
}

struct BadProgram {
  const char* what;
  VectorProgram program;
  absl::StatusCode code;
};

std::vector<BadProgram> BadPrograms() {
  VectorStep adam = Step(Op::kAdam, Model(1), Update(1));
  adam.y = adam.z = VectorName::State(0);
  VectorStep momentum = Step(Op::kMomentum, Model(1), Update(1));
  momentum.y = Update(2);
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto not_found = absl::StatusCode::kNotFound;
  return {
      {"unknown model", {{Step(Op::kCopy, Model(1), Model(9))}, Model(1), {}}, not_found},
      {"unknown update", {{Step(Op::kAxpy, Model(1), Update(9), 1)}, Model(1), {}}, not_found},
      {"unknown in a dot", {{Scalar(Op::kDot, Model(0), Update(9))}, Model(1), {}}, not_found},
      {"writes an update", {{Step(Op::kScale, Update(1), {}, 2)}, Model(1), {}}, invalid},
      {"writes an old model", {{Step(Op::kScale, Model(0), {}, 2)}, Model(1), {}}, invalid},
      {"writes a state it does not name",
       {{Step(Op::kScale, VectorName::State(0), {}, 2)}, Model(1), {}},
       invalid},
      {"momentum in an update", {{momentum}, Model(1), {}}, invalid},
      {"one slot twice", {{}, Model(1), {2, 2}}, invalid},
      {"both moments in one slot", {{adam}, Model(1), {0}}, invalid},
      {"state without a version", {{}, VectorName::Scratch(0), {1}}, invalid},
      {"an update as result", {{}, Update(1), {}}, invalid},
      {"another version's control variate",
       {{}, Model(1), {}, VectorName::Control(Version(2))},
       invalid},
      {"a control variate without a version",
       {{}, VectorName::Scratch(0), {}, VectorName::Control(Version(1))},
       invalid},
      {"a control variate that is not made",
       {{Step(Op::kScale, VectorName::Control(Version(1)), {}, 2)}, Model(1), {}},
       invalid},
  };
}

TEST(RunProgram, WhatAProgramMayNotDoIsAStatus) {
  for (const BadProgram& bad : BadPrograms()) {
    MemoryVectorStore store = StoreOf(10);
    EXPECT_EQ(RunProgram(bad.program, store, nullptr).status().code(), bad.code) << bad.what;
    EXPECT_FALSE(store.Get(Model(1)).ok()) << bad.what;
    ASSERT_TRUE(store.SwitchState(Version(1)).ok());
    EXPECT_FALSE(store.Get(VectorName::State(0)).ok()) << bad.what;
  }
}

// A store whose disk breaks at one shard of one update.
class BrokenStore final : public VectorStore {
 public:
  explicit BrokenStore(VectorStore& inner) : inner_(inner) {}
  uint64_t elements() const override { return inner_.elements(); }
  absl::StatusOr<std::unique_ptr<VectorReader>> OpenForReading(const VectorName& name) override {
    auto inner = inner_.OpenForReading(name);
    if (!inner.ok() || name != Update(2)) return inner;
    return std::make_unique<BrokenReader>(*std::move(inner));
  }
  absl::StatusOr<std::unique_ptr<VectorWriter>> OpenForWriting(const VectorName& name,
                                                               Version makes) override {
    return inner_.OpenForWriting(name, makes);
  }
  absl::Status SwitchState(Version made) override { return inner_.SwitchState(made); }

 private:
  struct BrokenReader final : VectorReader {
    explicit BrokenReader(std::unique_ptr<VectorReader> reader) : inner(std::move(reader)) {}
    absl::StatusOr<std::span<const float>> Read(size_t shard,
                                                std::span<float> buffer) const override {
      if (shard == 3) return absl::DataLossError("shard 3");
      return inner->Read(shard, buffer);
    }
    std::unique_ptr<VectorReader> inner;
  };
  VectorStore& inner_;
};

TEST(RunProgram, AnErrorOfOneShardFailsTheWholeProgram) {
  MemoryVectorStore inner = StoreOf(6 * kShardElements);
  BrokenStore store(inner);
  VectorProgram program;
  program.result = Model(1);
  program.steps = {Step(Op::kCopy, Model(1), Model(0)), Step(Op::kAxpy, Model(1), Update(2), 1)};
  Executor executor(2, 64);
  for (Executor* threads : {static_cast<Executor*>(nullptr), &executor}) {
    const absl::Status status = RunProgram(program, store, threads).status();
    EXPECT_TRUE(absl::IsDataLoss(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr("shard 3"));
    EXPECT_FALSE(inner.Get(Model(1)).ok());
  }
}

}  // namespace
}  // namespace consilium
