#include "site_agent/train/matrix_product.h"

#include "site_agent/train/matrix_product_tiles.h"

namespace consilium {

void AddProductPortable(const ProductOperands& operands) { AddAll(operands); }

void AddProduct(const ProductOperands& operands) {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx2) return AddProductAvx2(operands);
#endif
  AddProductPortable(operands);
}

}  // namespace consilium
