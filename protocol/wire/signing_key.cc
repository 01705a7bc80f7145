#include "protocol/wire/signing_key.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include <memory>
#include <utility>

#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

struct PkeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct MdDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Pkey = std::unique_ptr<EVP_PKEY, PkeyDeleter>;
using MdContext = std::unique_ptr<EVP_MD_CTX, MdDeleter>;

constexpr size_t kSignatureBytes = 64;

}  // namespace

absl::StatusOr<SigningKey> SigningKey::Generate() {
  const Pkey pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  SecretBytes bytes(32);
  size_t size = bytes.size();
  if (pkey == nullptr ||
      EVP_PKEY_get_raw_private_key(pkey.get(), bytes.mutable_data(), &size) != 1) {
    return absl::InternalError("OpenSSL made no Ed25519 key");
  }
  return FromPrivateBytes(bytes);
}

absl::StatusOr<SigningKey> SigningKey::FromPrivateBytes(const SecretBytes& bytes) {
  if (bytes.size() != 32) return absl::InvalidArgumentError("an Ed25519 key has 32 bytes");
  const Pkey pkey(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
  SigningKey key;
  size_t size = key.public_.size();
  if (pkey == nullptr || EVP_PKEY_get_raw_public_key(pkey.get(), key.public_.data(), &size) != 1) {
    return absl::InvalidArgumentError("OpenSSL refused the Ed25519 key");
  }
  key.private_ = bytes.Clone();
  return key;
}

std::string SigningKey::Sign(const Digest& digest) const {
  const Pkey pkey(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, private_.data(), private_.size()));
  const MdContext context(EVP_MD_CTX_new());
  std::string signature(kSignatureBytes, '\0');
  size_t size = signature.size();
  // The key was accepted before: only a lack of memory can fail here.
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<uint8_t*>(signature.data()), &size,
                     digest.data(), digest.size()) != 1) {
    abort();
  }
  return signature;
}

absl::Status VerifySignature(const PublicKey& key, const Digest& digest,
                             absl::string_view signature) {
  const Pkey pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()));
  const MdContext context(EVP_MD_CTX_new());
  if (pkey == nullptr || context == nullptr || signature.size() != kSignatureBytes ||
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) != 1 ||
      EVP_DigestVerify(context.get(), reinterpret_cast<const uint8_t*>(signature.data()),
                       signature.size(), digest.data(), digest.size()) != 1) {
    return absl::PermissionDeniedError("the signature does not match");
  }
  return absl::OkStatus();
}

}  // namespace consilium
