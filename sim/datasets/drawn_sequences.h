// Sequences of DNA that are drawn, half of them with a motif in them: the task on which networks
// for genomics are tried, since what there is to find is known.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_DRAWN_SEQUENCES_H_
#define CONSILIUM_SIM_DATASETS_DRAWN_SEQUENCES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/dataset_manifest.pb.h"
#include "sim/datasets/motif.h"

namespace consilium {

inline constexpr size_t kSequenceBasesMax = 16384;  // One-hot, an example's features.

struct DnaSequence {
  std::vector<uint8_t> bases;  // 0: A, 1: C, 2: G, 3: T.
  bool bound = false;
  // Of the motif, where it is bound: its first base in `bases`, and whether it stands there as its
  // reverse complement.
  size_t place = 0;
  bool reversed = false;
};

// Sequence `index` of `drawn`, as its message says. It hangs on seed and index, and on no sequence
// before it; the same on every machine. `drawn` satisfies MakeDrawnSequences.
DnaSequence DrawSequence(const v1::DrawnSequences& drawn, const Motif& motif, uint32_t index);

// The IDX file that `drawn` says, of `bytes` bytes, with a motif that lies in `folder`; takes no
// more memory than that. Errors begin with the motifs' path where they are about it.
// INVALID_ARGUMENT: a field out of its range, or a motif longer than the sequences; DATA_LOSS where
// the file would have another number of bytes; as ParseMotif; errors of the system.
absl::StatusOr<std::string> MakeDrawnSequences(const std::string& folder,
                                               const v1::DrawnSequences& drawn, uint64_t bytes);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_DRAWN_SEQUENCES_H_
