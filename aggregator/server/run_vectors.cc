#include "aggregator/server/run_vectors.h"

#include "protocol/core/status_macros.h"

namespace consilium {

absl::StatusOr<std::shared_ptr<SealedVectors>> RunVectors::Get(const RunId& run,
                                                               uint64_t elements) {
  absl::MutexLock lock(&mu_);
  if (const auto it = runs_.find(run); it != runs_.end()) return it->second;
  CONSILIUM_ASSIGN_OR_RETURN(std::shared_ptr<BlobStore> blobs, store_.Blobs(run));
  return runs_
      .emplace(run, std::make_shared<SealedVectors>(run, elements, std::move(blobs), cache_))
      .first->second;
}

absl::StatusOr<uint64_t> RunVectors::Purge(const RunId& run) {
  absl::MutexLock lock(&mu_);
  runs_.erase(run);
  return store_.RemoveBlobs(run);
}

}  // namespace consilium
