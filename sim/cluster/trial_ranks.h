// A search over ranks. Rank 0 has the algorithm and the log; every rank, rank 0 too, runs trials on
// its machine (sim/search/trial_runner.h). What is tried next hangs on the order in which trials
// end, as with several workers of one machine, so algorithms that say so come to the same trials.
//
// Ownership: borrow the ranks. Threads: Run by any; the rest by one.

#ifndef CONSILIUM_SIM_CLUSTER_TRIAL_RANKS_H_
#define CONSILIUM_SIM_CLUSTER_TRIAL_RANKS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/cluster.pb.h"
#include "sim/cluster/rank_identity.h"
#include "sim/cluster/rank_roster.h"
#include "sim/cluster/ranks.h"
#include "sim/search/trial.h"

namespace consilium {

// As SearchLoopInput::evaluate. Threads: any.
using RunTrial = std::function<absl::StatusOr<TrialResult>(const Trial& trial)>;

struct TrialRankOptions {
  // What it would search, or why it can not.
  absl::StatusOr<RankIdentity> identity;
  size_t places = 1;  // Trials of this rank beside each other; up to kRankThreadsMax.
  RunTrial run;
  size_t parameters = 0;  // Of the space.
  size_t objectives = 0;
};

// Rank 0.
class TrialLeader {
 public:
  // As RankRoster::Gather.
  static absl::StatusOr<std::unique_ptr<TrialLeader>> Gather(Ranks& ranks,
                                                             TrialRankOptions options);
  ~TrialLeader();
  TrialLeader(const TrialLeader&) = delete;
  TrialLeader& operator=(const TrialLeader&) = delete;

  // Trials at once, over all ranks.
  size_t places() const { return places_; }
  std::string Describe() const { return roster_.Describe("trials"); }

  // Wherever there is room, on this machine first; waits where there is none. ABORTED where a rank
  // has died, INTERNAL where one says what this program does not.
  absl::StatusOr<TrialResult> Run(const Trial& trial);

 private:
  struct Pending {
    int rank = 0;
    std::optional<absl::StatusOr<TrialResult>> result;
  };

  TrialLeader(Ranks& ranks, RankRoster roster, TrialRankOptions options);
  std::optional<int> FreeRank() const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  bool HasRoomOrEnds() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !status_.ok() || FreeRank().has_value();
  }
  absl::StatusOr<TrialResult> Ask(int rank, const Trial& trial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Read();
  absl::Status Take(const RankFrame& frame) ABSL_LOCKS_EXCLUDED(mu_);

  Ranks& ranks_;
  const RankRoster roster_;
  const TrialRankOptions options_;
  size_t places_ = 0;
  absl::Mutex mu_;
  std::vector<size_t> free_ ABSL_GUARDED_BY(mu_);                              // Places, by rank.
  std::map<uint64_t, std::shared_ptr<Pending>> pending_ ABSL_GUARDED_BY(mu_);  // By trial.
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  std::thread reader_;
};

// Another rank: runs what it is asked to, until rank 0 has nothing more to do. ABORTED where a rank
// has died; INTERNAL where rank 0 says what this program does not; else as Ranks::Receive.
absl::Status ServeTrials(Ranks& ranks, const TrialRankOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_TRIAL_RANKS_H_
