#include "protocol/core/utf8.h"

#include <gtest/gtest.h>

namespace consilium {
namespace {

TEST(CutAtCharacter, NeverCutsACharacterInTwo) {
  const absl::string_view text =
      "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8F\xA5z";  // 1, 2, 3, 4 and 1 byte.
  const size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (size_t bytes_max = 0; bytes_max < 13; ++bytes_max) {
    EXPECT_EQ(CutAtCharacter(text, bytes_max), text.substr(0, ends[bytes_max])) << bytes_max;
  }
}

}  // namespace
}  // namespace consilium
