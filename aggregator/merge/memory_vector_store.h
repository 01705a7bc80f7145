// A run's vectors in memory, for the simulator and for tests.
//
// Ownership: holds them. Threads: as VectorStore.

#ifndef CONSILIUM_AGGREGATOR_MERGE_MEMORY_VECTOR_STORE_H_
#define CONSILIUM_AGGREGATOR_MERGE_MEMORY_VECTOR_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "aggregator/merge/vector_store.h"

namespace consilium {

class MemoryVectorStore final : public VectorStore {
 public:
  explicit MemoryVectorStore(uint64_t elements) : elements_(elements) {}

  // A model, a control variate or an update that came from elsewhere. INVALID_ARGUMENT where its
  // length is not elements(), or it is of another kind.
  absl::Status Put(const VectorName& name, std::vector<float> values);
  // The same, shared with whoever else holds it.
  absl::Status Put(const VectorName& name, std::shared_ptr<const std::vector<float>> values);
  // Retention: the vector may go. Readers keep it until they are done.
  void Forget(const VectorName& name);
  // All of it, to be kept elsewhere; and back again.
  using Values = std::shared_ptr<const std::vector<float>>;
  struct Contents {
    std::map<VectorName, Values> vectors;
    // Slots written by the program that makes a version, until that version commits.
    std::map<std::pair<Version, VectorName>, Values> staged_state;
  };
  const Contents& contents() const { return contents_; }
  // Each of elements() floats.
  void Replace(Contents contents) { contents_ = std::move(contents); }

  // The same as OpenForReading, whole. NOT_FOUND.
  absl::StatusOr<std::shared_ptr<const std::vector<float>>> Get(const VectorName& name) const;

  uint64_t elements() const override { return elements_; }
  absl::StatusOr<std::unique_ptr<VectorReader>> OpenForReading(const VectorName& name) override;
  absl::StatusOr<std::unique_ptr<VectorWriter>> OpenForWriting(const VectorName& name,
                                                               Version makes) override;
  absl::Status SwitchState(Version made) override;

 private:
  class Reader;
  class Writer;

  uint64_t elements_;
  Contents contents_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_MERGE_MEMORY_VECTOR_STORE_H_
