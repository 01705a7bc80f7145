// Rank 0 of a simulation over ranks: what trains at the others is, to its pool, one more worker; on
// a wall clock the others are the workers of the sites. It alone has engines, time, journal and
// checkpoints.
//
// A message that is none, that answers nothing or has another size than the plan's model ends the
// simulation, as a rank that is lost does; its last checkpoint is that moment's.
//
// Ownership: borrows the ranks; owns a thread that reads. Threads: as RemoteTrainers; the workers
// each by one.

#ifndef CONSILIUM_SIM_CLUSTER_RANK_LEADER_H_
#define CONSILIUM_SIM_CLUSTER_RANK_LEADER_H_

#include <cstddef>
#include <cstdint>
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
#include "consilium/v1/coordination.pb.h"
#include "sim/cluster/rank_identity.h"
#include "sim/cluster/rank_roster.h"
#include "sim/cluster/ranks.h"
#include "sim/engine/remote_trainers.h"
#include "site_agent/core/trainer.h"

namespace consilium {

class RankLeader final : public RemoteTrainers {
 public:
  // As RankRoster::Gather. `prober` computes what the others' first training is held against.
  static absl::StatusOr<std::unique_ptr<RankLeader>> Gather(Ranks& ranks, const RankIdentity& own,
                                                            std::unique_ptr<Trainer> prober);
  ~RankLeader() override;
  RankLeader(const RankLeader&) = delete;
  RankLeader& operator=(const RankLeader&) = delete;

  std::vector<std::unique_ptr<TaskWorker>> Workers() override;
  // The same, those of each rank from 1 on together.
  std::vector<std::vector<std::unique_ptr<TaskWorker>>> WorkersByRank();
  absl::Status Prepare(const v1::RunPlan& plan, const v1::Scenario& scenario,
                       const FederationData& data) override;
  absl::Status status() override;

  std::string Describe() const { return roster_.Describe("trainings"); }

 private:
  class Worker;
  struct Peer {
    bool is_asked = false;  // To prepare.
    std::optional<v1::RankPrepared> prepared;
    // As it has them of its last task.
    std::shared_ptr<const v1::Standardisation> standardisation;
    Ranks::Values base;
  };
  // What is asked of a rank, and what comes of it: one of the two.
  struct Question {
    v1::RankTask task;
    std::shared_ptr<const v1::Standardisation> standardisation;
    Ranks::Values base;
    Ranks::Values kept;
  };
  struct Answer {
    SiteWork::Trained trained;
    v1::MetricSums metrics;
  };
  enum class Asked : uint8_t { kTraining, kEvaluation };
  struct Pending {
    int rank = 0;
    Asked asked = Asked::kTraining;
    std::optional<absl::StatusOr<Answer>> answer;
  };

  RankLeader(Ranks& ranks, RankRoster roster, std::unique_ptr<Trainer> prober);
  absl::StatusOr<SiteWork::Trained> Train(int rank, const SiteId& site,
                                          const SiteWork::TrainingTask& task)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<v1::MetricSums> Evaluate(int rank, const SiteId& site,
                                          const SiteWork::EvaluationTask& task)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<Answer> Ask(int rank, Question question) ABSL_LOCKS_EXCLUDED(mu_);
  void SendQuestion(int rank, Question question) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Read();
  absl::Status TakeFrame(RankFrame frame) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status TakeResult(const v1::RankResult& result, RankFrame frame)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Answer> TrainedOf(const v1::RankResult& result, RankFrame frame) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Answer> EvaluatedOf(const v1::RankResult& result, const RankFrame& frame) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::Status CheckPrepared(int rank, const v1::RankPrepared& ours)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AllPreparedOrLost() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  Ranks& ranks_;
  const RankRoster roster_;
  const std::unique_ptr<Trainer> prober_;
  absl::Mutex mu_;
  std::vector<Peer> peers_ ABSL_GUARDED_BY(mu_);  // By rank; the first is this process.
  std::map<uint64_t, std::shared_ptr<Pending>> pending_ ABSL_GUARDED_BY(mu_);  // By number.
  uint64_t numbers_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t elements_ ABSL_GUARDED_BY(mu_) = 0;  // Of the model.
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  std::thread reader_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_RANK_LEADER_H_
