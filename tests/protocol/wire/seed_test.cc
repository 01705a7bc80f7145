#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <thread>

#include "protocol/wire/derived_seed.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

// Python: HKDF-SHA256 by hmac (RFC 5869), salt b'consilium.seed.v1', key <Q 7>,
// info b'shuffle\0north\0' + <Q 3>.
TEST(DerivedSeedTest, IndependentVector) {
  EXPECT_EQ(ToHex(DeriveSeed({7, "shuffle", "north", 3})),
            "e48bb3636e3a343a037b69f7711427111fb0549dd611361de99acd381b129eeb");
}

TEST(DerivedSeedTest, EveryPartOfThePathCounts) {
  std::set<Digest> seeds;
  seeds.insert(DeriveSeed({7, "shuffle", "north", 3}));
  seeds.insert(DeriveSeed({8, "shuffle", "north", 3}));
  seeds.insert(DeriveSeed({7, "dropout", "north", 3}));
  seeds.insert(DeriveSeed({7, "shuffle", "south", 3}));
  seeds.insert(DeriveSeed({7, "shuffle", "north", 4}));
  seeds.insert(DeriveSeed({7, "shuffl", "enorth", 3}));
  EXPECT_EQ(seeds.size(), 6u);
}

// One thread derives them all by one context.
TEST(DerivedSeedTest, NothingIsLeftOfTheOneBefore) {
  const std::string longer(100, 'x');
  const Digest before = DeriveSeed({9, longer, "north", 3});
  EXPECT_EQ(ToHex(DeriveSeed({7, "shuffle", "north", 3})),
            "e48bb3636e3a343a037b69f7711427111fb0549dd611361de99acd381b129eeb");
  Digest elsewhere = {};
  std::thread([&] { elsewhere = DeriveSeed({9, longer, "north", 3}); }).join();
  EXPECT_EQ(elsewhere, before);
}

// Python: xoshiro256** 1.0 written from its paper, state = bytes 0…31 as four little-endian words.
TEST(RandomStreamTest, IndependentVector) {
  Digest seed;
  for (int i = 0; i < 32; ++i) seed[i] = static_cast<uint8_t>(i);
  RandomStream stream(seed);
  EXPECT_EQ(stream.Next(), 0xbc258ef861cb354dULL);
  EXPECT_EQ(stream.Next(), 0x258ef861cb349eb5ULL);
  EXPECT_EQ(stream.Next(), 0x13c0ee1b61e1c2dULL);
}

TEST(RandomStreamTest, BoundsAndMoments) {
  RandomStream stream({1, "test", "", 0});
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  std::vector<int> counts(7);
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.NextNormal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    ++counts.at(stream.NextBelow(7));
    const double u = stream.NextUnit();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
  }
  // Five standard errors of each.
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  for (int count : counts) EXPECT_NEAR(count, kDraws / 7.0, 5 * std::sqrt(kDraws / 7.0));
}

}  // namespace
}  // namespace consilium
