#include "protocol/wire/hash.h"

#include <gtest/gtest.h>

#include <vector>

#include "protocol/wire/limits.h"

namespace consilium {
namespace {

std::vector<uint8_t> Pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i % 251);
  return bytes;
}

// FIPS 180-4, example "abc".
TEST(Sha256Test, PublishedVector) {
  EXPECT_EQ(ToHex(Sha256Of(absl::string_view("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, FinishStartsTheNextDigest) {
  Sha256 hash;
  hash.Update("something else");
  hash.Finish();
  hash.Update("abc");
  EXPECT_EQ(hash.Finish(), Sha256Of(absl::string_view("abc")));
}

// Python: hashlib over leaves b'\0'+… of 1 MiB and nodes b'\1'+left+right, of bytes i % 251.
TEST(MerkleTest, RootOfTwoAndAHalfLeaves) {
  const std::vector<uint8_t> bytes = Pattern(2 * (1 << 20) + (1 << 19));
  EXPECT_EQ(ToHex(MerkleRootOf(bytes)),
            "f3bf0b960e20eefd34582e8b3750ae103e53d4553d3318004f6a45b1b4d5e672");
}

TEST(MerkleTest, PiecesOfAnySizeGiveTheSameRoot) {
  const std::vector<uint8_t> bytes = Pattern(3 * limits::kMerkleLeafBytes + 17);
  for (size_t piece : {size_t{4093}, limits::kMerkleLeafBytes - 1, limits::kMerkleLeafBytes,
                       limits::kMerkleLeafBytes + 1}) {
    MerkleHasher hasher;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      hasher.Update(
          std::span<const uint8_t>(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    EXPECT_EQ(hasher.Finish(), MerkleRootOf(bytes)) << piece;
  }
}

TEST(MerkleTest, OneLeafIsNotItsPlainHash) {
  const std::vector<uint8_t> bytes = Pattern(10);
  EXPECT_NE(MerkleRootOf(bytes), Sha256Of(std::span<const uint8_t>(bytes)));
  EXPECT_EQ(MerkleRootOf(bytes), MerkleLeaf(bytes));
}

// Python: sha256(b't'+<Q 1>+b'd' + b'n'+<Q 1> + b't'+<Q 2>+b'ab' + b'r'+<d 0.5>).
TEST(FieldHasherTest, IndependentVector) {
  EXPECT_EQ(ToHex(FieldHasher("d").Add(uint64_t{1}).Add(absl::string_view("ab")).Add(0.5).Finish()),
            "bd5c32367d788ce6491a4fbeb2fd082b0f6cb2a6a36827a0e687b1661b991e15");
}

TEST(FieldHasherTest, BoundariesBetweenFieldsCount) {
  EXPECT_NE(FieldHasher("d").Add(absl::string_view("ab")).Add(absl::string_view("c")).Finish(),
            FieldHasher("d").Add(absl::string_view("a")).Add(absl::string_view("bc")).Finish());
  EXPECT_NE(FieldHasher("d").Add(uint64_t{0}).Finish(), FieldHasher("d").Add(0.0).Finish());
}

TEST(DigestTest, HexRoundTripAndRefusals) {
  const Digest digest = Sha256Of(absl::string_view("abc"));
  EXPECT_EQ(DigestFromHex(ToHex(digest)), digest);
  EXPECT_EQ(DigestFromHex("ab"), std::nullopt);
  EXPECT_EQ(DigestFromHex(std::string(64, 'G')), std::nullopt);
  EXPECT_EQ(DigestFromHex(std::string(64, 'A')), std::nullopt) << "upper case is not canonical";
  EXPECT_EQ(DigestFromBytes(ToBytes(digest)), digest);
  EXPECT_EQ(DigestFromBytes("short"), std::nullopt);
}

}  // namespace
}  // namespace consilium
