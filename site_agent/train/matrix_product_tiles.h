// The loops of AddProduct, for the instruction set that the including file is compiled for. Each
// element of the result is summed over `inner` in order, a product and a sum at a time: the same
// bits whatever the tiles and the instruction set.
//
// Included by matrix_product*.cc alone. Threads: any.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_MATRIX_PRODUCT_TILES_H_
#define CONSILIUM_SITE_AGENT_TRAIN_MATRIX_PRODUCT_TILES_H_

#include <cstddef>
#include <cstring>

#include "site_agent/train/matrix_product.h"

namespace consilium {
namespace {

#if defined(__AVX2__)
inline constexpr size_t kRegisterLanes = 8;
#else
inline constexpr size_t kRegisterLanes = 4;
#endif
static_assert(kProductLanes % kRegisterLanes == 0);
using Lanes = float __attribute__((vector_size(kRegisterLanes * sizeof(float))));

// `rows` × `vectors` lanes of the result, kept in registers over the whole inner sum.
template <size_t rows, size_t vectors>
inline void AddTile(const ProductOperands& p, size_t row, size_t column) {
  Lanes sums[rows][vectors];
  for (size_t r = 0; r < rows; ++r) {
    for (size_t v = 0; v < vectors; ++v) {
      std::memcpy(&sums[r][v], p.c + (row + r) * p.c_row + column + v * kRegisterLanes,
                  sizeof(Lanes));
    }
  }
  for (size_t i = 0; i < p.inner; ++i) {
    Lanes b[vectors];
    for (size_t v = 0; v < vectors; ++v) {
      std::memcpy(&b[v], p.b + i * p.b_row + column + v * kRegisterLanes, sizeof(Lanes));
    }
    for (size_t r = 0; r < rows; ++r) {
      const float a = p.a[(row + r) * p.a_row + i * p.a_column];
      for (size_t v = 0; v < vectors; ++v) sums[r][v] += a * b[v];
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t v = 0; v < vectors; ++v) {
      std::memcpy(p.c + (row + r) * p.c_row + column + v * kRegisterLanes, &sums[r][v],
                  sizeof(Lanes));
    }
  }
}

template <size_t vectors>
inline void AddColumns(const ProductOperands& p, size_t column) {
  size_t row = 0;
  constexpr size_t kRows = kRegisterLanes / 2;  // As many sums as registers can hold.
  for (; row + kRows <= p.rows; row += kRows) AddTile<kRows, vectors>(p, row, column);
  for (; row < p.rows; ++row) AddTile<1, vectors>(p, row, column);
}

inline void AddAll(const ProductOperands& p) {
  size_t column = 0;
  for (; column + 2 * kProductLanes <= p.columns; column += 2 * kProductLanes) {
    AddColumns<2 * kProductLanes / kRegisterLanes>(p, column);
  }
  for (; column < p.columns; column += kProductLanes) {
    AddColumns<kProductLanes / kRegisterLanes>(p, column);
  }
}

}  // namespace
}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_MATRIX_PRODUCT_TILES_H_
