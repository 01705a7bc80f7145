// Which staged updates are in use: an uploaded blob lies on disk before the engine has decided on
// it, the same update may come several times at once, and one of them may be refused (an older
// incarnation, say) while another is accepted. A blob that nobody holds any more is removed unless
// the engine names it, which the engine thread decides.
//
// Threads: any; CollectOrphans() on the engine thread.

#ifndef CONSILIUM_AGGREGATOR_SERVER_STAGED_BLOBS_H_
#define CONSILIUM_AGGREGATOR_SERVER_STAGED_BLOBS_H_

#include <compare>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "protocol/core/ids.h"

namespace consilium {

struct StagedUpdate {
  RunId run;
  SiteId site;
  TaskId task;
  Digest update = {};
  friend auto operator<=>(const StagedUpdate&, const StagedUpdate&) = default;
};

class StagedBlobs {
 public:
  // While it lives, the update's blob is not removed.
  class Hold {
   public:
    Hold(StagedBlobs& staged, StagedUpdate update) : staged_(staged), update_(std::move(update)) {
      absl::MutexLock lock(&staged_.mu_);
      ++staged_.holds_[update_];
    }
    ~Hold() {
      absl::MutexLock lock(&staged_.mu_);
      const auto it = staged_.holds_.find(update_);
      if (--it->second > 0) return;
      staged_.holds_.erase(it);
      staged_.released_.push_back(std::move(update_));
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    StagedBlobs& staged_;
    StagedUpdate update_;
  };

  std::shared_ptr<Hold> Take(StagedUpdate update) {
    return std::make_shared<Hold>(*this, std::move(update));
  }

  // Calls `settle` with each update whose last hold went since the last time; no new hold on any
  // update comes about meanwhile. It removes the blob where the engine does not name it.
  void CollectOrphans(absl::FunctionRef<void(const StagedUpdate&)> settle)
      ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    for (const StagedUpdate& update : released_) {
      if (!holds_.contains(update)) settle(update);
    }
    released_.clear();
  }

 private:
  absl::Mutex mu_;
  std::map<StagedUpdate, int> holds_ ABSL_GUARDED_BY(mu_);
  std::vector<StagedUpdate> released_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_STAGED_BLOBS_H_
