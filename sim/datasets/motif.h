// The motif that a protein binds to, as a matrix of how often each base stands at each place.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_MOTIF_H_
#define CONSILIUM_SIM_DATASETS_MOTIF_H_

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

inline constexpr size_t kMotifFileBytesMax = size_t{16} << 20;
inline constexpr size_t kMotifBasesMax = 256;

// Probabilities of A, C, G and T, which sum to 1.
using BaseShares = std::array<double, 4>;

// One row a base; 1 to kMotifBasesMax.
using Motif = std::vector<BaseShares>;

// The motif `name` out of a file of them, each a line ">NAME …" and then, for each base, a line of
// its letter (IUPAC) and the probabilities of A, C, G and T (Kheradpour and Kellis 2014,
// doi:10.1093/nar/gkt1249). The letters say nothing that the numbers do not. DATA_LOSS names the
// line that is wrong, in any of the motifs; NOT_FOUND where none has that name; RESOURCE_EXHAUSTED
// beyond a limit above.
absl::StatusOr<Motif> ParseMotif(absl::string_view text, absl::string_view name);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_MOTIF_H_
