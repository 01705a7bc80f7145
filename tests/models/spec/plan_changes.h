// Plans made of plan_text.h's by small changes, and what ResolvePlan says of them.

#ifndef CONSILIUM_TESTS_MODELS_SPEC_PLAN_CHANGES_H_
#define CONSILIUM_TESTS_MODELS_SPEC_PLAN_CHANGES_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {

inline v1::RunPlan Parse(absl::string_view text) {
  v1::RunPlan plan;
  const absl::Status parsed = ParseTextFormat(text, "plan", plan);
  EXPECT_TRUE(parsed.ok()) << parsed << text;
  return plan;
}

// kPlanText with `from` replaced, which must be there.
inline v1::RunPlan Changed(absl::string_view from, absl::string_view to) {
  const std::string text = absl::StrReplaceAll(kPlanText, {{from, to}});
  EXPECT_NE(text, kPlanText) << from;
  return Parse(text);
}

inline v1::RunPlan WithAggregation(absl::string_view stages) {
  return Changed("seed: 42", absl::StrCat("seed: 42 aggregation { ", stages, " }"));
}

inline v1::RunPlan Resolved(const v1::RunPlan& plan) {
  auto resolved = ResolvePlan(plan);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? *resolved : v1::RunPlan();
}

// Each case is a change that breaks exactly one rule, so exactly one sentence comes back.
struct Refusal {
  const char* from;
  const char* to;
  const char* sentence;  // Its beginning.
};

inline void ExpectRefusals(const std::vector<Refusal>& cases) {
  for (const Refusal& c : cases) {
    const absl::Status status = ResolvePlan(Changed(c.from, c.to)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.to;
    const std::vector<std::string> sentences = absl::StrSplit(status.message(), '\n');
    EXPECT_THAT(sentences, testing::ElementsAre(testing::AllOf(testing::StartsWith(c.sentence),
                                                               testing::EndsWith("."))))
        << c.to;
  }
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_MODELS_SPEC_PLAN_CHANGES_H_
