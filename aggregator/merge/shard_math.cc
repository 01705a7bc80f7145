#include "aggregator/merge/shard_math.h"

#include <algorithm>
#include <cmath>

namespace consilium {

void ScaleShard(float a, std::span<float> dst) {
  for (float& value : dst) value *= a;
}

void AxpyShard(float a, std::span<const float> x, std::span<float> dst) {
  const size_t n = dst.size();
  const float* const from = x.data();
  float* const to = dst.data();
  for (size_t i = 0; i < n; ++i) to[i] = to[i] + a * from[i];
}

void AdamShard(const AdamScalars& scalars, std::span<const float> d, std::span<float> m,
               std::span<float> v, std::span<float> dst) {
  const AdamScalars s = scalars;  // A copy that no store through a pointer can change.
  const size_t n = dst.size();
  const float* const direction = d.data();
  float* const first = m.data();
  float* const second = v.data();
  float* const to = dst.data();
  for (size_t i = 0; i < n; ++i) {
    const float g = direction[i];
    const float mi = s.beta1 * first[i] + s.one_minus_beta1 * g;
    const float vi = s.beta2 * second[i] + s.one_minus_beta2 * (g * g);
    const float step = s.rate * mi / (std::sqrt(vi) + s.epsilon);
    first[i] = mi;
    second[i] = vi;
    to[i] = to[i] + step;
  }
}

void MomentumShard(const MomentumScalars& scalars, std::span<const float> d, std::span<float> m,
                   std::span<float> dst) {
  const MomentumScalars s = scalars;
  const size_t n = dst.size();
  const float* const direction = d.data();
  float* const first = m.data();
  float* const to = dst.data();
  for (size_t i = 0; i < n; ++i) {
    const float mi = s.beta * first[i] + direction[i];
    first[i] = mi;
    to[i] = to[i] + s.rate * mi;
  }
}

double DotShard(std::span<const float> x, std::span<const float> y) {
  DotLanes lanes = {};
  const size_t whole = x.size() - x.size() % kDotLanes;
  for (size_t i = 0; i < whole; i += kDotLanes) {
    for (size_t lane = 0; lane < kDotLanes; ++lane) {
      lanes[lane] += static_cast<double>(x[i + lane]) * static_cast<double>(y[i + lane]);
    }
  }
  for (size_t i = whole; i < x.size(); ++i) {
    lanes[i - whole] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  }
  return SumOfLanes(lanes);
}

void AddSquares(size_t first, std::span<const float> x, DotLanes& lanes) {
  const size_t to_boundary = (kDotLanes - first % kDotLanes) % kDotLanes;
  size_t i = 0;
  for (; i < std::min(to_boundary, x.size()); ++i) {
    lanes[(first + i) % kDotLanes] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  for (; i + kDotLanes <= x.size(); i += kDotLanes) {
    for (size_t lane = 0; lane < kDotLanes; ++lane) {
      const double value = x[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (size_t lane = 0; i < x.size(); ++i, ++lane) {
    lanes[lane] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
}

double SumOfLanes(const DotLanes& lanes) {
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

}  // namespace consilium
