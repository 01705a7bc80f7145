// What a plan about times to an event must be like.

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

using ::testing::HasSubstr;

constexpr char kBinary[] = R"(label { column: "disease" binary { positive: "1" negative: "0" } })";
constexpr char kSurvival[] =
    R"(label { column: "days" survival {
       time_max: 1000 event_column: "died" observed: "1" censored: "0" } })";

// The plan of plan_text.h with a survival label and a Cox loss, and a change.
absl::StatusOr<v1::RunPlan> Resolve(const std::string& from = "", const std::string& to = "") {
  std::string text =
      absl::StrReplaceAll(kPlanText, {{kBinary, kSurvival}, {"BCE_WITH_LOGITS", "COX"}});
  if (!from.empty()) {
    EXPECT_THAT(text, HasSubstr(from));
    text = absl::StrReplaceAll(text, {{from, to}});
  }
  v1::RunPlan plan;
  const absl::Status parsed = ParseTextFormat(text, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed;
  return ResolvePlan(std::move(plan));
}

std::string Refused(const std::string& from, const std::string& to) {
  const absl::StatusOr<v1::RunPlan> plan = Resolve(from, to);
  return plan.ok() ? "" : std::string(plan.status().message());
}

TEST(SurvivalPlan, SelectsByTheCoxLossUnlessToldOtherwise) {
  const auto plan = Resolve();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->config().stop().select_by(), v1::COX_LOSS);
  const auto by_pairs = Resolve("seed: 42", "seed: 42 stop { select_by: C_INDEX }");
  ASSERT_TRUE(by_pairs.ok()) << by_pairs.status();
  EXPECT_EQ(by_pairs->config().stop().select_by(), v1::C_INDEX);
  EXPECT_TRUE(Resolve("seed: 42", "stop { target { metric: COX_LOSS value: 3 } }").ok());
  EXPECT_TRUE(Resolve("data {", "data { split { by: PATIENT_STRATIFIED }").ok());
}

TEST(SurvivalPlan, WhatDoesNotFitIsRefusedByName) {
  EXPECT_THAT(Refused("kind: COX", "kind: MSE"), HasSubstr("contract.label: must be real"));
  EXPECT_THAT(Refused("kind: COX", "kind: BCE_WITH_LOGITS"),
              HasSubstr("contract.label: must be binary"));
  EXPECT_THAT(Refused(kSurvival, kBinary), HasSubstr("contract.label: must be survival"));
  EXPECT_THAT(Refused("units: \"1\"", "units: \"2\""), HasSubstr("COX needs an output of [1]"));
  EXPECT_THAT(Refused("seed: 42", "stop { select_by: LOG_LOSS }"),
              HasSubstr("stop.select_by: must be one that the loss has"));
  EXPECT_THAT(Refused("seed: 42", "stop { target { metric: C_INDEX value: 70 } }"),
              HasSubstr("stop.target.value: must be above 0 and at most 1"));
  const std::string label = "contract.label.survival";
  EXPECT_THAT(Refused("time_max: 1000", ""), HasSubstr(label + ".time_max: must be above 0"));
  EXPECT_THAT(Refused("time_max: 1000", "time_max: 1e31"), HasSubstr(label + ".time_max: "));
  EXPECT_THAT(Refused("event_column: \"died\"", ""), HasSubstr(label + ".event_column: must have"));
  EXPECT_THAT(Refused("\"died\"", "\"age\""), HasSubstr("column \"age\" is used twice"));
  EXPECT_THAT(Refused("censored: \"0\"", ""), HasSubstr(label + ": needs a value for observed"));
  EXPECT_THAT(Refused("censored: \"0\"", "censored: \"1.0\""), HasSubstr("\"1.0\" is there twice"));
}

// A contract serves both losses: Cox does not read the ends.
TEST(SurvivalPlan, EndsOfIntervalsAreCheckedWhateverTheLoss) {
  EXPECT_TRUE(Resolve("time_max: 1000", "time_max: 9 interval_ends: [3, 8]").ok());
  const auto refused = [](const std::string& ends) {
    return Refused("time_max: 1000", "time_max: 1000 interval_ends: [" + ends + "]");
  };
  const std::string path = "contract.label.survival.interval_ends: ";
  EXPECT_THAT(refused("3"), HasSubstr(path + "must be 2 to 1024, not 1"));
  std::string many = "0.5";
  for (int i = 2; i <= 1024; ++i) absl::StrAppend(&many, ", ", i * 0.5);
  EXPECT_EQ(refused(many), "");
  EXPECT_THAT(refused(many + ", 600"), HasSubstr(path + "must be 2 to 1024, not 1025"));
  for (const char* ends : {"0, 3", "-1, 3", "1, 2, 2", "1, 3, 2", "1, inf", "nan, 2", "1, 1e31",
                           "1, 1.00000001", "1e-60, 1"}) {
    EXPECT_THAT(refused(ends), HasSubstr(path + "must ascend from above 0")) << ends;
  }
  EXPECT_THAT(refused("1, 3, 2"), HasSubstr("but [2] is 2 "));
  // The last interval may reach beyond time_max, none may begin there.
  EXPECT_EQ(refused("999, 2000"), "");
  EXPECT_THAT(refused("500, 1000, 2000"),
              HasSubstr(path + "[2] ends an interval that begins at or after time_max"));
}

// A hazard for each of `units` intervals, and three ends.
std::string HazardRefused(const std::string& units, const std::string& from = "",
                          const std::string& to = "") {
  const std::string text = absl::StrReplaceAll(
      kPlanText,
      {{kBinary, absl::StrReplaceAll(kSurvival,
                                     {{"time_max: 1000", "time_max: 9 interval_ends: [1, 2, 4]"}})},
       {"BCE_WITH_LOGITS", "DISCRETE_HAZARD"},
       {"units: \"1\"", "units: \"" + units + "\""}});
  EXPECT_THAT(text, HasSubstr(from));
  v1::RunPlan plan;
  const absl::Status parsed =
      ParseTextFormat(from.empty() ? text : absl::StrReplaceAll(text, {{from, to}}), "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed;
  const absl::StatusOr<v1::RunPlan> resolved = ResolvePlan(std::move(plan));
  if (!resolved.ok()) return std::string(resolved.status().message());
  const auto graph = GraphOf(*resolved);
  EXPECT_THAT(graph->interval_ends, testing::ElementsAre(1, 2, 4));
  EXPECT_EQ(resolved->config().stop().select_by(), v1::LOG_LOSS);
  return "";
}

TEST(SurvivalPlan, ADiscreteHazardHasAnOutputForEachInterval) {
  EXPECT_EQ(HazardRefused("3"), "");
  const std::string ends = "contract.label.survival.interval_ends: must be ";
  EXPECT_THAT(HazardRefused("4"), HasSubstr(ends + "4, one for each output of the spec"));
  EXPECT_THAT(HazardRefused("2"), HasSubstr(ends + "2, one for each output of the spec"));
  EXPECT_THAT(HazardRefused("3", "interval_ends: [1, 2, 4]", ""), HasSubstr("not 0"));
  EXPECT_THAT(HazardRefused("1"),
              HasSubstr("spec.loss.kind: DISCRETE_HAZARD needs an output of [2] to [1024], not"));
  EXPECT_THAT(HazardRefused("1025"),
              HasSubstr("spec.loss.kind: DISCRETE_HAZARD needs an output of [2] to [1024], not"));
  EXPECT_THAT(HazardRefused("3", "kind: DISCRETE_HAZARD", "kind: KIND_UNSPECIFIED"),
              HasSubstr("spec.loss.kind: must be CROSS_ENTROPY"));
  // The spec of the zoo takes its units from the contract.
  EXPECT_EQ(HazardRefused("intervals", "parameters { name: \"features\" }",
                          "parameters { name: \"features\" } parameters { name: \"intervals\" }"),
            "");
}

TEST(SurvivalPlan, ADiscreteHazardHasTheLogLossAndTheCIndex) {
  for (const char* metric : {"LOG_LOSS", "C_INDEX"}) {
    EXPECT_EQ(HazardRefused("3", "seed: 42",
                            absl::StrCat("stop { target { metric: ", metric, " value: 0.9 } }")),
              "");
  }
  for (const char* metric : {"COX_LOSS", "ACCURACY", "AUROC", "CALIBRATION_ERROR", "METRIC_MSE"}) {
    EXPECT_THAT(HazardRefused("3", "seed: 42", absl::StrCat("stop { select_by: ", metric, " }")),
                HasSubstr("stop.select_by: must be one that the loss has"));
  }
}

// A label of another kind.
TEST(SurvivalPlan, ADiscreteHazardNeedsTimes) {
  EXPECT_THAT(Refused(kSurvival, kBinary), HasSubstr("contract.label: must be survival"));
  v1::RunPlan plan;
  ASSERT_TRUE(
      ParseTextFormat(absl::StrReplaceAll(kPlanText, {{"BCE_WITH_LOGITS", "DISCRETE_HAZARD"},
                                                      {"units: \"1\"", "units: \"3\""}}),
                      "plan", plan)
          .ok());
  EXPECT_THAT(std::string(ResolvePlan(std::move(plan)).status().message()),
              HasSubstr("contract.label: must be survival for a spec with loss DISCRETE_HAZARD"));
}

}  // namespace
}  // namespace consilium
