// The vectors of every run that is not purged, opened when they are first asked for.
//
// Ownership: borrows the store; holds the cache that all runs share. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_RUN_VECTORS_H_
#define CONSILIUM_AGGREGATOR_SERVER_RUN_VECTORS_H_

#include <cstddef>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/sealed_vectors.h"
#include "aggregator/server/store.h"
#include "aggregator/server/vector_cache.h"
#include "protocol/core/ids.h"

namespace consilium {

class RunVectors {
 public:
  RunVectors(Store& store, size_t cache_bytes_max) : store_(store), cache_(cache_bytes_max) {}

  // `elements` is the run's. The store's errors.
  absl::StatusOr<std::shared_ptr<SealedVectors>> Get(const RunId& run, uint64_t elements)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Shreds everything of the run; gives the number of blobs. Not for a run that may be asked for
  // again.
  absl::StatusOr<uint64_t> Purge(const RunId& run) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Store& store_;
  VectorCache cache_;
  absl::Mutex mu_;
  std::map<RunId, std::shared_ptr<SealedVectors>> runs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_RUN_VECTORS_H_
