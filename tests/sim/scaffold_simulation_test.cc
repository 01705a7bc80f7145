// SCAFFOLD from end to end: sites keep their control variates, the aggregator its own, under broken
// links, losses and crashes; and a recording gives it all again.

#include <gtest/gtest.h>

#include "sim/engine/replay.h"
#include "tests/sim/small_world.h"

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

std::unique_ptr<Simulation> Record(SmallWorld& world, Recording& recording) {
  SimulationInput input;
  input.plan = world.plan;
  input.scenario = world.scenario;
  input.data = &world.data;
  input.trainer = &world.trainer;
  input.recording = &recording;
  absl::StatusOr<std::unique_ptr<Simulation>> simulation = Simulation::Create(std::move(input));
  EXPECT_TRUE(simulation.ok()) << simulation.status();
  if (!simulation.ok()) return nullptr;
  const absl::Status status = (*simulation)->Run();
  EXPECT_TRUE(status.ok()) << status;
  return *std::move(simulation);
}

void ExpectSameAgain(const SmallWorldOptions& options) {
  SmallWorld world(options);
  Recording recording;
  const auto simulation = Record(world, recording);
  ASSERT_NE(simulation, nullptr);
  ASSERT_EQ(simulation->run().versions.size(), 9u);

  const auto replayed = Replay(recording, {});
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_TRUE(replayed->mismatches.empty()) << replayed->mismatches.front();

  recording.updates.clear();
  ReplayOptions retrain;
  retrain.data = &world.data;
  retrain.trainer = &world.trainer;
  const auto retrained = Replay(recording, retrain);
  ASSERT_TRUE(retrained.ok()) << retrained.status();
  EXPECT_TRUE(retrained->mismatches.empty()) << retrained->mismatches.front();
  EXPECT_GE(retrained->updates_retrained, 16u);
  for (const federation::VersionState& version : simulation->run().versions) {
    EXPECT_EQ(retrained->payload_roots.at(version.version), version.payload_root);
  }
}

TEST(ScaffoldSimulation, ReplayAndRetrainingGiveTheSameBits) { ExpectSameAgain(Options("")); }

// Sites miss rounds, are killed while they train and while they send, and hear receipts late.
TEST(ScaffoldSimulation, TheSameBitsUnderFaults) {
  ExpectSameAgain(Options(R"(
      sites {
        speed { pareto_shape: 1.5 }
        faults {
          upload_loss_rate: 0.1 duplicate_rate: 0.2 link_drop_rate: 0.1 link_down_ms: 900
          reorder_rate: 0.3 reorder_ms: 300 message_duplicate_rate: 0.2 crash_rate: 0.1
          restart_ms: 500
        }
      })"));
}

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
