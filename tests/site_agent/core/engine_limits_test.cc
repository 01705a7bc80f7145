// What a hostile or broken aggregator says: the engine raises an alarm and goes on, and its state
// does not grow without bound.

#include <limits>

#include "protocol/wire/limits.h"
#include "site_agent/core/runs.h"
#include "site_agent/core/tasks.h"
#include "tests/site_agent/core/engine_fixture.h"

namespace consilium::site {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class HostileAggregator : public EngineFixture {
 protected:
  // The event does nothing but raise one alarm.
  void ExpectOnlyAlarm(const Event& event, v1::Reason reason) {
    const auto actions = Step(event);
    ASSERT_THAT(actions, SizeIs(1));
    EXPECT_EQ(std::get<Alarm>(actions[0]).reason, reason);
  }
};

TEST_F(HostileAggregator, SpeaksOfARunThatItNeverOffered) {
  const RunId ghost("ghost");
  ExpectOnlyAlarm(StartOf(ghost), v1::RUN_UNKNOWN);
  ExpectOnlyAlarm(TaskOffered{ghost, TaskId(1), Version(0), 1}, v1::RUN_UNKNOWN);
  ExpectOnlyAlarm(Announcement(ghost, {}), v1::RUN_UNKNOWN);
  ExpectOnlyAlarm(UpdateRefused{ghost, TaskId(1), v1::TOO_STALE, ""}, v1::TASK_UNKNOWN);
  ExpectOnlyAlarm(RunEnded{ghost, Version(0), Version(0), ""}, v1::RUN_UNKNOWN);
  EXPECT_THAT(engine_.runs(), IsEmpty());
}

TEST_F(HostileAggregator, OffersAPlanUnderAnothersHash) {
  RunOffered offer = OfferOf(kRun, PlanOf({}));
  offer.plan = PlanOf({.task_duration_min_ms = 1});
  ExpectOnlyAlarm(offer, v1::HASH_MISMATCH);
  ExpectOnlyAlarm(RunOffered{RunId("Not A Run"), PlanOf({}), PlanHash(*PlanOf({}))}, v1::MALFORMED);
  ExpectOnlyAlarm(RunOffered{kRun, nullptr, {}}, v1::MALFORMED);
  EXPECT_THAT(engine_.runs(), IsEmpty());
}

TEST_F(HostileAggregator, ChangesAPlanAfterItWasApproved) {
  StartRun(kRun, {});
  ExpectOnlyAlarm(OfferOf(kRun, PlanOf({.task_duration_min_ms = 1})), v1::HASH_MISMATCH);
  RunStarted other = StartOf(kRun);
  other.layout_hash[0] ^= 1;
  ExpectOnlyAlarm(other, v1::LAYOUT_MISMATCH);
}

TEST_F(HostileAggregator, OffersRunsWithoutEnd) {
  const auto plan = PlanOf({});
  const RunOffered offer = OfferOf(kRun, plan);
  for (size_t i = 0; i < limits::kSiteRunsOpenMax; ++i) {
    RunOffered one = offer;
    one.run = RunId("run-" + std::to_string(i));
    EXPECT_THAT(Of<CheckPlan>(Step(one)), SizeIs(1));
  }
  RunOffered one = offer;
  one.run = RunId("one-more");
  ExpectOnlyAlarm(one, v1::BUSY);
  Step(PlanChecked{RunId("run-0"), PlanChecked::Answer::kRefused, {}, "", 0});
  EXPECT_THAT(Of<CheckPlan>(Step(one)), SizeIs(1));
}

TEST_F(HostileAggregator, OffersLargePlansWithoutEnd) {
  v1::RunPlan large = *PlanOf({});
  large.mutable_config()->mutable_model()->set_spec_file(std::string(4 << 20, 'x'));
  const auto plan = std::make_shared<const v1::RunPlan>(large);
  const size_t bytes = plan->ByteSizeLong();
  int runs = 0;
  const auto offer = [&] {
    const RunOffered event = OfferOf(RunId("run-" + std::to_string(++runs)), plan);
    const bool would = engine_.WouldLookAt(event);
    EXPECT_THAT(Of<CheckPlan>(engine_.Step(now_, event)), SizeIs(would ? 1 : 0));
    EXPECT_FALSE(engine_.WouldLookAt(event));
    return would;
  };
  size_t held = 0;
  while (offer()) ++held;
  EXPECT_EQ(held, kPlanBytesHeldMax / bytes);
  // The plan of a refused run is let go of, but stays in the journal.
  for (size_t run = 1; run <= held; ++run) {
    engine_.Step(
        now_,
        PlanChecked{RunId("run-" + std::to_string(run)), PlanChecked::Answer::kRefused, {}, "", 0});
  }
  size_t taken = held;
  while (offer()) {
    ++taken;
    engine_.Step(
        now_, PlanChecked{
                  RunId("run-" + std::to_string(runs)), PlanChecked::Answer::kRefused, {}, "", 0});
  }
  EXPECT_EQ(taken, kPlanBytesTakenMax / bytes);
}

TEST_F(HostileAggregator, GrantsTasksWithoutEnd) {
  StartRun(kRun, {});
  for (uint64_t task = 1; task <= limits::kSiteGrantsOpenMax; ++task) Grant(kRun, task);
  ExpectOnlyAlarm(TaskOffered{kRun, TaskId(1000), Version(0), kLocalSteps}, v1::BUSY);
  EXPECT_THAT(Run().tasks, SizeIs(limits::kSiteGrantsOpenMax));
}

// One step on one example is that example; the plan that a person approved says how many there are.
TEST_F(HostileAggregator, GrantsTasksOfAnotherLengthThanThePlans) {
  StartRun(kRun, {});
  ExpectOnlyAlarm(TaskOffered{kRun, TaskId(0), Version(0), kLocalSteps}, v1::MALFORMED);
  for (const uint32_t steps : {0U, 1U, kLocalSteps - 1, kLocalSteps + 1, UINT32_MAX}) {
    ExpectOnlyAlarm(TaskOffered{kRun, TaskId(1), Version(0), steps}, v1::NOT_APPROVED);
  }
  EXPECT_THAT(Run().tasks, IsEmpty());
}

TEST_F(HostileAggregator, GrantsShorterTasksThanTheContractSays) {
  StartRun(kRun, {.local_steps_share_min = 0.25});
  for (const uint32_t steps : {0U, 4U, kLocalSteps + 1}) {
    ExpectOnlyAlarm(TaskOffered{kRun, TaskId(1), Version(0), steps}, v1::NOT_APPROVED);
  }
  for (const uint32_t steps : {5U, kLocalSteps}) {
    Step(TaskOffered{kRun, TaskId(steps), Version(0), steps});
    EXPECT_EQ(Run().tasks.at(TaskId(steps)).local_steps, steps);
  }
}

TEST_F(HostileAggregator, GrantsMoreTasksThanThePlanHasUseFor) {
  StartRun(kRun, {.versions_max = 3});
  HaveModel(kRun, {});
  const size_t most = 2 * 2 * 3 + limits::kSiteGrantsOpenMax;  // Versions of two updates each.
  for (uint64_t task = 1; task <= most; ++task) {
    const TrainDone trained = SendTask(task);
    Step(ReceiptOf(trained, {.sequence = task}));
  }
  ExpectOnlyAlarm(TaskOffered{kRun, TaskId(most + 1), Version(0), kLocalSteps}, v1::NOT_APPROVED);
  EXPECT_THAT(Run().tasks, SizeIs(most));
}

TEST_F(HostileAggregator, MayGrantASiteWhatABucketWaitsWith) {
  v1::RunPlan plan = *PlanOf({.versions_max = 3});
  EXPECT_EQ(TasksMax(plan), 2 * 2 * 3 + limits::kSiteGrantsOpenMax);
  plan.mutable_config()->mutable_aggregation()->mutable_combine()->mutable_buckets();
  EXPECT_EQ(TasksMax(plan), 2 * 10 * 3 + limits::kSiteGrantsOpenMax);
}

TEST_F(HostileAggregator, MayGrantASiteWhatMakesAVersionOfALiveShare) {
  v1::RunPlan plan = *PlanOf({.versions_max = 3});
  v1::Trigger& trigger = *plan.mutable_config()->mutable_aggregation()->mutable_trigger();
  trigger.mutable_buffer()->set_live_share_min(0.5);
  EXPECT_EQ(TasksMax(plan), 2 * 10 * 3 + limits::kSiteGrantsOpenMax);
  trigger.mutable_buffer()->set_updates(12);
  EXPECT_EQ(TasksMax(plan), 2 * 12 * 3 + limits::kSiteGrantsOpenMax);
}

TEST_F(HostileAggregator, AsksForScoresThatThePlanHasNoUseFor) {
  StartRun(kRun, {.versions_max = 3});
  ExpectOnlyAlarm(Announcement(kRun, {.version = 0, .evaluate = v1::TRAIN}), v1::MALFORMED);
  ExpectOnlyAlarm(Announcement(kRun, {.version = 4, .evaluate = v1::VALIDATION}), v1::NOT_APPROVED);
  // Test patients answer for one version.
  EXPECT_THAT(Of<Evaluate>(HaveModel(kRun, {.version = 2, .evaluate = v1::TEST})), SizeIs(1));
  Step(EvaluationComputed{kRun, Version(2), v1::TEST, SomeMetrics()});
  ExpectOnlyAlarm(Announcement(kRun, {.version = 3, .evaluate = v1::TEST}), v1::NOT_APPROVED);
  EXPECT_THAT(Of<ReportEvaluation>(Step(Announcement(kRun, {.version = 2, .evaluate = v1::TEST}))),
              SizeIs(1));
  HaveModel(kRun, {.version = 3});
  const auto ended = Step(RunEnded{kRun, Version(3), Version(3), "enough"});
  EXPECT_THAT(Of<Evaluate>(ended), IsEmpty());
}

TEST_F(HostileAggregator, AsksAboutAVersionAgainUnderAnotherContent) {
  StartRun(kRun, {});
  Step(LinkDown{});
  for (uint64_t v = 0; v <= limits::kSiteVersionsKnownMax; ++v)
    Step(Announcement(kRun, {.version = v}));
  // Version 0 has left what is remembered.
  ExpectOnlyAlarm(Announcement(kRun, {.version = 0, .evaluate = v1::VALIDATION, .content = "new"}),
                  v1::VERSION_UNKNOWN);
}

TEST_F(HostileAggregator, AnnouncesModelsWithoutEnd) {
  StartRun(kRun, {});
  Step(LinkDown{});
  for (uint64_t v = 0; v < 2 * limits::kSiteVersionsKnownMax; ++v) {
    Step(Announcement(kRun, {.version = v, .evaluate = v1::VALIDATION}));
  }
  EXPECT_LE(Run().announced.size(), limits::kSiteVersionsKnownMax);
  EXPECT_LE(Run().models.size(), limits::kSiteModelsWantedMax + 1);
}

// No hostility: a long run whose best version is an early one.
TEST_F(HostileAggregator, MayHaveTheResultTestedHoweverOldItIs) {
  StartRun(kRun, {});
  Step(LinkDown{});
  for (uint64_t v = 0; v < limits::kSiteVersionsKnownMax + 100; ++v) {
    Step(Announcement(kRun, {.version = v}));
  }
  EXPECT_THAT(Of<Evaluate>(HaveModel(kRun, {.version = 16, .evaluate = v1::TEST})), SizeIs(1));
  EXPECT_LE(Run().announced.size(), limits::kSiteVersionsKnownMax);
  ExpectOnlyAlarm(Announcement(kRun, {.version = 17, .evaluate = v1::TEST}), v1::NOT_APPROVED);
  ExpectOnlyAlarm(Announcement(kRun, {.version = 16, .evaluate = v1::TEST, .content = "new"}),
                  v1::HASH_MISMATCH);
}

TEST_F(HostileAggregator, AnnouncesWhatCanNotBe) {
  StartRun(kRun, {});
  ModelAvailable model = Announcement(kRun, {});
  model.payload_bytes = limits::kPayloadBytesMax + 1;
  ExpectOnlyAlarm(model, v1::OVERSIZE);
  model = Announcement(kRun, {});
  model.evaluate = static_cast<v1::Split>(99);
  ExpectOnlyAlarm(model, v1::MALFORMED);
  Step(Announcement(kRun, {}));
  ExpectOnlyAlarm(Announcement(kRun, {.content = "another"}), v1::HASH_MISMATCH);
}

TEST_F(HostileAggregator, AsksAboutAModelOfARunThatHasNotStarted) {
  Step(LinkUp{});
  Step(OfferOf(kRun, PlanOf({})));
  Step(Approval(kRun));
  ExpectOnlyAlarm(Announcement(kRun, {.evaluate = v1::VALIDATION}), v1::MALFORMED);
  // It ends before it has begun, and there is nothing to wait for.
  EXPECT_THAT(Step(RunEnded{kRun, Version(0), Version(0), "too few"}), IsEmpty());
  EXPECT_FALSE(Run().plan->has_config());
  ExpectOnlyAlarm(Announcement(kRun, {.evaluate = v1::TEST}), v1::MALFORMED);
  EXPECT_THAT(Run().models, IsEmpty());
}

TEST_F(HostileAggregator, StartsARunWithAStandardisationThatDividesByZero) {
  Step(OfferOf(kRun, PlanOf({})));
  Step(Approval(kRun));
  for (double deviation : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    auto standardisation = std::make_shared<v1::Standardisation>();
    standardisation->add_means(0);
    standardisation->add_deviations(deviation);
    ExpectOnlyAlarm(RunStarted{kRun, {}, standardisation}, v1::MALFORMED);
  }
  EXPECT_EQ(Run().standardisation, nullptr);
}

TEST_F(HostileAggregator, SendsReceiptsThatFitNothing) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  ExpectOnlyAlarm(ReceiptOf(TrainedOf(train), {}), v1::TASK_CONFLICT);  // Not trained yet.
  ExpectOnlyAlarm(UpdateRefused{kRun, TaskId(1), v1::TOO_STALE, ""}, v1::TASK_CONFLICT);
  EXPECT_THAT(Step(ReceiptReceived{nullptr}), IsEmpty());
  Step(TrainedOf(train));
  auto receipt = std::make_shared<v1::Receipt>(*ReceiptOf(TrainedOf(train), {}).receipt);
  receipt->set_kind(static_cast<v1::Receipt::Kind>(77));
  ExpectOnlyAlarm(ReceiptReceived{receipt}, v1::MALFORMED);
  receipt->set_kind(v1::Receipt::ACCEPTED);
  receipt->set_site_id("another");
  ExpectOnlyAlarm(ReceiptReceived{receipt}, v1::TASK_CONFLICT);
  receipt->set_update_id("short");
  ExpectOnlyAlarm(ReceiptReceived{receipt}, v1::TASK_CONFLICT);
}

TEST_F(HostileAggregator, EndsARunInTwoWays) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  Step(RunEnded{kRun, Version(0), Version(0), ""});
  EXPECT_THAT(Of<Alarm>(Step(RunEnded{kRun, Version(0), Version(0), ""})), IsEmpty());
  ExpectOnlyAlarm(RunEnded{kRun, Version(9), Version(9), ""}, v1::MALFORMED);
  EXPECT_EQ(Run().result, Version(0));
}

}  // namespace
}  // namespace consilium::site
