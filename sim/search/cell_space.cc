#include "sim/search/cell_space.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_path.h"

namespace consilium {
namespace {

constexpr absl::string_view kCellPath = "cell.";
constexpr absl::string_view kReductionPath = "cell.reduction.";
constexpr uint32_t kNodesMax = 8;
constexpr uint32_t kStagesMax = 8;
constexpr uint32_t kCellsMax = 64;
constexpr uint32_t kAllCellsMax = 128;
constexpr uint32_t kChannelsMax = 1024;
constexpr uint32_t kPoolingMax = 16;
constexpr double kPhiMax = 10;
constexpr double kFactorMax = 4;
// EfficientNet's (arXiv:1905.11946, section 3.3).
constexpr double kDepth = 1.2;
constexpr double kWidth = 1.1;
constexpr double kResolution = 1.15;

absl::Status Refuse(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

constexpr absl::string_view kStackingPaths[] = {"cell.stages", "cell.cells", "cell.channels",
                                                "cell.pooling", "cell.compound.phi"};
constexpr char kNoCellPath[] =
    "is neither a choice of a node, nor stages, cells, channels, pooling or compound.phi";

bool IsStackingPath(absl::string_view path) {
  return std::find(std::begin(kStackingPaths), std::end(kStackingPaths), path) !=
         std::end(kStackingPaths);
}

struct Bounds {
  double min = 0;
  double max = 0;
};

absl::Status CheckBounds(absl::string_view field, double value, const Bounds& bounds) {
  if (value >= bounds.min && value <= bounds.max) return absl::OkStatus();
  return Refuse(field, absl::StrFormat("is %.12g, but must be from %.12g to %.12g", value,
                                       bounds.min, bounds.max));
}

std::string OperationName(v1::CellSpace::Operation operation) {
  return absl::AsciiStrToLower(v1::CellSpace::Operation_Name(operation));
}

// What node `node`, from 0, can read.
std::vector<std::string> InputNames(uint32_t node) {
  std::vector<std::string> names = {"prior", "previous"};
  for (uint32_t i = 1; i <= node; ++i) names.push_back(absl::StrCat("node", i));
  return names;
}

// `cell` is kCellPath or kReductionPath.
std::string NodePath(absl::string_view cell, uint32_t node, absl::string_view field) {
  return absl::StrCat(cell, "node", node + 1, ".", field);
}

v1::SearchParameter ChoiceOf(std::string path, const std::vector<std::string>& values) {
  v1::SearchParameter parameter;
  parameter.set_path(std::move(path));
  for (const std::string& value : values) parameter.mutable_choice()->add_values(value);
  return parameter;
}

// Index of the value that `values` has at `path`.
absl::StatusOr<size_t> IndexOf(const std::map<std::string, std::string>& values,
                               const std::string& path, const std::vector<std::string>& names) {
  const auto value = values.find(path);
  if (value == values.end()) return Refuse(path, "has no value");
  const auto name = std::find(names.begin(), names.end(), value->second);
  if (name == names.end()) return Refuse(path, absl::StrCat("can not be ", value->second));
  return static_cast<size_t>(name - names.begin());
}

absl::StatusOr<CellNode::Side> SideOf(const std::map<std::string, std::string>& values,
                                      absl::string_view cell, uint32_t node,
                                      absl::string_view side) {
  std::vector<std::string> operations;
  for (int i = v1::CellSpace::Operation_MIN + 1; i <= v1::CellSpace::Operation_MAX; ++i) {
    operations.push_back(OperationName(static_cast<v1::CellSpace::Operation>(i)));
  }
  CellNode::Side read;
  CONSILIUM_ASSIGN_OR_RETURN(read.from,
                             IndexOf(values, NodePath(cell, node, side), InputNames(node)));
  CONSILIUM_ASSIGN_OR_RETURN(
      const size_t operation,
      IndexOf(values, NodePath(cell, node, absl::StrCat(side, "_op")), operations));
  read.operation =
      static_cast<v1::CellSpace::Operation>(v1::CellSpace::Operation_MIN + 1 + operation);
  return read;
}

absl::StatusOr<std::vector<CellNode>> NodesOf(const std::map<std::string, std::string>& values,
                                              absl::string_view cell, uint32_t count) {
  std::vector<CellNode> nodes;
  for (uint32_t node = 0; node < count; ++node) {
    CellNode sides;
    CONSILIUM_ASSIGN_OR_RETURN(sides.left, SideOf(values, cell, node, "left"));
    CONSILIUM_ASSIGN_OR_RETURN(sides.right, SideOf(values, cell, node, "right"));
    nodes.push_back(sides);
  }
  return nodes;
}

uint32_t Scaled(uint32_t number, double factor) {
  constexpr double kMost = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::clamp(std::round(number * factor), 1.0, kMost));
}

// Depth α^φ, width β^φ, resolution γ^φ: of averages over squares γ^φ times as small.
void ApplyCompound(v1::CellSpace& cell) {
  if (!cell.has_compound()) return;
  const v1::CompoundScaling compound = cell.compound();
  cell.set_cells(Scaled(cell.cells(), std::pow(compound.depth(), compound.phi())));
  cell.set_channels(Scaled(cell.channels(), std::pow(compound.width(), compound.phi())));
  cell.set_pooling(Scaled(cell.pooling(), std::pow(compound.resolution(), -compound.phi())));
  cell.clear_compound();
}

}  // namespace

bool IsCellPath(absl::string_view path) { return absl::StartsWith(path, kCellPath); }

void FillCellDefaults(v1::CellSpace& cell) {
  if (cell.nodes() == 0) cell.set_nodes(4);
  if (cell.operations().empty()) {
    for (int i = v1::CellSpace::Operation_MIN + 1; i <= v1::CellSpace::Operation_MAX; ++i) {
      cell.add_operations(static_cast<v1::CellSpace::Operation>(i));
    }
  }
  if (cell.stages() == 0) cell.set_stages(2);
  if (cell.cells() == 0) cell.set_cells(1);
  if (cell.channels() == 0) cell.set_channels(8);
  if (cell.pooling() == 0) cell.set_pooling(1);
  if (!cell.has_compound()) return;
  v1::CompoundScaling& compound = *cell.mutable_compound();
  if (compound.depth() == 0) compound.set_depth(kDepth);
  if (compound.width() == 0) compound.set_width(kWidth);
  if (compound.resolution() == 0) compound.set_resolution(kResolution);
}

absl::Status CheckCell(const v1::CellSpace& cell) {
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("nodes", cell.nodes(), {1, kNodesMax}));
  std::set<int> operations;
  for (const int operation : cell.operations()) {
    if (!v1::CellSpace::Operation_IsValid(operation) ||
        operation == v1::CellSpace::OPERATION_UNSPECIFIED) {
      return Refuse("operations", "must be such as this build knows");
    }
    if (!operations.insert(operation).second) return Refuse("operations", "has one of them twice");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("stages", cell.stages(), {1, kStagesMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("cells", cell.cells(), {1, kCellsMax}));
  CONSILIUM_RETURN_IF_ERROR(
      CheckBounds("cells times stages", cell.cells() * cell.stages(), {1, kAllCellsMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("channels", cell.channels(), {1, kChannelsMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("pooling", cell.pooling(), {1, kPoolingMax}));
  if (!cell.has_compound()) return absl::OkStatus();
  const v1::CompoundScaling& compound = cell.compound();
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("compound.phi", compound.phi(), {-kPhiMax, kPhiMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("compound.depth", compound.depth(), {1, kFactorMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("compound.width", compound.width(), {1, kFactorMax}));
  return CheckBounds("compound.resolution", compound.resolution(), {1, kFactorMax});
}

std::vector<v1::SearchParameter> CellParameters(const v1::CellSpace& cell) {
  std::vector<std::string> operations;
  for (const int operation : cell.operations()) {
    operations.push_back(OperationName(static_cast<v1::CellSpace::Operation>(operation)));
  }
  std::vector<v1::SearchParameter> parameters;
  for (const absl::string_view path : {kCellPath, kReductionPath}) {
    if (path == kReductionPath && !cell.reduction()) break;
    for (uint32_t node = 0; node < cell.nodes(); ++node) {
      for (const char* side : {"left", "right"}) {
        parameters.push_back(ChoiceOf(NodePath(path, node, side), InputNames(node)));
        parameters.push_back(ChoiceOf(NodePath(path, node, absl::StrCat(side, "_op")), operations));
      }
    }
  }
  return parameters;
}

absl::Status CheckCellParameters(const v1::SearchSpace& space) {
  std::map<std::string, std::set<std::string>> choices;
  if (space.has_cell()) {
    for (const v1::SearchParameter& parameter : CellParameters(space.cell())) {
      choices[parameter.path()] = {parameter.choice().values().begin(),
                                   parameter.choice().values().end()};
    }
  }
  for (const v1::SearchParameter& parameter : space.parameters()) {
    const std::string& path = parameter.path();
    if (!IsCellPath(path)) continue;
    if (!space.has_cell()) return Refuse(path, "needs the block cell { … }");
    const auto found = choices.find(path);
    if (found == choices.end()) {
      if (IsStackingPath(path)) continue;
      return Refuse(path, kNoCellPath);
    }
    for (const std::string& value : parameter.choice().values()) {
      if (!found->second.contains(value)) return Refuse(path, absl::StrCat("can not be ", value));
    }
    if (!parameter.has_choice()) return Refuse(path, "must have choice");
  }
  return absl::OkStatus();
}

absl::StatusOr<CellDesign> CellDesignOf(const v1::CellSpace& cell,
                                        const std::map<std::string, std::string>& values) {
  CellDesign design;
  design.stacking = cell;
  CONSILIUM_ASSIGN_OR_RETURN(design.nodes, NodesOf(values, kCellPath, cell.nodes()));
  if (cell.reduction()) {
    CONSILIUM_ASSIGN_OR_RETURN(design.reduction, NodesOf(values, kReductionPath, cell.nodes()));
  }
  std::set<std::string> read;
  for (const v1::SearchParameter& parameter : CellParameters(cell)) read.insert(parameter.path());
  for (const auto& [path, value] : values) {
    if (!IsCellPath(path) || read.contains(path)) continue;
    if (!IsStackingPath(path)) return Refuse(path, kNoCellPath);
    CONSILIUM_RETURN_IF_ERROR(
        SetByPath(absl::StrCat(path.substr(kCellPath.size()), "=", value), design.stacking));
  }
  FillCellDefaults(design.stacking);
  for (const bool scaled : {false, true}) {
    if (scaled) ApplyCompound(design.stacking);
    const absl::Status checked = CheckCell(design.stacking);
    if (!checked.ok())
      return absl::Status(checked.code(), absl::StrCat("cell.", checked.message()));
  }
  return design;
}

}  // namespace consilium
