// SCAFFOLD against scaffold_reference.py, which has the paper's algorithm with all that its parties
// keep: here the server makes c out of the updates alone.

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/string_view.h"
#include "aggregator/core/strategies/control_variates.h"
#include "tests/conformance/learning_federation.h"

namespace consilium::federation {
namespace {

struct Row {
  absl::string_view name;
  enum Kind { kUpdate, kModel, kControl } kind;
  uint64_t round;
  int site;
  uint32_t steps;
  double values[2];
};
constexpr Row kReference[] = {
#include "tests/conformance/scaffold_reference.inc"
};

constexpr char kScaffold[] = "preset: SCAFFOLD trigger { barrier { deadline_ms: 50 } }";

// Whoever the round that makes `version` still waits for is late.
void CloseRound(LearningFederation& federation, Version version) {
  TestFederation& f = federation.federation();
  if (f.run().current() == version) return;
  f.now += absl::Milliseconds(100);
  federation.Compute(f.Step(TimerFired{f.run().timers.begin()->first}));
}

void ExpectNear(const Weights& values, const Row& row, double tolerance) {
  ASSERT_EQ(values.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(values[i], row.values[i], tolerance) << row.name << ", version " << row.round;
  }
}

void Follow(absl::string_view name, const std::vector<uint64_t>& examples) {
  LearningFederation federation(kScaffold, examples);
  int compared = 0;
  for (const Row& row : kReference) {
    if (row.name != name) continue;
    if (row.kind == Row::kUpdate) {
      federation.Deliver(row.site, 0, {row.values[0], row.values[1]}, row.steps);
      continue;
    }
    const Version version(row.round);
    if (row.kind == Row::kModel) CloseRound(federation, version);
    ASSERT_EQ(federation.version().version, version);
    ++compared;
    if (row.kind == Row::kModel) {
      ExpectNear(federation.weights(version), row, 1e-12);
      ExpectNear(federation.produced(version), row, 2e-6);  // f32.
    } else {
      ExpectNear(federation.vector(VectorName::Control(version)), row, 1e-12);
      ExpectNear(federation.produced(VectorName::Control(version)), row, 2e-5);
    }
  }
  EXPECT_EQ(compared, 12);
}

TEST(Scaffold, IsThePapersWhereSitesAreOfOneSize) { Follow("equal", {10, 10, 10, 10}); }

TEST(Scaffold, WeighsControlVariatesAsItWeighsModels) { Follow("sizes", {100, 50, 30, 20}); }

// Who brings no update adds nothing to c, and counts in N all the same.
TEST(Scaffold, VersionZeroHasNoControlVariate) {
  LearningFederation federation(kScaffold, {10, 10});
  const RunState& run = federation.federation().run();
  EXPECT_FALSE(ControlOf(run, Version(0)).has_value());
  EXPECT_EQ(PayloadElements(run, Version(0)), run.elements);
  EXPECT_EQ(ControlOf(run, Version(1)), VectorName::Control(Version(1)));
  EXPECT_EQ(PayloadElements(run, Version(1)), 2 * run.elements);
  federation.Deliver(0, 0, {-0.3, 0}, 3);
  CloseRound(federation, Version(1));
  // −Δ/(Sη) = .3/(3·.1) = 1, of which one of two sites brings half.
  EXPECT_NEAR(federation.vector(VectorName::Control(Version(1)))[0], 0.5, 1e-12);
}

// c is no version's without the bytes that the root is of, and no version is finite without c.
TEST(Scaffold, AVersionIsOfBothVectors) {
  LearningFederation federation(kScaffold, {10, 10});
  federation.Deliver(0, 0, {1, 2});
  TestFederation& f = federation.federation();
  UpdateStaged last = f.Update(TestFederation::Site(1));
  last.steps = 3;
  const std::vector<Compute> programs = Of<Compute>(f.Step(last));
  ASSERT_EQ(programs.size(), 1u);
  EXPECT_EQ(programs[0].code.control, VectorName::Control(Version(1)));
  EXPECT_EQ(programs[0].code.steps.back().op, VectorStep::Op::kNormSquared);
  EXPECT_EQ(programs[0].code.steps.back().x, VectorName::Control(Version(1)));
}

TEST(Scaffold, CountsNoStepsThatATaskDoesNotHave) {
  TestFederation federation({10, 10});
  federation.StartRun(MakePlan({.aggregation = "preset: SCAFFOLD"}));
  UpdateStaged update = federation.Update(TestFederation::Site(0));
  update.steps = 4;  // The plan has 3.
  const std::vector<RefuseUpdate> refused = Of<RefuseUpdate>(federation.Step(update));
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].reason, v1::MALFORMED);
}

TEST(Scaffold, ForgetsTheControlVariateWithItsVersion) {
  TestFederation federation({10, 10});
  federation.StartRun(MakePlan({.aggregation = "preset: SCAFFOLD",
                                .config = "retention: UNTIL_DURABLE "
                                          "data { split { validation: 0 } }",
                                .versions_max = 50}));
  std::vector<VectorName> forgotten;
  for (int round = 0; round < 12; ++round) {
    for (int site = 0; site < 2; ++site) {
      UpdateStaged update = federation.Update(TestFederation::Site(site));
      update.steps = 3;
      federation.Step(update);
    }
    for (const Forget& forget : Of<Forget>(federation.Answer())) {
      if (forget.vector.kind != VectorName::Kind::kUpdate) forgotten.push_back(forget.vector);
    }
  }
  ASSERT_GE(forgotten.size(), 3u);
  EXPECT_EQ(forgotten[0], VectorName::Model(Version(0)));  // Which has none.
  EXPECT_EQ(forgotten[1], VectorName::Model(Version(1)));
  EXPECT_EQ(forgotten[2], VectorName::Control(Version(1)));
}

}  // namespace
}  // namespace consilium::federation
