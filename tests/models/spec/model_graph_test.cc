#include "models/spec/model_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two inputs to "sum", one layer of every kind.
constexpr char kEveryKind[] = R"(
  name: "every-kind"
  parameters { name: "features" default_value: 6 }
  parameters { name: "units" default_value: 8 max: 100 }
  input_shape: "2" input_shape: "features / 2"
  layers { name: "flat" flatten {} }
  layers { name: "norm" layer_norm {} }
  layers { name: "hidden" linear { units: "units" } }
  layers { name: "gelu" activation { function: GELU } }
  layers { name: "drop" dropout { probability: 0.5 } }
  layers { name: "back" linear { units: "features" bias: false } }
  layers { name: "sum" inputs: "flat" inputs: "back" add {} }
  layers { name: "logit" linear { units: "1" } }
  loss { kind: BCE_WITH_LOGITS }
)";

absl::StatusOr<ModelGraph> Build(absl::string_view text,
                                 const std::map<std::string, int64_t>& parameters = {}) {
  v1::ModelSpec spec;
  const absl::Status parsed = ParseTextFormat(text, "spec", spec);
  EXPECT_TRUE(parsed.ok()) << parsed;
  return BuildModelGraph(spec, parameters);
}

// kEveryKind with `from` replaced.
absl::Status Changed(absl::string_view from, absl::string_view to) {
  const std::string text = absl::StrReplaceAll(kEveryKind, {{from, to}});
  EXPECT_NE(text, kEveryKind) << from;
  return Build(text).status();
}

TEST(ModelGraph, SizesEveryLayer) {
  const auto graph = Build(kEveryKind);
  ASSERT_TRUE(graph.ok()) << graph.status();
  ASSERT_EQ(graph->layers.size(), 8u);
  EXPECT_THAT(graph->input_shape, ElementsAre(2, 3));
  EXPECT_THAT(graph->layers[0].output_shape, ElementsAre(6));
  EXPECT_THAT(graph->layers[2].output_shape, ElementsAre(8));
  EXPECT_THAT(graph->layers[6].inputs, ElementsAre(0, 5));
  EXPECT_THAT(graph->layers[0].inputs, ElementsAre(-1));
  EXPECT_THAT(graph->output_shape(), ElementsAre(1));
  EXPECT_EQ(graph->layers[2].units, 8);
  EXPECT_EQ(graph->loss, v1::Loss::BCE_WITH_LOGITS);
  EXPECT_EQ(graph->multiply_adds(), 6u * 8 + 8 * 6 + 6);

  std::vector<std::string> names;
  for (const TensorSpec& tensor : graph->layout.tensors) {
    std::string name = tensor.name;
    for (const int64_t size : tensor.shape) absl::StrAppend(&name, " ", size);
    names.push_back(name);
  }
  EXPECT_THAT(names,
              ElementsAre("norm.weight 6", "norm.bias 6", "hidden.weight 8 6", "hidden.bias 8",
                          "back.weight 6 8", "logit.weight 1 6", "logit.bias 1"));
  EXPECT_EQ(graph->layout.elements(), 6u + 6 + 48 + 8 + 48 + 6 + 1);
  EXPECT_EQ(graph->layout.payload_bytes(), 4 * graph->layout.elements());
  EXPECT_THAT(graph->layers[5].tensors, ElementsAre(4));
}

TEST(ModelGraph, FillsInWhatTheSpecLeavesOut) {
  const auto graph = Build(kEveryKind);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const v1::Layer& hidden = graph->layers[2].spec;
  EXPECT_TRUE(hidden.linear().bias());
  EXPECT_EQ(hidden.linear().weight_init().kind(), v1::Initialiser::KAIMING_UNIFORM);
  EXPECT_DOUBLE_EQ(graph->layers[1].spec.layer_norm().epsilon(), 1e-5);
}

TEST(ModelGraph, LinearWorksOnTheLastDimension) {
  const auto graph = Build(R"(name: "m" input_shape: "4" input_shape: "3"
    layers { name: "a" linear { units: "5" } } layers { name: "f" flatten {} }
    layers { name: "b" linear { units: "1" } } loss { kind: MSE })");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->layers[0].output_shape, ElementsAre(4, 5));
  EXPECT_EQ(graph->layers[0].multiply_adds, 4u * 3 * 5);
  EXPECT_THAT(graph->layout.tensors[0].shape, ElementsAre(5, 3));
}

TEST(ModelGraph, ParametersMakeAFamily) {
  const auto graph = Build(kEveryKind, {{"features", 20}, {"units", 3}});
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->input_shape, ElementsAre(2, 10));
  EXPECT_EQ(graph->layers[2].units, 3);

  EXPECT_EQ(Build(kEveryKind, {{"units", 101}}).status().message(),
            "parameters.units: is 101, but must be from 1 to 100");
  EXPECT_EQ(Build(kEveryKind, {{"units", 0}}).status().message(),
            "parameters.units: is 0, but must be from 1 to 100");
  EXPECT_EQ(Build(kEveryKind, {{"unit", 3}}).status().message(),
            "parameters: there is no \"unit\"");
}

TEST(ModelGraph, EveryRefusalNamesItsPlace) {
  const struct {
    const char* from;
    const char* to;
    const char* message;
  } cases[] = {
      {"name: \"every-kind\"", "name: \"\"", "name: "},
      {"name: \"every-kind\"", "name: \"../x\"", "name: "},
      {"name: \"features\" default_value: 6", "name: \"features\"", "has no default"},
      {"name: \"units\" default", "name: \"features\" default", "parameters.features: is there"},
      {"name: \"units\" default", "name: \"min\" default", "parameters.min: "},
      {"name: \"units\" default", "name: \"4x\" default", "parameters.name: "},
      {"features / 2", "features / 0", "input_shape: expression \"features / 0\": a division"},
      {"features / 2", "features / 7", "input_shape: a dimension is 0"},
      {"name: \"flat\"", "name: \"Flat\"", "layers[0].name: "},
      {"name: \"flat\"", "name: \"input\"", "layers[0].name: "},
      {"name: \"norm\"", "name: \"drop\"", "layers.drop: is there twice"},
      {"inputs: \"flat\" inputs: \"back\"", "inputs: \"back\"", "layers.sum.inputs: there are 1"},
      {"inputs: \"flat\" inputs: \"back\"", "inputs: \"flat\" inputs: \"logit\"",
       "layers.sum.inputs: a layer may only read"},
      {"inputs: \"flat\" inputs: \"back\"", "inputs: \"flat\" inputs: \"sum\"",
       "layers.sum.inputs: a layer may only read"},
      {"inputs: \"flat\" inputs: \"back\"", "inputs: \"flat\" inputs: \"hidden\"",
       "layers.sum.inputs: add needs one shape, but there are [6] and [8]"},
      {"name: \"drop\" ", "name: \"drop\" inputs: \"norm\" inputs: \"gelu\" ",
       "layers.drop.inputs: there are 2"},
      {"name: \"drop\" ", "name: \"drop\" inputs: \"norm\" ", "layers.gelu: no later layer reads"},
      {"flatten {}", "", "layers.flat: is of no kind"},
      {"layer_norm {}", "layer_norm { epsilon: -1 }", "layers.norm.layer_norm.epsilon: "},
      {"layer_norm {}", "layer_norm { epsilon: nan }", "layers.norm.layer_norm.epsilon: "},
      {"function: GELU", "", "layers.gelu.activation.function: "},
      {"function: GELU", "function: 77", "layers.gelu.activation.function: "},
      {"probability: 0.5", "probability: 1", "layers.drop.dropout.probability: "},
      {"probability: 0.5", "probability: nan", "layers.drop.dropout.probability: "},
      {"units: \"units\"", "units: \"0\"", "layers.hidden.linear.units: is 0"},
      {"units: \"units\"", "units: \"65537\"", "layers.hidden.linear.units: is 65537"},
      {"units: \"units\"", "", "layers.hidden.linear.units: expression \"\""},
      {"bias: false", "weight_init { kind: NORMAL scale: -1 }",
       "layers.back.linear.weight_init.scale: "},
      {"bias: false", "weight_init { kind: ZEROS scale: 1 }",
       "layers.back.linear.weight_init.scale: "},
      {"bias: false", "weight_init { kind: 9 }", "layers.back.linear.weight_init.kind: "},
      {"units: \"1\"", "units: \"2\"", "loss.kind: BCE_WITH_LOGITS needs an output of [1]"},
      {"kind: BCE_WITH_LOGITS", "kind: CROSS_ENTROPY", "loss.kind: CROSS_ENTROPY needs"},
      {"kind: BCE_WITH_LOGITS", "", "loss.kind: must be"},
      {"kind: BCE_WITH_LOGITS", "kind: 12", "loss.kind: must be"},
  };
  for (const auto& c : cases) {
    const absl::Status status = Changed(c.from, c.to);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.to << " → " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message)) << c.to;
  }
}

// Nothing of these sizes is ever allocated: refusing takes microseconds.
TEST(ModelGraph, LimitsComeBeforeMemory) {
  const auto refused = [](const std::string& text) {
    const absl::Status status = Build(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    return std::string(status.message());
  };
  const std::string tail = " loss { kind: MSE }";
  EXPECT_THAT(
      refused("name: \"m\" input_shape: \"16777217\" layers { name: \"a\" flatten {} }" + tail),
      HasSubstr("input_shape: a dimension of 16777217"));
  EXPECT_THAT(refused("name: \"m\" input_shape: \"16777216\" input_shape: \"1025\" layers { name: "
                      "\"a\" flatten {} }" +
                      tail),
              HasSubstr("input_shape: [16777216, 1025] has more than"));
  EXPECT_THAT(refused("name: \"m\" input_shape: \"300000\" layers { name: \"a\" linear { units: "
                      "\"65536\" } }" +
                      tail),
              HasSubstr("layers.a: [65536, 300000] has more than"));
  EXPECT_THAT(refused("name: \"m\" input_shape: \"16777216\" layers { name: \"a\" linear { units: "
                      "\"1000\" } } layers { name: \"b\" linear { units: \"65536\" } } layers { "
                      "name: \"c\" linear { units: \"10000\" } } layers { name: \"d\" linear { "
                      "units: \"1\" } }" +
                      tail),
              HasSubstr("layers.c: the model has more than"));
  std::string ranks = "name: \"m\" ";
  for (size_t i = 0; i <= limits::kRankMax; ++i) absl::StrAppend(&ranks, "input_shape: \"1\" ");
  EXPECT_THAT(refused(ranks + "layers { name: \"a\" flatten {} }" + tail),
              HasSubstr("input_shape: has 9 dimensions"));
  std::string many = "name: \"m\" input_shape: \"1\" ";
  for (size_t i = 0; i <= limits::kSpecLayersMax; ++i) {
    absl::StrAppend(&many, "layers { name: \"l", i, "\" flatten {} } ");
  }
  EXPECT_THAT(refused(many + tail), HasSubstr("layers: there are 4097"));
  std::string parameters = "name: \"m\" input_shape: \"1\" layers { name: \"a\" flatten {} } ";
  for (size_t i = 0; i <= limits::kSpecParametersMax; ++i) {
    absl::StrAppend(&parameters, "parameters { name: \"p", i, "\" default_value: 1 } ");
  }
  EXPECT_THAT(refused(parameters + tail), HasSubstr("parameters: there are 65"));
}

TEST(ModelGraph, TheLargestAllowedModelIsOnlyCounted) {
  const auto graph = Build(
      "name: \"m\" input_shape: \"262143\" layers { name: \"a\" linear { units: \"65535\" "
      "bias: false } } layers { name: \"b\" linear { units: \"1\" } } loss { kind: MSE }");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->layout.elements(), 262143ull * 65535 + 65535 + 1);
}

TEST(Layout, HashCoversNamesShapesGroupsAndOrder) {
  const Layout layout{{{"a.weight", {2, 3}}, {"a.bias", {2}}}};
  EXPECT_EQ(layout.Hash(), layout.Hash());
  // Fixed for ever: sites and aggregators of different builds compare it.
  EXPECT_EQ(ToHex(layout.Hash()),
            "4edf775ff502dd80e2bcae0935f5422de9f90f8c215739556bff6cdd6c534a9c");
  Layout other = layout;
  other.tensors[0].name = "b.weight";
  EXPECT_NE(other.Hash(), layout.Hash());
  other = layout;
  other.tensors[0].shape = {3, 2};
  EXPECT_NE(other.Hash(), layout.Hash());
  other = layout;
  other.tensors[1].group = TensorGroup::kBuffers;
  EXPECT_NE(other.Hash(), layout.Hash());
  other = layout;
  std::swap(other.tensors[0], other.tensors[1]);
  EXPECT_NE(other.Hash(), layout.Hash());
  other = layout;
  other.tensors.pop_back();
  EXPECT_NE(other.Hash(), layout.Hash());
}

TEST(Zoo, EveryModelBuilds) {
  const struct {
    const char* file;
    std::map<std::string, int64_t> parameters;
    uint64_t elements;
  } models[] = {
      {"logistic_regression", {{"features", 13}}, 14},
      {"softmax_regression", {{"features", 13}, {"classes", 4}}, 4 * 13 + 4},
      {"mlp", {{"features", 13}, {"units", 10}}, 13 * 10 + 10 + 10 * 5 + 5 + 5 + 1},
      {"residual_mlp",
       {{"features", 13}, {"units", 4}},
       13 * 4 + 4 + 2 * (8 + 4 * 8 + 8 + 8 * 4 + 4) + 8 + 4 + 1},
      {"small_cnn",
       {{"classes", 10}},
       8 * 9 + 8 + 16 * 8 * 9 + 16 + 16 * 7 * 7 * 64 + 64 + 64 * 10 + 10},
  };
  for (const auto& model : models) {
    v1::ModelSpec spec;
    const absl::Status read =
        ReadTextFormatFile(absl::StrCat(CONSILIUM_ZOO_FOLDER, "/", model.file, ".textproto"), spec);
    ASSERT_TRUE(read.ok()) << read;
    const auto graph = BuildModelGraph(spec, model.parameters);
    ASSERT_TRUE(graph.ok()) << model.file << ": " << graph.status();
    EXPECT_EQ(graph->name, model.file);
    EXPECT_EQ(graph->layout.elements(), model.elements) << model.file;
  }
}

}  // namespace
}  // namespace consilium
