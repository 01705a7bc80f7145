#include "protocol/wire/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/escaping.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

std::span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::array<uint8_t, 8> LittleEndian(uint64_t value) {
  std::array<uint8_t, 8> bytes;
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return bytes;
}

constexpr uint8_t kLeafPrefix[] = {0x00};
constexpr uint8_t kNodePrefix[] = {0x01};

// One byte before each field, so that a number is never taken for a text.
constexpr uint8_t kNumberKind[] = {'n'};
constexpr uint8_t kRealKind[] = {'r'};
constexpr uint8_t kTextKind[] = {'t'};
constexpr uint8_t kDigestKind[] = {'d'};
constexpr uint8_t kListKind[] = {'l'};

// Found once: looking an algorithm up takes longer than hashing an id. Never freed.
const EVP_MD* Sha256Algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  return algorithm;
}

}  // namespace

struct Sha256::Context {
  Context() : evp(EVP_MD_CTX_new()) { Start(); }
  ~Context() { EVP_MD_CTX_free(evp); }
  void Start() {
    // Fails only where OpenSSL has no SHA-256 or memory is out: nothing can go on then.
    if (evp == nullptr || Sha256Algorithm() == nullptr ||
        EVP_DigestInit_ex(evp, Sha256Algorithm(), nullptr) != 1)
      abort();
  }
  EVP_MD_CTX* evp;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::span<const uint8_t> bytes) {
  if (EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) != 1) abort();
}

void Sha256::Update(absl::string_view text) { Update(AsBytes(text)); }

Digest Sha256::Finish() {
  Digest digest;
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context_->evp, digest.data(), &size) != 1) abort();
  context_->Start();
  return digest;
}

Digest Sha256Of(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

Digest Sha256Of(absl::string_view text) { return Sha256Of(AsBytes(text)); }

std::string ToHex(std::span<const uint8_t> bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string ToHex(const Digest& digest) { return ToHex(std::span<const uint8_t>(digest)); }

std::optional<Digest> DigestFromHex(absl::string_view text) {
  const bool hexadecimal = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (text.size() != 64 || !hexadecimal) return std::nullopt;
  return DigestFromBytes(absl::HexStringToBytes(text));
}

std::optional<Digest> DigestFromBytes(absl::string_view bytes) {
  Digest digest;
  if (bytes.size() != digest.size()) return std::nullopt;
  memcpy(digest.data(), bytes.data(), digest.size());
  return digest;
}

std::string ToBytes(const Digest& digest) {
  return std::string(reinterpret_cast<const char*>(digest.data()), digest.size());
}

Digest MerkleLeaf(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.Update(kLeafPrefix);
  hash.Update(bytes);
  return hash.Finish();
}

Digest MerkleRoot(std::span<const Digest> leaves) {
  if (leaves.empty()) return Sha256Of(absl::string_view());
  std::vector<Digest> level(leaves.begin(), leaves.end());
  Sha256 hash;
  while (level.size() > 1) {
    const size_t pairs = level.size() / 2;
    for (size_t i = 0; i < pairs; ++i) {
      hash.Update(kNodePrefix);
      hash.Update(level[2 * i]);
      hash.Update(level[2 * i + 1]);
      level[i] = hash.Finish();
    }
    if (level.size() % 2 == 1) level[pairs] = level.back();
    level.resize((level.size() + 1) / 2);
  }
  return level.front();
}

void MerkleHasher::Update(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (leaf_bytes_ == 0) leaf_.Update(kLeafPrefix);
    const size_t n = std::min(bytes.size(), limits::kMerkleLeafBytes - leaf_bytes_);
    leaf_.Update(bytes.first(n));
    leaf_bytes_ += n;
    bytes = bytes.subspan(n);
    if (leaf_bytes_ == limits::kMerkleLeafBytes) {
      leaves_.push_back(leaf_.Finish());
      leaf_bytes_ = 0;
    }
  }
}

Digest MerkleHasher::Finish() {
  if (leaf_bytes_ > 0) leaves_.push_back(leaf_.Finish());
  leaf_bytes_ = 0;
  const Digest root = MerkleRoot(leaves_);
  leaves_.clear();
  return root;
}

Digest MerkleRootOf(std::span<const uint8_t> bytes) {
  MerkleHasher hasher;
  hasher.Update(bytes);
  return hasher.Finish();
}

Digest MerkleRootOfTwo(const Digest& first, const Digest& second) {
  const Digest roots[] = {first, second};
  return MerkleRoot(roots);
}

FieldHasher::FieldHasher(absl::string_view domain) { Add(domain); }

FieldHasher& FieldHasher::Add(uint64_t value) {
  hash_.Update(kNumberKind);
  hash_.Update(LittleEndian(value));
  return *this;
}

FieldHasher& FieldHasher::Add(double value) {
  hash_.Update(kRealKind);
  hash_.Update(LittleEndian(std::bit_cast<uint64_t>(value)));
  return *this;
}

FieldHasher& FieldHasher::Add(absl::string_view text) {
  hash_.Update(kTextKind);
  hash_.Update(LittleEndian(text.size()));
  hash_.Update(text);
  return *this;
}

FieldHasher& FieldHasher::Add(const Digest& digest) {
  hash_.Update(kDigestKind);
  hash_.Update(std::span<const uint8_t>(digest));
  return *this;
}

FieldHasher& FieldHasher::Add(std::span<const double> values) {
  hash_.Update(kListKind);
  hash_.Update(LittleEndian(values.size()));
  for (double value : values) hash_.Update(LittleEndian(std::bit_cast<uint64_t>(value)));
  return *this;
}

Digest FieldHasher::Finish() { return hash_.Finish(); }

}  // namespace consilium
