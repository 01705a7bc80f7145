#include "protocol/wire/derived_seed.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>

#include <bit>
#include <cmath>
#include <numbers>
#include <string>

namespace consilium {
namespace {

void AppendLittleEndian(uint64_t value, std::string& out) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// HKDF with SHA-256 (RFC 5869). Looking both up takes longer than the derivation, and simulations
// derive a stream for most of what happens: each thread looks them up once.
class Hkdf {
 public:
  static Digest Derive(std::string key, std::string salt, std::string info) {
    thread_local const Hkdf hkdf;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data(), key.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt.data(), salt.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
        OSSL_PARAM_construct_end()};
    Digest out;
    if (EVP_KDF_derive(hkdf.context_, out.data(), out.size(), parameters) != 1) abort();
    return out;
  }

 private:
  // Fails only where OpenSSL lacks HKDF or memory is out: nothing can go on then.
  Hkdf() {
    EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
    context_ = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    char digest_name[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest_name, 0),
        OSSL_PARAM_construct_end()};
    if (context_ == nullptr || EVP_KDF_CTX_set_params(context_, parameters) != 1) abort();
  }
  ~Hkdf() { EVP_KDF_CTX_free(context_); }

  EVP_KDF_CTX* context_;
};

}  // namespace

Digest DeriveSeed(const SeedPath& path) {
  std::string key;
  AppendLittleEndian(path.run_seed, key);
  std::string info(path.purpose);
  info.push_back('\0');
  info.append(path.site.data(), path.site.size());
  info.push_back('\0');
  AppendLittleEndian(path.task, info);
  return Hkdf::Derive(std::move(key), "consilium.seed.v1", std::move(info));
}

uint64_t DeriveSeed64(const SeedPath& path) {
  const Digest seed = DeriveSeed(path);
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = (value << 8) | seed[i];
  return value;
}

RandomStream::RandomStream(const Digest& seed) {
  for (int word = 0; word < 4; ++word) {
    state_[word] = 0;
    for (int i = 7; i >= 0; --i) state_[word] = (state_[word] << 8) | seed[8 * word + i];
  }
  // The all-zero state is the generator's one fixed point.
  if ((state_[0] | state_[1] | state_[2] | state_[3]) == 0) state_[0] = 1;
}

uint64_t RandomStream::Next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double RandomStream::NextUnit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

uint64_t RandomStream::NextBelow(uint64_t bound) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(Next()) * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t threshold = -bound % bound;
    while (static_cast<uint64_t>(product) < threshold) {
      product = static_cast<Wide>(Next()) * bound;
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

double RandomStream::NextNormal() {
  const double u = 1.0 - NextUnit();  // (0, 1]: its logarithm is finite.
  const double v = NextUnit();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace consilium
