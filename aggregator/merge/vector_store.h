// Where the vectors of one run lie, read and written shard by shard, so that a program's memory
// does not grow with the model. One shard is one Merkle leaf (1 MiB), and what a store seals as
// one record.
//
// Ownership: readers and writers keep what they need alive; the store outlives both. Threads: the
// store's own calls from one thread at a time; Read() and Write() from any number, each shard
// written by one of them.

#ifndef CONSILIUM_AGGREGATOR_MERGE_VECTOR_STORE_H_
#define CONSILIUM_AGGREGATOR_MERGE_VECTOR_STORE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/core/ids.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/vector_program.h"

namespace consilium {

inline constexpr size_t kShardElements = limits::kMerkleLeafBytes / sizeof(float);

// The shards of a vector of `elements` floats: all of kShardElements but the last.
inline size_t ShardCount(uint64_t elements) {
  return (elements + kShardElements - 1) / kShardElements;
}
inline size_t ShardSize(uint64_t elements, size_t shard) {
  return std::min<uint64_t>(kShardElements, elements - uint64_t{shard} * kShardElements);
}

class VectorReader {
 public:
  virtual ~VectorReader() = default;
  // The floats of `shard` (< ShardCount): the reader's own memory, valid as long as it, or
  // `buffer` (>= ShardSize floats) filled. DATA_LOSS where the bytes are not what was written.
  virtual absl::StatusOr<std::span<const float>> Read(size_t shard,
                                                      std::span<float> buffer) const = 0;
};

// Destroyed without Finish(): nothing remains of it.
class VectorWriter {
 public:
  virtual ~VectorWriter() = default;
  // All floats of `shard`, once. RESOURCE_EXHAUSTED, UNAVAILABLE: the disk refused.
  virtual absl::Status Write(size_t shard, std::span<const float> values) = 0;
  // After every shard: the vector is durable.
  virtual absl::Status Finish() = 0;
};

class VectorStore {
 public:
  virtual ~VectorStore() = default;

  // Floats in every vector of the run.
  virtual uint64_t elements() const = 0;

  // A model, a control variate, an update, or a state slot as of the last committed version.
  // NOT_FOUND where it was never written.
  virtual absl::StatusOr<std::unique_ptr<VectorReader>> OpenForReading(const VectorName& name) = 0;

  // A model or control variate (`name.number` == `makes`), or a state slot beside the current one,
  // by the program that makes version `makes`. Replaces what an earlier run of the same program
  // left. INVALID_ARGUMENT for another kind.
  virtual absl::StatusOr<std::unique_ptr<VectorWriter>> OpenForWriting(const VectorName& name,
                                                                       Version makes) = 0;

  // Version `made` is committed: the state that its program wrote becomes the current one, and
  // state of programs before it goes. Idempotent, so that recovery may say it again.
  virtual absl::Status SwitchState(Version made) = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_MERGE_VECTOR_STORE_H_
