// The layers of a FusedChain (fused_chain.h) in plain loops: what one gives for a batch, and what
// it makes of the loss's derivative. Convolutions are products of matrices over the patches of each
// example, so every layer with weights is one matrix [inputs][width].
//
// Between layers an example lies position by position with its channels side by side, padded to
// whole lanes; a vector is one position. What is padded is no value: nothing reads it, and its
// derivative is 0.
//
// Each sum has one order, whatever the processor. Ownership: layers own their scratch space, and
// weights, gradients and activations are the caller's. Threads: one call at a time on one layer.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_FUSED_LAYERS_H_
#define CONSILIUM_SITE_AGENT_TRAIN_FUSED_LAYERS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "consilium/v1/model_spec.pb.h"
#include "models/spec/model_graph.h"

namespace consilium {

// Where the values of one example lie: channel c of position p at c·channel_stride +
// p·position_stride.
struct Grid {
  size_t channels = 0;
  size_t height = 1;
  size_t width = 1;
  size_t channel_stride = 1;
  size_t position_stride = 0;
  size_t row = 0;  // Floats of one example.

  size_t positions() const { return height * width; }
};
// `shape` is [channels], [channels, length] or [channels, height, width].
Grid GridOfInput(std::span<const int64_t> shape);   // As examples come: channel by channel.
Grid GridOfValues(std::span<const int64_t> shape);  // As layers leave them.

// A layer's weights: inside [inputs][width], then a bias of [width]; in the layout
// [outputs][inputs] and [outputs].
struct FusedMatrix {
  size_t inputs = 0;
  size_t outputs = 0;
  size_t width = 0;         // outputs, rounded up to whole lanes.
  size_t first_weight = 0;  // Inside.
  size_t first_bias = 0;
  size_t layout_weight = 0;
  size_t layout_bias = 0;
  bool has_bias = false;
  std::vector<uint32_t> order;  // Where input i lies in a row of the layout; empty: at i.

  void Load(std::span<const float> layout, std::span<float> inside) const;
  void Store(std::span<const float> inside, std::span<float> layout) const;
};

// What a layer gets. All pointers are of `rows` examples.
struct FusedForward {
  const float* weights = nullptr;  // Of the whole chain.
  const float* in = nullptr;
  size_t rows = 0;
  float* out = nullptr;
};
struct FusedBackward {
  const float* weights = nullptr;
  const float* in = nullptr;  // As in the forward pass.
  size_t rows = 0;
  const float* derivative = nullptr;  // By what the layer gave.
  float* gradient = nullptr;          // Of the whole chain's weights; added to.
  float* below = nullptr;             // By `in`, zeros on entry; null: nobody asks.
};

class FusedLinear {
 public:
  FusedLinear(Grid in, FusedMatrix matrix) : in_(in), matrix_(std::move(matrix)) {}
  void Forward(const FusedForward& pass);
  void Backward(const FusedBackward& pass);
  const FusedMatrix* matrix() const { return &matrix_; }

 private:
  Grid in_;
  FusedMatrix matrix_;
  std::vector<float> transposed_;
};

class FusedConv {
 public:
  FusedConv(Grid in, Grid out, const GraphLayer& layer, FusedMatrix matrix);
  void Forward(const FusedForward& pass);
  void Backward(const FusedBackward& pass);
  const FusedMatrix* matrix() const { return &matrix_; }

 private:
  // Calls visit(where in the patches, where in the input, count) for runs of neighbouring patches,
  // a patch and a stride apart, which have their cell of one place of the kernel within the input.
  template <typename Visit>
  void ForEachRun(const Visit& visit) const;
  void GatherPatches(const float* example);
  void ScatterPatches(float* example) const;

  Grid in_;
  Grid out_;
  size_t kernel_height_ = 1;  // 1 along a line.
  size_t kernel_width_ = 1;
  size_t stride_ = 1;
  size_t padding_height_ = 0;
  size_t padding_width_ = 0;
  FusedMatrix matrix_;  // Inputs: [kernel's positions][channels].
  size_t patch_ = 0;    // Floats of a patch, rounded up to whole lanes.
  // Of one example: [output's positions][patch_]. What lies beyond the input is never written: 0.
  std::vector<float> patches_;
  std::vector<float> derivatives_;  // By the patches.
  std::vector<float> transposed_;
};

// Maximum or average over squares; with a square as large as the input, over all positions.
class FusedPool {
 public:
  FusedPool(Grid in, Grid out, const GraphLayer& layer);
  void Forward(const FusedForward& pass);
  void Backward(const FusedBackward& pass);
  const FusedMatrix* matrix() const { return nullptr; }

 private:
  void LargestOf(const float* in, float* out, uint32_t* chosen) const;
  void MeanOf(const float* in, float* out) const;
  // The input's position of an output's square: its first, and its k-th from that on.
  size_t FirstOf(size_t position) const;
  size_t CellOf(size_t first, size_t k) const;

  Grid in_;
  Grid out_;
  bool is_maximum_ = false;
  size_t kernel_height_ = 1;
  size_t kernel_width_ = 1;
  size_t stride_ = 1;
  std::vector<uint32_t> chosen_;  // The position in `in` of each maximum.
};

// From positions with their channels to one vector, channel by channel.
class FusedFlatten {
 public:
  FusedFlatten(Grid in, Grid out) : in_(in), out_(out) {}
  void Forward(const FusedForward& pass);
  void Backward(const FusedBackward& pass);
  const FusedMatrix* matrix() const { return nullptr; }

 private:
  Grid in_;
  Grid out_;
};

using FusedLayerKind = std::variant<FusedLinear, FusedConv, FusedPool, FusedFlatten>;

// ReLU, tanh and sigmoid, in place. A value that is no number stays one.
enum class FusedFunction { kNone, kRelu, kTanh, kSigmoid };
void ApplyFunction(FusedFunction function, std::span<float> values);
// From the derivative by a function's outputs to that by its inputs, in place.
void DeriveFunction(FusedFunction function, std::span<const float> outputs,
                    std::span<float> derivative);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_FUSED_LAYERS_H_
