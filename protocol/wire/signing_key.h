// Ed25519 (RFC 8032, by OpenSSL): the aggregator signs receipts and journal exports, a site what
// it releases. Signatures are deterministic, so the same receipt always has the same bytes.
//
// Threads: any, once made.

#ifndef CONSILIUM_PROTOCOL_WIRE_SIGNING_KEY_H_
#define CONSILIUM_PROTOCOL_WIRE_SIGNING_KEY_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

using PublicKey = std::array<uint8_t, 32>;

class SigningKey {
 public:
  // From the system's generator.
  static absl::StatusOr<SigningKey> Generate();
  // From the 32 private bytes that private_bytes() gave. INVALID_ARGUMENT for another size.
  static absl::StatusOr<SigningKey> FromPrivateBytes(const SecretBytes& bytes);

  const SecretBytes& private_bytes() const { return private_; }
  const PublicKey& public_key() const { return public_; }

  // 64 bytes.
  std::string Sign(const Digest& digest) const;

 private:
  SecretBytes private_;
  PublicKey public_ = {};
};

// PERMISSION_DENIED where the signature is not `key`'s over `digest`.
absl::Status VerifySignature(const PublicKey& key, const Digest& digest,
                             absl::string_view signature);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_SIGNING_KEY_H_
