// When sites were busy: the union of what they did, each moment counted once.

#include "sim/engine/activity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace consilium {
namespace {

absl::Time At(int second) { return absl::UnixEpoch() + absl::Seconds(second); }

TEST(BusyTime, CountsEachMomentOnce) {
  BusyTime busy;
  busy.Add(At(10), At(12));
  busy.Add(At(2), At(4));
  busy.Add(At(4), At(5));    // Beside one,
  busy.Add(At(3), At(11));   // over both,
  busy.Add(At(6), At(7));    // within,
  busy.Add(At(20), At(21));  // and apart.
  EXPECT_EQ(busy.Within(At(0), At(100)), absl::Seconds(11));
  EXPECT_EQ(busy.Within(At(5), At(8)), absl::Seconds(3));
  EXPECT_EQ(busy.Within(At(11), At(21)), absl::Seconds(2));
  EXPECT_EQ(busy.Within(At(13), At(19)), absl::ZeroDuration());
}

// Against a tick for every second.
TEST(BusyTime, IsTheUnionOfAnyIntervalsInAnyOrder) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    BusyTime busy;
    std::vector<bool> ticks(60, false);
    for (int i = 0; i < 12; ++i) {
      const int begin = static_cast<int>(random() % 50);
      const int end = begin + 1 + static_cast<int>(random() % 9);
      busy.Add(At(begin), At(end));
      for (int second = begin; second < end; ++second) ticks[static_cast<size_t>(second)] = true;
      const auto expected = std::count(ticks.begin() + 5, ticks.begin() + 40, true);
      ASSERT_EQ(busy.Within(At(5), At(40)), absl::Seconds(expected)) << round << " " << i;
    }
  }
}

TEST(ActivityLog, CountsWhatIsBeyondThePictureToo) {
  ActivityLog log;
  const int count = static_cast<int>(kActivitiesMax) + 100;
  for (int i = 0; i < count; ++i) {
    log.Add({1, Activity::Kind::kTrain, At(2 * i), At(2 * i + 1)});
  }
  log.Add({1, Activity::Kind::kUpload, At(1), At(1)});
  EXPECT_EQ(log.activities().size(), kActivitiesMax);
  EXPECT_EQ(log.BusyOf(1).Within(At(0), At(2 * count)), absl::Seconds(count));
  for (const size_t site : {0, 2}) {
    EXPECT_EQ(log.BusyOf(site).Within(At(0), At(100)), absl::ZeroDuration()) << site;
  }
}

}  // namespace
}  // namespace consilium
