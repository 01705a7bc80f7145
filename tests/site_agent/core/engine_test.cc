// The rules of a site's engine, one by one (docs/adr/0001-lifecycle.md).

#include "site_agent/core/engine.h"

#include "tests/site_agent/core/engine_fixture.h"

namespace consilium::site {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

using SiteEngineTest = EngineFixture;

TEST_F(SiteEngineTest, AnApprovedRunReportsDecisionThenStatisticsAndAgainWhenOfferedAgain) {
  const RunOffered offer = OfferOf(kRun, PlanOf({}));
  EXPECT_THAT(Of<CheckPlan>(Step(offer)), SizeIs(1));
  EXPECT_THAT(Step(offer), IsEmpty());  // Not decided yet.
  const auto decided = Step(Approval(kRun));
  ASSERT_THAT(Of<ReportDecision>(decided), SizeIs(1));
  EXPECT_TRUE(Of<ReportDecision>(decided)[0].decision->approved());
  EXPECT_EQ(Of<ReportDecision>(decided)[0].decision->plan_hash(), ToBytes(offer.plan_hash));
  EXPECT_THAT(Of<ComputeStatistics>(decided), SizeIs(1));
  EXPECT_THAT(Of<ReportStatistics>(Step(StatisticsOf(kRun))), SizeIs(1));
  const auto again = Step(offer);
  ASSERT_THAT(again, SizeIs(2));
  EXPECT_EQ(std::get<ReportDecision>(again[0]).decision, Of<ReportDecision>(decided)[0].decision);
  EXPECT_EQ(std::get<ReportStatistics>(again[1]).report->sums(0), 12.5);
}

TEST_F(SiteEngineTest, StatisticsStayWhereTheRunDoesNotStandardise) {
  Step(OfferOf(kRun, PlanOf({.standardise = v1::DataConfig::NONE})));
  EXPECT_THAT(Of<ComputeStatistics>(Step(Approval(kRun))), IsEmpty());
}

TEST_F(SiteEngineTest, ARefusalSaysWhyAndNothingIsDoneForTheRun) {
  Step(LinkUp{});
  Step(OfferOf(kRun, PlanOf({})));
  const auto decided = Of<ReportDecision>(
      Step(PlanChecked{kRun, PlanChecked::Answer::kRefused, v1::NO_DATASET, "no table", 7}));
  ASSERT_THAT(decided, SizeIs(1));
  EXPECT_FALSE(decided[0].decision->approved());
  EXPECT_EQ(decided[0].decision->reason(), v1::NO_DATASET);
  EXPECT_EQ(decided[0].decision->train_examples(), 0U);
  const auto announced = Step(Announcement(kRun, {.evaluate = v1::VALIDATION}));
  ASSERT_THAT(announced, SizeIs(1));
  EXPECT_EQ(std::get<Alarm>(announced[0]).reason, v1::NOT_APPROVED);
}

TEST_F(SiteEngineTest, APersonMayDecideLater) {
  Step(OfferOf(kRun, PlanOf({})));
  EXPECT_THAT(Step(PlanChecked{kRun, PlanChecked::Answer::kWaitsForPerson, {}, "", 0}), IsEmpty());
  EXPECT_THAT(Of<CheckPlan>(CrashAndStart()), SizeIs(1));
  EXPECT_THAT(Of<ReportDecision>(Step(Approval(kRun))), SizeIs(1));
}

TEST_F(SiteEngineTest, ARunWaitsForItsData) {
  Step(LinkUp{});
  Step(OfferOf(kRun, PlanOf({})));
  const PlanChecked missing = {kRun, PlanChecked::Answer::kWaitsForData, v1::NO_DATASET, "none", 0};
  EXPECT_THAT(Step(missing), IsEmpty());
  EXPECT_EQ(Run().missing_data, "none");
  EXPECT_TRUE(Run().plan->has_config());
  // Neither an attach nor a restart makes a refusal of it.
  EXPECT_THAT(Of<ReportDecision>(Step(LinkUp{})), IsEmpty());
  EXPECT_THAT(Of<CheckPlan>(CrashAndStart()), SizeIs(1));
  EXPECT_EQ(Run().missing_data, "none");
  const auto decided = Of<ReportDecision>(Step(Approval(kRun)));
  ASSERT_THAT(decided, SizeIs(1));
  EXPECT_TRUE(decided[0].decision->approved());
  EXPECT_EQ(Run().missing_data, "");
  // A look that comes too late changes nothing.
  EXPECT_THAT(Step(missing), IsEmpty());
  EXPECT_EQ(Run().missing_data, "");
}

TEST_F(SiteEngineTest, TheNewestModelThatIsHereIsTheBase) {
  StartRun(kRun, {});
  HaveModel(kRun, {.version = 3});
  Step(Announcement(kRun, {.version = 4}));  // Not here yet.
  const auto trains = Of<Train>(Grant(kRun, 1));
  ASSERT_THAT(trains, SizeIs(1));
  EXPECT_EQ(trains[0].base, Version(3));
  EXPECT_EQ(trains[0].base_model_id, Announcement(kRun, {.version = 3}).model_id);
}

TEST_F(SiteEngineTest, TrainingWaitsForABaseThatIsNewEnough) {
  StartRun(kRun, {});
  HaveModel(kRun, {.version = 3});
  EXPECT_THAT(Of<Train>(Step(TaskOffered{kRun, TaskId(1), Version(5), kLocalSteps})), IsEmpty());
  EXPECT_THAT(Of<Train>(HaveModel(kRun, {.version = 4})), IsEmpty());
  const auto trains = Of<Train>(HaveModel(kRun, {.version = 6}));
  ASSERT_THAT(trains, SizeIs(1));
  EXPECT_EQ(trains[0].base, Version(6));
}

TEST_F(SiteEngineTest, TrainingWaitsForTheRunToStart) {
  Step(LinkUp{});
  Step(OfferOf(kRun, PlanOf({})));
  Step(Approval(kRun));
  EXPECT_THAT(Of<Fetch>(Step(Announcement(kRun, {.version = 0}))), IsEmpty());
  EXPECT_THAT(Of<Train>(Grant(kRun, 1)), IsEmpty());
  EXPECT_THAT(Of<Train>(Step(StartOf(kRun))), IsEmpty());
  EXPECT_THAT(Of<Train>(HaveModel(kRun, {.version = 0})), SizeIs(1));
}

TEST_F(SiteEngineTest, TheOldestGrantOfAllRunsIsTrainedFirstAndOneAtATime) {
  const RunId other("other");
  StartRun(kRun, {});
  StartRun(other, {});
  HaveModel(kRun, {});
  HaveModel(other, {});
  const auto first = Of<Train>(Grant(other, 1));
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_THAT(Of<Train>(Grant(kRun, 1)), IsEmpty());
  EXPECT_THAT(Of<Train>(Grant(other, 2)), IsEmpty());
  const auto second = Of<Train>(Step(TrainedOf(first[0])));
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].run, kRun);
}

TEST_F(SiteEngineTest, TheOutboxHoldsTwo) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone first = SendTask(1);
  SendTask(2);
  EXPECT_THAT(Of<Train>(Grant(kRun, 3)), IsEmpty());
  EXPECT_THAT(Of<Train>(Step(ReceiptOf(first, {}))), SizeIs(1));
}

TEST_F(SiteEngineTest, APacedSiteIsBusyUntilItsUpdateIsReleased) {
  StartRun(kRun, {.task_duration_min_ms = 10000});
  HaveModel(kRun, {});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  Grant(kRun, 2);
  Pass(absl::Seconds(3));
  const auto trained = Step(TrainedOf(train));
  ASSERT_THAT(trained, SizeIs(1));
  const SetTimer timer = std::get<SetTimer>(trained[0]);
  EXPECT_EQ(timer.at, now_ + absl::Seconds(7));
  Pass(absl::Seconds(7));
  const auto released = Step(TimerFired{timer.timer});
  EXPECT_THAT(Of<Send>(released), SizeIs(1));
  EXPECT_THAT(Of<Train>(released), SizeIs(1));
}

TEST_F(SiteEngineTest, ASitesOwnPaceCountsWhereItIsSlower) {
  engine_ = SiteEngine(SiteId(kSiteName), {.task_duration_min = absl::Minutes(2)});
  StartRun(kRun, {.task_duration_min_ms = 10000});
  HaveModel(kRun, {});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  EXPECT_EQ(Of<SetTimer>(Step(TrainedOf(train))).at(0).at, now_ + absl::Minutes(2));
}

TEST_F(SiteEngineTest, APaceOfPartsOfANanosecondIsOverWhenItsTimerFires) {
  const absl::Duration pace = absl::Minutes(2) + absl::Nanoseconds(3) / 4;
  engine_ = SiteEngine(SiteId(kSiteName), {.task_duration_min = pace});
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  const SetTimer timer = Of<SetTimer>(Step(TrainedOf(train))).at(0);
  EXPECT_GE(timer.at, now_ + pace);
  now_ = timer.at;
  EXPECT_THAT(Of<Send>(Step(TimerFired{timer.timer})), SizeIs(1));
}

TEST_F(SiteEngineTest, WithoutALinkItTrainsOnAndSendsLater) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  Step(LinkDown{});
  EXPECT_THAT(Of<Send>(Step(TrainedOf(train))), IsEmpty());
  EXPECT_THAT(Of<Train>(Grant(kRun, 2)), SizeIs(1));
  EXPECT_THAT(Of<Send>(Step(LinkUp{})), SizeIs(1));
}

TEST_F(SiteEngineTest, EvaluationDoesNotWaitForTraining) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  Grant(kRun, 1);
  ASSERT_EQ(PhaseOf(1), TaskPhase::kTraining);
  const auto here = HaveModel(kRun, {.version = 1, .evaluate = v1::VALIDATION});
  ASSERT_THAT(Of<Evaluate>(here), SizeIs(1));
  const auto reports = Of<ReportEvaluation>(
      Step(EvaluationComputed{kRun, Version(1), v1::VALIDATION, SomeMetrics()}));
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].report->version(), 1U);
  // Asked again: said again, not computed again.
  const auto again = Step(Announcement(kRun, {.version = 1, .evaluate = v1::VALIDATION}));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(std::get<ReportEvaluation>(again[0]).report, reports[0].report);
}

TEST_F(SiteEngineTest, OlderVersionsAreEvaluatedFirst) {
  StartRun(kRun, {});
  Step(LinkDown{});
  for (uint64_t v = 0; v < 3; ++v) {
    Step(Announcement(kRun, {.version = v, .evaluate = v1::VALIDATION}));
  }
  // Fetched for training before the others, but not evaluated before them.
  ASSERT_EQ(Of<Fetch>(Step(LinkUp{})).at(0).version, Version(2));
  const auto newest = Step(ModelFetched{kRun, Version(2)});
  EXPECT_THAT(Of<Evaluate>(newest), IsEmpty());
  ASSERT_EQ(Of<Fetch>(newest).at(0).version, Version(0));
  ASSERT_EQ(Of<Evaluate>(Step(ModelFetched{kRun, Version(0)})).at(0).version, Version(0));
  EXPECT_THAT(Of<Evaluate>(Step(ModelFetched{kRun, Version(1)})), IsEmpty());
  for (uint64_t v = 0; v < 2; ++v) {
    const auto next =
        Of<Evaluate>(Step(EvaluationComputed{kRun, Version(v), v1::VALIDATION, SomeMetrics()}));
    ASSERT_EQ(next.at(0).version, Version(v + 1));
  }
}

TEST_F(SiteEngineTest, ASupersededVersionThatNobodyWantsIsNotFetched) {
  StartRun(kRun, {});
  ASSERT_THAT(Of<Fetch>(Step(Announcement(kRun, {.version = 0}))), SizeIs(1));
  Step(Announcement(kRun, {.version = 1}));
  Step(Announcement(kRun, {.version = 2, .evaluate = v1::VALIDATION}));
  Step(Announcement(kRun, {.version = 3}));
  const auto first = Of<Fetch>(Step(ModelFetched{kRun, Version(0)}));
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(first[0].version, Version(3));
  const auto second = Of<Fetch>(Step(ModelFetched{kRun, Version(3)}));
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].version, Version(2));
}

TEST_F(SiteEngineTest, ModelsGoWhenNothingNeedsThem) {
  StartRun(kRun, {});
  HaveModel(kRun, {.version = 0});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  EXPECT_THAT(Of<DropModel>(HaveModel(kRun, {.version = 1})), IsEmpty());  // 0 is in training.
  const auto trained = Of<DropModel>(Step(TrainedOf(train)));
  ASSERT_THAT(trained, SizeIs(1));
  EXPECT_EQ(trained[0].version, Version(0));
  EXPECT_FALSE(engine_.NeedsModel(kRun, Version(0)));
  EXPECT_TRUE(engine_.NeedsModel(kRun, Version(1)));
}

TEST_F(SiteEngineTest, AFailedSendWaitsAsLongAsThePeerAsks) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  SendTask(1);
  const auto failed = Step(SendFailed{kRun, TaskId(1), ErrorOf(v1::BUSY, 2000), /*jitter=*/0.5});
  ASSERT_THAT(failed, SizeIs(1));
  const SetTimer timer = std::get<SetTimer>(failed[0]);
  EXPECT_EQ(timer.at, now_ + absl::Milliseconds(2250));
  EXPECT_THAT(Of<Send>(Step(LinkUp{})), IsEmpty());
  Pass(absl::Milliseconds(2250));
  EXPECT_THAT(Of<Send>(Step(TimerFired{timer.timer})), SizeIs(1));
}

TEST_F(SiteEngineTest, AFinalRefusalEndsTheTaskAndALinksFailureDoesNot) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone stale = SendTask(1);
  const auto refused = Step(UpdateRefused{kRun, TaskId(1), v1::TOO_STALE, "old"});
  ASSERT_THAT(Of<DropUpdate>(refused), SizeIs(1));
  EXPECT_EQ(Of<DropUpdate>(refused)[0].update, stale.update);
  EXPECT_EQ(PhaseOf(1), TaskPhase::kRefused);
  SendTask(2);
  EXPECT_THAT(Of<DropUpdate>(Step(SendFailed{kRun, TaskId(2), ErrorOf(v1::NOT_ATTACHED, 0), 0})),
              IsEmpty());
  EXPECT_FALSE(Run().tasks.at(TaskId(2)).phase == TaskPhase::kRefused);
}

TEST_F(SiteEngineTest, ReceiptsEndATaskOnce) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone trained = SendTask(1);
  EXPECT_THAT(Step(ReceiptOf(trained, {})), IsEmpty());
  ASSERT_THAT(engine_.HeldReceipts(), SizeIs(1));
  EXPECT_EQ(engine_.HeldReceipts()[0].update_id(), ToBytes(trained.update));
  const ReceiptReceived included =
      ReceiptOf(trained, {.kind = v1::Receipt::INCLUDED, .sequence = 5, .version = 2});
  EXPECT_THAT(Of<DropUpdate>(Step(included)), SizeIs(1));
  EXPECT_THAT(engine_.HeldReceipts(), IsEmpty());
  EXPECT_THAT(Step(included), IsEmpty());
  const auto contradiction = Step(ReceiptOf(trained, {.kind = v1::Receipt::NOT_INCLUDED}));
  ASSERT_THAT(contradiction, SizeIs(1));
  EXPECT_EQ(std::get<Alarm>(contradiction[0]).reason, v1::TASK_CONFLICT);
  EXPECT_EQ(PhaseOf(1), TaskPhase::kIncluded);
}

TEST_F(SiteEngineTest, AnEndThatOvertakesItsAcceptanceEndsTheTask) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone trained = SendTask(1);
  Step(ReceiptOf(trained, {.kind = v1::Receipt::INCLUDED, .sequence = 5, .version = 2}));
  EXPECT_EQ(PhaseOf(1), TaskPhase::kIncluded);
  Step(ReceiptOf(trained, {}));
  EXPECT_EQ(PhaseOf(1), TaskPhase::kIncluded);
  EXPECT_NE(Run().tasks.at(TaskId(1)).acceptance, nullptr);
  EXPECT_THAT(engine_.HeldReceipts(), IsEmpty());
}

TEST_F(SiteEngineTest, AReceiptForAnotherUpdateIsNotTaken) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  TrainDone forged = SendTask(1);
  forged.update[0] ^= 1;
  EXPECT_THAT(Of<Alarm>(Step(ReceiptOf(forged, {}))), SizeIs(1));
  EXPECT_EQ(PhaseOf(1), TaskPhase::kSending);
}

TEST_F(SiteEngineTest, WhatARefusalTellsIsItsReasonAlone) {
  Step(LinkUp{});
  Step(OfferOf(kRun, PlanOf({})));
  const auto reports = Of<ReportDecision>(Step(PlanChecked{
      kRun, PlanChecked::Answer::kRefused, v1::NO_DATASET, "data set hiv-2024 is of another", 0}));
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].decision->reason(), v1::NO_DATASET);
  EXPECT_THAT(reports[0].decision->message(), Not(HasSubstr("hiv")));
  EXPECT_EQ(Run().refusal, "data set hiv-2024 is of another");
  EXPECT_FALSE(Run().plan->has_config());
  // The aggregator may not have heard it.
  EXPECT_THAT(Of<ReportDecision>(Step(LinkUp{})), SizeIs(1));
}

TEST_F(SiteEngineTest, AWithdrawnRunGoesOnWithoutThisSite) {
  StartRun(kRun, {});
  HaveModel(kRun, {.version = 0});
  const TrainDone sent = SendTask(1);
  Grant(kRun, 2);
  ASSERT_EQ(PhaseOf(2), TaskPhase::kTraining);
  const auto withdrawn = Step(RunWithdrawn{kRun});
  EXPECT_THAT(Of<StopTraining>(withdrawn), SizeIs(1));
  EXPECT_THAT(Of<DropModel>(withdrawn), SizeIs(1));
  const auto reports = Of<ReportDecision>(withdrawn);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_FALSE(reports[0].decision->approved());
  EXPECT_EQ(reports[0].decision->reason(), v1::NOT_APPROVED);
  EXPECT_EQ(PhaseOf(2), TaskPhase::kWithdrawn);
  // What was being sent is not sent again, and nothing else is done for the run.
  Step(SendFailed{kRun, TaskId(1), ErrorOf(v1::BUSY, 0), 0});
  EXPECT_EQ(PhaseOf(1), TaskPhase::kWithdrawn);
  EXPECT_THAT(Of<Train>(Grant(kRun, 3)), IsEmpty());
  EXPECT_THAT(Of<Fetch>(Step(Announcement(kRun, {.version = 1, .evaluate = v1::TEST}))), IsEmpty());
  EXPECT_THAT(Of<Evaluate>(Step(RunEnded{kRun, Version(1), Version(0), "enough"})), IsEmpty());
  EXPECT_THAT(Of<CheckPlan>(Step(OfferOf(kRun, PlanOf({})))), IsEmpty());
  // Its receipt may still come.
  EXPECT_THAT(Of<Alarm>(Step(ReceiptOf(sent, {.kind = v1::Receipt::NOT_INCLUDED}))), IsEmpty());
}

TEST_F(SiteEngineTest, AWithdrawalIsSaidAgainAndOutlivesACrash) {
  StartRun(kRun, {});
  Step(RunWithdrawn{kRun});
  EXPECT_THAT(Of<ReportDecision>(Step(LinkUp{})), SizeIs(1));
  CrashAndStart();
  EXPECT_FALSE(Run().approved());
  EXPECT_THAT(Of<ReportDecision>(Step(LinkUp{})), SizeIs(1));
  // One that nobody has decided about is refused by it.
  const RunId other("run-2");
  Step(OfferOf(other, PlanOf({})));
  EXPECT_THAT(Of<ReportDecision>(Step(RunWithdrawn{other})), SizeIs(1));
  EXPECT_THAT(Step(Approval(other)), IsEmpty());
}

TEST_F(SiteEngineTest, TheEndStopsTrainingWithdrawsGrantsAndTestsTheResult) {
  StartRun(kRun, {});
  HaveModel(kRun, {.version = 0});
  Grant(kRun, 1);
  Grant(kRun, 2);
  HaveModel(kRun, {.version = 1});
  const auto ended = Step(RunEnded{kRun, Version(1), Version(0), "enough"});
  EXPECT_THAT(Of<StopTraining>(ended), SizeIs(1));
  const auto evaluations = Of<Evaluate>(ended);
  ASSERT_THAT(evaluations, SizeIs(1));
  EXPECT_EQ(evaluations[0].version, Version(0));
  EXPECT_EQ(evaluations[0].split, v1::TEST);
  EXPECT_EQ(PhaseOf(1), TaskPhase::kWithdrawn);
  EXPECT_EQ(PhaseOf(2), TaskPhase::kWithdrawn);
  // The result is what a hospital may want to keep; the other model goes.
  ASSERT_THAT(Of<DropModel>(ended), SizeIs(1));
  EXPECT_EQ(Of<DropModel>(ended)[0].version, Version(1));
  EXPECT_THAT(
      Of<ReportEvaluation>(Step(EvaluationComputed{kRun, Version(0), v1::TEST, SomeMetrics()})),
      SizeIs(1));
  EXPECT_TRUE(engine_.NeedsModel(kRun, Version(0)));
}

TEST_F(SiteEngineTest, TheResultIsFetchedAgainWhereItHadGone) {
  StartRun(kRun, {});
  HaveModel(kRun, {.version = 0});
  ASSERT_THAT(Of<DropModel>(HaveModel(kRun, {.version = 1})), SizeIs(1));
  const auto fetches = Of<Fetch>(Step(RunEnded{kRun, Version(1), Version(0), "enough"}));
  ASSERT_THAT(fetches, SizeIs(1));
  EXPECT_EQ(fetches[0].version, Version(0));
  EXPECT_EQ(fetches[0].model_id, Announcement(kRun, {.version = 0}).model_id);
}

TEST_F(SiteEngineTest, WhatWasBeingSentWhenTheRunEndedWaitsForItsAnswer) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone trained = SendTask(1);
  EXPECT_THAT(Of<DropUpdate>(Step(RunEnded{kRun, Version(0), Version(0), ""})), IsEmpty());
  Step(ReceiptOf(trained, {}));
  EXPECT_THAT(engine_.HeldReceipts(), SizeIs(1));
  EXPECT_THAT(Of<DropUpdate>(Step(ReceiptOf(trained, {.kind = v1::Receipt::NOT_INCLUDED}))),
              SizeIs(1));
}

TEST_F(SiteEngineTest, ACrashSendsWhatTheOutboxHoldsAndTrainsWhatItDoesNot) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  const TrainDone trained = SendTask(1);
  ASSERT_THAT(Of<Train>(Grant(kRun, 2)), SizeIs(1));
  const auto started = CrashAndStart();
  const auto trains = Of<Train>(started);
  ASSERT_THAT(trains, SizeIs(1));
  EXPECT_EQ(trains[0].task, TaskId(2));
  EXPECT_THAT(Of<Send>(started), IsEmpty());  // No link yet.
  const auto sends = Of<Send>(Step(LinkUp{}));
  ASSERT_THAT(sends, SizeIs(1));
  EXPECT_EQ(sends[0].update, trained.update);
  EXPECT_EQ(sends[0].header->incarnation(), incarnation_);
}

TEST_F(SiteEngineTest, ACrashSetsTheTimersAgain) {
  StartRun(kRun, {.task_duration_min_ms = 5000});
  HaveModel(kRun, {});
  Step(TrainedOf(Of<Train>(Grant(kRun, 1)).at(0)));
  const auto timers = Of<SetTimer>(CrashAndStart());
  ASSERT_THAT(timers, SizeIs(1));
  EXPECT_EQ(timers[0].at, now_ + absl::Seconds(5));
}

TEST_F(SiteEngineTest, FailedTrainingIsTriedAgainLater) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  Grant(kRun, 1);
  const auto failed = Step(TrainFailed{kRun, TaskId(1), "the loss is not finite"});
  EXPECT_THAT(Of<Alarm>(failed), SizeIs(1));
  EXPECT_THAT(Of<Train>(failed), IsEmpty());
  const SetTimer timer = Of<SetTimer>(failed).at(0);
  now_ = timer.at;
  EXPECT_THAT(Of<Train>(Step(TimerFired{timer.timer})), SizeIs(1));
}

TEST_F(SiteEngineTest, ALaterRoundsGrantClosesTheEarlierRounds) {
  StartRun(kRun, {.trigger = PlanInput::Trigger::kBarrier});
  HaveModel(kRun, {});
  const Train train = Of<Train>(Grant(kRun, 1)).at(0);
  const auto later = Step(TaskOffered{kRun, TaskId(2), Version(1), kLocalSteps});
  EXPECT_THAT(Of<StopTraining>(later), SizeIs(1));
  EXPECT_EQ(PhaseOf(1), TaskPhase::kWithdrawn);
  // It had just come to its end: what it left is not needed.
  const auto trained = Step(TrainedOf(train));
  ASSERT_THAT(trained, SizeIs(1));
  EXPECT_EQ(std::get<DropUpdate>(trained[0]).update, TrainedOf(train).update);
  EXPECT_THAT(Of<Train>(HaveModel(kRun, {.version = 1})), SizeIs(1));
}

TEST_F(SiteEngineTest, WithoutABarrierGrantsStandBesideEachOther) {
  StartRun(kRun, {});
  HaveModel(kRun, {});
  Grant(kRun, 1);
  EXPECT_THAT(Of<StopTraining>(Step(TaskOffered{kRun, TaskId(2), Version(1), kLocalSteps})),
              IsEmpty());
  EXPECT_EQ(PhaseOf(1), TaskPhase::kTraining);
}

TEST_F(SiteEngineTest, ProgressTellsTheNewestTaskOfLiveRuns) {
  StartRun(kRun, {});
  Grant(kRun, 4);
  ASSERT_THAT(engine_.Progress(), SizeIs(1));
  EXPECT_EQ(engine_.Progress()[0].newest_task_id(), 4U);
  Step(RunEnded{kRun, Version(0), Version(0), ""});
  EXPECT_THAT(engine_.Progress(), IsEmpty());
}

TEST_F(SiteEngineTest, TheStateIsTheFoldOfTheJournal) {
  StartRun(kRun, {.task_duration_min_ms = 5000});
  HaveModel(kRun, {.version = 0, .evaluate = v1::VALIDATION});
  Step(TrainedOf(Of<Train>(Grant(kRun, 1)).at(0)));
  EXPECT_EQ(Refold().StateDigest(), engine_.StateDigest());
  const Digest before = engine_.StateDigest();
  Step(LinkDown{});
  EXPECT_NE(engine_.StateDigest(), before);
}

}  // namespace
}  // namespace consilium::site
