// AES-256-GCM (NIST SP 800-38D) and HKDF-SHA256 (RFC 5869) of OpenSSL, behind the few calls that
// the stores need: rows sealed under a key of their data set, wrapped keys, sealed blobs.
//
// Ownership: an Aead holds its key inside OpenSSL's context, which wipes it. Threads: one at a time
// per Aead; the functions from any.

#ifndef CONSILIUM_PRIVACY_AT_REST_AEAD_H_
#define CONSILIUM_PRIVACY_AT_REST_AEAD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/core/secret_bytes.h"

struct evp_cipher_ctx_st;

namespace consilium {

inline constexpr size_t kKeyBytes = 32;
inline constexpr size_t kNonceBytes = 12;
inline constexpr size_t kTagBytes = 16;

using Nonce = std::array<uint8_t, kNonceBytes>;
using Tag = std::array<uint8_t, kTagBytes>;

// 32 bytes of the system's private generator. INTERNAL where it has failed.
absl::StatusOr<SecretBytes> RandomKey();

// Fills `out` from the generator for values that are not secret (nonces, salts). INTERNAL.
absl::Status RandomFill(std::span<uint8_t> out);

// HKDF-SHA256: 32 bytes from `key`, `salt` and `info`. INTERNAL where OpenSSL has failed.
struct DeriveInput {
  std::span<const uint8_t> salt;
  absl::string_view info;
};
absl::StatusOr<SecretBytes> DeriveKey(const SecretBytes& key, const DeriveInput& input);

// What is sealed, and what it is bound to: opening with another `aad` fails.
struct AeadInput {
  absl::string_view aad;
  std::span<const uint8_t> text;
};

class Aead {
 public:
  // INVALID_ARGUMENT where `key` has not 32 bytes.
  static absl::StatusOr<Aead> Create(const SecretBytes& key);
  Aead(Aead&&) = default;
  Aead& operator=(Aead&&) = default;

  // nonce(12) ‖ ciphertext ‖ tag(16), under a random nonce: for at most 2^32 calls with one key.
  absl::StatusOr<std::vector<uint8_t>> Seal(const AeadInput& input);
  // The text again. DATA_LOSS where key, aad or any byte is not the one that it was sealed with.
  absl::StatusOr<std::vector<uint8_t>> Open(const AeadInput& input);

  // One text in pieces, under a nonce that the caller never uses twice with this key:
  // Begin, Update..., Finish. `out` has the size of `in`.
  absl::Status BeginSeal(const Nonce& nonce);
  absl::Status UpdateSeal(std::span<const uint8_t> in, uint8_t* out);
  absl::StatusOr<Tag> FinishSeal();

  // Opens `text` where it lies. DATA_LOSS as above; `text` is wiped then.
  absl::Status OpenInPlace(const Nonce& nonce, std::span<uint8_t> text, const Tag& tag);

 private:
  struct ContextFree {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  using Context = std::unique_ptr<evp_cipher_ctx_st, ContextFree>;
  Aead(Context seal, Context open) : seal_(std::move(seal)), open_(std::move(open)) {}

  Context seal_;
  Context open_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_AEAD_H_
