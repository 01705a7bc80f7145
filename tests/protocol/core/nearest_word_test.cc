// Words that somebody may have meant.

#include "protocol/core/nearest_word.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace consilium {
namespace {

TEST(NearestWord, FindsWhatWasMeant) {
  const std::vector<std::string> words = {"run", "replay", "assess", "compare", "search"};
  EXPECT_EQ(NearestWord("runn", words), "run");
  EXPECT_EQ(NearestWord("rnu", words), "run");
  EXPECT_EQ(NearestWord("un", words), "run");
  EXPECT_EQ(NearestWord("ryn", words), "run");
  EXPECT_EQ(NearestWord("comapre", words), "compare");
  EXPECT_EQ(NearestWord("serach", words), "search");
  EXPECT_EQ(NearestWord("reply", words), "replay");
}

TEST(NearestWord, SaysNothingOfWhatIsFar) {
  const std::vector<std::string> words = {"run", "replay"};
  EXPECT_EQ(NearestWord("bogus", words), "");
  EXPECT_EQ(NearestWord("", words), "");
  EXPECT_EQ(NearestWord("x", {}), "");
  EXPECT_EQ(NearestWord(std::string(1000, 'x'), words), "");
  EXPECT_EQ(NearestWord("run", {std::string(1000, 'r')}), "");
}

}  // namespace
}  // namespace consilium
