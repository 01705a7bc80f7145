// Compiled with -mavx2 on x86-64 (site_agent/CMakeLists.txt).
#include "site_agent/train/matrix_product_tiles.h"

namespace consilium {

#if defined(__x86_64__)
void AddProductAvx2(const ProductOperands& operands) { AddAll(operands); }
#endif

}  // namespace consilium
