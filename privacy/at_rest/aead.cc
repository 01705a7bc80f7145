#include "privacy/at_rest/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

absl::Status Failed(absl::string_view what) {
  return absl::InternalError(std::string("OpenSSL could not ") + std::string(what));
}

// EVP takes lengths as int.
constexpr size_t kUpdateBytesMax = size_t{1} << 30;
static_assert(kUpdateBytesMax < static_cast<size_t>(std::numeric_limits<int>::max()));

bool SealUpdate(EVP_CIPHER_CTX* context, std::span<const uint8_t> in, uint8_t* out) {
  while (!in.empty()) {
    const size_t n = std::min(in.size(), kUpdateBytesMax);
    int written = 0;
    if (EVP_EncryptUpdate(context, out, &written, in.data(), static_cast<int>(n)) != 1) {
      return false;
    }
    in = in.subspan(n);
    out += n;
  }
  return true;
}

bool OpenUpdate(EVP_CIPHER_CTX* context, std::span<const uint8_t> in, uint8_t* out) {
  while (!in.empty()) {
    const size_t n = std::min(in.size(), kUpdateBytesMax);
    int written = 0;
    if (EVP_DecryptUpdate(context, out, &written, in.data(), static_cast<int>(n)) != 1) {
      return false;
    }
    in = in.subspan(n);
    out += n;
  }
  return true;
}

bool FinishOpen(EVP_CIPHER_CTX* context, const uint8_t* tag) {
  if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, const_cast<uint8_t*>(tag)) !=
      1) {
    return false;
  }
  uint8_t none[kTagBytes];
  int written = 0;
  return EVP_DecryptFinal_ex(context, none, &written) == 1;
}

absl::Status NotAuthentic() {
  return absl::DataLossError("sealed bytes do not authenticate: wrong key, wrong name, or changed");
}

}  // namespace

absl::StatusOr<SecretBytes> RandomKey() {
  SecretBytes key(kKeyBytes);
  if (RAND_priv_bytes(key.mutable_data(), kKeyBytes) != 1) return Failed("draw a random key");
  return key;
}

absl::Status RandomFill(std::span<uint8_t> out) {
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) != 1) return Failed("draw random bytes");
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> DeriveKey(const SecretBytes& key, const DeriveInput& input) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = kdf == nullptr ? nullptr : EVP_KDF_CTX_new(kdf);
  EVP_KDF_free(kdf);
  if (context == nullptr) return Failed("set up HKDF");
  char digest[] = "SHA256";
  std::array<OSSL_PARAM, 5> params;
  size_t count = 0;
  params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  params[count++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                                      const_cast<uint8_t*>(key.data()), key.size());
  params[count++] = OSSL_PARAM_construct_octet_string(
      OSSL_KDF_PARAM_INFO, const_cast<char*>(input.info.data()), input.info.size());
  // OpenSSL refuses an empty salt; leaving it out means the same (RFC 5869, 2.2).
  if (!input.salt.empty()) {
    params[count++] = OSSL_PARAM_construct_octet_string(
        OSSL_KDF_PARAM_SALT, const_cast<uint8_t*>(input.salt.data()), input.salt.size());
  }
  params[count] = OSSL_PARAM_construct_end();
  SecretBytes derived(kKeyBytes);
  const int done = EVP_KDF_derive(context, derived.mutable_data(), derived.size(), params.data());
  EVP_KDF_CTX_free(context);
  if (done != 1) return Failed("derive a key");
  return derived;
}

void Aead::ContextFree::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

absl::StatusOr<Aead> Aead::Create(const SecretBytes& key) {
  if (key.size() != kKeyBytes) return absl::InvalidArgumentError("a key has 32 bytes");
  Context seal(EVP_CIPHER_CTX_new());
  Context open(EVP_CIPHER_CTX_new());
  // The key schedule is set up once; each text then gives only its nonce.
  if (seal == nullptr || open == nullptr ||
      EVP_EncryptInit_ex(seal.get(), EVP_aes_256_gcm(), nullptr, key.data(), nullptr) != 1 ||
      EVP_DecryptInit_ex(open.get(), EVP_aes_256_gcm(), nullptr, key.data(), nullptr) != 1) {
    return Failed("set up AES-256-GCM");
  }
  return Aead(std::move(seal), std::move(open));
}

absl::StatusOr<std::vector<uint8_t>> Aead::Seal(const AeadInput& input) {
  Nonce nonce;
  CONSILIUM_RETURN_IF_ERROR(RandomFill(nonce));
  CONSILIUM_RETURN_IF_ERROR(BeginSeal(nonce));
  int written = 0;
  if (!input.aad.empty() && EVP_EncryptUpdate(seal_.get(), nullptr, &written,
                                              reinterpret_cast<const uint8_t*>(input.aad.data()),
                                              static_cast<int>(input.aad.size())) != 1) {
    return Failed("seal");
  }
  std::vector<uint8_t> sealed(kNonceBytes + input.text.size() + kTagBytes);
  std::copy(nonce.begin(), nonce.end(), sealed.begin());
  CONSILIUM_RETURN_IF_ERROR(UpdateSeal(input.text, sealed.data() + kNonceBytes));
  CONSILIUM_ASSIGN_OR_RETURN(const Tag tag, FinishSeal());
  std::copy(tag.begin(), tag.end(), sealed.end() - kTagBytes);
  return sealed;
}

absl::StatusOr<std::vector<uint8_t>> Aead::Open(const AeadInput& input) {
  if (input.text.size() < kNonceBytes + kTagBytes) return NotAuthentic();
  const uint8_t* nonce = input.text.data();
  const auto body = input.text.subspan(kNonceBytes, input.text.size() - kNonceBytes - kTagBytes);
  int written = 0;
  if (EVP_DecryptInit_ex(open_.get(), nullptr, nullptr, nullptr, nonce) != 1 ||
      (!input.aad.empty() && EVP_DecryptUpdate(open_.get(), nullptr, &written,
                                               reinterpret_cast<const uint8_t*>(input.aad.data()),
                                               static_cast<int>(input.aad.size())) != 1)) {
    return Failed("open sealed bytes");
  }
  std::vector<uint8_t> text(body.size());
  if (!OpenUpdate(open_.get(), body, text.data()) ||
      !FinishOpen(open_.get(), input.text.data() + input.text.size() - kTagBytes)) {
    std::fill(text.begin(), text.end(), uint8_t{0});
    return NotAuthentic();
  }
  return text;
}

absl::Status Aead::BeginSeal(const Nonce& nonce) {
  if (EVP_EncryptInit_ex(seal_.get(), nullptr, nullptr, nullptr, nonce.data()) != 1) {
    return Failed("start a sealed text");
  }
  return absl::OkStatus();
}

absl::Status Aead::UpdateSeal(std::span<const uint8_t> in, uint8_t* out) {
  if (!SealUpdate(seal_.get(), in, out)) return Failed("seal");
  return absl::OkStatus();
}

absl::StatusOr<Tag> Aead::FinishSeal() {
  Tag tag;
  uint8_t none[kTagBytes];
  int written = 0;
  if (EVP_EncryptFinal_ex(seal_.get(), none, &written) != 1 ||
      EVP_CIPHER_CTX_ctrl(seal_.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()) != 1) {
    return Failed("finish a sealed text");
  }
  return tag;
}

absl::Status Aead::OpenInPlace(const Nonce& nonce, std::span<uint8_t> text, const Tag& tag) {
  if (EVP_DecryptInit_ex(open_.get(), nullptr, nullptr, nullptr, nonce.data()) != 1) {
    return Failed("open sealed bytes");
  }
  if (!OpenUpdate(open_.get(), text, text.data()) || !FinishOpen(open_.get(), tag.data())) {
    std::fill(text.begin(), text.end(), uint8_t{0});
    return NotAuthentic();
  }
  return absl::OkStatus();
}

}  // namespace consilium
