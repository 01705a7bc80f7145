// The keys of one store, each wrapped by its KEK, in one small text file beside it:
//   consilium-keys 1
//   kek <id of the KEK>
//   key <name> <122 hex: wrapped key>
// One key opens the database, one the blobs, and each data set may have its own.
//
// Shredding: Remove() makes what the key sealed unreadable, at once and wherever it was copied to.
// An old copy of this file (a backup, a freed block of the disk) still holds the wrapped key: for
// those to be of no use, rotate the KEK afterwards and destroy the old one.
//
// Rotation: make the new KEK in a file of its own, Rewrap(), then retire the old file. A crash
// leaves the ring wrapped wholly by one or the other, and kek_id() says by which.
//
// Ownership: holds a copy of the KEK and no unwrapped key. Threads: externally synchronised; two
// processes on one ring are kept apart by the store's lock (database.h).

#ifndef CONSILIUM_PRIVACY_AT_REST_KEY_RING_H_
#define CONSILIUM_PRIVACY_AT_REST_KEY_RING_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/at_rest/key_wrap.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

inline constexpr size_t kKeyRingKeysMax = 10240;

class KeyRing {
 public:
  // Writes an empty ring. ALREADY_EXISTS; the disk's errors as in files.h.
  static absl::StatusOr<KeyRing> Create(const Kek& kek, std::string path);

  // NOT_FOUND. FAILED_PRECONDITION: others may read it, or another KEK wrapped it (names both ids).
  // DATA_LOSS: not a ring, or a damaged one.
  static absl::StatusOr<KeyRing> Open(const Kek& kek, std::string path);

  // The key of that name: [a-z0-9][a-z0-9._/-]{0,127}. NOT_FOUND: never made, or shredded.
  // DATA_LOSS: damaged.
  absl::StatusOr<SecretBytes> Get(absl::string_view name) const;

  // The same; where there is none, a new random key, durable before it is returned.
  // INVALID_ARGUMENT for the name, RESOURCE_EXHAUSTED over 4,096 keys or for a full disk.
  absl::StatusOr<SecretBytes> GetOrCreate(absl::string_view name);

  // Shreds one key. NOT_FOUND.
  absl::Status Remove(absl::string_view name);

  // Wraps every key by `next`, durably and all at once. DATA_LOSS where one can not be unwrapped;
  // nothing has changed then.
  absl::Status Rewrap(const Kek& next);

  std::vector<std::string> Names() const;
  const std::string& kek_id() const { return kek_.id(); }

 private:
  using WrappedKeys = std::map<std::string, std::vector<uint8_t>, std::less<>>;
  KeyRing(Kek kek, std::string path) : kek_(std::move(kek)), path_(std::move(path)) {}
  absl::Status Parse(absl::string_view content);
  absl::Status Write(const Kek& kek, const WrappedKeys& keys) const;

  Kek kek_;
  std::string path_;
  WrappedKeys keys_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_KEY_RING_H_
