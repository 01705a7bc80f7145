#include "sim/search/cell_model.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/spec_defaults.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

using Operation = v1::CellSpace::Operation;

struct ConvShape {
  uint32_t kernel = 1;
  uint32_t padding = 0;
  bool by_channel = false;  // Each channel alone.
  uint32_t stride = 1;
};

// Adds layers to a spec. Each function gives the name of the layer whose output is its result.
class CellWriter {
 public:
  CellWriter(const CellDesign& design, v1::ModelSpec& spec) : design_(design), spec_(spec) {}

  // Up to the last cell.
  std::string Write() {
    const v1::CellSpace& stacking = design_.stacking;
    channels_ = stacking.channels();
    std::string input(kInputName);
    if (stacking.pooling() > 1) {
      input = Pool("shrink", input, {v1::Pool::AVERAGE, stacking.pooling(), stacking.pooling()});
    }
    const std::string stem = Norm("stem", Conv("stem_conv", input, {3, 1}));
    std::string prior = stem;
    std::string previous = stem;
    uint32_t cells = 0;
    for (uint32_t stage = 0; stage < stacking.stages(); ++stage) {
      // Of a position of the cell before the last in those of the last.
      uint32_t prior_stride = 1;
      if (stage > 0) {
        channels_ *= 2;
        if (design_.reduction.empty()) {
          PoolBoth(stage, prior, previous);
        } else {
          std::string next =
              Cell({absl::StrCat("reduction", stage), design_.reduction, 2}, prior, previous);
          prior = std::exchange(previous, std::move(next));
          prior_stride = 2;
        }
      }
      for (uint32_t i = 0; i < stacking.cells(); ++i) {
        std::string next =
            Cell({absl::StrCat("cell", ++cells), design_.nodes, 1, prior_stride}, prior, previous);
        prior = std::exchange(previous, std::move(next));
        prior_stride = 1;
      }
    }
    return Relu("last_relu", previous);
  }

 private:
  struct CellPlan {
    std::string name;
    const std::vector<CellNode>& nodes;
    uint32_t stride = 1;        // From what it reads to its output.
    uint32_t prior_stride = 1;  // From the cell before the last to the last.
  };
  struct Window {
    v1::Pool::Kind kind = v1::Pool::MAX;
    uint32_t kernel = 1;
    uint32_t stride = 1;
  };

  v1::Layer& Add(const std::string& name, const std::vector<std::string>& inputs) {
    v1::Layer& layer = *spec_.add_layers();
    layer.set_name(name);
    for (const std::string& input : inputs) layer.add_inputs(input);
    return layer;
  }

  std::string Relu(const std::string& name, const std::string& input) {
    Add(name, {input}).mutable_activation()->set_function(v1::Activation::RELU);
    return name;
  }

  std::string Norm(const std::string& name, const std::string& input) {
    Add(name, {input}).mutable_group_norm()->set_groups("1");
    return name;
  }

  std::string Conv(const std::string& name, const std::string& input, const ConvShape& shape) {
    v1::Conv& conv = *Add(name, {input}).mutable_conv();
    conv.set_channels(absl::StrCat(channels_));
    conv.set_kernel(absl::StrCat(shape.kernel));
    conv.set_padding(absl::StrCat(shape.padding));
    if (shape.stride > 1) conv.set_stride(absl::StrCat(shape.stride));
    if (shape.by_channel) conv.set_groups(absl::StrCat(channels_));
    return name;
  }

  std::string Pool(const std::string& name, const std::string& input, const Window& window) {
    v1::Pool& pool = *Add(name, {input}).mutable_pool();
    pool.set_kind(window.kind);
    pool.set_kernel(absl::StrCat(window.kernel));
    pool.set_stride(absl::StrCat(window.stride));
    return name;
  }

  void PoolBoth(uint32_t stage, std::string& prior, std::string& previous) {
    const bool same = prior == previous;
    previous = Pool(absl::StrCat("stage", stage), previous, {v1::Pool::MAX, 2, 2});
    prior = same ? previous
                 : Pool(absl::StrCat("stage", stage, "_prior"), prior, {v1::Pool::MAX, 2, 2});
  }

  std::string Cell(const CellPlan& plan, const std::string& prior, const std::string& previous) {
    const std::string& name = plan.name;
    std::vector<std::string> states = {Squeeze(name + "_prior", prior, plan.prior_stride),
                                       Squeeze(name + "_previous", previous, 1)};
    constexpr size_t kRead = 2;  // Of which those are the first.
    std::vector<bool> is_read(kRead + plan.nodes.size());
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const CellNode& node = plan.nodes[i];
      const std::string node_name = absl::StrCat(name, "_node", i + 1);
      const auto operate = [&](const char* which, const CellNode::Side& side) {
        return Operate(node_name + which, states[side.from], side.operation,
                       side.from < kRead ? plan.stride : 1);
      };
      const std::string left = operate("_left", node.left);
      const std::string right = operate("_right", node.right);
      Add(node_name, {left, right}).mutable_add();
      is_read[node.left.from] = is_read[node.right.from] = true;
      states.push_back(node_name);
    }
    std::vector<std::string> unread;
    for (size_t i = 0; i < states.size(); ++i) {
      if (is_read[i]) continue;
      unread.push_back(i < kRead ? Operate(states[i] + "_output", states[i],
                                           v1::CellSpace::IDENTITY, plan.stride)
                                 : states[i]);
    }
    // The last node always is.
    if (unread.size() == 1) return unread[0];
    Add(name, unread).mutable_concat();
    return name;
  }

  std::string Squeeze(const std::string& name, const std::string& input, uint32_t stride) {
    return Dense(name, input, 1, stride);
  }

  std::string Operate(const std::string& name, const std::string& input, Operation operation,
                      uint32_t stride) {
    switch (operation) {
      case v1::CellSpace::CONV_1X1:
        return Dense(name, input, 1, stride);
      case v1::CellSpace::CONV_3X3:
        return Dense(name, input, 3, stride);
      case v1::CellSpace::CONV_5X5:
        return Dense(name, input, 5, stride);
      case v1::CellSpace::SEPARABLE_3X3:
        return Separable(name, input, 3, stride);
      case v1::CellSpace::SEPARABLE_5X5:
        return Separable(name, input, 5, stride);
      case v1::CellSpace::MAX_POOL_3X3:
        return Pooled(name, input, v1::Pool::MAX, stride);
      case v1::CellSpace::AVERAGE_POOL_3X3:
        return Pooled(name, input, v1::Pool::AVERAGE, stride);
      default:  // IDENTITY.
        return stride == 1 ? input : Dense(name, input, 1, stride);
    }
  }

  std::string Dense(const std::string& name, const std::string& input, uint32_t kernel,
                    uint32_t stride) {
    const std::string relu = Relu(name + "_relu", input);
    return Norm(name,
                Conv(name + "_conv", relu, {kernel, kernel / 2, /*by_channel=*/false, stride}));
  }

  std::string Separable(const std::string& name, const std::string& input, uint32_t kernel,
                        uint32_t stride) {
    const std::string relu = Relu(name + "_relu", input);
    const std::string depth =
        Conv(name + "_depth", relu, {kernel, kernel / 2, /*by_channel=*/true, stride});
    return Norm(name, Conv(name + "_point", depth, {}));
  }

  // A spec's pooling has no padding: a convolution of each channel alone makes the room, two rows
  // more, that the window then takes.
  std::string Pooled(const std::string& name, const std::string& input, v1::Pool::Kind kind,
                     uint32_t stride) {
    const std::string depth = Conv(name + "_depth", input, {3, 2, /*by_channel=*/true});
    return Pool(name, depth, {kind, 3, stride});
  }

  const CellDesign& design_;
  v1::ModelSpec& spec_;
  uint32_t channels_ = 1;  // Of the stage.
};

bool EndsPositions(const v1::Layer& layer) {
  return layer.has_flatten() ||
         (layer.has_pool() && layer.pool().kind() == v1::Pool::GLOBAL_AVERAGE);
}

}  // namespace

absl::StatusOr<v1::ModelSpec> CellModel(const v1::ModelSpec& base, const CellDesign& design) {
  int end = base.layers_size() - 1;
  while (end >= 0 && !EndsPositions(base.layers(end))) --end;
  if (end < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model spec ", base.name(),
        ": has neither a flatten nor a global average, behind which the head of a network of "
        "cells begins"));
  }
  if (base.input_shape_size() < 2 || base.input_shape_size() > 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("model spec ", base.name(),
                     ": a network of cells reads [channels, width] or [channels, height, width]"));
  }
  v1::ModelSpec spec = base;
  spec.clear_layers();
  const std::string last = CellWriter(design, spec).Write();
  v1::Layer& average = *spec.add_layers();
  // The head may read it by the name that it has.
  average.set_name(base.layers(end).name());
  average.add_inputs(last);
  average.mutable_pool()->set_kind(v1::Pool::GLOBAL_AVERAGE);
  for (int i = end + 1; i < base.layers_size(); ++i) *spec.add_layers() = base.layers(i);
  return spec;
}

}  // namespace consilium
