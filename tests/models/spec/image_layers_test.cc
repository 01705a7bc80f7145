// Shapes, tensors and cost of the layers of images, signals and codes, and what they refuse.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/initial_values.h"
#include "models/spec/model_graph.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;

absl::StatusOr<ModelGraph> Build(const std::string& text) {
  v1::ModelSpec spec;
  EXPECT_THAT(ParseTextFormat(text, "spec", spec), IsOk()) << text;
  return BuildModelGraph(spec, {});
}

// One layer, then whatever makes one number of it.
absl::StatusOr<ModelGraph> WithLayer(const std::string& input_shape, const std::string& layer) {
  return Build(absl::StrCat("name: 'm' input_shape: [", input_shape, "] layers { name: 'x' ", layer,
                            " } layers { name: 'f' flatten {} } layers { name: 'out' linear { "
                            "units: '1' } } loss { kind: MSE }"));
}

std::vector<int64_t> ShapeOf(const std::string& input_shape, const std::string& layer) {
  const auto graph = WithLayer(input_shape, layer);
  EXPECT_THAT(graph, IsOk()) << layer;
  return graph.ok() ? graph->layers[0].output_shape : std::vector<int64_t>();
}

// LeCun et al. 1998 as it is taught today (ReLU, maximum pooling): 61,706 parameters and 416,520
// multiply-adds.
TEST(ImageLayersTest, CountsLeNet5) {
  const auto graph = Build(R"(
    name: "lenet" input_shape: ["1", "28", "28"]
    layers { name: "c1" conv { channels: "6" kernel: "5" padding: "2" } }
    layers { name: "r1" activation { function: RELU } }
    layers { name: "p1" pool { kind: MAX kernel: "2" } }
    layers { name: "c2" conv { channels: "16" kernel: "5" } }
    layers { name: "r2" activation { function: RELU } }
    layers { name: "p2" pool { kind: MAX kernel: "2" } }
    layers { name: "flat" flatten {} }
    layers { name: "f1" linear { units: "120" } }
    layers { name: "f2" linear { units: "84" } }
    layers { name: "out" linear { units: "10" } }
    loss { kind: CROSS_ENTROPY })");
  ASSERT_THAT(graph, IsOk());
  EXPECT_EQ(graph->layout.elements(), 61'706u);
  EXPECT_EQ(graph->multiply_adds(), 416'520u);
  EXPECT_THAT(graph->layers[0].output_shape, ElementsAre(6, 28, 28));
  EXPECT_THAT(graph->layers[5].output_shape, ElementsAre(16, 5, 5));
  EXPECT_THAT(graph->layout.tensors[2].shape, ElementsAre(16, 6, 5, 5));
}

TEST(ImageLayersTest, ShapesFollowTheWindow) {
  EXPECT_THAT(ShapeOf("'3', '10'", "conv { channels: '4' kernel: '3' stride: '2' }"),
              ElementsAre(4, 4));
  EXPECT_THAT(ShapeOf("'3', '11'", "conv { channels: '4' kernel: '3' stride: '2' padding: '1' }"),
              ElementsAre(4, 6));
  EXPECT_THAT(ShapeOf("'2', '7', '5'", "pool { kind: MAX kernel: '2' }"), ElementsAre(2, 3, 2));
  EXPECT_THAT(ShapeOf("'2', '7', '5'", "pool { kind: AVERAGE kernel: '2' stride: '1' }"),
              ElementsAre(2, 6, 4));
  EXPECT_THAT(ShapeOf("'2', '7', '5'", "pool { kind: GLOBAL_AVERAGE }"), ElementsAre(2));
  EXPECT_THAT(ShapeOf("'6'", "embedding { entries: '9' units: '4' }"), ElementsAre(6, 4));
  EXPECT_THAT(ShapeOf("'2', '7'", "inputs: ['input', 'input'] concat {}"), ElementsAre(4, 7));
  EXPECT_THAT(ShapeOf("'4', '7'", "group_norm { groups: '2' }"), ElementsAre(4, 7));
}

TEST(ImageLayersTest, AGroupSeesItsOwnChannelsOnly) {
  const auto graph = WithLayer("'4', '6'", "conv { channels: '8' kernel: '3' groups: '2' }");
  ASSERT_THAT(graph, IsOk());
  EXPECT_THAT(graph->layout.tensors[0].shape, ElementsAre(8, 2, 3));
  EXPECT_EQ(graph->layers[0].multiply_adds, 4u * 8 * 2 * 3);
}

// An optimizer steps over one span.
TEST(ImageLayersTest, BuffersLieBehindAllParameters) {
  const auto graph = WithLayer("'4', '6'", "batch_norm {}");
  ASSERT_THAT(graph, IsOk());
  const std::vector<TensorSpec>& tensors = graph->layout.tensors;
  ASSERT_EQ(tensors.size(), 6u);
  EXPECT_EQ(tensors[1].name, "x.bias");
  EXPECT_EQ(tensors[2].name, "out.weight");
  EXPECT_EQ(tensors[4].name, "x.running_mean");
  EXPECT_EQ(tensors[5].name, "x.running_var");
  EXPECT_EQ(tensors[5].group, TensorGroup::kBuffers);
  EXPECT_THAT(graph->layers[0].tensors, ElementsAre(0, 1, 4, 5));
  EXPECT_EQ(graph->layout.trained_elements() + 8, graph->layout.elements());
  const std::vector<float> values = InitialValues(*graph, 1);
  EXPECT_THAT(std::vector<float>(values.end() - 8, values.end()),
              ElementsAre(0, 0, 0, 0, 1, 1, 1, 1));
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values[4], 0);
}

// 1/√(inputs of one output), as the field's tools draw it.
TEST(ImageLayersTest, ConvolutionsBeginWithinTheirBound) {
  const auto graph = WithLayer("'4', '9', '9'", "conv { channels: '32' kernel: '3' groups: '2' }");
  ASSERT_THAT(graph, IsOk());
  const std::vector<float> values = InitialValues(*graph, 1);
  const float bound = 1 / std::sqrt(2.0f * 3 * 3);
  float largest = 0;
  for (size_t i = 0; i < 32 * 2 * 9 + 32; ++i) largest = std::max(largest, std::abs(values[i]));
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.98f * bound);
}

TEST(ImageLayersTest, EveryRefusalNamesItsPlace) {
  const struct {
    const char* input;
    const char* layer;
    const char* words;
  } cases[] = {
      {"'8'", "conv { channels: '1' kernel: '1' }",
       "layers.x.inputs: conv needs [channels, width]"},
      {"'1', '2', '3', '4'", "pool { kind: MAX kernel: '1' }", "layers.x.inputs: pool needs"},
      {"'2', '8'", "conv { channels: '0' kernel: '1' }", "layers.x.conv.channels: is 0"},
      {"'2', '8'", "conv { channels: '1' kernel: '128' }", "layers.x.conv.kernel: is 128"},
      {"'2', '8'", "conv { channels: '1' kernel: '9' }", "layers.x.conv.kernel: is 9, more than"},
      {"'2', '8'", "conv { channels: '1' kernel: '3' padding: '3' }",
       "layers.x.conv.padding: is 3"},
      {"'2', '8'", "conv { channels: '1' kernel: '3' stride: '0' }", "layers.x.conv.stride: is 0"},
      {"'4', '8'", "conv { channels: '6' kernel: '1' groups: '4' }", "layers.x.conv.groups: is 4"},
      {"'4', '8'", "conv { channels: '6' kernel: '1' weight_init { kind: ZEROS scale: 1 } }",
       "layers.x.conv.weight_init.scale"},
      {"'2', '8'", "pool { kernel: '2' }", "layers.x.pool.kind: must be"},
      {"'2', '8'", "pool { kind: MAX }", "layers.x.pool.kernel: expression"},
      {"'2', '8'", "pool { kind: GLOBAL_AVERAGE kernel: '2' }", "layers.x.pool: has no kernel"},
      {"'2', '8'", "pool { kind: AVERAGE kernel: '9' }", "layers.x.pool.kernel: is 9, more than"},
      {"'4', '8'", "group_norm { groups: '3' }", "layers.x.group_norm.groups: is 3"},
      {"'4', '8'", "group_norm { groups: '2' epsilon: 2 }", "layers.x.group_norm.epsilon"},
      {"'4', '8'", "batch_norm { epsilon: -1 }", "layers.x.batch_norm.epsilon"},
      {"'4', '8'", "batch_norm { momentum: 0 }", "layers.x.batch_norm.momentum"},
      {"'4', '8'", "batch_norm { momentum: nan }", "layers.x.batch_norm.momentum"},
      {"'1', '1', '1', '1'", "batch_norm {}", "layers.x.inputs: batch norm takes up to 3"},
      {"'4', '8'", "concat {}", "layers.x.inputs: there are 1"},
      {"'4', '8'", "embedding { entries: '1' units: '1' }", "layers.x.inputs: an embedding reads"},
      {"'4'", "embedding { entries: '0' units: '1' }", "layers.x.embedding.entries: is 0"},
      {"'4'", "embedding { entries: '2' units: '65537' }", "layers.x.embedding.units: is 65537"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(WithLayer(c.input, c.layer), IsError(StatusCode::kInvalidArgument, c.words))
        << c.layer;
  }
  EXPECT_THAT(
      Build(R"(name: "m" input_shape: ["2", "4"]
                layers { name: "p" pool { kind: MAX kernel: "2" } }
                layers { name: "x" inputs: ["input", "p"] concat {} }
                layers { name: "g" pool { kind: GLOBAL_AVERAGE } }
                layers { name: "out" linear { units: "1" } } loss { kind: MSE })"),
      IsError(StatusCode::kInvalidArgument,
              "layers.x.inputs: concat needs shapes that agree but for the first dimension, "
              "but there are [2, 4] and [2, 2]"));
}

TEST(ImageLayersTest, LimitsComeBeforeMemory) {
  EXPECT_THAT(WithLayer("'65536', '8', '8'", "conv { channels: '65536' kernel: '7' }"),
              IsError(StatusCode::kResourceExhausted, "layers.x: [65536, 65536, 7, 7] has more"));
  EXPECT_THAT(WithLayer("'64', '4096', '4096'", "conv { channels: '128' kernel: '127' }"),
              IsError(StatusCode::kResourceExhausted, "multiply-adds"));
  EXPECT_THAT(WithLayer("'1', '16777216'", "conv { channels: '65536' kernel: '1' }"),
              IsError(StatusCode::kResourceExhausted, "layers.x: [65536, 16777216] has more"));
  EXPECT_THAT(WithLayer("'4'", "embedding { entries: '16777216' units: '65536' }"),
              IsError(StatusCode::kResourceExhausted, "layers.x: [16777216, 65536] has more"));
}

}  // namespace
}  // namespace consilium
