#include "site_agent/train/fused_layers.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "site_agent/train/matrix_product.h"

namespace consilium {
namespace {

Grid SidesOf(std::span<const int64_t> shape) {
  Grid grid;
  grid.channels = static_cast<size_t>(shape[0]);
  if (shape.size() > 2) grid.height = static_cast<size_t>(shape[1]);
  if (shape.size() > 1) grid.width = static_cast<size_t>(shape.back());
  return grid;
}

void RepeatBias(const FusedMatrix& matrix, const float* weights, size_t rows, float* out) {
  const float* bias = weights + matrix.first_bias;
  for (size_t r = 0; r < rows; ++r) std::copy_n(bias, matrix.width, out + r * matrix.width);
}

// A matrix's inputs: `count` rows, which begin `apart` floats apart.
struct InputRows {
  const float* first;
  size_t apart;
  size_t count;
};

// in·W onto `out`.
void AddOutputs(const FusedMatrix& matrix, const InputRows& in, const float* weights, float* out) {
  AddProduct({.a = in.first,
              .a_row = in.apart,
              .b = weights + matrix.first_weight,
              .b_row = matrix.width,
              .c = out,
              .c_row = matrix.width,
              .rows = in.count,
              .inner = matrix.inputs,
              .columns = matrix.width});
}

// inᵀ·derivative onto the gradient by W, and the derivative's sum over the rows onto that by the
// bias.
void AddGradient(const FusedMatrix& matrix, const InputRows& in, const float* derivative,
                 float* gradient) {
  AddProduct({.a = in.first,
              .a_row = 1,
              .a_column = in.apart,
              .b = derivative,
              .b_row = matrix.width,
              .c = gradient + matrix.first_weight,
              .c_row = matrix.width,
              .rows = matrix.inputs,
              .inner = in.count,
              .columns = matrix.width});
  if (!matrix.has_bias) return;
  float* bias = gradient + matrix.first_bias;
  for (size_t r = 0; r < in.count; ++r) {
    for (size_t o = 0; o < matrix.width; ++o) bias[o] += derivative[r * matrix.width + o];
  }
}

// [outputs][`columns`], zeros behind the inputs.
void Transpose(const FusedMatrix& matrix, const float* weights, size_t columns,
               std::vector<float>& out) {
  out.assign(matrix.outputs * columns, 0);
  const float* from = weights + matrix.first_weight;
  for (size_t i = 0; i < matrix.inputs; ++i) {
    for (size_t o = 0; o < matrix.outputs; ++o) out[o * columns + i] = from[i * matrix.width + o];
  }
}

// derivative·Wᵀ, of W as Transpose leaves it, onto `rows` rows below of `columns` floats each.
void AddBelow(const FusedMatrix& matrix, const std::vector<float>& transposed,
              const float* derivative, size_t rows, size_t columns, float* below) {
  AddProduct({.a = derivative,
              .a_row = matrix.width,
              .b = transposed.data(),
              .b_row = columns,
              .c = below,
              .c_row = columns,
              .rows = rows,
              .inner = matrix.outputs,
              .columns = columns});
}

// That lie within a length, a started one included.
size_t Steps(size_t length, size_t stride) { return (length + stride - 1) / stride; }

// Of whole lanes, without a call.
void CopyLanes(const float* from, size_t floats, float* to) {
  for (size_t i = 0; i < floats; i += kProductLanes) {
    std::memcpy(to + i, from + i, kProductLanes * sizeof(float));
  }
}

}  // namespace

Grid GridOfInput(std::span<const int64_t> shape) {
  Grid grid = SidesOf(shape);
  grid.channel_stride = grid.positions();
  grid.position_stride = 1;
  grid.row = grid.channels * grid.positions();
  return grid;
}

Grid GridOfValues(std::span<const int64_t> shape) {
  Grid grid = SidesOf(shape);
  grid.position_stride = RoundUpToLanes(grid.channels);
  grid.row = grid.positions() * grid.position_stride;
  return grid;
}

void FusedMatrix::Load(std::span<const float> layout, std::span<float> inside) const {
  for (size_t o = 0; o < outputs; ++o) {
    const float* row = layout.data() + layout_weight + o * inputs;
    for (size_t i = 0; i < inputs; ++i) {
      inside[first_weight + i * width + o] = row[order.empty() ? i : order[i]];
    }
    if (has_bias) inside[first_bias + o] = layout[layout_bias + o];
  }
}

void FusedMatrix::Store(std::span<const float> inside, std::span<float> layout) const {
  for (size_t o = 0; o < outputs; ++o) {
    float* row = layout.data() + layout_weight + o * inputs;
    for (size_t i = 0; i < inputs; ++i) {
      row[order.empty() ? i : order[i]] = inside[first_weight + i * width + o];
    }
    if (has_bias) layout[layout_bias + o] = inside[first_bias + o];
  }
}

void FusedLinear::Forward(const FusedForward& pass) {
  RepeatBias(matrix_, pass.weights, pass.rows, pass.out);
  AddOutputs(matrix_, {pass.in, in_.row, pass.rows}, pass.weights, pass.out);
}

void FusedLinear::Backward(const FusedBackward& pass) {
  AddGradient(matrix_, {pass.in, in_.row, pass.rows}, pass.derivative, pass.gradient);
  if (pass.below == nullptr) return;
  Transpose(matrix_, pass.weights, in_.row, transposed_);
  AddBelow(matrix_, transposed_, pass.derivative, pass.rows, in_.row, pass.below);
}

FusedConv::FusedConv(Grid in, Grid out, const GraphLayer& layer, FusedMatrix matrix)
    : in_(in),
      out_(out),
      kernel_width_(static_cast<size_t>(layer.kernel)),
      stride_(static_cast<size_t>(layer.stride)),
      padding_width_(static_cast<size_t>(layer.padding)),
      matrix_(std::move(matrix)) {
  if (layer.input_shapes[0].size() == 3) {
    kernel_height_ = kernel_width_;
    padding_height_ = padding_width_;
  }
  const size_t kernel = kernel_height_ * kernel_width_;
  for (size_t k = 0; k < kernel; ++k) {
    for (size_t c = 0; c < in_.channels; ++c) {
      matrix_.order.push_back(static_cast<uint32_t>(c * kernel + k));
    }
  }
  patch_ = RoundUpToLanes(matrix_.inputs);
  patches_.resize(out_.positions() * patch_);
}

template <typename Visit>
void FusedConv::ForEachRun(const Visit& visit) const {
  for (size_t y = 0; y < out_.height; ++y) {
    for (size_t down = 0; down < kernel_height_; ++down) {
      const size_t line = y * stride_ + down;
      if (line < padding_height_ || line >= in_.height + padding_height_) continue;
      for (size_t right = 0; right < kernel_width_; ++right) {
        // The first x whose cell is within the input's left edge, and the first beyond its right.
        const size_t first = right < padding_width_ ? Steps(padding_width_ - right, stride_) : 0;
        const size_t beyond = in_.width + padding_width_;
        const size_t last =
            right < beyond ? std::min(out_.width, Steps(beyond - right, stride_)) : 0;
        if (first >= last) continue;
        const size_t position =
            (line - padding_height_) * in_.width + first * stride_ + right - padding_width_;
        visit((y * out_.width + first) * patch_ + (down * kernel_width_ + right) * in_.channels,
              position * in_.position_stride, last - first);
      }
    }
  }
}

void FusedConv::GatherPatches(const float* example) {
  const size_t step = stride_ * in_.position_stride;
  const bool whole_lanes = in_.channel_stride == 1 && in_.channels % kProductLanes == 0;
  ForEachRun([&](size_t to, size_t from, size_t count) {
    float* target = patches_.data() + to;
    const float* source = example + from;
    if (in_.channels == 1) {
      for (size_t x = 0; x < count; ++x) target[x * patch_] = source[x * step];
      return;
    }
    for (size_t x = 0; x < count; ++x, target += patch_, source += step) {
      if (whole_lanes) {
        CopyLanes(source, in_.channels, target);
      } else {
        for (size_t c = 0; c < in_.channels; ++c) target[c] = source[c * in_.channel_stride];
      }
    }
  });
}

void FusedConv::ScatterPatches(float* example) const {
  const size_t step = stride_ * in_.position_stride;
  ForEachRun([&](size_t from, size_t to, size_t count) {
    const float* source = derivatives_.data() + from;
    float* target = example + to;
    for (size_t x = 0; x < count; ++x, target += step, source += patch_) {
      for (size_t c = 0; c < in_.channels; ++c) target[c] += source[c];
    }
  });
}

void FusedConv::Forward(const FusedForward& pass) {
  RepeatBias(matrix_, pass.weights, pass.rows * out_.positions(), pass.out);
  for (size_t r = 0; r < pass.rows; ++r) {
    GatherPatches(pass.in + r * in_.row);
    AddOutputs(matrix_, {patches_.data(), patch_, out_.positions()}, pass.weights,
               pass.out + r * out_.row);
  }
}

void FusedConv::Backward(const FusedBackward& pass) {
  if (pass.below != nullptr) Transpose(matrix_, pass.weights, patch_, transposed_);
  for (size_t r = 0; r < pass.rows; ++r) {
    const float* derivative = pass.derivative + r * out_.row;
    GatherPatches(pass.in + r * in_.row);
    AddGradient(matrix_, {patches_.data(), patch_, out_.positions()}, derivative, pass.gradient);
    if (pass.below == nullptr) continue;
    derivatives_.assign(patches_.size(), 0.0f);
    AddBelow(matrix_, transposed_, derivative, out_.positions(), patch_, derivatives_.data());
    ScatterPatches(pass.below + r * in_.row);
  }
}

FusedPool::FusedPool(Grid in, Grid out, const GraphLayer& layer) : in_(in), out_(out) {
  is_maximum_ = layer.spec.pool().kind() == v1::Pool::MAX;
  if (layer.spec.pool().kind() == v1::Pool::GLOBAL_AVERAGE) {
    kernel_height_ = in_.height;
    kernel_width_ = in_.width;
    return;
  }
  kernel_width_ = static_cast<size_t>(layer.kernel);
  if (layer.input_shapes[0].size() == 3) kernel_height_ = kernel_width_;
  stride_ = static_cast<size_t>(layer.stride);
}

size_t FusedPool::FirstOf(size_t position) const {
  const size_t y = position / out_.width;
  const size_t x = position % out_.width;
  return (y * stride_) * in_.width + x * stride_;
}

size_t FusedPool::CellOf(size_t first, size_t k) const {
  return first + k / kernel_width_ * in_.width + k % kernel_width_;
}

void FusedPool::LargestOf(const float* in, float* out, uint32_t* chosen) const {
  for (size_t p = 0; p < out_.positions(); ++p) {
    float* best = out + p * out_.position_stride;
    uint32_t* where = chosen + p * out_.position_stride;
    const size_t first = FirstOf(p);
    std::copy_n(in + first * in_.position_stride, out_.position_stride, best);
    std::fill_n(where, out_.position_stride, static_cast<uint32_t>(first));
    for (size_t k = 1; k < kernel_height_ * kernel_width_; ++k) {
      const size_t at = CellOf(first, k);
      const float* value = in + at * in_.position_stride;
      for (size_t c = 0; c < out_.position_stride; ++c) {
        // Of equals the first, as LibTorch; what is no number is never left for one.
        const bool is_better = (value[c] > best[c]) | (value[c] != value[c]);
        best[c] = is_better ? value[c] : best[c];
        where[c] = is_better ? static_cast<uint32_t>(at) : where[c];
      }
    }
  }
}

void FusedPool::MeanOf(const float* in, float* out) const {
  const size_t kernel = kernel_height_ * kernel_width_;
  for (size_t p = 0; p < out_.positions(); ++p) {
    float* sum = out + p * out_.position_stride;
    std::fill_n(sum, out_.position_stride, 0.0f);
    const size_t first = FirstOf(p);
    for (size_t k = 0; k < kernel; ++k) {
      const float* value = in + CellOf(first, k) * in_.position_stride;
      for (size_t c = 0; c < out_.position_stride; ++c) sum[c] += value[c];
    }
    for (size_t c = 0; c < out_.position_stride; ++c) sum[c] /= static_cast<float>(kernel);
  }
}

void FusedPool::Forward(const FusedForward& pass) {
  if (is_maximum_) chosen_.resize(pass.rows * out_.row);
  for (size_t r = 0; r < pass.rows; ++r) {
    const float* in = pass.in + r * in_.row;
    float* out = pass.out + r * out_.row;
    if (is_maximum_) {
      LargestOf(in, out, chosen_.data() + r * out_.row);
    } else {
      MeanOf(in, out);
    }
  }
}

void FusedPool::Backward(const FusedBackward& pass) {
  if (pass.below == nullptr) return;
  const size_t kernel = kernel_height_ * kernel_width_;
  const size_t channels = out_.position_stride;
  for (size_t r = 0; r < pass.rows; ++r) {
    float* below = pass.below + r * in_.row;
    for (size_t p = 0; p < out_.positions(); ++p) {
      const size_t place = r * out_.row + p * channels;
      const float* derivative = pass.derivative + place;
      if (is_maximum_) {
        const uint32_t* where = chosen_.data() + place;
        for (size_t c = 0; c < channels; ++c) {
          below[where[c] * in_.position_stride + c] += derivative[c];
        }
        continue;
      }
      const size_t first = FirstOf(p);
      for (size_t k = 0; k < kernel; ++k) {
        float* cell = below + CellOf(first, k) * in_.position_stride;
        for (size_t c = 0; c < channels; ++c) cell[c] += derivative[c] / static_cast<float>(kernel);
      }
    }
  }
}

void FusedFlatten::Forward(const FusedForward& pass) {
  for (size_t r = 0; r < pass.rows; ++r) {
    const float* in = pass.in + r * in_.row;
    float* out = pass.out + r * out_.row;
    for (size_t c = 0; c < in_.channels; ++c) {
      for (size_t p = 0; p < in_.positions(); ++p) {
        *out++ = in[p * in_.position_stride + c * in_.channel_stride];
      }
    }
  }
}

void FusedFlatten::Backward(const FusedBackward& pass) {
  if (pass.below == nullptr) return;
  for (size_t r = 0; r < pass.rows; ++r) {
    const float* derivative = pass.derivative + r * out_.row;
    float* below = pass.below + r * in_.row;
    for (size_t c = 0; c < in_.channels; ++c) {
      for (size_t p = 0; p < in_.positions(); ++p) {
        below[p * in_.position_stride + c * in_.channel_stride] = *derivative++;
      }
    }
  }
}

void ApplyFunction(FusedFunction function, std::span<float> values) {
  switch (function) {
    case FusedFunction::kNone:
      return;
    case FusedFunction::kRelu:
      for (float& x : values) x = x < 0 ? 0 : x;
      return;
    case FusedFunction::kTanh:
      for (float& x : values) x = std::tanh(x);
      return;
    case FusedFunction::kSigmoid:
      for (float& x : values) x = 1 / (1 + std::exp(-x));
      return;
  }
}

void DeriveFunction(FusedFunction function, std::span<const float> outputs,
                    std::span<float> derivative) {
  switch (function) {
    case FusedFunction::kNone:
      return;
    case FusedFunction::kRelu:
      for (size_t i = 0; i < outputs.size(); ++i)
        derivative[i] = outputs[i] > 0 ? derivative[i] : 0;
      return;
    case FusedFunction::kTanh:
      for (size_t i = 0; i < outputs.size(); ++i) derivative[i] *= 1 - outputs[i] * outputs[i];
      return;
    case FusedFunction::kSigmoid:
      for (size_t i = 0; i < outputs.size(); ++i) derivative[i] *= outputs[i] * (1 - outputs[i]);
      return;
  }
}

}  // namespace consilium
