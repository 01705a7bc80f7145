#include "protocol/core/secret_bytes.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>
#include <vector>

namespace consilium {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(!std::is_copy_assignable_v<SecretBytes>);

SecretBytes Make() { return SecretBytes(std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8}); }

TEST(SecretBytes, MovesAndLeavesNothing) {
  SecretBytes from = Make();
  const SecretBytes to = std::move(from);
  EXPECT_EQ(to.size(), 8u);
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move): which is what is promised.
}

TEST(SecretBytes, CloneIsItsOwn) {
  SecretBytes one = Make();
  const SecretBytes two = one.Clone();
  one.mutable_data()[0] = 9;
  EXPECT_EQ(two.data()[0], 1);
}

TEST(SecretBytes, AssignmentTakesTheMemoryOver) {
  SecretBytes target = Make();
  SecretBytes source = Make();
  const uint8_t* memory = source.data();
  target = std::move(source);
  EXPECT_EQ(target.data(), memory);
  SecretBytes& same = target;
  target = std::move(same);
  EXPECT_EQ(target.size(), 8u);
}

}  // namespace
}  // namespace consilium
