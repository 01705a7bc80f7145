// What a site keeps from task to task (SCAFFOLD's control variate, personal layers or models): it
// becomes the site's with the version that includes the update, no training begins before that is
// known, evaluations of a personal model read it, and blobs that nothing names again go.

#include "tests/site_agent/core/engine_fixture.h"

namespace consilium::site {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class KeptTest : public EngineFixture {
 protected:
  explicit KeptTest(v1::AggregationConfig::Preset preset = v1::AggregationConfig::SCAFFOLD) {
    StartRun(kRun, {.trigger = PlanInput::Trigger::kBarrier, .preset = preset});
    HaveModel(kRun, {.version = 0});
  }

  std::vector<Action> GrantRound(uint64_t task, uint64_t version) {
    return Step(TaskOffered{kRun, TaskId(task), Version(version), kLocalSteps});
  }
  std::vector<Action> Include(const TrainDone& trained, uint64_t version) {
    return Step(
        ReceiptOf(trained, {.kind = v1::Receipt::INCLUDED, .sequence = 5, .version = version}));
  }
  // From the grant to the receipt of its inclusion in the next version.
  TrainDone PassRound(uint64_t task, uint64_t base) {
    const TrainDone trained = SendTask(task);
    Step(ReceiptOf(trained, {}));
    Include(trained, base + 1);
    HaveModel(kRun, {.version = base + 1});
    return trained;
  }
};

TEST_F(KeptTest, ATaskTrainsWithWhatTheLastIncludedUpdateLeft) {
  const std::vector<Train> first = Of<Train>(GrantRound(1, 0));
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_FALSE(first[0].kept.has_value());
  const TrainDone one = TrainedOf(first[0]);
  Step(one);
  EXPECT_TRUE(engine_.NeedsKept(one.update));
  Step(ReceiptOf(one, {}));
  EXPECT_THAT(Of<DropKept>(Include(one, 1)), IsEmpty());
  EXPECT_TRUE(engine_.NeedsKept(one.update));
  HaveModel(kRun, {.version = 1});
  const std::vector<Train> second = Of<Train>(GrantRound(2, 1));
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].kept, one.update);
  // The next one takes its place.
  const TrainDone two = TrainedOf(second[0]);
  Step(two);
  Step(ReceiptOf(two, {}));
  const std::vector<DropKept> dropped = Of<DropKept>(Include(two, 2));
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, one.update);
  EXPECT_FALSE(engine_.NeedsKept(one.update));
  EXPECT_TRUE(engine_.NeedsKept(two.update));
}

// The round goes on without it: what the server counts, and what the site keeps, stay what they
// were.
TEST_F(KeptTest, ARefusedUpdateLeavesNothing) {
  const TrainDone one = PassRound(1, 0);
  const std::vector<Train> trains = Of<Train>(GrantRound(2, 1));
  ASSERT_THAT(trains, SizeIs(1));
  const TrainDone late = TrainedOf(trains[0]);
  Step(late);
  const std::vector<DropKept> dropped =
      Of<DropKept>(Step(UpdateRefused{kRun, TaskId(2), v1::ROUND_CLOSED, "late"}));
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, late.update);
  HaveModel(kRun, {.version = 2});
  const std::vector<Train> next = Of<Train>(GrantRound(3, 2));
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_EQ(next[0].kept, one.update);
}

// The next grant and its model may overtake the receipt.
TEST_F(KeptTest, NothingIsTrainedBeforeTheEndOfTheLastUpdateIsKnown) {
  const std::vector<Train> trains = Of<Train>(GrantRound(1, 0));
  ASSERT_THAT(trains, SizeIs(1));
  const TrainDone one = TrainedOf(trains[0]);
  Step(one);
  HaveModel(kRun, {.version = 1});
  EXPECT_THAT(Of<Train>(GrantRound(2, 1)), IsEmpty());          // Being sent.
  EXPECT_THAT(Of<Train>(Step(ReceiptOf(one, {}))), IsEmpty());  // Accepted, not included.
  const std::vector<Train> next = Of<Train>(Include(one, 1));
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_EQ(next[0].kept, one.update);
}

TEST_F(KeptTest, ACrashNeitherLosesNorDoublesIt) {
  const TrainDone one = PassRound(1, 0);
  const TrainDone two = SendTask(2);
  // Trained, and not answered: sent again, with what was kept before still in its place.
  EXPECT_THAT(Of<Train>(CrashAndStart()), IsEmpty());
  EXPECT_EQ(Run().kept, (std::map<Version, Digest>{{Version(1), one.update}}));
  EXPECT_TRUE(engine_.NeedsKept(one.update));
  EXPECT_TRUE(engine_.NeedsKept(two.update));
  Step(LinkUp{});
  Step(ReceiptOf(two, {}));
  CrashAndStart();
  Include(two, 2);
  CrashAndStart();
  EXPECT_EQ(Run().kept, (std::map<Version, Digest>{{Version(2), two.update}}));
  EXPECT_FALSE(engine_.NeedsKept(one.update));
  // Said again, it changes nothing.
  EXPECT_THAT(Of<DropKept>(Include(two, 2)), IsEmpty());
  EXPECT_EQ(Refold().StateDigest(), engine_.StateDigest());
}

// A training that crashed is done again from the same.
TEST_F(KeptTest, ATrainingThatACrashTookBeginsFromTheSame) {
  const TrainDone one = PassRound(1, 0);
  ASSERT_THAT(Of<Train>(GrantRound(2, 1)), SizeIs(1));
  const std::vector<Train> again = Of<Train>(CrashAndStart());
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].kept, one.update);
}

TEST_F(KeptTest, GoesWithTheRun) {
  const TrainDone one = PassRound(1, 0);
  const std::vector<DropKept> dropped = Of<DropKept>(Step(RunWithdrawn{kRun}));
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, one.update);
  EXPECT_FALSE(engine_.NeedsKept(one.update));
}

class PersonalTest : public KeptTest {
 protected:
  PersonalTest() : KeptTest(v1::AggregationConfig::FEDPER) {}

  // What is asked of the shell when `version` is here and is to be evaluated.
  std::vector<Evaluate> AskToEvaluate(uint64_t version) {
    return Of<Evaluate>(HaveModel(kRun, {.version = version, .evaluate = v1::VALIDATION}));
  }
  std::vector<Action> Answer(uint64_t version, v1::Split split = v1::VALIDATION) {
    return Step(EvaluationComputed{kRun, Version(version), split, SomeMetrics()});
  }
};

TEST_F(PersonalTest, EvaluationsReadWhatTheSiteKeeps) {
  const TrainDone one = PassRound(1, 0);
  const std::vector<Evaluate> asked = AskToEvaluate(2);
  ASSERT_THAT(asked, SizeIs(1));
  EXPECT_EQ(asked[0].kept, one.update);
  EXPECT_THAT(Of<DropKept>(Answer(2)), IsEmpty());
  EXPECT_TRUE(engine_.NeedsKept(one.update));
}

TEST_F(PersonalTest, AFirstEvaluationHasNothingToRead) {
  const std::vector<Evaluate> asked = AskToEvaluate(1);
  ASSERT_THAT(asked, SizeIs(1));
  EXPECT_FALSE(asked[0].kept.has_value());
}

// The shell may read it as late as it likes, whatever is included meanwhile.
TEST_F(PersonalTest, WhatAnEvaluationReadsStaysUntilItsEnd) {
  const TrainDone one = PassRound(1, 0);
  ASSERT_THAT(AskToEvaluate(2), SizeIs(1));
  const std::vector<Train> trains = Of<Train>(GrantRound(2, 2));
  ASSERT_THAT(trains, SizeIs(1));
  const TrainDone two = TrainedOf(trains[0]);
  Step(two);
  Step(ReceiptOf(two, {}));
  EXPECT_THAT(Of<DropKept>(Include(two, 3)), IsEmpty());
  EXPECT_EQ(Run().kept, (std::map<Version, Digest>{{Version(3), two.update}}));
  EXPECT_TRUE(engine_.NeedsKept(one.update));
  EXPECT_EQ(Refold().StateDigest(), engine_.StateDigest());
  const std::vector<DropKept> dropped = Of<DropKept>(Answer(2));
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, one.update);
  EXPECT_FALSE(engine_.NeedsKept(one.update));
}

// The evaluation is asked for again, and reads what is newest then.
TEST_F(PersonalTest, ACrashLetsGoOfWhatAnEvaluationWasReading) {
  const TrainDone one = PassRound(1, 0);
  ASSERT_THAT(AskToEvaluate(2), SizeIs(1));
  const std::vector<Train> trains = Of<Train>(GrantRound(2, 2));
  ASSERT_THAT(trains, SizeIs(1));
  const TrainDone two = TrainedOf(trains[0]);
  Step(two);
  Step(ReceiptOf(two, {}));
  Include(two, 3);
  const std::vector<Action> after = CrashAndStart();
  const std::vector<DropKept> dropped = Of<DropKept>(after);
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, one.update);
  const std::vector<Evaluate> again = Of<Evaluate>(after);
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].kept, two.update);
}

TEST_F(PersonalTest, AWithdrawnRunLeavesNothing) {
  const TrainDone one = PassRound(1, 0);
  ASSERT_THAT(AskToEvaluate(2), SizeIs(1));
  const std::vector<DropKept> dropped = Of<DropKept>(Step(RunWithdrawn{kRun}));
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, one.update);
  EXPECT_FALSE(engine_.NeedsKept(one.update));
}

// It is the site's part of the run's result.
TEST_F(PersonalTest, OutlivesTheRun) {
  const TrainDone one = PassRound(1, 0);
  const std::vector<Evaluate> tests =
      Of<Evaluate>(Step(RunEnded{kRun, Version(1), Version(1), "done"}));
  ASSERT_THAT(tests, SizeIs(1));
  EXPECT_EQ(tests[0].split, v1::TEST);
  EXPECT_EQ(tests[0].kept, one.update);
  EXPECT_THAT(Of<DropKept>(Answer(1, v1::TEST)), IsEmpty());
  CrashAndStart();
  EXPECT_TRUE(engine_.NeedsKept(one.update));
  EXPECT_TRUE(engine_.NeedsModel(kRun, Version(1)));
}

TEST_F(KeptTest, AControlVariateIsOfNoUseWhenTheRunIsOver) {
  const TrainDone one = PassRound(1, 0);
  // It is no part of what is evaluated either.
  const std::vector<Evaluate> tests =
      Of<Evaluate>(Step(RunEnded{kRun, Version(1), Version(1), "done"}));
  ASSERT_THAT(tests, SizeIs(1));
  EXPECT_FALSE(tests[0].kept.has_value());
  const std::vector<DropKept> dropped =
      Of<DropKept>(Step(EvaluationComputed{kRun, Version(1), v1::TEST, SomeMetrics()}));
  ASSERT_THAT(dropped, SizeIs(1));
  EXPECT_EQ(dropped[0].update, one.update);
}

TEST_F(EngineFixture, WithoutControlVariatesNothingIsKept) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone trained = SendTask(1);
  EXPECT_FALSE(engine_.NeedsKept(trained.update));
  // The next task need not wait.
  EXPECT_THAT(Of<Train>(Grant(kRun, 2)), SizeIs(1));
  EXPECT_THAT(Of<DropKept>(Step(ReceiptOf(
                  trained, {.kind = v1::Receipt::INCLUDED, .sequence = 5, .version = 1}))),
              IsEmpty());
}

}  // namespace
}  // namespace consilium::site
