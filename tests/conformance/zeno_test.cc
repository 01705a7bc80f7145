// ZENO, engine and arithmetic together, against models made by NumPy from the paper
// (zeno_reference.py); and what waits for a validator, what is kept of it and what ends without it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "aggregator/core/validator.h"
#include "tests/conformance/merged_federation.h"

namespace consilium::federation {
namespace {

namespace reference {
#include "tests/conformance/zeno_reference.inc"
}  // namespace reference

using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr int kElements = 5;
constexpr int kValidator = 2;
constexpr int kHostile = 4;
constexpr float kTolerance = 2e-6F;
constexpr int kArrivals[] = {0, 3, 2, 1, 4, 0, 2, 3, 4, 1, 2, 0, 3, 4,
                             1, 0, 2, 4, 3, 1, 0, 3, 2, 1, 4, 0, 3, 1};
constexpr char kZeno[] = "preset: ZENO transform { zeno { validator: 'c' } }";

const std::vector<uint64_t> kExamples = {10, 10, 10, 10, 10};
const std::vector<float> kInitial = {0.25F, -0.5F, 0, 1, 2};

// The k-th update, as zeno_reference.py has it.
std::vector<float> Delta(int k, int site) {
  constexpr float kDownhill[kElements] = {1, -0.5F, 0.25F, 0.75F, -1};
  std::vector<float> delta;
  delta.reserve(kElements);
  for (int i = 0; i < kElements; ++i) {
    const float noise = static_cast<float>((7 * k + 3 * i + 5 * i * k) % 11 - 5) / 8;
    delta.push_back(site == kHostile     ? -3 * kDownhill[i] + noise
                    : site == kValidator ? 0.5F * kDownhill[i] + noise / 8
                                         : 0.25F * kDownhill[i] + noise);
  }
  return delta;
}

std::vector<double> FactorsOf(const Contribution& entry, WeightFactor::Kind kind) {
  std::vector<double> values;
  for (const WeightFactor& factor : entry.factors) {
    if (factor.kind == kind) values.push_back(factor.value);
  }
  return values;
}

struct Rule {
  const char* name;
  const char* aggregation;
  std::span<const double[kElements]> models;
};

class Zeno : public ::testing::TestWithParam<Rule> {};

TEST_P(Zeno, GivesTheModelsOfTheReference) {
  MergedFederation federation(GetParam().aggregation, kExamples, kInitial);
  int k = 0;
  for (const int site : kArrivals) {
    federation.Deliver(site, static_cast<uint64_t>((3 * k) % 4), Delta(k, site));
    ++k;
    const uint64_t current = federation.run().current().value();
    if (current == 0) continue;
    ASSERT_LE(current, GetParam().models.size());
    std::vector<float> expected;
    for (const double value : GetParam().models[current - 1]) {
      expected.push_back(static_cast<float>(value));
    }
    EXPECT_THAT(federation.weights(), Pointwise(FloatNear(kTolerance), expected)) << current;
  }
  EXPECT_EQ(federation.run().current(), Version(GetParam().models.size()));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Zeno,
    ::testing::Values(Rule{"of_one", kZeno, reference::kZeno},
                      Rule{
                          "of_three",
                          "preset: ZENO trigger { buffer { updates: 3 } } "
                          "staleness { polynomial {} } server { sgd { learning_rate: 0.5 } } "
                          "transform { zeno { validator: 'c' gamma: 0.2 rho: 0.1 epsilon: 0.25 } }",
                          reference::kZenoOfThree}),
    [](const auto& info) { return std::string(info.param.name); });

// ---- What is recorded

TEST(ZenoLedger, NamesWhoCountsWhoDoesNotAndWhoScores) {
  MergedFederation federation(
      "preset: ZENO trigger { buffer { updates: 3 } } server { sgd { learning_rate: 0.5 } } "
      "transform { zeno { validator: 'c' } }",
      kExamples, {0, 0});
  federation.Deliver(0, 0, {8, 0});   // cos 1
  federation.Deliver(1, 0, {-1, 0});  // cos −1
  federation.Deliver(3, 0, {3, 4});   // cos 0.6
  EXPECT_EQ(federation.run().current(), Version(0));
  federation.Deliver(2, 0, {2, 0});
  ASSERT_EQ(federation.run().current(), Version(1));
  // ½·½·((2, 0) + (1.2, 1.6))
  EXPECT_THAT(federation.weights(), Pointwise(FloatNear(1e-7F), {0.8F, 0.4F}));
  EXPECT_EQ(federation.coefficient(0), 0.25 * 0.5 * 0.5);
  EXPECT_EQ(federation.coefficient(1), 0);
  EXPECT_THAT(federation.coefficient(3), DoubleNear(0.4 * 0.5 * 0.5, 1e-15));
  EXPECT_EQ(federation.coefficient(2), 0);
  const std::vector<Contribution>& parts = federation.version().contributions;
  ASSERT_THAT(parts, SizeIs(4));
  EXPECT_EQ(parts[0].site, SiteId("c"));  // Before the others.
  EXPECT_THAT(FactorsOf(parts[0], WeightFactor::Kind::kValidator), ElementsAre(0));
  EXPECT_THAT(FactorsOf(parts[2], WeightFactor::Kind::kRobust), ElementsAre(0));
  EXPECT_THAT(FactorsOf(parts[2], WeightFactor::Kind::kRescale), IsEmpty());
  // What they count is not how long they were.
  EXPECT_EQ(federation.run().participants.at(SiteId("a")).influence, 0.25);
  EXPECT_EQ(federation.run().participants.at(SiteId("b")).influence, 0);
  for (const char* site : {"a", "b", "c", "d"}) {
    EXPECT_EQ(federation.run().participants.at(SiteId(site)).tasks.at(TaskId(1)).phase,
              TaskPhase::kIncluded);
  }
}

TEST(ZenoLedger, AVersionOfNobodyIsTheSameModel) {
  MergedFederation federation(kZeno, kExamples, {1, 2});
  federation.Deliver(2, 0, {2, 0});
  federation.Deliver(4, 0, {-1, 0.5F});
  EXPECT_EQ(federation.run().current(), Version(1));
  EXPECT_THAT(federation.weights(), ElementsAre(1, 2));
  EXPECT_EQ(federation.coefficient(4), 0);
}

// No angle is that of nothing; and one who sends next to nothing would be lengthened beyond f32.
TEST(ZenoLedger, DoesNotLengthenWhatHasNoDirection) {
  MergedFederation federation(kZeno, kExamples, {1, 2});
  federation.Deliver(2, 0, {2, 0});
  for (const float tiny : {0.0F, 1e-37F, 1e-44F}) {
    federation.Deliver(4, 0, {tiny, 0});
    EXPECT_EQ(federation.coefficient(4), 0) << tiny;
  }
  federation.Deliver(4, 0, {1e-9F, 0});
  EXPECT_EQ(federation.run().phase, RunPhase::kRunning);
  EXPECT_THAT(federation.weights(), Pointwise(FloatNear(1e-6F), {3.0F, 2.0F}));
}

TEST(ZenoLedger, EpsilonIsInTheUnitOfASquare) {
  // cos −1 passes where ε >= ‖v‖²·(1 + ρ/γ) = 4·1.5.
  for (const auto& [epsilon, passes] : {std::pair("5.99", false), std::pair("6.01", true)}) {
    MergedFederation federation(
        absl::StrCat("preset: ZENO transform { zeno { validator: 'c' gamma: 0.2 rho: 0.1 epsilon: ",
                     epsilon, " } }"),
        kExamples, {0, 0});
    federation.Deliver(2, 0, {2, 0});
    federation.Deliver(4, 0, {-1, 0});
    EXPECT_EQ(federation.coefficient(4), passes ? 2 : 0) << epsilon;
  }
}

// The step shrinks by the age of what is added.
TEST(ZenoLedger, TheReferencesAgeShortensNoStep) {
  MergedFederation federation(
      absl::StrCat(kZeno, " server { sgd {} delay_adaptive { staleness_free: 0 } }"), kExamples,
      {0, 0});
  federation.Deliver(2, 0, {2, 0});
  for (int version = 0; version < 4; ++version) federation.Deliver(0, 0, {1, 0});
  federation.Deliver(2, 3, {2, 0});
  federation.Deliver(0, 0, {1, 0});
  EXPECT_EQ(federation.coefficient(0), 2);
  federation.Deliver(0, 4, {1, 0});
  EXPECT_EQ(federation.coefficient(0), 0.5);
}

// ---- Waiting for the validator

TEST(ZenoWaits, ForTheFirstReferenceWithNoMoreInHandThanTasks) {
  MergedFederation federation(kZeno, kExamples, {0, 0});
  const auto open = [&federation](const char* site) {
    return federation.run().participants.at(SiteId(site)).open.size();
  };
  EXPECT_EQ(open("a"), 2u);
  EXPECT_EQ(open("c"), 1u);
  federation.Deliver(0, 0, {1, 0});
  EXPECT_EQ(open("a"), 1u);
  federation.Deliver(0, 0, {1, 0});
  EXPECT_EQ(open("a"), 0u);
  EXPECT_EQ(federation.run().current(), Version(0));
  federation.Deliver(2, 0, {2, 0});
  // Both are in a version now; the next ones need no further word of the validator.
  EXPECT_EQ(federation.run().current(), Version(2));
  EXPECT_EQ(open("a"), 2u);
  EXPECT_EQ(open("c"), 1u);
  federation.Deliver(1, 0, {1, 0});
  EXPECT_EQ(federation.run().current(), Version(3));
}

TEST(ZenoWaits, WithOneUpdateOfTheValidatorAtATime) {
  MergedFederation federation(kZeno, kExamples, {0, 0});
  const auto open = [&federation] {
    return federation.run().participants.at(SiteId("c")).open.size();
  };
  federation.Deliver(2, 0, {2, 0});
  EXPECT_EQ(open(), 0u);
  federation.Deliver(0, 0, {1, 0});
  EXPECT_EQ(open(), 1u);
  federation.Deliver(2, 0, {0, 2});
  federation.Deliver(0, 0, {1, 0});  // Scored by the newer one.
  EXPECT_EQ(federation.coefficient(0), 0);
}

TEST(ZenoWaits, WhileTheReferenceIsTooOld) {
  MergedFederation federation(absl::StrCat(kZeno, " limits { staleness_versions_max: 1 }"),
                              kExamples, {0, 0});
  federation.Deliver(2, 0, {2, 0});
  federation.Deliver(0, 0, {1, 0});  // Version 1
  federation.Deliver(0, 0, {1, 0});  // Version 2, with a reference one version old.
  federation.Deliver(0, 0, {1, 0});
  EXPECT_EQ(federation.run().current(), Version(2));
  EXPECT_FALSE(HasReference(federation.run()));
  federation.Deliver(2, 0, {2, 0});
  EXPECT_EQ(federation.run().current(), Version(3));
}

// The validator's update arrives when a version is being made, and with it is too old.
TEST(ZenoWaits, ForAnotherWhereTheNewestHasBecomeTooOldWaiting) {
  MergedFederation federation(absl::StrCat(kZeno, " limits { staleness_versions_max: 1 }"),
                              kExamples, {0, 0});
  federation.Deliver(2, 0, {2, 0});
  federation.Deliver(0, 0, {1, 0});
  ASSERT_EQ(federation.run().current(), Version(1));
  federation.Stage(0, 0, {1, 0});
  ASSERT_EQ(federation.waiting(), 1u);
  federation.Stage(2, 1, {2, 0});  // On version 0.
  while (federation.RunOne()) {
  }
  ASSERT_EQ(federation.run().current(), Version(2));
  federation.Deliver(1, 0, {1, 0});
  EXPECT_EQ(federation.run().current(), Version(2));
  federation.Deliver(2, 0, {2, 0});
  ASSERT_EQ(federation.run().current(), Version(3));
  EXPECT_THAT(federation.version().contributions, SizeIs(3));
}

TEST(ZenoWaits, InRoundsForTheValidatorTheFirstTimeOnly) {
  MergedFederation federation(
      absl::StrCat(kZeno, " trigger { barrier { deadline_ms: 50 sites_min: 1 } }"), {10, 10, 10},
      {0, 0});
  federation.Deliver(0, 0, {1, 0});
  federation.PassDeadline();
  EXPECT_EQ(federation.run().current(), Version(0));
  federation.Deliver(2, 0, {2, 0});
  EXPECT_EQ(federation.run().current(), Version(1));
  federation.Deliver(0, 0, {1, 0});
  federation.PassDeadline();
  while (federation.RunOne()) {
  }
  EXPECT_EQ(federation.run().current(), Version(2));
  EXPECT_THAT(federation.weights(), ElementsAre(4, 0));
}

// ---- Crashes, and what is kept

TEST(ZenoCrash, BetweenAnyTwoProgramsChangesNothing) {
  std::vector<std::vector<float>> ends;
  for (int crash_before = 0; crash_before < 12; ++crash_before) {
    MergedFederation federation(kZeno, kExamples, kInitial);
    int program = 0;
    int k = 0;
    for (const int site : kArrivals) {
      federation.Stage(site, static_cast<uint64_t>((3 * k) % 4), Delta(k, site));
      ++k;
      while (federation.waiting() > 0) {
        if (++program == crash_before) federation.Crash();
        ASSERT_EQ(federation.waiting(), 1u);
        ASSERT_TRUE(federation.RunOne());
      }
    }
    EXPECT_EQ(program, 2 * 23);
    ends.push_back(federation.weights());
  }
  EXPECT_THAT(ends, Each(ends[0]));
}

TEST(ZenoKeeps, TheNewestUpdateOfTheValidatorOnly) {
  TestFederation f({10, 10, 10});
  f.StartRun(MakePlan({.aggregation = kZeno, .config = "retention: UNTIL_DURABLE"}));
  const SiteId a("a"), c("c");
  // A version of a's update; what it frees of updates.
  const auto fold = [&f, &a] {
    f.Deliver(a);
    f.Answer();  // The product.
    std::vector<VectorName> updates;
    for (const Forget& forget : Of<Forget>(f.Answer())) {
      if (forget.vector.kind == VectorName::Kind::kUpdate) updates.push_back(forget.vector);
    }
    return updates;
  };
  const auto update = [&f](const SiteId& site, uint64_t task) {
    return VectorName::Update(f.participant(site).tasks.at(TaskId(task)).update);
  };
  f.Deliver(c);
  const std::vector<VectorName> first = fold();
  EXPECT_THAT(first, ElementsAre(update(a, 1)));
  const std::vector<VectorName> second = fold();
  EXPECT_THAT(second, ElementsAre(update(a, 2)));
  f.Deliver(c);
  const std::vector<VectorName> third = fold();
  EXPECT_THAT(third, UnorderedElementsAre(update(a, 3), update(c, 1)));
  std::vector<VectorName> freed;
  for (const Forget& forget : Of<Forget>(f.Step(StopRequested{f.run_id, "someone"}))) {
    freed.push_back(forget.vector);
  }
  f.now += absl::Hours(1);
  for (int i = 0; i < 2; ++i) {
    for (const auto& [timer, at] : std::map<Timer, absl::Time>(f.run().timers)) {
      for (const Forget& forget : Of<Forget>(f.Step(TimerFired{timer}))) {
        freed.push_back(forget.vector);
      }
    }
  }
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  EXPECT_THAT(freed, ::testing::Contains(update(c, 2)));
}

// ---- Without it

TEST(ZenoEnds, WhenTheValidatorLeavesOrNobodyElseIsThere) {
  MergedFederation left(kZeno, {10, 10, 10}, {0});
  left.Remove(2);
  EXPECT_GE(left.run().phase, RunPhase::kClosingValidation);
  EXPECT_EQ(left.run().why_ended, "its validator c takes no part");
  MergedFederation alone(kZeno, {10, 10, 10}, {0});
  alone.Remove(0);
  EXPECT_EQ(alone.run().phase, RunPhase::kRunning);
  alone.Remove(1);
  EXPECT_EQ(alone.run().why_ended, "only its validator is left");
}

TEST(ZenoEnds, WhereTheValidatorRefuses) {
  for (const char* config : {"", "participation { start_deadline_ms: 50 sites_min: 1 }"}) {
    TestFederation f({10, 10, 10});
    f.Step(RunSubmitted{f.run_id, MakePlan({.aggregation = kZeno, .config = config})});
    f.Decide(SiteId("a"), RunDecided::Answer::kApproved);
    f.Decide(SiteId("c"), RunDecided::Answer::kRefused);
    if (*config == '\0') {
      f.Decide(SiteId("b"), RunDecided::Answer::kApproved);
    } else {
      EXPECT_EQ(f.run().phase, RunPhase::kOffered);
      f.now += absl::Seconds(1);
      f.Step(TimerFired{f.run().timers.begin()->first});
    }
    EXPECT_EQ(f.run().phase, RunPhase::kEnded) << config;
    EXPECT_EQ(f.run().why_ended, "its validator c takes no part") << config;
  }
}

TEST(ZenoBegins, WithItsValidatorOnlyWhateverTheDeadline) {
  TestFederation f({10, 10, 10});
  f.Step(RunSubmitted{
      f.run_id, MakePlan({.aggregation = kZeno,
                          .config = "participation { start_deadline_ms: 50 sites_min: 1 }"})});
  f.Decide(SiteId("a"), RunDecided::Answer::kApproved);
  f.now += absl::Seconds(1);
  f.Step(TimerFired{f.run().timers.begin()->first});
  EXPECT_EQ(f.run().phase, RunPhase::kOffered);
  f.Decide(SiteId("c"), RunDecided::Answer::kApproved);
  EXPECT_EQ(f.run().phase, RunPhase::kDrawing);
}

TEST(ZenoEnds, BeforeItBeginsWhereTheValidatorIsNoSite) {
  TestFederation f({10, 10});
  const auto actions = f.Step(RunSubmitted{f.run_id, MakePlan({.aggregation = kZeno})});
  EXPECT_FALSE(f.engine.runs().contains(f.run_id));
  ASSERT_THAT(Of<Alarm>(actions), SizeIs(1));
  EXPECT_THAT(Of<Alarm>(actions)[0].message, HasSubstr("c is none of the sites of the run"));
}

}  // namespace
}  // namespace consilium::federation
