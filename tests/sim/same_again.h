// A simulation that is recorded, and what its recording gives: replayed, and with every update
// trained again.

#ifndef CONSILIUM_TESTS_SIM_SAME_AGAIN_H_
#define CONSILIUM_TESTS_SIM_SAME_AGAIN_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "sim/engine/replay.h"
#include "tests/sim/small_world.h"

namespace consilium {

// Sites miss rounds, are killed while they train and while they send, and hear receipts late.
inline constexpr char kBadLinks[] = R"(
    sites {
      speed { pareto_shape: 1.5 }
      faults {
        upload_loss_rate: 0.1 duplicate_rate: 0.2 link_drop_rate: 0.1 link_down_ms: 900
        reorder_rate: 0.3 reorder_ms: 300 message_duplicate_rate: 0.2 crash_rate: 0.1
        restart_ms: 500
      }
    })";

inline std::unique_ptr<Simulation> Record(SmallWorld& world, Recording& recording) {
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

// Bit by bit, with at least `updates_min` updates.
inline void ExpectSameAgain(const SmallWorldOptions& options, uint64_t updates_min) {
  SmallWorld world(options);
  Recording recording;
  const auto simulation = Record(world, recording);
  ASSERT_NE(simulation, nullptr);
  ASSERT_EQ(simulation->run().versions.size(), 1 + world.plan.config().stop().versions_max());

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
  EXPECT_GE(retrained->updates_retrained, updates_min);
  for (const federation::VersionState& version : simulation->run().versions) {
    EXPECT_EQ(retrained->payload_roots.at(version.version), version.payload_root);
  }
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_SAME_AGAIN_H_
