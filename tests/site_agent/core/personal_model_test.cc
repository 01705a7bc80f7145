// The model that serves one site.

#include "site_agent/core/personal_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "models/spec/run_plan.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"
#include "tests/models/spec/plan_text.h"

namespace consilium {
namespace {

using testing::ElementsAreArray;

// kPlanText's two linear layers, the first or the last the site's own.
ModelGraph GraphWithOwn(const char* layer) {
  v1::RunPlan plan;
  EXPECT_TRUE(ParseTextFormat(kPlanText, "plan", plan).ok());
  plan.mutable_config()->clear_aggregation();
  plan.mutable_config()->mutable_aggregation()->set_preset(v1::AggregationConfig::FEDPER);
  plan.mutable_config()->mutable_training()->mutable_personal()->add_layers(layer);
  const auto resolved = ResolvePlan(plan);
  EXPECT_THAT(resolved, IsOk());
  auto graph = GraphOf(*resolved);
  EXPECT_THAT(graph, IsOk());
  return *std::move(graph);
}

std::vector<float> CountingFrom(float first, size_t size) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), first);
  return values;
}

TEST(PersonalModel, PutsWhatIsOwnInItsPlaces) {
  for (const char* layer : {"hidden", "logit"}) {
    const ModelGraph graph = GraphWithOwn(layer);
    const size_t elements = graph.layout.elements();
    size_t own = 0;
    std::vector<float> expected = CountingFrom(0, elements);
    // By name: what the layout calls the layer's tensors.
    size_t at = 0;
    for (const TensorSpec& tensor : graph.layout.tensors) {
      const size_t size = tensor.elements();
      for (size_t i = 0; i < size; ++i, ++at) {
        if (tensor.name.rfind(layer, 0) == 0) expected[at] = 1000 + static_cast<float>(own++);
      }
    }
    ASSERT_GT(own, 0u);
    ASSERT_LT(own, elements);
    const auto model = PersonalModelOf(graph, SiteKeeps::kPersonalLayers, CountingFrom(0, elements),
                                       CountingFrom(1000, own));
    ASSERT_THAT(model, IsOk());
    EXPECT_THAT(*model, ElementsAreArray(expected)) << layer;
    for (const size_t wrong : {size_t{0}, own - 1, own + 1}) {
      EXPECT_THAT(PersonalModelOf(graph, SiteKeeps::kPersonalLayers, CountingFrom(0, elements),
                                  CountingFrom(0, wrong)),
                  IsError(absl::StatusCode::kDataLoss, "layout"));
    }
    EXPECT_THAT(PersonalModelOf(graph, SiteKeeps::kPersonalLayers, CountingFrom(0, elements - 1),
                                CountingFrom(0, own)),
                IsError(absl::StatusCode::kDataLoss, "layout"));
  }
}

TEST(PersonalModel, OfDittoIsItsOwnAlone) {
  const ModelGraph graph = GraphWithOwn("logit");
  const size_t elements = graph.layout.elements();
  const std::vector<float> own = CountingFrom(1000, elements);
  const auto model =
      PersonalModelOf(graph, SiteKeeps::kPersonalModel, CountingFrom(0, elements), own);
  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(*model, ElementsAreArray(own));
  EXPECT_THAT(PersonalModelOf(graph, SiteKeeps::kPersonalModel, own, CountingFrom(0, elements - 1)),
              IsError(absl::StatusCode::kDataLoss, "layout"));
}

TEST(PersonalModel, ThereIsNoneWhereNothingPersonalIsKept) {
  const ModelGraph graph = GraphWithOwn("logit");
  const std::vector<float> whole(graph.layout.elements());
  for (const SiteKeeps keeps : {SiteKeeps::kNothing, SiteKeeps::kControlVariate}) {
    EXPECT_THAT(PersonalModelOf(graph, keeps, whole, whole),
                IsError(absl::StatusCode::kFailedPrecondition, "FEDPER, FEDBN and DITTO"));
  }
}

}  // namespace
}  // namespace consilium
