#include "site_agent/core/interval_patients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "protocol/wire/reasons.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::site {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

v1::RunPlan PlanOf(v1::Loss::Kind loss) {
  v1::RunPlan plan;
  plan.mutable_spec()->mutable_loss()->set_kind(loss);
  auto& survival = *plan.mutable_contract()->mutable_label()->mutable_survival();
  for (const double end : {10.0, 20.0, 30.5, 40.0}) survival.add_interval_ends(end);
  return plan;
}

// In order: nobody's; through one, two and four intervals; events in the first, the third, and
// after the last.
const std::vector<float> kLabels = {-4, -5, -15, -35.25f, 9, 20, 41};

TEST(PatientsPerInterval, CountsWhoLivedThroughItOrHadTheEventInIt) {
  const v1::RunPlan plan = PlanOf(v1::Loss::DISCRETE_HAZARD);
  Examples part;
  EXPECT_THAT(PatientsPerInterval(plan, part), ElementsAre(0, 0, 0, 0));
  part.labels = kLabels;
  EXPECT_THAT(PatientsPerInterval(plan, part), ElementsAre(6, 4, 3, 2));
  // Three rows of one patient count once, by the longest of them.
  part.patients = {0, 0, 1, 2, 2, 2, 2};
  EXPECT_THAT(PatientsPerInterval(plan, part), ElementsAre(3, 2, 1, 1));
  EXPECT_THAT(PatientsPerInterval(PlanOf(v1::Loss::COX), part), IsEmpty());
}

TEST(PatientsPerInterval, TheFewestButSome) {
  EXPECT_EQ(FewestPatients(std::vector<uint64_t>{6, 4, 3, 0, 0}, 9), 3u);
  EXPECT_EQ(FewestPatients(std::vector<uint64_t>{6}, 9), 6u);
  EXPECT_EQ(FewestPatients(std::vector<uint64_t>{0, 0}, 9), 9u);
  EXPECT_EQ(FewestPatients({}, 9), 9u);
}

TEST(PatientsPerInterval, TheFirstIntervalOfTooFewIsNamed) {
  const v1::RunPlan plan = PlanOf(v1::Loss::DISCRETE_HAZARD);
  EXPECT_THAT(CheckIntervals(plan, std::vector<uint64_t>{6, 5, 5, 5}, 5), IsOk());
  EXPECT_THAT(CheckIntervals(plan, std::vector<uint64_t>{6, 5, 0, 0}, 5), IsOk());
  EXPECT_THAT(CheckIntervals(plan, {}, 5), IsOk());
  const absl::Status few = CheckIntervals(plan, std::vector<uint64_t>{6, 5, 4, 1}, 5);
  EXPECT_EQ(DetailOf(few).reason(), v1::TOO_FEW_EXAMPLES);
  EXPECT_THAT(std::string(few.message()), HasSubstr("only 4 patients"));
  EXPECT_THAT(std::string(few.message()), HasSubstr("ends at 30.5; this site's minimum is 5"));
  EXPECT_THAT(std::string(few.message()), Not(HasSubstr("40")));
}

// Five had the event, but one of them after the last interval.
TEST(FewEventsInIntervals, ClearTheMetrics) {
  v1::MetricSums all;
  all.set_examples(10);
  all.set_events(5);
  all.set_log_loss_sum(17.5);
  const auto kept = [&all](v1::Loss::Kind loss, std::vector<float> labels) {
    Examples part;
    part.labels = std::move(labels);
    v1::MetricSums metrics = all;
    WithholdFewEventsInIntervals(PlanOf(loss), 5, part, metrics);
    EXPECT_TRUE(metrics.ByteSizeLong() == 0 ||
                metrics.SerializeAsString() == all.SerializeAsString());
    return metrics.examples() != 0;
  };
  const auto hazard = v1::Loss::DISCRETE_HAZARD;
  EXPECT_TRUE(kept(hazard, {1, 11, 22, 33, 34, -1, -2, -3, -4, -5}));
  EXPECT_FALSE(kept(hazard, {1, 11, 22, 33, 44, -1, -2, -3, -4, -5}));
  EXPECT_TRUE(kept(v1::Loss::COX, {1, 11, 22, 33, 44, -1, -2, -3, -4, -5}));
  EXPECT_TRUE(kept(hazard, {41, 42, 43, 44, 45, -1, -2, -3, -4, -5}));
  EXPECT_FALSE(kept(hazard, {1, 11, 22, 33, 34, 35, 36, 37, 38, -5}));
}

}  // namespace
}  // namespace consilium::site
