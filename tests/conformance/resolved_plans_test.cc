// What `run validate` lets pass, the engine can do: two parts that were written apart agree on
// which stages go together.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/strategies/stages.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

// All there are, and none.
std::vector<std::string> Presets() {
  const auto* presets = v1::AggregationConfig::Preset_descriptor();
  std::vector<std::string> lines = {""};
  for (int i = 0; i < presets->value_count(); ++i) {
    if (presets->value(i)->number() == v1::AggregationConfig::PRESET_UNSPECIFIED) continue;
    lines.push_back(absl::StrCat("preset: ", presets->value(i)->name(), " "));
  }
  return lines;
}

constexpr const char* kTriggers[] = {"",
                                     "trigger {} ",
                                     "trigger { buffer {} } ",
                                     "trigger { buffer { updates: 1 } } ",
                                     "trigger { buffer { updates: 7 } } ",
                                     "trigger { barrier { deadline_ms: 9 } } ",
                                     "trigger { bounded {} } ",
                                     "trigger { groups {} } ",
                                     "trigger { interval { interval_ms: 9 } } "};
constexpr const char* kStaleness[] = {"", "staleness { constant {} } ",
                                      "staleness { polynomial {} } ", "staleness { hinge {} } "};
constexpr const char* kServers[] = {
    "",
    "server { sgd { learning_rate: 0.5 } } ",
    "server { sgd { momentum: 0.9 } } ",
    "server { sgd { learning_rate_final: 0.1 decay_versions: 9 } } ",
    "server { adam {} } ",
    "server { yogi { bias_correction: NONE } } ",
    "server { amsgrad {} delay_adaptive {} } ",
    "server { adagrad {} } "};
constexpr const char* kCorrections[] = {"", "rate_correction {} ", "rate_correction { cap: 1 } "};
constexpr const char* kAlphas[] = {"", "mixing_alpha: 0.9 "};
constexpr const char* kRobust[] = {"",
                                   "combine {} ",
                                   "combine { coordinate_median {} } ",
                                   "combine { trimmed_mean {} band_versions: 3 } ",
                                   "combine { krum { hostile_max: 2 } } ",
                                   "combine { geometric_median {} } transform { clip_norm: 1 } ",
                                   "combine { buckets { buckets: 3 } } ",
                                   "transform { clip_norm: 1 } ",
                                   "transform { zeno { validator: 'a' } } ",
                                   "fairness {} ",
                                   "concurrency { sites_max: 3 deadline_ms: 9 } ",
                                   "fairness {} concurrency { sites_max: 3 deadline_ms: 9 } ",
                                   "fairness { epsilon: 0.1 } transform { clip_norm: 1 } "};

template <typename Body>
void ForEachAggregation(const Body& body) {
  for (const std::string& preset : Presets()) {
    for (const char* trigger : kTriggers) {
      for (const char* staleness : kStaleness) {
        for (const char* server : kServers) {
          for (const char* correction : kCorrections) {
            for (const char* alpha : kAlphas) {
              body(absl::StrCat(preset, trigger, staleness, server, correction, alpha));
            }
          }
        }
      }
    }
  }
  for (const std::string& preset : Presets()) {
    for (const char* trigger : kTriggers) {
      for (const char* staleness : kStaleness) {
        for (const char* correction : kCorrections) {
          for (const char* robust : kRobust) {
            body(absl::StrCat(preset, trigger, staleness, correction, robust));
          }
        }
      }
    }
  }
}

TEST(ResolvedPlans, HaveStages) {
  v1::RunPlan plan;
  ASSERT_TRUE(ParseTextFormat(kPlanText, "plan", plan).ok());
  int passed = 0;
  int refused = 0;
  ForEachAggregation([&](const std::string& text) {
    v1::AggregationConfig& config = *plan.mutable_config()->mutable_aggregation();
    config.Clear();
    ASSERT_TRUE(ParseTextFormat(text, "aggregation", config).ok()) << text;
    // What FEDPROX needs, and FEDNOVA can not have.
    const bool proximal = config.preset() != v1::AggregationConfig::FEDNOVA;
    plan.mutable_config()->mutable_training()->set_proximal_mu(proximal ? 0.1 : 0);
    const auto resolved = ResolvePlan(plan);
    if (!resolved.ok()) {
      ++refused;
      return;
    }
    ++passed;
    const auto stages = federation::StagesOf(resolved->config().aggregation());
    EXPECT_TRUE(stages.ok()) << text << ": " << stages.status();
  });
  EXPECT_GT(passed, 300);
  EXPECT_GT(refused, 300);
}

// The defaults of a preset stand with the plan's (plan_defaults.cc) and in the table of presets.
TEST(ResolvedPlans, HaveThePresetsOwnDefaults) {
  v1::RunPlan parsed;
  ASSERT_TRUE(ParseTextFormat(kPlanText, "plan", parsed).ok());
  for (const std::string& preset : Presets()) {
    v1::RunPlan plan = parsed;
    v1::AggregationConfig& config = *plan.mutable_config()->mutable_aggregation();
    config.Clear();
    ASSERT_TRUE(ParseTextFormat(preset, "aggregation", config).ok());
    const bool proximal = config.preset() == v1::AggregationConfig::FEDPROX;
    plan.mutable_config()->mutable_training()->set_proximal_mu(proximal ? 0.1 : 0);
    // What a rule can not do without.
    if (config.preset() == v1::AggregationConfig::BASGD) {
      config.mutable_combine()->mutable_buckets()->set_buckets(3);
    } else if (config.preset() == v1::AggregationConfig::NORM_BOUND) {
      config.mutable_transform()->set_clip_norm(1);
    } else if (config.preset() == v1::AggregationConfig::ZENO) {
      config.mutable_transform()->mutable_zeno()->set_validator("a");
    } else if (config.preset() == v1::AggregationConfig::FEDPER) {
      plan.mutable_config()->mutable_training()->mutable_personal()->add_layers("hidden");
    } else if (config.preset() == v1::AggregationConfig::FEDBN) {
      const auto last = plan.spec().layers(1);
      plan.mutable_spec()->mutable_layers(1)->set_name("norm");
      plan.mutable_spec()->mutable_layers(1)->mutable_group_norm()->set_groups("2");
      *plan.mutable_spec()->add_layers() = last;
    }
    const auto resolved = ResolvePlan(plan);
    ASSERT_TRUE(resolved.ok()) << preset << resolved.status();
    const auto of_table = federation::StagesOf(config);
    const auto of_plan = federation::StagesOf(resolved->config().aggregation());
    ASSERT_TRUE(of_table.ok() && of_plan.ok()) << preset;
    EXPECT_EQ(of_table->trigger, of_plan->trigger) << preset;
    EXPECT_EQ(of_table->buffer_updates, of_plan->buffer_updates) << preset;
    EXPECT_EQ(of_table->mixing, of_plan->mixing) << preset;
    EXPECT_EQ(of_table->updates_ahead_max, of_plan->updates_ahead_max) << preset;
    EXPECT_EQ(of_table->entry_age_max, of_plan->entry_age_max) << preset;
    EXPECT_EQ(of_table->delay_compensation, of_plan->delay_compensation) << preset;
    EXPECT_EQ(of_table->staleness_of == federation::StalenessStage::kNone,
              TraitsOf(resolved->config().aggregation().preset())->staleness ==
                  PresetTraits::StalenessRule::kAbsent)
        << preset;
    ASSERT_EQ(of_table->zeno.has_value(), of_plan->zeno.has_value()) << preset;
    if (of_table->zeno.has_value()) {
      EXPECT_EQ(of_table->zeno->gamma, of_plan->zeno->gamma);
      EXPECT_EQ(of_table->zeno->rho, of_plan->zeno->rho);
      EXPECT_EQ(of_table->zeno->epsilon, of_plan->zeno->epsilon);
    }
    ASSERT_EQ(of_table->robust.has_value(), of_plan->robust.has_value()) << preset;
    if (!of_table->robust.has_value()) continue;
    EXPECT_EQ(of_table->robust->kind, of_plan->robust->kind) << preset;
    EXPECT_EQ(of_table->robust->share, of_plan->robust->share) << preset;
    EXPECT_EQ(of_table->robust->chosen, of_plan->robust->chosen) << preset;
    EXPECT_EQ(of_table->robust->iterations, of_plan->robust->iterations) << preset;
    EXPECT_EQ(of_table->robust->smoothing, of_plan->robust->smoothing) << preset;
  }
}

}  // namespace
}  // namespace consilium
