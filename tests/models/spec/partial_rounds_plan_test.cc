// What a plan must be like whose rounds are of some of the sites.

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Why `aggregation` is refused with `barrier`; empty where it is not.
std::string Refused(const std::string& aggregation, const std::string& barrier) {
  v1::RunPlan plan;
  const absl::Status parsed = ParseTextFormat(kPlanText, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed;
  plan.mutable_config()->clear_aggregation();
  const absl::Status filled = ParseTextFormat(
      absl::StrCat(aggregation, " trigger { barrier { deadline_ms: 9 ", barrier, " } }"),
      "aggregation", *plan.mutable_config()->mutable_aggregation());
  EXPECT_TRUE(filled.ok()) << filled;
  return std::string(ResolvePlan(std::move(plan)).status().message());
}

TEST(PartialRoundsPlan, FitsRulesThatWaitForARound) {
  for (const char* preset : {"FEDAVG", "FEDADAM", "FEDNOVA", "SCAFFOLD", "COORDINATE_MEDIAN"}) {
    EXPECT_THAT(Refused(absl::StrCat("preset: ", preset), "sites_per_round: 4"), IsEmpty());
  }
}

TEST(PartialRoundsPlan, WhatDoesNotFitIsRefusedByName) {
  constexpr char kField[] = "aggregation.trigger.barrier.sites_per_round: ";
  EXPECT_THAT(Refused("preset: FEDAVG", "sites_per_round: 10001"),
              HasSubstr(absl::StrCat(kField, "must be at most 10,000")));
  EXPECT_THAT(Refused("preset: FEDAVG", "sites_per_round: 2 sites_min: 3"),
              HasSubstr("sites_min: must be at most sites_per_round"));
  EXPECT_THAT(Refused("preset: FEDAVG", "sites_per_round: 3 sites_min: 3"), IsEmpty());
  EXPECT_THAT(Refused("preset: FEDAVG limits { site_examples_max: 1000000000001 }", ""),
              HasSubstr("aggregation.limits.site_examples_max: must be at most"));
  EXPECT_THAT(Refused("preset: FEDAVG fairness {}", "sites_per_round: 2"),
              HasSubstr(absl::StrCat(kField, "has no place with a fairness contract")));
  EXPECT_THAT(Refused("preset: ZENO transform { zeno { validator: 'a' } }", "sites_per_round: 2"),
              HasSubstr(absl::StrCat(kField, "has no place with ZENO")));
  EXPECT_THAT(Refused("preset: KRUM", "sites_per_round: 2"), HasSubstr(kField));
  EXPECT_THAT(Refused("preset: FEDBUFF", "sites_per_round: 2"), HasSubstr("barrier: FEDBUFF"));
}

}  // namespace
}  // namespace consilium
