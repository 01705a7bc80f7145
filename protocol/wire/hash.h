// SHA-256, the Merkle tree over it that names models and updates, and a hasher of typed fields for
// everything that must have one canonical digest whatever serialized it.
//
// Threads: values; one object per thread.

#ifndef CONSILIUM_PROTOCOL_WIRE_HASH_H_
#define CONSILIUM_PROTOCOL_WIRE_HASH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"

namespace consilium {

// SHA-256 over what Update() is given, in order (FIPS 180-4, by OpenSSL).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::span<const uint8_t> bytes);
  void Update(absl::string_view text);
  // Ends this digest and starts the next.
  Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest Sha256Of(std::span<const uint8_t> bytes);
Digest Sha256Of(absl::string_view text);

// Lower-case hexadecimal, 64 characters.
std::string ToHex(const Digest& digest);
std::string ToHex(std::span<const uint8_t> bytes);
// Nothing where `text` is not exactly that.
std::optional<Digest> DigestFromHex(absl::string_view text);
// As protobuf carries it; nothing where it is not 32 bytes.
std::optional<Digest> DigestFromBytes(absl::string_view bytes);
std::string ToBytes(const Digest& digest);

// Merkle root over leaves of 1 MiB (limits::kMerkleLeafBytes), the last one shorter:
//   leaf = SHA-256(0x00 ‖ bytes), node = SHA-256(0x01 ‖ left ‖ right),
// an odd node at the end of a level rises unchanged, as in RFC 6962. The root of nothing is
// SHA-256(""). Leaves can be hashed in parallel, and an upload can resume at a leaf.
Digest MerkleLeaf(std::span<const uint8_t> bytes);
Digest MerkleRoot(std::span<const Digest> leaves);

// The root of a stream whose pieces come in any sizes.
class MerkleHasher {
 public:
  void Update(std::span<const uint8_t> bytes);
  Digest Finish();

 private:
  Sha256 leaf_;
  size_t leaf_bytes_ = 0;
  std::vector<Digest> leaves_;
};

Digest MerkleRootOf(std::span<const uint8_t> bytes);

// Of a payload of two vectors, one after the other: the node over their roots.
Digest MerkleRootOfTwo(const Digest& first, const Digest& second);

// A canonical digest of typed fields: each is hashed as its kind, its length where that varies,
// and its little-endian bytes, so that no two lists of fields collide. `domain` separates uses.
class FieldHasher {
 public:
  explicit FieldHasher(absl::string_view domain);
  FieldHasher& Add(uint64_t value);
  FieldHasher& Add(double value);  // By its bits.
  FieldHasher& Add(absl::string_view text);
  FieldHasher& Add(const Digest& digest);
  FieldHasher& Add(std::span<const double> values);
  Digest Finish();

 private:
  Sha256 hash_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_HASH_H_
