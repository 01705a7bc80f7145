#include "sim/search/cell_model.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "models/spec/model_graph.h"
#include "models/spec/spec_defaults.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;

v1::ModelSpec BaseSpec(const std::string& layers = R"(
    layers { name: "conv" conv { channels: "4" kernel: "3" } }
    layers { name: "flat" flatten {} }
    layers { name: "drop" inputs: "flat" dropout { probability: 0.5 } }
    layers { name: "out" linear { units: "classes" } })") {
  v1::ModelSpec spec;
  EXPECT_THAT(ParseTextFormat(absl::StrCat(R"(name: "base"
    parameters { name: "classes" default_value: 10 }
    input_shape: ["3", "12", "12"]
    loss { kind: CROSS_ENTROPY } )",
                                           layers),
                              "spec", spec),
              IsOk());
  return spec;
}

v1::SearchSpace Cells(const std::string& cell) {
  return SpaceOf(
      absl::StrCat("name: 'cells' objectives { quantity: BEST_SCORE direction: MINIMISE } "
                   "random { trials: 1 } cell { ",
                   cell, " }"));
}

absl::StatusOr<ModelGraph> GraphOfDesign(const v1::ModelSpec& base, const CellDesign& design) {
  auto spec = CellModel(base, design);
  if (!spec.ok()) return spec.status();
  FillSpecDefaults(*spec);
  return BuildModelGraph(*spec, {});
}

CellDesign DesignOf(const std::string& cell, std::map<std::string, std::string> values) {
  const auto design = CellDesignOf(Cells(cell).cell(), values);
  EXPECT_THAT(design, IsOk());
  return design.value_or(CellDesign());
}

std::map<std::string, std::string> OneNode(const std::string& left_op, const std::string& right_op,
                                           const std::string& right = "prior") {
  return {{"cell.node1.left", "previous"},
          {"cell.node1.left_op", left_op},
          {"cell.node1.right", right},
          {"cell.node1.right_op", right_op}};
}

// Multiply-adds by hand: 12 × 12 positions, channels 4; biases do not count.
TEST(CellModel, IsStemCellsAndHead) {
  const auto graph = GraphOfDesign(
      BaseSpec(), DesignOf("nodes: 1 stages: 1 channels: 4", OneNode("conv_3x3", "identity")));
  ASSERT_THAT(graph, IsOk());
  EXPECT_EQ(graph->output_shape(), (std::vector<int64_t>{10}));
  // Stem 3·4·9, two squeezes 4·4, the convolution 4·4·9; head 4·10.
  EXPECT_EQ(graph->multiply_adds(), 144U * (108 + 2 * 16 + 144) + 40);
  // And of parameters: biases of 4, scale and shift of 4 for each of four; the head's 10.
  EXPECT_EQ(graph->layout.elements(), 108 + 4 + 2 * (16 + 4) + 144 + 4 + 4 * 8 + 40 + 10);
  std::set<std::string> names;
  for (const GraphLayer& layer : graph->layers) names.insert(layer.name);
  EXPECT_TRUE(names.contains("flat") && names.contains("drop") && names.contains("out"));
  EXPECT_FALSE(names.contains("conv"));
}

TEST(CellModel, HalvesPositionsAndDoublesChannelsBetweenStages) {
  const auto graph =
      GraphOfDesign(BaseSpec(), DesignOf("nodes: 1 stages: 3 cells: 2 channels: 4 pooling: 1",
                                         OneNode("identity", "identity")));
  ASSERT_THAT(graph, IsOk());
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const GraphLayer& layer : graph->layers) shapes[layer.name] = layer.output_shape;
  EXPECT_EQ(shapes["cell2_node1"], (std::vector<int64_t>{4, 12, 12}));
  EXPECT_EQ(shapes["cell3_node1"], (std::vector<int64_t>{8, 6, 6}));
  EXPECT_EQ(shapes["cell6_node1"], (std::vector<int64_t>{16, 3, 3}));
  EXPECT_EQ(shapes["flat"], (std::vector<int64_t>{16}));
  EXPECT_FALSE(shapes.contains("cell7_node1"));
  const auto pooled = GraphOfDesign(
      BaseSpec(), DesignOf("nodes: 1 stages: 1 pooling: 3", OneNode("identity", "identity")));
  ASSERT_THAT(pooled, IsOk());
  for (const GraphLayer& layer : pooled->layers) {
    if (layer.name == "stem") {
      EXPECT_EQ(layer.output_shape, (std::vector<int64_t>{8, 4, 4}));
    }
  }
}

TEST(CellModel, EveryOperationKeepsTheShape) {
  for (const char* const operation :
       {"identity", "conv_1x1", "conv_3x3", "conv_5x5", "separable_3x3", "separable_5x5",
        "max_pool_3x3", "average_pool_3x3"}) {
    const auto graph = GraphOfDesign(
        BaseSpec(), DesignOf("nodes: 1 stages: 1 channels: 4", OneNode(operation, "identity")));
    ASSERT_THAT(graph, IsOk()) << operation;
    // By position and channel: 4·k² of a convolution, k² of each channel alone.
    const std::map<std::string, uint64_t> costs = {
        {"identity", 0},   {"conv_1x1", 4},          {"conv_3x3", 36},
        {"conv_5x5", 100}, {"separable_3x3", 9 + 4}, {"separable_5x5", 25 + 4}};
    const auto cost = costs.find(operation);
    if (cost == costs.end()) {
      // The convolution before it sees two rows more.
      EXPECT_EQ(graph->multiply_adds(), 144U * (108 + 32) + 40 + 14 * 14 * 4 * 9) << operation;
    } else {
      EXPECT_EQ(graph->multiply_adds(), 144U * (108 + 32 + 4 * cost->second) + 40) << operation;
    }
  }
}

// A node may read one output twice, and what no node reads is the cell's output.
TEST(CellModel, PutsWhatIsNotReadSideBySide) {
  std::map<std::string, std::string> values = OneNode("conv_1x1", "identity", "previous");
  for (const auto& [path, value] : OneNode("identity", "conv_1x1", "previous")) {
    values["cell.node2" + path.substr(10)] = value;
  }
  const auto graph =
      GraphOfDesign(BaseSpec(), DesignOf("nodes: 2 stages: 1 cells: 2 channels: 4", values));
  ASSERT_THAT(graph, IsOk());
  std::map<std::string, const GraphLayer*> layers;
  for (const GraphLayer& layer : graph->layers) layers[layer.name] = &layer;
  // Nobody reads the cell before: it, and both nodes.
  ASSERT_TRUE(layers.contains("cell1"));
  EXPECT_EQ(layers["cell1"]->output_shape[0], 12);
  EXPECT_EQ(layers["cell1"]->inputs.size(), 3U);
}

TEST(CellModel, AllOfTheSpaceBuilds) {
  for (const char* const cell :
       {"stages: 2 cells: 2 channels: 3", "stages: 3 cells: 2 channels: 3 reduction: true"}) {
    const v1::SearchSpace space = Cells(cell);
    for (uint64_t seed = 0; seed < 200; ++seed) {
      RandomStream random(SeedPath{seed, "cells", ""});
      Point point;
      for (int i = 0; i < space.parameters_size(); ++i) point.push_back(random.NextUnit());
      const auto design = CellDesignOf(space.cell(), ValuesOf(space, TextsAt(space, point)));
      ASSERT_THAT(design, IsOk());
      EXPECT_THAT(GraphOfDesign(BaseSpec(), *design), IsOk()) << cell << seed;
    }
  }
}

std::map<std::string, std::string> WithReduction(const std::string& left_op,
                                                 const std::string& right_op,
                                                 const std::string& right = "prior") {
  std::map<std::string, std::string> values = OneNode("identity", "identity");
  for (const auto& [path, value] : OneNode(left_op, right_op, right)) {
    values["cell.reduction" + path.substr(4)] = value;
  }
  return values;
}

// Multiply-adds by hand: channels 4 and 12 × 12 positions, then 8 and 6 × 6.
TEST(CellModel, AReductionCellHalvesPositionsInItsOperations) {
  const auto graph = GraphOfDesign(BaseSpec(), DesignOf("nodes: 1 stages: 2 channels: 4 reduction: "
                                                        "true",
                                                        WithReduction("conv_3x3", "identity")));
  ASSERT_THAT(graph, IsOk());
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const GraphLayer& layer : graph->layers) shapes[layer.name] = layer.output_shape;
  EXPECT_EQ(shapes["reduction1_previous"], (std::vector<int64_t>{8, 12, 12}));
  EXPECT_EQ(shapes["reduction1_node1"], (std::vector<int64_t>{8, 6, 6}));
  // The cell before the reduction, in the positions of the reduction.
  EXPECT_EQ(shapes["cell2_prior"], (std::vector<int64_t>{8, 6, 6}));
  EXPECT_EQ(shapes["cell2_node1"], (std::vector<int64_t>{8, 6, 6}));
  EXPECT_FALSE(shapes.contains("stage1"));
  // Stem and the first cell's squeezes; the reduction's squeezes; its 3 × 3 and its identity's 1 ×
  // 1; the second cell's squeezes; the head.
  EXPECT_EQ(graph->multiply_adds(),
            144U * (108 + 2 * 16) + 144 * 2 * 32 + 36 * (8 * 8 * 9 + 64) + 36 * (32 + 64) + 80);
}

// Nine positions become five whatever the operation; an input that no node reads does, too.
TEST(CellModel, EveryReductionHalvesAlike) {
  v1::ModelSpec base = BaseSpec();
  base.set_input_shape(1, "9");
  base.set_input_shape(2, "7");
  for (const char* const operation :
       {"identity", "conv_1x1", "conv_3x3", "conv_5x5", "separable_3x3", "separable_5x5",
        "max_pool_3x3", "average_pool_3x3"}) {
    const auto graph =
        GraphOfDesign(base, DesignOf("nodes: 1 stages: 3 channels: 2 reduction: true",
                                     WithReduction(operation, "identity", "previous")));
    ASSERT_THAT(graph, IsOk()) << operation;
    std::map<std::string, const GraphLayer*> layers;
    for (const GraphLayer& layer : graph->layers) layers[layer.name] = &layer;
    ASSERT_TRUE(layers.contains("reduction1") && layers.contains("reduction2")) << operation;
    EXPECT_EQ(layers["reduction1"]->output_shape, (std::vector<int64_t>{8, 5, 4})) << operation;
    EXPECT_EQ(layers["reduction2"]->output_shape, (std::vector<int64_t>{16, 3, 2})) << operation;
    EXPECT_EQ(layers["reduction1"]->inputs.size(), 2U) << operation;
  }
}

TEST(CellModel, ANodeOfAReductionReadsAnotherInItsOwnPositions) {
  std::map<std::string, std::string> values = WithReduction("conv_1x1", "conv_1x1");
  for (const auto& [path, value] : OneNode("identity", "identity")) {
    values["cell.node2" + path.substr(10)] = value;
    values["cell.reduction.node2" + path.substr(10)] = value;
  }
  values["cell.reduction.node2.left"] = "node1";
  values["cell.reduction.node2.left_op"] = "max_pool_3x3";
  const auto graph =
      GraphOfDesign(BaseSpec(), DesignOf("nodes: 2 stages: 2 channels: 4 reduction: true", values));
  ASSERT_THAT(graph, IsOk());
  for (const GraphLayer& layer : graph->layers) {
    if (layer.name == "reduction1_node2") {
      EXPECT_EQ(layer.output_shape, (std::vector<int64_t>{8, 6, 6}));
    }
  }
}

TEST(CellModel, RefusesABaseWithoutAHead) {
  const CellDesign design = DesignOf("nodes: 1", OneNode("identity", "identity"));
  EXPECT_THAT(CellModel(BaseSpec("layers { name: 'out' linear { units: '2' } }"), design),
              IsError(StatusCode::kInvalidArgument, "model spec base: has neither a flatten"));
  v1::ModelSpec table = BaseSpec();
  table.clear_input_shape();
  table.add_input_shape("30");
  EXPECT_THAT(CellModel(table, design),
              IsError(StatusCode::kInvalidArgument, "reads [channels, width]"));
  EXPECT_THAT(CellModel(BaseSpec("layers { name: 'mean' pool { kind: GLOBAL_AVERAGE } } "
                                 "layers { name: 'out' linear { units: 'classes' } }"),
                        design),
              IsOk());
}

}  // namespace
}  // namespace consilium
