// Messages between the processes of one program that a launcher (mpirun, srun) has started
// together, its ranks. Which library carries them is known to sim/mpi alone.
//
// Threads: any.

#ifndef CONSILIUM_SIM_CLUSTER_RANKS_H_
#define CONSILIUM_SIM_CLUSTER_RANKS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "protocol/wire/limits.h"

namespace consilium {

// A plan with its contract, and a scenario.
inline constexpr size_t kRankMessageBytesMax =
    limits::kControlMessageBytesMax + limits::kTextFileBytesMax;

struct RankFrame {
  int rank = 0;               // From whom, or to whom.
  std::string message;        // A v1::RankMessage.
  std::vector<float> values;  // What it counts.
};

class Ranks {
 public:
  using Values = std::shared_ptr<const std::vector<float>>;
  static constexpr size_t kPartsMax = 2;

  virtual ~Ranks() = default;
  virtual int rank() const = 0;  // Of this process, from 0 on.
  virtual int size() const = 0;
  virtual int here() const = 0;  // How many are on this machine, with this one.

  // Returns at once; what is sent to one rank arrives in its order. `values` has at most kPartsMax
  // parts, which arrive as one; null is none.
  virtual void Send(int to, std::string message, std::vector<Values> values) = 0;
  // The next of whichever rank. After an error there is nothing more: ABORTED where the launcher
  // asks rank 0 to end (SIGTERM), CANCELLED after StopReceiving, RESOURCE_EXHAUSTED where a rank
  // sends more than is accepted, INTERNAL where the library fails.
  virtual absl::StatusOr<RankFrame> Receive() = 0;
  virtual void StopReceiving() = 0;
  // How many floats are accepted in a frame from now on; at first none.
  virtual void SetValuesMax(uint64_t count) = 0;
  // A rank has died: the end of this process does not wait for all ranks to come to theirs.
  virtual void GiveUpTogether() = 0;
};

// This process's place among its ranks. Defined in sim/mpi, which only programs link that can be
// ranks. INTERNAL where the library fails.
absl::StatusOr<std::unique_ptr<Ranks>> JoinRanks();

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_RANKS_H_
