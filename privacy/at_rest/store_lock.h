// An exclusive lock on a store, held by an open file with flock(2): it goes with the process, so a
// kill leaves none behind.
//
// Ownership: unlocks on destruction. Threads: any.

#ifndef CONSILIUM_PRIVACY_AT_REST_STORE_LOCK_H_
#define CONSILIUM_PRIVACY_AT_REST_STORE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace consilium {

class StoreLock {
 public:
  // UNAVAILABLE where another process holds it, with its pid; the disk's errors otherwise.
  static absl::StatusOr<std::shared_ptr<StoreLock>> Take(const std::string& path);
  ~StoreLock();
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

 private:
  explicit StoreLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_STORE_LOCK_H_
