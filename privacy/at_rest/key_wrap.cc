#include "privacy/at_rest/key_wrap.h"

#include <string.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr uint8_t kWrapVersion = 1;

std::string WrapAad(absl::string_view purpose) {
  return absl::StrCat("consilium.wrap.v1/", purpose);
}

}  // namespace

absl::StatusOr<Kek> Kek::FromBytes(SecretBytes key) {
  if (key.size() != kKeyBytes) return absl::InvalidArgumentError("a KEK has 32 bytes");
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes id,
                             DeriveKey(key, {.salt = {}, .info = "consilium.kek.id.v1"}));
  return Kek(std::move(key), absl::BytesToHexString(
                                 absl::string_view(reinterpret_cast<const char*>(id.data()), 8)));
}

absl::StatusOr<Kek> Kek::Random() {
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes key, RandomKey());
  return FromBytes(std::move(key));
}

absl::StatusOr<std::vector<uint8_t>> WrapKey(const Kek& kek, absl::string_view purpose,
                                             const SecretBytes& key) {
  if (key.size() != kKeyBytes) return absl::InvalidArgumentError("a key to wrap has 32 bytes");
  CONSILIUM_ASSIGN_OR_RETURN(Aead aead, Aead::Create(kek.key()));
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<uint8_t> wrapped,
                             aead.Seal({.aad = WrapAad(purpose), .text = key.span()}));
  wrapped.insert(wrapped.begin(), kWrapVersion);
  return wrapped;
}

absl::StatusOr<SecretBytes> UnwrapKey(const Kek& kek, absl::string_view purpose,
                                      std::span<const uint8_t> wrapped) {
  if (wrapped.size() != 1 + kNonceBytes + kKeyBytes + kTagBytes || wrapped[0] != kWrapVersion) {
    return absl::DataLossError(
        absl::StrCat("the wrapped key for ", purpose, " has a form that is not known"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(Aead aead, Aead::Create(kek.key()));
  absl::StatusOr<std::vector<uint8_t>> key =
      aead.Open({.aad = WrapAad(purpose), .text = wrapped.subspan(1)});
  if (!key.ok()) {
    return absl::DataLossError(
        absl::StrCat("the key for ", purpose,
                     " can not be unwrapped: another KEK wrapped it, or it is damaged"));
  }
  SecretBytes secret{std::span<const uint8_t>(*key)};
  explicit_bzero(key->data(), key->size());
  return secret;
}

}  // namespace consilium
