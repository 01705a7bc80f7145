// The space of convolutional cells (Zoph et al., arXiv:1707.07012): a cell is a few nodes, each the
// sum of two earlier outputs behind one operation each. Every such choice is a parameter of the
// search ("cell.node1.left", "cell.node1.left_op"), so that any algorithm can search cells; the
// numbers that say how cells are stacked ("cell.cells", "cell.compound.phi") can be, too. The cell
// that halves the positions between stages may be another one ("cell.reduction.node1.left").
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_CELL_SPACE_H_
#define CONSILIUM_SIM_SEARCH_CELL_SPACE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/search_space.pb.h"

namespace consilium {

// Whether the path belongs to the cell and its stacking, and to no file.
bool IsCellPath(absl::string_view path);

void FillCellDefaults(v1::CellSpace& cell);
// INVALID_ARGUMENT begins with the field's path behind "cell.".
absl::Status CheckCell(const v1::CellSpace& cell);

// The choices of the nodes of the cell and, where there is one, of the reduction cell, four a node;
// of what passes CheckCell.
std::vector<v1::SearchParameter> CellParameters(const v1::CellSpace& cell);
// Parameters at cell paths: a node's choices among those that it has, or a number of the stacking.
// INVALID_ARGUMENT begins with the parameter's path.
absl::Status CheckCellParameters(const v1::SearchSpace& space);

struct CellNode {
  struct Side {
    size_t from = 0;  // 0: the cell before the last, 1: the last one, 2: the first node, …
    v1::CellSpace::Operation operation = v1::CellSpace::IDENTITY;
  };
  Side left;
  Side right;
};

// One network of the space.
struct CellDesign {
  v1::CellSpace stacking;  // Its numbers as they were chosen, compound scaling applied.
  std::vector<CellNode> nodes;
  std::vector<CellNode> reduction;  // None: positions are halved by maximum pooling.
};

// Of the values by their paths; those at other paths are left out. INVALID_ARGUMENT begins with the
// path that is missing, or whose value is none, or with the field that the values bring out of its
// range.
absl::StatusOr<CellDesign> CellDesignOf(const v1::CellSpace& cell,
                                        const std::map<std::string, std::string>& values);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_CELL_SPACE_H_
