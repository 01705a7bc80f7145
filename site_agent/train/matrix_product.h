// Products of the small matrices of a small model, where a call of a BLAS costs more than its
// arithmetic. No fused multiply-add, and sums in one order: the same bits on every processor.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_MATRIX_PRODUCT_H_
#define CONSILIUM_SITE_AGENT_TRAIN_MATRIX_PRODUCT_H_

#include <cstddef>

namespace consilium {

// Columns come in whole groups of so many floats.
inline constexpr size_t kProductLanes = 8;
inline constexpr size_t RoundUpToLanes(size_t columns) {
  return (columns + kProductLanes - 1) / kProductLanes * kProductLanes;
}

// c[r][j] += Σ_i a[r][i]·b[i][j] over r < rows, i < inner, j < columns. Strides in floats; `a` may
// be read transposed. Not owned; `c` overlaps neither of the others.
struct ProductOperands {
  const float* a = nullptr;
  size_t a_row = 0;
  size_t a_column = 1;
  const float* b = nullptr;
  size_t b_row = 0;
  float* c = nullptr;
  size_t c_row = 0;
  size_t rows = 0;
  size_t inner = 0;
  size_t columns = 0;  // A multiple of kProductLanes.
};

// By the widest instructions that this processor has.
void AddProduct(const ProductOperands& operands);

// The ways of doing it, for tests. The one for AVX2 only where the processor has it.
void AddProductPortable(const ProductOperands& operands);
#if defined(__x86_64__)
void AddProductAvx2(const ProductOperands& operands);
#endif

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_MATRIX_PRODUCT_H_
