// The name by which ranks tell machines apart.
//
// Threads: any.

#ifndef CONSILIUM_SIM_CLUSTER_HOST_NAME_H_
#define CONSILIUM_SIM_CLUSTER_HOST_NAME_H_

#include <unistd.h>

#include <array>
#include <string>

namespace consilium {

// As gethostname(2) has it; at most 255 bytes.
inline std::string HostName() {
  std::array<char, 256> name = {};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_HOST_NAME_H_
