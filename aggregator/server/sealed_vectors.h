// The vectors of one run as sealed blobs: what vector programs read and write, what sites fetch.
// A blob is known by a digest that names the vector, and is opened under that name alone:
//   update    its update id
//   model     H("consilium.model_blob.v1", run, version)
//   control   H("consilium.control_blob.v1", run, version)
//   state     H("consilium.state_blob.v1", run, slot, version whose program wrote it)
// A program that runs again after a crash writes the same bytes under the same name. Which state
// slot is current is a function of the journal: the caller says which slots each program writes
// and when its version has committed, and says it again at recovery.
//
// Ownership: shares the blob store; borrows the cache. Threads: any, but for VectorStore's rule
// that one program runs at a time.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SEALED_VECTORS_H_
#define CONSILIUM_AGGREGATOR_SERVER_SEALED_VECTORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/merge/vector_store.h"
#include "aggregator/server/vector_cache.h"
#include "privacy/at_rest/blob_store.h"
#include "protocol/core/ids.h"

namespace consilium {

class SealedVectors final : public VectorStore {
 public:
  SealedVectors(RunId run, uint64_t elements, std::shared_ptr<BlobStore> blobs, VectorCache& cache)
      : run_(std::move(run)), elements_(elements), blobs_(std::move(blobs)), cache_(cache) {}

  uint64_t elements() const override { return elements_; }
  absl::StatusOr<std::unique_ptr<VectorReader>> OpenForReading(const VectorName& name) override;
  absl::StatusOr<std::unique_ptr<VectorWriter>> OpenForWriting(const VectorName& name,
                                                               Version makes) override;
  absl::Status SwitchState(Version made) override;

  // The program that makes `makes` will write these slots.
  void NoteProgram(Version makes, const std::vector<uint64_t>& state_slots)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The blob of a model, a control variate, an update, or a current state slot; nothing for a slot
  // never written.
  std::optional<Digest> BlobOf(const VectorName& name) const ABSL_LOCKS_EXCLUDED(mu_);
  // Retention: removes the vector's blob, if it is there.
  absl::Status Remove(const VectorName& name);
  // Removes every blob but those of `needed` and of the current state: what a crash left behind.
  // Gives their number.
  absl::StatusOr<uint64_t> Sweep(const std::vector<VectorName>& needed);

  BlobStore& blobs() { return *blobs_; }

 private:
  class MemoryReader;
  class BlobReader;
  class Writer;
  Digest VersionBlob(absl::string_view domain, Version version) const;
  Digest StateBlob(uint64_t slot, Version version) const;

  const RunId run_;
  const uint64_t elements_;
  const std::shared_ptr<BlobStore> blobs_;
  VectorCache& cache_;
  mutable absl::Mutex mu_;
  std::map<Version, std::vector<uint64_t>> programs_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, Version> current_state_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SEALED_VECTORS_H_
