// Who the ranks of a job are: each tells rank 0 once, before all else.
//
// Ownership: a value. Threads: as any value.

#ifndef CONSILIUM_SIM_CLUSTER_RANK_ROSTER_H_
#define CONSILIUM_SIM_CLUSTER_RANK_ROSTER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/cluster.pb.h"
#include "sim/cluster/rank_identity.h"
#include "sim/cluster/ranks.h"

namespace consilium {

inline constexpr uint32_t kRankThreadsMax = 1024;

class RankRoster {
 public:
  // Waits for every rank to say what it is. FAILED_PRECONDITION naming the first that is something
  // else than `own`, and what of it, or that can not take part; INTERNAL where one says what this
  // program does not.
  static absl::StatusOr<RankRoster> Gather(Ranks& ranks, const RankIdentity& own);

  // What the rank does beside each other; 0 of rank 0.
  uint32_t threads(int rank) const { return hello(rank).threads(); }
  // "rank 2 (machine, process 4711)".
  std::string NameOf(int rank) const;
  // What is there besides this process: "3 more ranks on 2 machines, 12 trainings at once there".
  std::string Describe(absl::string_view what) const;
  // Why nothing more is received, in words: who has died, where `received` is ABORTED.
  absl::Status WhyItEnds(const absl::Status& received) const;

 private:
  explicit RankRoster(int size) : hellos_(static_cast<size_t>(size)) {}
  absl::Status Take(const RankFrame& frame, const RankIdentity& own);
  const v1::RankHello& hello(int rank) const { return hellos_.at(static_cast<size_t>(rank)); }

  std::vector<v1::RankHello> hellos_;  // By rank; the first is this process.
};

// To rank 0, from another rank: what it is, or why it can not take part.
void SayHello(Ranks& ranks, const absl::StatusOr<RankIdentity>& identity, size_t threads);

// Tells the others that there is nothing more to do; the last that rank 0 says.
void DismissRanks(Ranks& ranks, const absl::Status& end);

// A rank has said what this program does not. INTERNAL.
absl::Status UnknownMessage(const std::string& who);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_RANK_ROSTER_H_
