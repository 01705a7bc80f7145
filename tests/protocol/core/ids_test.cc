#include "protocol/core/ids.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "absl/container/flat_hash_set.h"

namespace consilium {
namespace {

// One kind never passes for another, nor a bare value for an id.
static_assert(!std::is_convertible_v<RunId, SiteId>);
static_assert(!std::is_constructible_v<SiteId, RunId>);
static_assert(!std::is_convertible_v<TaskId, Version>);
static_assert(!std::is_constructible_v<Version, TaskId>);
static_assert(!std::is_convertible_v<uint64_t, TaskId>);
static_assert(!std::is_convertible_v<std::string, SiteId>);

TEST(Ids, CompareAndCount) {
  EXPECT_LT(Version(3), Version(3).next());
  EXPECT_EQ(Version(3).next(), Version(4));
  EXPECT_LT(SiteId("a"), SiteId("b"));
  EXPECT_TRUE(SiteId().empty());
  EXPECT_EQ(TaskId().value(), 0u);
}

TEST(Ids, AreKeysOfHashTables) {
  const absl::flat_hash_set<SiteId> sites = {SiteId("a"), SiteId("b"), SiteId("a")};
  EXPECT_EQ(sites.size(), 2u);
  const absl::flat_hash_set<TaskId> tasks = {TaskId(1), TaskId(2), TaskId(1)};
  EXPECT_EQ(tasks.size(), 2u);
}

}  // namespace
}  // namespace consilium
