// What a plan must be like in which only so many sites train at once.

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/text_format.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kTwo[] = " concurrency { sites_max: 2 deadline_ms: 9 }";

absl::StatusOr<v1::RunPlan> Resolved(const std::string& aggregation,
                                     const std::string& training = "") {
  v1::RunPlan plan;
  absl::Status parsed = ParseTextFormat(kPlanText, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed;
  plan.mutable_config()->clear_aggregation();
  parsed =
      ParseTextFormat(aggregation, "aggregation", *plan.mutable_config()->mutable_aggregation());
  EXPECT_TRUE(parsed.ok()) << parsed;
  parsed = MergeTextFormat(training, "training", *plan.mutable_config()->mutable_training());
  EXPECT_TRUE(parsed.ok()) << parsed;
  return ResolvePlan(std::move(plan));
}

// Empty where it is not.
std::string Refused(const std::string& aggregation, const std::string& training = "") {
  return std::string(Resolved(aggregation, training).status().message());
}

TEST(ConcurrencyPlan, FitsRulesThatTakeUpdatesAsTheyCome) {
  for (const char* rule :
       {"FEDBUFF", "FEDASYNC", "STALENESS_WEIGHTED_TABLE", "CA2FL", "ACE", "ACED", "FADAS",
        "ASYNCFEDED", "FEDBUFF_APPFL", "STALE_SYNCHRONOUS", "FEDBUFF rate_correction {}",
        "FEDBUFF trigger { interval { interval_ms: 9 } }", "FEDAVG trigger { buffer {} }",
        "BASGD combine { buckets { buckets: 3 } }",
        // More updates than sites may train at once: one that has delivered may be drawn again.
        "KRUM trigger { buffer { updates: 9 } }"}) {
    EXPECT_THAT(Refused(absl::StrCat("preset: ", rule, kTwo)), IsEmpty()) << rule;
  }
  EXPECT_THAT(Refused("preset: FEDBUFF concurrency { sites_max: 10000 deadline_ms: 1 }"),
              IsEmpty());
}

TEST(ConcurrencyPlan, WhatDoesNotFitIsRefusedByName) {
  constexpr char kField[] = "aggregation.concurrency";
  for (const char* sites : {"", "sites_max: 0", "sites_max: 10001"}) {
    EXPECT_THAT(Refused(absl::StrCat("preset: FEDBUFF concurrency { deadline_ms: 9 ", sites, " }")),
                HasSubstr(absl::StrCat(kField, ".sites_max: must be given, from 1 to 10,000")));
  }
  EXPECT_THAT(Refused("preset: FEDBUFF concurrency { sites_max: 2 }"),
              HasSubstr(absl::StrCat(kField, ".deadline_ms: must be given")));
  for (const char* rule : {"FEDAVG", "SCAFFOLD", "COORDINATE_MEDIAN",
                           "FEDNOVA trigger { barrier { sites_per_round: 3 deadline_ms: 9 } }"}) {
    EXPECT_THAT(Refused(absl::StrCat("preset: ", rule, kTwo)),
                HasSubstr(absl::StrCat(kField, ": has no place with a barrier")))
        << rule;
  }
  EXPECT_THAT(Refused(absl::StrCat("preset: FEDCOMPASS", kTwo)),
              HasSubstr(absl::StrCat(kField, ": has no place with FEDCOMPASS")));
  for (const char* rule :
       {"ADAPTIVE", "FEDBUFF fairness {}", "STALENESS_WEIGHTED_TABLE fairness {}"}) {
    EXPECT_THAT(Refused(absl::StrCat("preset: ", rule, kTwo)),
                HasSubstr(absl::StrCat(kField, ": has no place with a fairness contract")))
        << rule;
  }
  EXPECT_THAT(Refused(absl::StrCat("preset: ZENO transform { zeno { validator: 'a' } }", kTwo)),
              HasSubstr(absl::StrCat(kField, ": has no place with ZENO")));
}

TEST(ConcurrencyPlan, HasOneTaskASite) {
  const auto plan = Resolved(absl::StrCat("preset: FEDBUFF", kTwo));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->config().training().tasks_in_flight_max(), 1u);
  EXPECT_THAT(Refused(absl::StrCat("preset: FEDBUFF", kTwo), "tasks_in_flight_max: 2"),
              HasSubstr("training.tasks_in_flight_max: must be 1 with aggregation.concurrency"));
}

TEST(ConcurrencyPlan, HasSlotsThatATaskFitsInto) {
  EXPECT_THAT(Refused(absl::StrCat("preset: FEDBUFF", kTwo), "task_duration_min_ms: 8"), IsEmpty());
  EXPECT_THAT(Refused(absl::StrCat("preset: FEDBUFF", kTwo), "task_duration_min_ms: 9"),
              HasSubstr("aggregation.concurrency.deadline_ms: must be above "
                        "training.task_duration_min_ms"));
  EXPECT_THAT(Refused("preset: FEDBUFF", "task_duration_min_ms: 9"), IsEmpty());
}

// Else every run that was approved before would have to be approved again.
TEST(ConcurrencyPlan, IsNotInThePlanOfARunWithoutIt) {
  const auto plan = Resolved("preset: FEDBUFF");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->config().aggregation().has_concurrency());
  const auto other = Resolved(absl::StrCat("preset: FEDBUFF", kTwo));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_NE(PlanHash(*plan), PlanHash(*other));
}

}  // namespace
}  // namespace consilium
