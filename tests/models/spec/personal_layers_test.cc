#include "models/spec/personal_layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/text_format.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

// kPlanText's linear layers "hidden" and "logit", with a batch norm and a group norm between them.
constexpr char kNorms[] = R"(
  layers { name: "hidden" linear { units: "4" } }
  layers { name: "norm" batch_norm {} }
  layers { name: "relu" activation { function: RELU } }
  layers { name: "by_group" group_norm { groups: "2" } }
  layers { name: "logit" linear { units: "1" } })";

v1::RunPlan Unresolved(const std::string& config, const std::string& layers = "") {
  v1::RunPlan plan;
  EXPECT_TRUE(ParseTextFormat(kPlanText, "plan", plan).ok());
  EXPECT_TRUE(MergeTextFormat(config, "config", *plan.mutable_config()).ok());
  if (!layers.empty()) {
    plan.mutable_spec()->clear_layers();
    EXPECT_TRUE(MergeTextFormat(layers, "spec", *plan.mutable_spec()).ok());
  }
  return plan;
}

v1::RunPlan Resolved(const std::string& config, const std::string& layers = "") {
  const absl::StatusOr<v1::RunPlan> plan = ResolvePlan(Unresolved(config, layers));
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.value_or(v1::RunPlan());
}

constexpr char kFedPer[] =
    "aggregation { preset: FEDPER } training { personal { layers: 'logit' } }";

TEST(PersonalLayers, OfFedBnAreAllThatNormalise) {
  const v1::RunPlan plan = Resolved("aggregation { preset: FEDBN }", kNorms);
  EXPECT_THAT(plan.config().training().personal().layers(), ElementsAre("norm", "by_group"));
  // Resolved again, it stays; and the trigger is a barrier.
  EXPECT_EQ(PlanHash(*ResolvePlan(plan)), PlanHash(plan));
  EXPECT_TRUE(plan.config().aggregation().trigger().has_barrier());
  EXPECT_EQ(KeptBySites(plan.config()), SiteKeeps::kPersonalLayers);
}

TEST(PersonalLayers, AreMarkedInTheLayout) {
  const ModelGraph plain = *GraphOf(Resolved("aggregation { preset: FEDAVG }"));
  const ModelGraph graph = *GraphOf(Resolved(kFedPer));
  ASSERT_EQ(graph.layout.tensors.size(), 4U);
  EXPECT_EQ(graph.layout.tensors[1].group, TensorGroup::kParameters);
  EXPECT_EQ(graph.layout.tensors[2].group, TensorGroup::kPersonal);
  EXPECT_EQ(graph.layout.tensors[3].group, TensorGroup::kPersonal);
  // Both sides of a run agree on it.
  EXPECT_NE(graph.layout.Hash(), plain.layout.Hash());
  EXPECT_EQ(graph.layout.trained_elements(), plain.layout.trained_elements());
  EXPECT_TRUE(PersonalRanges(plain).empty());
}

TEST(PersonalLayers, RangesAreOfParametersAndOfRunningStatistics) {
  const ModelGraph graph = *GraphOf(Resolved("aggregation { preset: FEDBN }", kNorms));
  // hidden 5·4 + 4 (five features), norm 4 + 4, by_group 4 + 4, logit 4 + 1; running mean and
  // variance of norm 4 + 4.
  std::vector<std::pair<size_t, size_t>> found;
  for (const ElementRange& range : PersonalRanges(graph)) {
    found.emplace_back(range.begin, range.end);
  }
  const size_t first = graph.layout.tensors[0].elements() + 4;
  EXPECT_THAT(found,
              ElementsAre(std::pair(first, first + 4), std::pair(first + 4, first + 8),
                          std::pair(first + 8, first + 12), std::pair(first + 12, first + 16),
                          std::pair(first + 21, first + 25), std::pair(first + 25, first + 29)));
  EXPECT_EQ(graph.layout.elements(), first + 29);
  EXPECT_EQ(graph.layout.trained_elements(), first + 21);
}

TEST(PersonalLayers, NothingOfThemMayBeInAnUpdate) {
  const ModelGraph graph = *GraphOf(Resolved(kFedPer));
  std::vector<float> delta(graph.layout.elements(), 1);
  EXPECT_EQ(CheckNothingPersonal(graph, delta).code(), absl::StatusCode::kInternal);
  const ElementRange last = PersonalRanges(graph).back();
  for (const ElementRange& range : PersonalRanges(graph)) {
    std::fill(delta.begin() + static_cast<ptrdiff_t>(range.begin),
              delta.begin() + static_cast<ptrdiff_t>(range.end), 0.0F);
  }
  EXPECT_TRUE(CheckNothingPersonal(graph, delta).ok());
  EXPECT_FALSE(CheckNothingPersonal(graph, std::span(delta).subspan(1)).ok());
  delta[last.end - 1] = 1e-30F;
  EXPECT_EQ(CheckNothingPersonal(graph, delta).code(), absl::StatusCode::kInternal);
}

// Whose running statistics stay at the site has none that a server's step could lead astray.
TEST(PersonalLayers, AllowAnyServerStepWhereTheyHaveTheRunningStatistics) {
  const char* const adam = " server { adam {} } }";
  EXPECT_TRUE(
      ResolvePlan(Unresolved(absl::StrCat("aggregation { preset: FEDBN", adam), kNorms)).ok());
  const absl::Status shared =
      ResolvePlan(Unresolved(absl::StrCat("aggregation { preset: FEDPER", adam,
                                          " training { personal { layers: 'logit' } }"),
                             kNorms))
          .status();
  EXPECT_THAT(std::string(shared.message()), StartsWith("aggregation.server: must be sgd"));
}

TEST(PersonalLayers, RobustRulesAndClippingMayGoWithThem) {
  for (const char* stage : {"combine { krum {} }", "combine { coordinate_median {} }",
                            "transform { clip_norm: 1 }", "fairness {}"}) {
    const absl::Status status =
        ResolvePlan(Unresolved(absl::StrCat("aggregation { preset: FEDPER ", stage,
                                            " } training { personal { layers: 'logit' } }")))
            .status();
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(PersonalLayers, DittoHasALambda) {
  const v1::RunPlan plan = Resolved("aggregation { preset: DITTO }");
  EXPECT_EQ(plan.config().training().ditto_lambda(), 0.1);
  EXPECT_EQ(KeptBySites(plan.config()), SiteKeeps::kPersonalModel);
  EXPECT_TRUE(PersonalRanges(*GraphOf(plan)).empty());
  Resolved("aggregation { preset: DITTO } training { ditto_lambda: 39.9 }");
}

TEST(PersonalLayers, ComplaintsSayWhatCanNotWork) {
  struct Case {
    const char* config;
    const char* layers;
    const char* sentence;
  };
  const Case cases[] = {
      {"aggregation { preset: FEDPER }", "", "training.personal: must name the layers"},
      {"aggregation { preset: FEDPER } training { personal {} }", "",
       "training.personal: must name the layers"},
      {"aggregation { preset: FEDPER } training { personal { layers: 'no\\nne' } }", "",
       "training.personal.layers: the spec has no layer \"no\\nne\""},
      {"aggregation { preset: FEDPER } training { personal { layers: 'relu' } }", kNorms,
       "training.personal.layers: \"relu\" has nothing to train"},
      {"aggregation { preset: FEDPER } training { personal { layers: ['logit', 'logit'] } }", "",
       "training.personal.layers: names \"logit\" twice"},
      {"aggregation { preset: FEDPER } training { personal { layers: ['logit', 'hidden'] } }", "",
       "training.personal.layers: names every layer that is trained"},
      {"aggregation { preset: FEDPER trigger { buffer { updates: 2 } } } "
       "training { personal { layers: 'logit' } }",
       "", "aggregation.trigger: must be a barrier with FEDPER"},
      {"aggregation { preset: FEDBN }", "", "aggregation.preset: FEDBN keeps the layers that"},
      {"aggregation { preset: FEDBN } training { personal { layers: 'norm' } }", kNorms,
       "training.personal: is every layer that normalises"},
      {"aggregation { preset: FEDAVG } training { personal { layers: 'logit' } }", "",
       "training.personal: belongs to FEDPER"},
      {"training { ditto_lambda: 0.1 }", "", "training.ditto_lambda: belongs to DITTO only"},
      {"aggregation { preset: DITTO } training { ditto_lambda: -1 }", "",
       "training.ditto_lambda: must be above 0"},
      {"aggregation { preset: DITTO } training { ditto_lambda: inf }", "",
       "training.ditto_lambda: must be above 0"},
      {"aggregation { preset: DITTO } training { ditto_lambda: 40 }", "",  // η = .05.
       "training.ditto_lambda: times the learning rate must be below"},
      {"aggregation { preset: DITTO trigger { buffer {} } }", "",
       "aggregation.trigger: must be a barrier with DITTO"},
      {"aggregation { preset: DITTO } training { personal { layers: 'logit' } }", "",
       "training.personal: belongs to FEDPER"},
  };
  for (const Case& c : cases) {
    const absl::Status status = ResolvePlan(Unresolved(c.config, c.layers)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.config;
    const std::vector<std::string> sentences = absl::StrSplit(status.message(), '\n');
    EXPECT_THAT(sentences, ElementsAre(StartsWith(c.sentence))) << c.config;
  }
}

}  // namespace
}  // namespace consilium
