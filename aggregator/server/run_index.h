// What calls need to know of the runs without asking the engine: the engine thread writes it after
// each commit, so that it never says what is not durable.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_RUN_INDEX_H_
#define CONSILIUM_AGGREGATOR_SERVER_RUN_INDEX_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "aggregator/core/run_state.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

class RunIndex {
 public:
  // Takes over what is new in `run`, of the run itself and of these participants; of all of them
  // where the run was not known. The engine thread, after a commit.
  void Refresh(const federation::RunState& run, const std::set<SiteId>& sites)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Something of the run may have changed: wakes who waits for that.
  void NoteChange(const RunId& run) ABSL_LOCKS_EXCLUDED(mu_);

  struct Facts {
    Digest layout_hash = {};
    uint64_t elements = 0;
    uint64_t payload_bytes = 0;  // Of an update.
    size_t features = 0;         // Of its contract.
    Digest plan_hash = {};
    uint64_t versions = 0;
    federation::RunPhase phase = federation::RunPhase::kOffered;
  };
  // Refusal RUN_UNKNOWN.
  absl::StatusOr<Facts> Find(const RunId& run) const ABSL_LOCKS_EXCLUDED(mu_);
  // What the run knows of a site.
  struct Standing {
    federation::Participant::Decision decision = federation::Participant::Decision::kPending;
    TaskId newest_task;
    std::vector<TaskId> open_tasks;  // Granted, and no update of them was decided on; oldest first.
  };
  // Refusal RUN_UNKNOWN, also where the run is there and was not offered to the site.
  absl::StatusOr<Standing> FindParticipant(const RunId& run, const SiteId& site) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // What a fetched model begins with. Refusals RUN_UNKNOWN, VERSION_UNKNOWN; RUN_ENDED where the
  // run was purged.
  absl::StatusOr<v1::ModelHeader> FindModel(const RunId& run, Version version) const
      ABSL_LOCKS_EXCLUDED(mu_);

  // Counts the changes of a run; 0 for one that is unknown.
  uint64_t Changes(const RunId& run) const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until Changes(run) is not `seen`, at most so long; gives the new count.
  uint64_t AwaitChange(const RunId& run, uint64_t seen, absl::Duration timeout) const
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Model {
    Digest model_id = {};
    Digest payload_root = {};
    uint64_t payload_bytes = 0;
  };
  struct Entry {
    Facts facts;
    std::vector<Model> models;  // Index = version.
    std::map<SiteId, Standing> participants;
    uint64_t changes = 0;
  };
  uint64_t Count(const RunId& run) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::map<RunId, Entry> runs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_RUN_INDEX_H_
