// The lifecycle, one rule of docs/adr/0001-lifecycle.md at a time: runs and tasks.

#include "aggregator/core/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "aggregator/core/admission.h"
#include "aggregator/core/run_views.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SiteId kA("a");
const SiteId kB("b");
const SiteId kC("c");

std::vector<SendReceipt> Receipts(const std::vector<Action>& actions, v1::Receipt::Kind kind) {
  std::vector<SendReceipt> out;
  for (const SendReceipt& receipt : Of<SendReceipt>(actions)) {
    if (receipt.kind == kind) out.push_back(receipt);
  }
  return out;
}

v1::Reason RefusalOf(const std::vector<Action>& actions) {
  EXPECT_THAT(Of<SendReceipt>(actions), IsEmpty());
  const auto refusals = Of<RefuseUpdate>(actions);
  if (refusals.size() != 1) return v1::REASON_UNSPECIFIED;
  EXPECT_NE(refusals[0].message, "");
  return refusals[0].reason;
}

// ---- A run from offer to end

TEST(Run, GoesFromTheOfferToItsEnd) {
  TestFederation f({10, 20});
  const auto offered = f.Step(RunSubmitted{f.run_id, MakePlan({.versions_max = 1})});
  ASSERT_THAT(Of<OfferRun>(offered), SizeIs(2));
  EXPECT_THAT(Of<DrawInitialModel>(f.Decide(kA, RunDecided::Answer::kApproved)), IsEmpty());
  EXPECT_THAT(Of<DrawInitialModel>(f.Decide(kB, RunDecided::Answer::kApproved)), SizeIs(1));
  const auto started = f.Answer();
  EXPECT_THAT(Of<StartRun>(started), SizeIs(2));
  EXPECT_THAT(Of<OfferTask>(started), SizeIs(4));  // Two credits each.
  ASSERT_THAT(Of<AnnounceModel>(started), SizeIs(2));
  EXPECT_EQ(Of<AnnounceModel>(started)[0].evaluate, v1::VALIDATION);

  const auto first = f.Deliver(kA);
  EXPECT_THAT(Receipts(first, v1::Receipt::ACCEPTED), SizeIs(1));
  EXPECT_THAT(Of<OfferTask>(first), SizeIs(1));
  EXPECT_THAT(Of<Compute>(first), IsEmpty());
  EXPECT_THAT(Of<Compute>(f.Deliver(kB)), SizeIs(1));
  f.Deliver(kA);  // Waits when the run stops.
  const auto committed = f.Answer();
  EXPECT_THAT(Receipts(committed, v1::Receipt::INCLUDED), SizeIs(2));
  EXPECT_THAT(Receipts(committed, v1::Receipt::NOT_INCLUDED), SizeIs(1));
  EXPECT_EQ(f.run().phase, RunPhase::kClosingValidation);
  EXPECT_THAT(Of<OfferTask>(committed), IsEmpty());

  for (const SiteId& site : f.sites) f.Evaluate(site, Version(0), v1::VALIDATION, 0.2);
  f.Evaluate(kA, Version(1), v1::VALIDATION, 0.3);
  const auto chosen = f.Evaluate(kB, Version(1), v1::VALIDATION, 0.3);
  EXPECT_EQ(f.run().phase, RunPhase::kClosingTest);
  EXPECT_EQ(f.run().result, Version(0));
  ASSERT_THAT(Of<AnnounceModel>(chosen), SizeIs(2));
  EXPECT_EQ(Of<AnnounceModel>(chosen)[0].evaluate, v1::TEST);
  f.Evaluate(kA, Version(0), v1::TEST, 0.2);
  const auto ended = f.Evaluate(kB, Version(0), v1::TEST, 0.2);
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  ASSERT_THAT(Of<EndRun>(ended), SizeIs(2));
  EXPECT_EQ(Of<EndRun>(ended)[0].result, Version(0));
  EXPECT_EQ(Of<EndRun>(ended)[0].last, Version(1));
  EXPECT_THAT(Of<PurgeRun>(f.Step(PurgeRequested{f.run_id, "op"})), SizeIs(1));
  EXPECT_THAT(Of<PurgeRun>(f.Step(PurgeRequested{f.run_id, "op"})), IsEmpty());
}

TEST(Run, WaitsForStatisticsAndFoldsThem) {
  TestFederation f({10, 30});
  f.Step(RunSubmitted{f.run_id, MakePlan({.config = "data { standardise: FEDERATED }"})});
  for (const SiteId& site : f.sites) f.Decide(site, RunDecided::Answer::kApproved);
  EXPECT_EQ(f.run().phase, RunPhase::kOffered);
  const auto report = [&f](double mean) {
    auto out = std::make_shared<v1::StatisticsReport>();
    out->set_run_id(f.run_id.value());
    for (int i = 0; i < 3; ++i) {
      out->add_counts(10);
      out->add_sums(10 * mean);
      out->add_sums_of_squares(10 * mean);
    }
    return out;
  };
  f.Step(StatisticsReported{kA, report(0.2)});
  EXPECT_THAT(Of<DrawInitialModel>(f.Step(StatisticsReported{kB, report(0.6)})), SizeIs(1));
  EXPECT_DOUBLE_EQ(f.run().standardisation->means(0), 0.4);
  EXPECT_DOUBLE_EQ(f.run().standardisation->deviations(0), std::sqrt(0.24));
}

TEST(Run, WaitsForOneThatRefusedAndHasChangedItsMind) {
  TestFederation f({10, 20, 30});
  f.Step(RunSubmitted{f.run_id, MakePlan({.config = "data { standardise: FEDERATED }"})});
  const auto report_of = [&f](const SiteId& site) {
    auto report = std::make_shared<v1::StatisticsReport>();
    report->set_run_id(f.run_id.value());
    for (int i = 0; i < 3; ++i) {
      report->add_counts(10);
      report->add_sums(5);
      report->add_sums_of_squares(5);
    }
    return StatisticsReported{site, report};
  };
  f.Decide(kA, RunDecided::Answer::kRefused);
  for (const SiteId& site : {kB, kC}) f.Decide(site, RunDecided::Answer::kApproved);
  f.Step(report_of(kB));
  f.Decide(kA, RunDecided::Answer::kApproved);
  f.Step(report_of(kC));
  EXPECT_EQ(f.run().phase, RunPhase::kOffered);  // a is expected again, and has not reported.
  f.Step(report_of(kA));
  EXPECT_EQ(f.run().phase, RunPhase::kDrawing);
}

TEST(Run, TakesStatisticsThatCanNotBeAsARefusal) {
  TestFederation f({10, 30});
  f.Step(RunSubmitted{f.run_id, MakePlan({.config = "data { standardise: FEDERATED }"})});
  for (const SiteId& site : f.sites) f.Decide(site, RunDecided::Answer::kApproved);
  auto report = std::make_shared<v1::StatisticsReport>();
  report->set_run_id(f.run_id.value());
  const auto actions = f.Step(StatisticsReported{kA, report});
  ASSERT_THAT(Of<Alarm>(actions), SizeIs(1));
  EXPECT_EQ(Of<Alarm>(actions)[0].reason, v1::MALFORMED);
  EXPECT_EQ(f.participant(kA).decision, Participant::Decision::kRefused);
}

// It would be the federation's mean and deviation alone.
TEST(Run, TakesStatisticsOverMoreExamplesThanASiteMayHaveAsARefusal) {
  TestFederation f({10, 30});
  f.Step(RunSubmitted{f.run_id,
                      MakePlan({.aggregation = "preset: FEDBUFF limits { site_examples_max: 30 }",
                                .config = "data { standardise: FEDERATED }"})});
  for (const SiteId& site : f.sites) f.Decide(site, RunDecided::Answer::kApproved);
  for (const SiteId& site : f.sites) {
    auto report = std::make_shared<v1::StatisticsReport>();
    report->set_run_id(f.run_id.value());
    for (int i = 0; i < 3; ++i) {
      report->add_counts(site == kA && i == 2 ? 31 : 30);
      report->add_sums(15);
      report->add_sums_of_squares(15);
    }
    const auto alarms = Of<Alarm>(f.Step(StatisticsReported{site, report}));
    EXPECT_THAT(alarms, SizeIs(site == kA ? 1 : 0));
    for (const Alarm& alarm : alarms) EXPECT_EQ(alarm.reason, v1::TOO_MANY_EXAMPLES);
  }
  EXPECT_EQ(f.participant(kA).refusal_reason, v1::TOO_MANY_EXAMPLES);
  EXPECT_NE(f.participant(kB).statistics, nullptr);
}

TEST(Run, BeginsAtTheDeadlineWithThoseThatAreReadyAndTakesTheRestLater) {
  TestFederation f({10, 20, 30});
  f.Step(RunSubmitted{
      f.run_id, MakePlan({.config = "participation { start_deadline_ms: 100 sites_min: 2 }"})});
  f.Decide(kA, RunDecided::Answer::kApproved);
  const Timer deadline = f.run().timers.begin()->first;
  f.Step(TimerFired{deadline});
  EXPECT_EQ(f.run().phase, RunPhase::kOffered);  // One is not enough.
  f.Decide(kB, RunDecided::Answer::kApproved);
  EXPECT_EQ(f.run().phase, RunPhase::kDrawing);
  f.Answer();
  const auto late = f.Decide(kC, RunDecided::Answer::kApproved);
  EXPECT_THAT(Of<StartRun>(late), SizeIs(1));
  EXPECT_THAT(Of<OfferTask>(late), SizeIs(2));
  EXPECT_THAT(f.run().members, SizeIs(3));
}

TEST(Run, EndsAtOnceWhereTooFewTakePart) {
  TestFederation f({10, 20});
  f.Step(RunSubmitted{f.run_id, MakePlan({.config = "participation { sites_min: 2 }"})});
  f.Decide(kA, RunDecided::Answer::kApproved);
  EXPECT_THAT(Of<EndRun>(f.Decide(kB, RunDecided::Answer::kRefused)), SizeIs(1));
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  EXPECT_THAT(f.run().why_ended, HasSubstr("1 of the sites"));
}

// Its weight in the rules would be what it says.
TEST(Run, IsWithoutASiteThatStatesMoreExamplesThanOneMayHave) {
  TestFederation f({10, 100, 101});
  f.Step(RunSubmitted{
      f.run_id, MakePlan({.aggregation = "preset: FEDBUFF limits { site_examples_max: 100 }"})});
  f.Decide(kA, RunDecided::Answer::kApproved);
  f.Decide(kB, RunDecided::Answer::kApproved);
  const auto refused = f.Decide(kC, RunDecided::Answer::kApproved);
  ASSERT_THAT(Of<Alarm>(refused), SizeIs(1));
  EXPECT_EQ(Of<Alarm>(refused)[0].reason, v1::TOO_MANY_EXAMPLES);
  EXPECT_EQ(f.participant(kC).refusal_reason, v1::TOO_MANY_EXAMPLES);
  f.Answer();
  EXPECT_EQ(f.run().phase, RunPhase::kRunning);
  EXPECT_THAT(f.run().members, ::testing::ElementsAre(kA, kB));
}

TEST(Run, EndsAtOnceWhereTooFewAreLeftToBegin) {
  TestFederation f({10, 20, 30});
  f.Step(RunSubmitted{f.run_id, MakePlan({.aggregation = "preset: KRUM"})});
  f.Decide(kA, RunDecided::Answer::kApproved);
  f.Decide(kB, RunDecided::Answer::kApproved);
  f.Decide(kC, RunDecided::Answer::kRefused);
  ASSERT_EQ(f.run().phase, RunPhase::kDrawing);
  // Nobody is asked about a run of which nobody has heard that it began.
  const auto drawn = f.Answer();
  EXPECT_THAT(Of<StartRun>(drawn), IsEmpty());
  EXPECT_THAT(Of<AnnounceModel>(drawn), IsEmpty());
  EXPECT_THAT(Of<EndRun>(drawn), SizeIs(2));
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  EXPECT_THAT(f.run().why_ended, HasSubstr("only 2 sites are left"));
  EXPECT_FALSE(f.run().result.has_value());
  EXPECT_THAT(f.run().timers, IsEmpty());
  const auto attached = f.Attach(kA);
  EXPECT_THAT(Of<StartRun>(attached), IsEmpty());
  EXPECT_THAT(Of<AnnounceModel>(attached), IsEmpty());
}

TEST(Run, IsNotMadeOfAPlanThatCanNotRun) {
  TestFederation f({10});
  auto broken = std::make_shared<v1::RunPlan>(*MakePlan({}));
  broken->mutable_spec()->clear_layers();
  const auto refused = f.Step(RunSubmitted{f.run_id, broken});
  ASSERT_THAT(Of<Alarm>(refused), SizeIs(1));
  EXPECT_EQ(Of<Alarm>(refused)[0].reason, v1::SPEC_REFUSED);
  f.Step(RunSubmitted{f.run_id, nullptr});
  EXPECT_THAT(f.engine.runs(), IsEmpty());
  f.Step(RunSubmitted{f.run_id, MakePlan({})});
  EXPECT_THAT(Of<Alarm>(f.Step(RunSubmitted{f.run_id, MakePlan({})})), SizeIs(1));
}

TEST(Run, RefusesATableOfTooManySites) {
  std::string config = "participation {";
  for (int i = 0; i < 201; ++i) absl::StrAppend(&config, " sites: 'site-", i, "'");
  TestFederation f({10});
  f.Step(RunSubmitted{f.run_id, MakePlan({.aggregation = "preset: STALENESS_WEIGHTED_TABLE",
                                          .config = config + "}"})});
  EXPECT_THAT(f.engine.runs(), IsEmpty());
}

TEST(Run, StopsWhenAnOperatorSaysSoAndGivesUpWhatIsPending) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  f.Deliver(kA);
  f.Deliver(kB);
  ASSERT_TRUE(f.run().pending.has_value());
  const auto stopped = f.Step(StopRequested{f.run_id, "anna"});
  EXPECT_THAT(Receipts(stopped, v1::Receipt::NOT_INCLUDED), SizeIs(2));
  EXPECT_THAT(f.run().why_ended, HasSubstr("anna"));
  f.Answer();  // The program's late answer.
  EXPECT_EQ(f.run().versions.size(), 1u);
  EXPECT_EQ(RefusalOf(f.Deliver(kA)), v1::TASK_UNKNOWN);
  // Nobody evaluates: the deadlines close the run.
  for (int i = 0; i < 2; ++i) f.Step(TimerFired{f.run().timers.begin()->first});
  EXPECT_EQ(f.run().phase, RunPhase::kEnded);
  EXPECT_EQ(f.run().result, Version(0));
}

TEST(Run, EndsWhenTheNextVersionWouldNotBeFinite) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  f.Deliver(kA);
  f.Deliver(kB);
  const auto actions = f.Step(ComputeDone{f.run_id, f.run().programs, {INFINITY}, {}});
  EXPECT_THAT(Of<Alarm>(actions), SizeIs(1));
  EXPECT_THAT(Receipts(actions, v1::Receipt::NOT_INCLUDED), SizeIs(2));
  EXPECT_EQ(f.run().phase, RunPhase::kClosingValidation);
}

TEST(Run, StopsAtTheTargetAndWhenPatienceIsOver) {
  const std::string one = "preset: FEDBUFF trigger { buffer { updates: 1 } }";
  TestFederation target({10, 20});
  target.StartRun(
      MakePlan({.aggregation = one, .config = "stop { target { metric: LOG_LOSS value: 0.3 } }"}));
  target.Evaluate(kA, Version(0), v1::VALIDATION, 0.2);
  EXPECT_EQ(target.run().phase, RunPhase::kRunning);  // One site's word is not enough.
  target.Evaluate(kB, Version(0), v1::VALIDATION, 0.4);
  EXPECT_EQ(target.run().phase, RunPhase::kClosingTest);
  EXPECT_THAT(target.run().why_ended, HasSubstr("reached the target"));

  TestFederation patience({10});
  patience.StartRun(MakePlan({.aggregation = one, .config = "stop { patience_versions: 2 }"}));
  for (int v = 0; v < 4; ++v) {
    patience.Evaluate(kA, Version(v), v1::VALIDATION, v == 1 ? 0.5 : 0.6);
    if (patience.run().phase != RunPhase::kRunning) break;
    patience.Deliver(kA);
    patience.Answer();
  }
  EXPECT_EQ(patience.run().current(), Version(3));
  EXPECT_EQ(patience.run().result, Version(1));
  EXPECT_EQ(patience.run().phase, RunPhase::kClosingTest);
}

TEST(Run, IsChosenWithoutAHospitalThatHasBeenGoneForLong) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan(
      {.aggregation = "preset: FEDBUFF trigger { buffer { updates: 1 } }", .versions_max = 2}));
  f.Evaluate(kA, Version(0), v1::VALIDATION, 0.6);
  f.Evaluate(kB, Version(0), v1::VALIDATION, 0.1);
  f.Step(SiteLost{kB, Incarnation(1)});
  for (int v = 1; v <= 2; ++v) {
    f.Deliver(kA);
    f.Answer();
    f.Evaluate(kA, Version(v), v1::VALIDATION, v == 1 ? 0.3 : 0.4);
  }
  EXPECT_EQ(f.run().phase, RunPhase::kClosingValidation);
  f.Step(TimerFired{f.run().timers.begin()->first});
  EXPECT_EQ(f.run().result, Version(1));
}

TEST(Run, IsChosenWhenTheReportsOnItsLastVersionsAreInAndNotThatOnTheLastOneAlone) {
  TestFederation f({10});
  f.StartRun(MakePlan(
      {.aggregation = "preset: FEDBUFF trigger { buffer { updates: 1 } }", .versions_max = 2}));
  for (int v = 1; v <= 2; ++v) {
    f.Deliver(kA);
    f.Answer();
  }
  f.Evaluate(kA, Version(0), v1::VALIDATION, 0.5);
  // The report on version 1 was lost with its stream; that on version 2 was said on the next one.
  f.Step(SiteLost{kA, Incarnation(1)});
  f.Attach(kA);
  f.Evaluate(kA, Version(2), v1::VALIDATION, 0.4);
  EXPECT_EQ(f.run().phase, RunPhase::kClosingValidation);
  f.Evaluate(kA, Version(1), v1::VALIDATION, 0.3);
  EXPECT_EQ(f.run().phase, RunPhase::kClosingTest);
  EXPECT_EQ(f.run().result, Version(1));
}

TEST(Run, RefusesEvaluationsThatCanNotBe) {
  TestFederation f({10});
  f.StartRun(MakePlan({}));
  const auto reason = [](const std::vector<Action>& actions) {
    const auto alarms = Of<Alarm>(actions);
    return alarms.size() == 1 ? alarms[0].reason : v1::REASON_UNSPECIFIED;
  };
  EXPECT_EQ(reason(f.Evaluate(kA, Version(9), v1::VALIDATION, 0.1)), v1::VERSION_UNKNOWN);
  EXPECT_EQ(reason(f.Evaluate(kA, Version(0), v1::VALIDATION, NAN)), v1::MALFORMED);
  EXPECT_EQ(reason(f.Evaluate(kA, Version(0), v1::TRAIN, 0.1)), v1::MALFORMED);
  EXPECT_EQ(reason(f.Evaluate(kB, Version(0), v1::VALIDATION, 0.1)), v1::NOT_APPROVED);
  EXPECT_THAT(f.run().versions[0].validation, IsEmpty());
}

TEST(Run, RefusesAnEvaluationOverMoreExamplesThanASiteMayHave) {
  for (const uint64_t limit : {9, 10}) {  // The report is over 10.
    TestFederation f({5});
    f.StartRun(MakePlan({.aggregation = absl::StrCat(
                             "preset: FEDBUFF limits { site_examples_max: ", limit, " }")}));
    const auto alarms = Of<Alarm>(f.Evaluate(kA, Version(0), v1::VALIDATION, 0.1));
    EXPECT_THAT(f.run().versions[0].validation, SizeIs(limit == 9 ? 0 : 1));
    ASSERT_THAT(alarms, SizeIs(limit == 9 ? 1 : 0));
    for (const Alarm& alarm : alarms) EXPECT_EQ(alarm.reason, v1::TOO_MANY_EXAMPLES);
  }
}

// ---- Updates

TEST(Update, IsAnsweredTheSameEachTime) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  const UpdateStaged update = f.Update(kA);
  const auto first = Of<SendReceipt>(f.Step(update));
  ASSERT_THAT(first, SizeIs(1));
  for (int i = 0; i < 3; ++i) {
    const auto again = f.Step(update);
    ASSERT_THAT(Of<SendReceipt>(again), SizeIs(1));
    EXPECT_EQ(Of<SendReceipt>(again)[0].sequence, first[0].sequence);
    EXPECT_THAT(Of<OfferTask>(again), IsEmpty());
  }
  f.Deliver(kB);
  f.Answer();
  // Who asks again after the end hears the end too.
  const auto late = f.Step(update);
  ASSERT_THAT(Receipts(late, v1::Receipt::ACCEPTED), SizeIs(1));
  EXPECT_EQ(Receipts(late, v1::Receipt::ACCEPTED)[0].sequence, first[0].sequence);
  ASSERT_THAT(Receipts(late, v1::Receipt::INCLUDED), SizeIs(1));
  EXPECT_EQ(Receipts(late, v1::Receipt::INCLUDED)[0].version, Version(1));
  EXPECT_EQ(f.run().duplicates_absorbed, 4u);
  EXPECT_EQ(f.run().versions[1].contributions.size(), 2u);
}

TEST(Update, OfAKnownTaskWithOtherContentIsRefusedWithAnAlarm) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  UpdateStaged update = f.Update(kA);
  f.Step(update);
  update.update = Sha256Of("other");
  const auto actions = f.Step(update);
  EXPECT_EQ(RefusalOf(actions), v1::TASK_CONFLICT);
  ASSERT_THAT(Of<Alarm>(actions), SizeIs(1));
  EXPECT_EQ(Of<Alarm>(actions)[0].reason, v1::TASK_CONFLICT);
}

TEST(Update, IsRefusedWithItsReason) {
  struct Case {
    v1::Reason reason;
    void (*change)(UpdateStaged&);
  };
  const Case cases[] = {
      {v1::RUN_UNKNOWN, [](UpdateStaged& u) { u.run = RunId("no"); }},
      {v1::SITE_UNKNOWN, [](UpdateStaged& u) { u.site = SiteId("no"); }},
      {v1::TASK_UNKNOWN, [](UpdateStaged& u) { u.task = TaskId(99); }},
      {v1::NOT_ATTACHED, [](UpdateStaged& u) { u.incarnation = Incarnation(9); }},
      {v1::INCARNATION_FENCED, [](UpdateStaged& u) { u.incarnation = Incarnation(0); }},
      {v1::LAYOUT_MISMATCH, [](UpdateStaged& u) { u.layout_hash = {}; }},
      {v1::BASE_UNKNOWN, [](UpdateStaged& u) { u.base = Version(7); }},
      {v1::BASE_UNKNOWN, [](UpdateStaged& u) { u.base_model_id = {}; }},
      {v1::NOT_FINITE, [](UpdateStaged& u) { u.values = UpdateStaged::Values::kNotFinite; }},
      {v1::NOT_FINITE, [](UpdateStaged& u) { u.norm = INFINITY; }},
      {v1::NOT_FINITE, [](UpdateStaged& u) { u.training_loss = NAN; }},
      {v1::NORM_TOO_LARGE, [](UpdateStaged& u) { u.norm = 10.5; }},
      {v1::TOO_FEW_EXAMPLES, [](UpdateStaged& u) { u.examples = 0; }},
      {v1::TOO_MANY_EXAMPLES, [](UpdateStaged& u) { u.examples = 1'000'000'001; }},
  };
  for (const Case& c : cases) {
    TestFederation f({10, 20});
    f.StartRun(MakePlan({.aggregation = "preset: FEDBUFF limits { update_norm_max: 10 }"}));
    UpdateStaged update = f.Update(kA);
    c.change(update);
    EXPECT_EQ(RefusalOf(f.Step(update)), c.reason);
    // The same bytes hear the same; the run goes on.
    EXPECT_EQ(RefusalOf(f.Step(update)), c.reason);
    EXPECT_THAT(f.Deliver(kB), ::testing::Not(IsEmpty()));
    EXPECT_THAT(f.run().buffer, SizeIs(1));
  }
}

// Numbers that are finite one by one, and overflow when they are added to a model.
TEST(Update, MayNotBeSoLargeThatAModelOverflowsWhateverThePlanSays) {
  for (const absl::string_view limits : {"", "limits { update_norm_max: 1e30 }"}) {
    TestFederation f({10, 20});
    f.StartRun(MakePlan({.aggregation = absl::StrCat("preset: FEDBUFF ", limits)}));
    const double norm_max = kUpdateRmsMax * std::sqrt(static_cast<double>(f.run().elements));
    UpdateStaged update = f.Update(kA);
    update.norm = norm_max * 1.001;
    EXPECT_EQ(RefusalOf(f.Step(update)), v1::NORM_TOO_LARGE);
    update = f.Update(kB);
    update.norm = norm_max;
    f.Step(update);
    EXPECT_THAT(f.run().buffer, SizeIs(1));
  }
}

TEST(Version, IsNotCommittedWhereItsWeightsOverflow) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  f.Deliver(kA);
  const auto compute = Of<Compute>(f.Deliver(kB));
  ASSERT_THAT(compute, SizeIs(1));
  // The norms of the direction and of what comes out are both looked at.
  std::vector<VectorName> looked_at;
  for (const VectorStep& step : compute[0].code.steps) {
    if (step.op == VectorStep::Op::kNormSquared) looked_at.push_back(step.x);
  }
  EXPECT_THAT(looked_at, ::testing::ElementsAre(VectorName::Scratch(0), compute[0].code.result));
  EXPECT_EQ(compute[0].code.steps.back().op, VectorStep::Op::kNormSquared);
  f.Step(ComputeDone{f.run_id, compute[0].program, {1.0, INFINITY}, Sha256Of("root")});
  EXPECT_THAT(f.run().versions, SizeIs(1));
  EXPECT_THAT(f.run().why_ended, ::testing::HasSubstr("not be finite"));
}

TEST(Update, ThatIsTooStaleIsRefusedAndItsSiteGoesOn) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 1 } } "
                                      "limits { staleness_versions_max: 1 }"}));
  for (int i = 0; i < 2; ++i) {
    f.Deliver(kB);
    f.Answer();
  }
  const auto actions = f.Deliver(kA, Version(0));
  EXPECT_EQ(RefusalOf(actions), v1::TOO_STALE);
  ASSERT_THAT(Of<OfferTask>(actions), SizeIs(1));
  EXPECT_EQ(Of<OfferTask>(actions)[0].base_min, Version(1));
  EXPECT_THAT(Receipts(f.Deliver(kA, Version(1)), v1::Receipt::ACCEPTED), SizeIs(1));
  EXPECT_THAT(f.run().refusals, ElementsAre(std::pair(v1::TOO_STALE, 1u)));
}

// What a version costs must not grow with those who hear of it: the shell has their links.
TEST(Version, IsAnnouncedByOneActionToThoseWhoAreMembersThen) {
  TestFederation f({10, 20, 30});
  f.StartRun(MakePlan({}));
  const auto announcement = [&f] {
    f.Deliver(kB);
    f.Deliver(kB);
    const std::vector<Action> made = f.Answer();
    int announcements = 0;
    AnnounceToMembers last;
    for (const Action& action : made) {
      EXPECT_FALSE(std::holds_alternative<AnnounceModel>(action));
      const auto* all = std::get_if<AnnounceToMembers>(&action);
      if (all == nullptr) continue;
      ++announcements;
      last = *all;
    }
    EXPECT_EQ(announcements, 1);
    return last;
  };
  const AnnounceToMembers first = announcement();
  EXPECT_THAT(*first.members, ElementsAre(kA, kB, kC));
  EXPECT_EQ(first.model.version, Version(1));
  EXPECT_EQ(first.model.evaluate, v1::VALIDATION);
  EXPECT_EQ(announcement().members, first.members);  // Nobody came or went.
  f.Step(SiteRemoved{kA});
  EXPECT_THAT(*announcement().members, ElementsAre(kB, kC));
  EXPECT_THAT(*first.members, ElementsAre(kA, kB, kC));
}

TEST(Update, ArrivingWhileAProgramRunsWaitsForTheNextVersion) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({}));
  for (int i = 0; i < 2; ++i) {
    f.Deliver(kA);
    f.Deliver(kB);
  }
  EXPECT_EQ(f.run().programs, 2u);  // Version 0 and version 1.
  EXPECT_THAT(f.run().buffer, SizeIs(2));
  EXPECT_THAT(Of<Compute>(f.Answer()), SizeIs(1));
  EXPECT_THAT(Of<Compute>(f.Answer()), IsEmpty());
  const auto counts = CountsBySite(f.run());
  EXPECT_EQ(counts.at(kA).included, 2u);
  EXPECT_EQ(counts.at(kA).accepted, 2u);
  EXPECT_THAT(StalenessHistogram(f.run()), ElementsAre(2, 2));
}

TEST(Update, TakenAfterItsSenderDiedGrantsTheNextTaskAsIfItLived) {
  for (const bool dies : {false, true}) {
    TestFederation f({10, 20});
    f.StartRun(MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 1 } } "
                                        "limits { staleness_versions_max: 1 }",
                         .config = "training { tasks_in_flight_max: 1 }"}));
    if (dies) f.Step(SiteLost{kA, Incarnation(1)});
    EXPECT_THAT(Receipts(f.Deliver(kA), v1::Receipt::ACCEPTED), SizeIs(1));
    f.Answer();
    for (int i = 0; i < 2; ++i) {
      f.Deliver(kB);
      f.Answer();
    }
    if (!dies) f.Step(SiteLost{kA, Incarnation(1)});
    const auto offers = Of<OfferTask>(f.Attach(kA));
    ASSERT_THAT(offers, SizeIs(1));
    EXPECT_EQ(offers[0].task, TaskId(2));
    EXPECT_EQ(offers[0].base_min, Version(0));
  }
}

TEST(Run, GrantsToWhoIsGoneWhenItBegins) {
  TestFederation f({10, 20});
  f.Step(RunSubmitted{f.run_id, MakePlan({})});
  for (const SiteId& site : f.sites) f.Decide(site, RunDecided::Answer::kApproved);
  f.Step(SiteLost{kA, Incarnation(1)});
  f.Answer();
  EXPECT_THAT(f.participant(kA).open, SizeIs(2));
  EXPECT_THAT(Of<OfferTask>(f.Attach(kA)), SizeIs(2));
}

TEST(Program, IsAskedForAgainAfterAStartAndCountsOnce) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 2 } } "
                                      "server { adam {} }"}));
  f.Deliver(kA);
  const auto asked = Of<Compute>(f.Deliver(kB));
  ASSERT_THAT(asked, SizeIs(1));
  const auto again = Of<Compute>(f.Step(Started{}));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].program, asked[0].program);
  ASSERT_EQ(again[0].code.steps.size(), asked[0].code.steps.size());
  for (size_t i = 0; i < asked[0].code.steps.size(); ++i) {
    EXPECT_EQ(again[0].code.steps[i].a, asked[0].code.steps[i].a);
    EXPECT_EQ(again[0].code.steps[i].x, asked[0].code.steps[i].x);
  }
  f.Answer();
  f.Answer();
  EXPECT_EQ(f.run().versions.size(), 2u);
  EXPECT_THAT(Of<Alarm>(f.Step(ComputeDone{f.run_id, 99, {}, {}})), SizeIs(1));
}

// ---- Retention

TEST(Retention, ForgetsWhatNoVersionToComeNeeds) {
  TestFederation f({10, 20});
  f.StartRun(MakePlan({.aggregation = "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { "
                                      "updates: 1 } } limits { staleness_versions_max: 2 }",
                       .config = "retention: UNTIL_DURABLE data { split { validation: 0 } }",
                       .versions_max = 30}));
  const Digest first = f.Update(kA).update;
  f.Deliver(kA);
  EXPECT_THAT(Of<Forget>(f.Answer()), IsEmpty());  // It is in the table.
  f.Deliver(kA);
  const auto replaced = Of<Forget>(f.Answer());
  ASSERT_THAT(replaced, SizeIs(1));
  EXPECT_EQ(replaced[0].vector, VectorName::Update(first));
  // b's grants may still be trained on version 0.
  for (int i = 0; i < 10; ++i) {
    f.Deliver(kA);
    f.Answer();
  }
  EXPECT_EQ(f.run().versions[0].stored, VersionState::Stored::kKept);
  f.Deliver(kB, Version(12));
  f.Deliver(kB, Version(12));
  f.Answer();
  EXPECT_EQ(f.run().versions[0].stored, VersionState::Stored::kForgotten);
  EXPECT_EQ(f.run().versions[12].stored, VersionState::Stored::kKept);
}

TEST(Retention, KeepsEverythingByDefault) {
  TestFederation f({10});
  f.StartRun(MakePlan({.aggregation = "preset: FEDASYNC", .versions_max = 30}));
  for (int i = 0; i < 20; ++i) {
    f.Deliver(kA);
    EXPECT_THAT(Of<Forget>(f.Answer()), IsEmpty());
  }
}

}  // namespace
}  // namespace consilium::federation
