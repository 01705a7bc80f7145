#include "aggregator/core/site_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace consilium::federation {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> NamesOf(const SiteMap<int>& map) {
  std::vector<std::string> names;
  for (const auto& [site, value] : map) names.push_back(site.value());
  return names;
}

TEST(SiteMap, KeepsTheOrderOfSiteIdsWhateverTheOrderOfEntry) {
  SiteMap<int> map;
  for (const char* name : {"m", "a", "z", "b"}) map[SiteId(name)] = 1;
  EXPECT_THAT(NamesOf(map), ElementsAre("a", "b", "m", "z"));
  EXPECT_EQ(map.lower_bound(SiteId("c"))->first, SiteId("m"));
}

TEST(SiteMap, FindsWhatWasEnteredAndNothingElse) {
  SiteMap<int> map;
  constexpr int kSites = 1000;
  for (int i = 0; i < kSites; ++i) map[SiteId(absl::StrCat("site-", i))] = i;
  map[SiteId("site-7")] = 70;  // Not a second one.
  EXPECT_EQ(map.size(), kSites);
  for (int i = 0; i < kSites; ++i) {
    EXPECT_EQ(map.at(SiteId(absl::StrCat("site-", i))), i == 7 ? 70 : i);
  }
  EXPECT_FALSE(map.contains(SiteId("site-1000")));
  EXPECT_EQ(map.find(SiteId("")), map.end());
}

TEST(SiteMap, ACopyHasValuesOfItsOwnAndAMoveKeepsThem) {
  SiteMap<int> original;
  original[SiteId("short")] = 1;
  original[SiteId("a-name-that-is-too-long-for-a-string-without-memory")] = 2;
  SiteMap<int> copy = original;
  copy[SiteId("short")] = 10;
  EXPECT_EQ(original.at(SiteId("short")), 1);
  const SiteMap<int> moved = std::move(original);
  EXPECT_EQ(moved.at(SiteId("short")), 1);
  EXPECT_EQ(moved.find(SiteId("a-name-that-is-too-long-for-a-string-without-memory"))->second, 2);
  original = copy;
  copy = SiteMap<int>();
  EXPECT_EQ(original.at(SiteId("short")), 10);
}

}  // namespace
}  // namespace consilium::federation
