#include "site_agent/core/release_rules.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/fakes/status_matchers.h"

namespace consilium::site {
namespace {

using absl::StatusCode;

constexpr uint64_t kMinimum = 5;

v1::SiteEvent Statistics(uint64_t count) {
  v1::SiteEvent event;
  v1::StatisticsReport& report = *event.mutable_statistics();
  report.set_run_id("run");
  for (const uint64_t n : {uint64_t{20}, count}) {
    report.add_counts(n);
    report.add_sums(static_cast<double>(n) * 2);
    report.add_sums_of_squares(static_cast<double>(n) * 4);
  }
  return event;
}

Examples PartOf(std::vector<float> labels) {
  Examples part;
  part.labels = std::move(labels);
  return part;
}

TEST(ReleaseRulesTest, AnEmptyEventIsOfNoKind) {
  EXPECT_THAT(CheckRelease(v1::SiteEvent(), kMinimum),
              IsError(StatusCode::kFailedPrecondition, "kind"));
}

TEST(ReleaseRulesTest, LeasesHaveTheirSize) {
  v1::SiteEvent event;
  event.mutable_lease_confirm()->set_lease(std::string(32, 'l'));
  EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kLeaseConfirm);
  event.mutable_lease_confirm()->set_lease(std::string(3200, 'l'));
  EXPECT_FALSE(CheckRelease(event, kMinimum).ok());
  event.mutable_hello()->set_lease_presented(std::string(32, 'l'));
  EXPECT_FALSE(CheckRelease(event, kMinimum).ok());
  event.mutable_hello()->set_lease_next(std::string(32, 'l'));
  EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kHello);
}

TEST(ReleaseRulesTest, CountsBelowTheMinimumStay) {
  EXPECT_EQ(*CheckRelease(Statistics(5), kMinimum), ReleaseKind::kStatistics);
  EXPECT_EQ(*CheckRelease(Statistics(0), kMinimum), ReleaseKind::kStatistics);
  v1::SiteEvent few = Statistics(4);
  EXPECT_THAT(CheckRelease(few, kMinimum), IsError(StatusCode::kFailedPrecondition, "minimum"));
  WithholdSmallCounts(kMinimum, std::vector<uint64_t>{20, 4}, *few.mutable_statistics());
  EXPECT_EQ(few.statistics().counts(0), 20u);
  EXPECT_EQ(few.statistics().counts(1), 0u);
  EXPECT_EQ(*CheckRelease(few, kMinimum), ReleaseKind::kStatistics);

  v1::SiteEvent decision;
  decision.mutable_run_decision()->set_train_examples(4);
  EXPECT_FALSE(CheckRelease(decision, kMinimum).ok());
  decision.mutable_run_decision()->set_train_examples(5);
  EXPECT_EQ(*CheckRelease(decision, kMinimum), ReleaseKind::kDecision);
}

TEST(ReleaseRulesTest, ASumOverNobodyIsSomebodysValue) {
  v1::SiteEvent event = Statistics(0);
  event.mutable_statistics()->set_sums(1, 61.5);
  EXPECT_THAT(CheckRelease(event, kMinimum), IsError(StatusCode::kFailedPrecondition, "sum"));
  event = Statistics(5);
  event.mutable_statistics()->add_sums(61.5);
  EXPECT_THAT(CheckRelease(event, kMinimum), IsError(StatusCode::kFailedPrecondition, "lengths"));
}

TEST(ReleaseRulesTest, MetricsAreOverEnoughOrAbsent) {
  v1::SiteEvent event;
  v1::MetricSums& metrics = *event.mutable_evaluation()->mutable_metrics();
  EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kEvaluation);
  metrics.set_log_loss_sum(0.7);
  EXPECT_FALSE(CheckRelease(event, kMinimum).ok());
  metrics.set_examples(4);
  EXPECT_FALSE(CheckRelease(event, kMinimum).ok());
  WithholdSmallCounts(kMinimum, PartOf({0, 0, 1, 1}), metrics);
  EXPECT_EQ(metrics.ByteSizeLong(), 0u);
  metrics.set_examples(5);
  metrics.set_log_loss_sum(0.7);
  WithholdSmallCounts(kMinimum, PartOf({0, 0, 0, 0, 0}), metrics);
  EXPECT_EQ(metrics.log_loss_sum(), 0.7);
  EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kEvaluation);
}

TEST(ReleaseRulesTest, ManyRowsOfFewPatientsAreFew) {
  v1::SiteEvent event = Statistics(40);
  WithholdSmallCounts(kMinimum, std::vector<uint64_t>{5, 4}, *event.mutable_statistics());
  EXPECT_EQ(event.statistics().counts(0), 20u);
  EXPECT_EQ(event.statistics().counts(1), 0u);
  EXPECT_EQ(event.statistics().sums(1), 0);

  Examples part = PartOf(std::vector<float>(40, 0));
  v1::MetricSums metrics;
  metrics.set_examples(40);
  for (uint32_t i = 0; i < 40; ++i) part.patients.push_back(i % 5);
  WithholdSmallCounts(kMinimum, part, metrics);
  EXPECT_EQ(metrics.examples(), 40u);
  for (uint32_t i = 0; i < 40; ++i) part.patients[i] = i % 4;
  WithholdSmallCounts(kMinimum, part, metrics);
  EXPECT_EQ(metrics.ByteSizeLong(), 0u);
}

TEST(ReleaseRulesTest, ASmallClassKeepsItsCountsAndPairs) {
  v1::MetricSums all;
  all.set_examples(11);
  all.set_correct(9);
  all.add_class_examples(6);
  all.add_class_examples(5);
  all.add_class_correct(5);
  all.add_class_correct(4);
  all.set_auroc_concordant(25);
  all.set_auroc_comparable(30);
  v1::SiteEvent event;
  v1::MetricSums& metrics = *event.mutable_evaluation()->mutable_metrics();
  metrics = all;
  WithholdSmallCounts(kMinimum, PartOf({0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1}), metrics);
  EXPECT_EQ(metrics.SerializeAsString(), all.SerializeAsString());
  EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kEvaluation);

  // The gate's own look, at a report that nobody has trimmed.
  metrics.set_class_examples(0, 7);
  metrics.set_class_examples(1, 4);
  EXPECT_THAT(CheckRelease(event, kMinimum), IsError(StatusCode::kFailedPrecondition, "class"));
  WithholdSmallCounts(kMinimum, PartOf({0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}), metrics);
  EXPECT_EQ(metrics.correct(), 9u);
  EXPECT_EQ(metrics.class_examples_size() + metrics.class_correct_size(), 0);
  EXPECT_FALSE(metrics.has_auroc_concordant() || metrics.has_auroc_comparable());
  EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kEvaluation);
  metrics.set_auroc_comparable(10);
  EXPECT_THAT(CheckRelease(event, kMinimum), IsError(StatusCode::kFailedPrecondition, "pairs"));
}

// Those who had an event are patients too, and so are those who had none.
TEST(ReleaseRulesTest, FewEventsKeepTheirNumberPairsAndLoss) {
  v1::MetricSums all;
  all.set_examples(12);
  all.set_events(5);
  all.set_c_index_concordant(20);
  all.set_c_index_comparable(30);
  all.set_cox_loss_sum(9.5);
  const auto trimmed = [&all](int events) {
    std::vector<float> times;
    times.reserve(12);
    for (int i = 0; i < 12; ++i) times.push_back(static_cast<float>(i < events ? i + 1 : -i));
    v1::SiteEvent event;
    v1::MetricSums& metrics = *event.mutable_evaluation()->mutable_metrics();
    metrics = all;
    metrics.set_events(static_cast<uint64_t>(events));
    const bool passes_untrimmed = CheckRelease(event, kMinimum).ok();
    WithholdSmallCounts(kMinimum, PartOf(times), metrics);
    EXPECT_EQ(passes_untrimmed, metrics.has_events()) << events;
    EXPECT_EQ(*CheckRelease(event, kMinimum), ReleaseKind::kEvaluation) << events;
    return metrics;
  };
  for (const int events : {5, 7}) {
    const v1::MetricSums metrics = trimmed(events);
    EXPECT_EQ(metrics.events(), static_cast<uint64_t>(events));
    EXPECT_EQ(metrics.c_index_comparable(), 30);
  }
  for (const int events : {1, 4, 8, 11}) {
    const v1::MetricSums metrics = trimmed(events);
    EXPECT_EQ(metrics.ShortDebugString(), "examples: 12") << events;
  }
  // A discrete hazard's loss is over all, but most of it is theirs who had the event.
  all.clear_cox_loss_sum();
  all.set_log_loss_sum(17.5);
  for (const int events : {1, 4, 8, 11}) {
    EXPECT_EQ(trimmed(events).ByteSizeLong(), 0u) << events;
  }
  for (const int events : {5, 7}) EXPECT_EQ(trimmed(events).log_loss_sum(), 17.5) << events;
  v1::SiteEvent event;
  *event.mutable_evaluation()->mutable_metrics() = all;
  event.mutable_evaluation()->mutable_metrics()->clear_events();
  EXPECT_THAT(CheckRelease(event, kMinimum), IsError(StatusCode::kFailedPrecondition, "events"));
}

TEST(ReleaseRulesTest, AnUpdateIsTrainedOnEnough) {
  v1::UpdateHeader header;
  header.set_wire_version(1);
  header.set_run_id("run");
  header.set_site_id("site");
  header.set_task_id(1);
  header.set_base_model_id(std::string(32, 'b'));
  header.set_layout_hash(std::string(32, 'l'));
  header.set_encoding(v1::F32);
  header.set_payload_bytes(4);
  header.set_payload_root(std::string(32, 'r'));
  header.set_steps(1);
  header.set_examples(5);
  EXPECT_THAT(CheckRelease(header, kMinimum), IsOk());
  header.set_examples(4);
  EXPECT_THAT(CheckRelease(header, kMinimum), IsError(StatusCode::kFailedPrecondition, "minimum"));
}

}  // namespace
}  // namespace consilium::site
