#include "sim/search/cell_space.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/wire/derived_seed.h"
#include "sim/search/space.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;
using Values = std::map<std::string, std::string>;

constexpr char kRest[] =
    "name: 'cells' objectives { quantity: BEST_SCORE direction: MINIMISE } random { trials: 1 } ";

v1::SearchSpace Cells(const std::string& text) { return SpaceOf(absl::StrCat(kRest, text)); }

absl::Status Resolved(const std::string& text) {
  v1::SearchSpace space;
  EXPECT_THAT(ParseTextFormat(absl::StrCat(kRest, text), "space", space), IsOk());
  return ResolveSearchSpace(space).status();
}

TEST(CellSpace, IsFourChoicesANode) {
  const v1::SearchSpace space =
      Cells("cell { nodes: 2 operations: [IDENTITY, SEPARABLE_5X5] channels: 4 }");
  std::vector<std::string> paths;
  for (const v1::SearchParameter& parameter : space.parameters()) paths.push_back(parameter.path());
  EXPECT_EQ(paths, (std::vector<std::string>{"cell.node1.left", "cell.node1.left_op",
                                             "cell.node1.right", "cell.node1.right_op",
                                             "cell.node2.left", "cell.node2.left_op",
                                             "cell.node2.right", "cell.node2.right_op"}));
  const auto values = [&](int i) {
    const auto& list = space.parameters(i).choice().values();
    return std::vector<std::string>(list.begin(), list.end());
  };
  EXPECT_EQ(values(0), (std::vector<std::string>{"prior", "previous"}));
  EXPECT_EQ(values(3), (std::vector<std::string>{"identity", "separable_5x5"}));
  EXPECT_EQ(values(6), (std::vector<std::string>{"prior", "previous", "node1"}));
  // Resolved again, it stays.
  const auto again = ResolveSearchSpace(space);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->SerializeAsString(), space.SerializeAsString());
  EXPECT_EQ(Cells("cell {}").parameters_size(), 16);
  EXPECT_EQ(Cells("cell {}").parameters(1).choice().values_size(), 8);
  // What is given is left as it is.
  const v1::SearchSpace given = Cells(
      "cell { nodes: 1 } parameters { path: 'cell.node1.left' choice { values: ['prior'] } } "
      "parameters { path: 'cell.cells' integer { min: 1 max: 3 } }");
  EXPECT_EQ(given.parameters_size(), 5);
  EXPECT_EQ(given.parameters(0).choice().values_size(), 1);
}

TEST(CellSpace, AReductionCellIsSearchedToo) {
  const v1::SearchSpace space = Cells("cell { nodes: 2 reduction: true }");
  ASSERT_EQ(space.parameters_size(), 16);
  EXPECT_EQ(space.parameters(8).path(), "cell.reduction.node1.left");
  EXPECT_EQ(space.parameters(15).path(), "cell.reduction.node2.right_op");
  EXPECT_EQ(space.parameters(14).choice().values_size(), 3);
  EXPECT_THAT(Resolved("cell {} parameters { path: 'cell.reduction.node1.left' "
                       "choice { values: ['prior'] } }"),
              IsError(StatusCode::kInvalidArgument, "cell.reduction.node1.left: is neither"));

  Values values;
  for (const v1::SearchParameter& parameter : space.parameters()) {
    values[parameter.path()] = parameter.choice().values(0);
  }
  EXPECT_TRUE(CellDesignOf(Cells("cell { nodes: 1 }").cell(), {{"cell.node1.left", "prior"},
                                                               {"cell.node1.left_op", "identity"},
                                                               {"cell.node1.right", "prior"},
                                                               {"cell.node1.right_op", "identity"}})
                  ->reduction.empty());
  values["cell.reduction.node2.right"] = "node1";
  values["cell.reduction.node2.right_op"] = "conv_5x5";
  const auto design = CellDesignOf(space.cell(), values);
  ASSERT_THAT(design, IsOk());
  ASSERT_EQ(design->reduction.size(), 2U);
  EXPECT_EQ(design->reduction[1].right.from, 2U);
  EXPECT_EQ(design->reduction[1].right.operation, v1::CellSpace::CONV_5X5);
  EXPECT_EQ(design->nodes[1].right.from, 0U);
  values.erase("cell.reduction.node2.left");
  EXPECT_THAT(CellDesignOf(space.cell(), values),
              IsError(StatusCode::kInvalidArgument, "cell.reduction.node2.left: has no value"));
}

TEST(CellSpace, NamesWhatIsWrong) {
  const std::map<std::string, std::string> cases = {
      {"cell { nodes: 9 }", "cell: nodes: is 9"},
      {"cell { operations: [IDENTITY, IDENTITY] }", "cell: operations: has one of them twice"},
      {"cell { operations: [OPERATION_UNSPECIFIED] }", "cell: operations: must be"},
      {"cell { stages: 9 }", "cell: stages: is 9"},
      {"cell { cells: 65 }", "cell: cells: is 65"},
      {"cell { stages: 3 cells: 43 }", "cell: cells times stages: is 129"},
      {"cell { channels: 1025 }", "cell: channels: is 1025"},
      {"cell { pooling: 17 }", "cell: pooling: is 17"},
      {"cell { compound { phi: nan } }", "cell: compound.phi"},
      {"cell { compound { depth: 0.5 } }", "cell: compound.depth"},
      {"cell { compound { width: 5 } }", "cell: compound.width"},
      {"cell { compound { resolution: -1 } }", "cell: compound.resolution"},
      {"cell {} parameters { path: 'cell.node1.left_op' choice { values: ['conv_7x7'] } }",
       "cell.node1.left_op: can not be conv_7x7"},
      {"cell {} parameters { path: 'cell.node1.left' integer { min: 0 max: 1 } }",
       "cell.node1.left: must have choice"},
      {"cell {} parameters { path: 'cell.nodes' integer { min: 1 max: 2 } }",
       "cell.nodes: is neither"},
      {"parameters { path: 'cell.cells' integer { min: 1 max: 2 } }",
       "cell.cells: needs the block cell"},
  };
  for (const auto& [text, words] : cases) {
    EXPECT_THAT(Resolved(text), IsError(StatusCode::kInvalidArgument, words)) << text;
  }
}

const Values kOneNode = {{"cell.node1.left", "previous"},
                         {"cell.node1.left_op", "conv_3x3"},
                         {"cell.node1.right", "prior"},
                         {"cell.node1.right_op", "average_pool_3x3"}};

Values With(Values values, const Values& more) {
  for (const auto& [path, value] : more) values[path] = value;
  return values;
}

TEST(CellDesign, IsReadFromValues) {
  const v1::CellSpace cell = Cells("cell { nodes: 1 cells: 2 }").cell();
  const auto design =
      CellDesignOf(cell, With(kOneNode, {{"training.local_steps", "4"}, {"cell.channels", "24"}}));
  ASSERT_THAT(design, IsOk());
  ASSERT_EQ(design->nodes.size(), 1U);
  EXPECT_EQ(design->nodes[0].left.from, 1U);
  EXPECT_EQ(design->nodes[0].left.operation, v1::CellSpace::CONV_3X3);
  EXPECT_EQ(design->nodes[0].right.from, 0U);
  EXPECT_EQ(design->nodes[0].right.operation, v1::CellSpace::AVERAGE_POOL_3X3);
  EXPECT_EQ(design->stacking.cells(), 2U);
  EXPECT_EQ(design->stacking.channels(), 24U);

  const std::vector<std::pair<Values, std::string>> wrong = {
      {{{"cell.node1.left", "node1"}}, "cell.node1.left: can not be node1"},
      {{{"cell.node1.right_op", "unspecified"}}, "cell.node1.right_op: can not be unspecified"},
      {{{"cell.channels", "2000"}}, "cell.channels: is 2000"},
      {{{"cell.channels", "many"}}, "many"},
      {{{"cell.nodes", "3"}}, "cell.nodes: is neither"},
      {{{"cell.node2.left", "prior"}}, "cell.node2.left: is neither"},
      // 2·1.2^10 = 12 cells and 8·4 stages of them are too many; 8·1.1^10 = 21 channels are not.
      {{{"cell.stages", "8"}, {"cell.cells", "16"}, {"cell.compound.phi", "1"}},
       "cell.cells times stages: is 152"},
      {{{"cell.compound.phi", "11"}}, "cell.compound.phi: is 11"},
  };
  for (const auto& [more, words] : wrong) {
    EXPECT_THAT(CellDesignOf(cell, With(kOneNode, more)),
                IsError(StatusCode::kInvalidArgument, words));
  }
  EXPECT_THAT(CellDesignOf(cell, {}),
              IsError(StatusCode::kInvalidArgument, "cell.node1.left: has no value"));
}

// Depth 1.2^φ, width 1.1^φ, resolution 1.15^φ.
TEST(CellDesign, ScalesDepthWidthAndResolutionTogether) {
  const v1::CellSpace cell = Cells("cell { nodes: 1 cells: 3 channels: 16 pooling: 4 }").cell();
  struct Expected {
    std::string phi;
    uint32_t cells, channels, pooling;
  };
  for (const Expected& expected : std::vector<Expected>{
           {"0", 3, 16, 4},    // As they are.
           {"1", 4, 18, 3},    // 3.6, 17.6, 3.48
           {"4", 6, 23, 2},    // 6.22, 23.4, 2.29
           {"10", 19, 41, 1},  // 18.6, 41.5, .99
           {"-4", 1, 11, 7},   // 1.45, 10.9, 7.0
       }) {
    const auto design = CellDesignOf(cell, With(kOneNode, {{"cell.compound.phi", expected.phi}}));
    ASSERT_THAT(design, IsOk());
    EXPECT_EQ(design->stacking.cells(), expected.cells) << expected.phi;
    EXPECT_EQ(design->stacking.channels(), expected.channels) << expected.phi;
    EXPECT_EQ(design->stacking.pooling(), expected.pooling) << expected.phi;
  }
}

}  // namespace
}  // namespace consilium
