// Vectors that a virtual site holds while it is idle: what it keeps from task to task, and its
// model. They are in memory while there is room for them; beyond that, those that were used least
// recently lie in a file, and are read back when a task needs them. What is read back is held to
// its SHA-256: it is the same, bit by bit, or an error.
//
// The file is made when the first vector goes there. It has no name, so that it goes with its
// process, however that ends; nothing of a simulation is found again by it (checkpoint.h).
//
// Ownership: a vector lives as long as anything holds it, and holds this. Threads: any; one at a
// time reads or writes the file.

#ifndef CONSILIUM_SIM_ENGINE_IDLE_VECTORS_H_
#define CONSILIUM_SIM_ENGINE_IDLE_VECTORS_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "protocol/core/ids.h"

namespace consilium {

// In memory. What tasks at work have of them comes on top, as ever.
inline constexpr uint64_t kIdleVectorsBytesMax = uint64_t{256} << 20;

class IdleVectors;

// One of them. Never changes.
class IdleVector {
 public:
  using Values = std::shared_ptr<const std::vector<float>>;

  ~IdleVector();
  IdleVector(const IdleVector&) = delete;
  IdleVector& operator=(const IdleVector&) = delete;

  // Valid as long as they are held. RESOURCE_EXHAUSTED, INTERNAL: as IdleVectors::Keep;
  // DATA_LOSS where the file does not hold any more what was written there.
  absl::StatusOr<Values> Read() const;
  // The same, and leaves in memory what is there.
  absl::StatusOr<Values> Peek() const;
  // Null where it is in the file alone.
  Values InMemory() const;

 private:
  friend class IdleVectors;
  IdleVector(std::shared_ptr<IdleVectors> of, uint64_t number) : of_(std::move(of)), id_(number) {}

  const std::shared_ptr<IdleVectors> of_;
  const uint64_t id_;
};

class IdleVectors : public std::enable_shared_from_this<IdleVectors> {
 public:
  using Values = IdleVector::Values;
  using Held = std::shared_ptr<const IdleVector>;

  struct Options {
    uint64_t bytes_max = kIdleVectorsBytesMax;  // In memory; 0: all of it lies in the file.
    std::string folder;                         // Of the file; empty: $TMPDIR, or /var/tmp.
  };
  static std::shared_ptr<IdleVectors> Create(Options options);
  ~IdleVectors();

  // RESOURCE_EXHAUSTED where room has to be made and the disk is full, FAILED_PRECONDITION where
  // the folder is not there, PERMISSION_DENIED, INTERNAL otherwise, in the system's words; never
  // UNAVAILABLE, by which a worker is lost (training_pool.h). What was held before stays as it
  // was.
  absl::StatusOr<Held> Keep(Values values) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t bytes_in_memory() const ABSL_LOCKS_EXCLUDED(mu_);
  // How large the file has become; 0: there is none.
  uint64_t file_bytes() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class IdleVector;
  enum class Use : uint8_t { kRead, kPeek };
  struct Entry {
    Values values;                                    // Null where it is in the file alone.
    std::weak_ptr<const std::vector<float>> at_work;  // Of the last reader.
    std::list<uint64_t>::iterator turn;               // Where `values` are.
    uint64_t bytes = 0;
    std::optional<uint64_t> place;  // In the file.
    Digest digest = {};             // Of what is there.
  };

  explicit IdleVectors(Options options) : options_(std::move(options)) {}
  absl::StatusOr<Values> Read(uint64_t id, Use use) ABSL_LOCKS_EXCLUDED(mu_);
  Values InMemory(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  void Drop(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);

  // Puts it in memory as the last used, and others out of it.
  absl::Status PutInMemory(uint64_t id, Values values) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TakeOutOfMemory(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status OpenFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t FreePlace(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status WriteOut(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Values> ReadBack(const Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string Folder() const;

  const Options options_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::list<uint64_t> turns_ ABSL_GUARDED_BY(mu_);  // Of those in memory, the last used first.
  uint64_t ids_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // In memory.
  int file_ ABSL_GUARDED_BY(mu_) = -1;
  uint64_t file_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // Places in the file that are free again, by size: vectors of a run have few.
  std::map<uint64_t, std::vector<uint64_t>> free_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_IDLE_VECTORS_H_
