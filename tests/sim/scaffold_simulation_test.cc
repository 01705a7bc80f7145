// SCAFFOLD from end to end: sites keep their control variates, the aggregator its own, under broken
// links, losses and crashes; and a recording gives it all again.

#include <gtest/gtest.h>

#include "tests/sim/same_again.h"

namespace consilium {
namespace {

constexpr char kScaffold[] = R"(
  aggregation { preset: SCAFFOLD trigger { barrier { deadline_ms: 4000 } } }
  stop { versions_max: 8 })";

SmallWorldOptions Options(const std::string& scenario) {
  SmallWorldOptions options;
  // SmallWorld's own trigger is a buffer's.
  options.config = kScaffold;
  options.scenario = scenario;
  return options;
}

TEST(ScaffoldSimulation, ReplayAndRetrainingGiveTheSameBits) { ExpectSameAgain(Options(""), 16); }

TEST(ScaffoldSimulation, TheSameBitsUnderFaults) { ExpectSameAgain(Options(kBadLinks), 16); }

// Without c and c_i it would be FEDAVG; its first round is.
TEST(ScaffoldSimulation, DepartsFromFedAvgWithTheSecondRound) {
  SmallWorldOptions options = Options("");
  const auto scaffold = SmallWorld(options).Run();
  options.config = "aggregation { preset: FEDAVG trigger { barrier {} } } stop { versions_max: 8 }";
  const auto fedavg = SmallWorld(options).Run();
  ASSERT_TRUE(scaffold != nullptr && fedavg != nullptr);
  const auto norm = [](const Simulation& simulation, size_t version) {
    return simulation.run().versions[version].scalars.at(1);  // ‖w‖²
  };
  EXPECT_EQ(norm(*scaffold, 1), norm(*fedavg, 1));
  EXPECT_NE(norm(*scaffold, 2), norm(*fedavg, 2));
  EXPECT_EQ(scaffold->run().versions[2].scalars.size(), 3u);  // And ‖c‖².
  EXPECT_GT(scaffold->run().versions[2].scalars[2], 0);
  // What is scored and saved are the weights alone.
  const auto model = scaffold->ModelOf(Version(2));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->size(), scaffold->run().elements);
}

}  // namespace
}  // namespace consilium
