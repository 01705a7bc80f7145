// Keys that protect keys. The key-encryption key (KEK) of a store lies outside of it
// (key_file.h) and encrypts nothing but other keys; the wrapped ones lie in the store. So a new
// KEK means new wrappings and no new encryption, and deleting one wrapped key shreds what it
// sealed.
//
// Ownership: values, move-only. Threads: any.

#ifndef CONSILIUM_PRIVACY_AT_REST_KEY_WRAP_H_
#define CONSILIUM_PRIVACY_AT_REST_KEY_WRAP_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/at_rest/aead.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

// A type of its own, so that a KEK is never taken for a key that encrypts data.
class Kek {
 public:
  // INVALID_ARGUMENT where `key` has not 32 bytes.
  static absl::StatusOr<Kek> FromBytes(SecretBytes key);
  // A new random one.
  static absl::StatusOr<Kek> Random();

  const SecretBytes& key() const { return key_; }
  // 16 hex digits derived one-way from the key: says which KEK wrapped something, and nothing else.
  const std::string& id() const { return id_; }

 private:
  Kek(SecretBytes key, std::string id) : key_(std::move(key)), id_(std::move(id)) {}
  SecretBytes key_;
  std::string id_;
};

// `key` (32 bytes) under the KEK: version(1) ‖ nonce(12) ‖ ciphertext(32) ‖ tag(16).
// `purpose` names what the key is for; it can be unwrapped for that purpose only.
absl::StatusOr<std::vector<uint8_t>> WrapKey(const Kek& kek, absl::string_view purpose,
                                             const SecretBytes& key);

// DATA_LOSS for another KEK, another purpose, a changed byte or a form that is not known.
absl::StatusOr<SecretBytes> UnwrapKey(const Kek& kek, absl::string_view purpose,
                                      std::span<const uint8_t> wrapped);

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_KEY_WRAP_H_
