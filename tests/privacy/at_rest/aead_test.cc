#include "privacy/at_rest/aead.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "privacy/at_rest/hex.h"
#include "privacy/at_rest/key_wrap.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

std::vector<uint8_t> FromHex(const std::string& text) {
  std::vector<uint8_t> bytes(text.size() / 2);
  EXPECT_TRUE(DecodeHex(text, bytes));
  return bytes;
}

SecretBytes Key(const std::string& hex) { return SecretBytes(FromHex(hex)); }

SecretBytes Fresh() { return *RandomKey(); }

// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 15 (AES-256, no AAD).
TEST(Aead, PublishedVectorInPieces) {
  absl::StatusOr<Aead> aead =
      Aead::Create(Key("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
  ASSERT_THAT(aead, IsOk());
  Nonce nonce;
  ASSERT_TRUE(DecodeHex("cafebabefacedbaddecaf888", nonce));
  const std::vector<uint8_t> text = FromHex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
  std::vector<uint8_t> sealed(text.size());
  ASSERT_THAT(aead->BeginSeal(nonce), IsOk());
  ASSERT_THAT(aead->UpdateSeal(std::span(text).first(7), sealed.data()), IsOk());
  ASSERT_THAT(aead->UpdateSeal(std::span(text).subspan(7), sealed.data() + 7), IsOk());
  absl::StatusOr<Tag> tag = aead->FinishSeal();
  ASSERT_THAT(tag, IsOk());
  EXPECT_EQ(Hex(sealed),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad");
  EXPECT_EQ(Hex(*tag), "b094dac5d93471bdec1a502270e3cc6c");
  ASSERT_THAT(aead->OpenInPlace(nonce, sealed, *tag), IsOk());
  EXPECT_EQ(sealed, text);
}

// RFC 5869 gives 42 bytes in its test case 1; the first 32 of them.
TEST(Aead, DeriveKeyPublishedVector) {
  const std::vector<uint8_t> salt = FromHex("000102030405060708090a0b0c");
  const std::vector<uint8_t> info = FromHex("f0f1f2f3f4f5f6f7f8f9");
  absl::StatusOr<SecretBytes> key = DeriveKey(
      Key("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
      {.salt = salt,
       .info = absl::string_view(reinterpret_cast<const char*>(info.data()), info.size())});
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(Hex(key->span()), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST(Aead, SealOpensOnlyAsItWasSealed) {
  absl::StatusOr<Aead> aead = Aead::Create(Fresh());
  absl::StatusOr<Aead> other = Aead::Create(Fresh());
  ASSERT_TRUE(aead.ok() && other.ok());
  for (size_t size : {0, 1, 15, 16, 17, 1000}) {
    const std::vector<uint8_t> text(size, 0x5a);
    const std::vector<uint8_t> sealed = *aead->Seal({.aad = "row 7", .text = text});
    EXPECT_EQ(*aead->Open({.aad = "row 7", .text = sealed}), text);
    EXPECT_THAT(aead->Open({.aad = "row 8", .text = sealed}),
                IsError(absl::StatusCode::kDataLoss, "authenticate"));
    EXPECT_THAT(other->Open({.aad = "row 7", .text = sealed}),
                IsError(absl::StatusCode::kDataLoss, "authenticate"));
    for (size_t at = 0; at < sealed.size(); ++at) {
      std::vector<uint8_t> bad = sealed;
      bad[at] ^= 4;
      EXPECT_FALSE(aead->Open({.aad = "row 7", .text = bad}).ok());
      bad.resize(at);
      EXPECT_FALSE(aead->Open({.aad = "row 7", .text = bad}).ok());
    }
    EXPECT_NE(*aead->Seal({.aad = "row 7", .text = text}), sealed) << "a nonce came twice";
  }
}

TEST(Aead, WrongTagLeavesNoText) {
  absl::StatusOr<Aead> aead = Aead::Create(Fresh());
  std::vector<uint8_t> text(100, 7);
  EXPECT_FALSE(aead->OpenInPlace(Nonce{}, text, Tag{}).ok());
  EXPECT_EQ(text, std::vector<uint8_t>(100, 0));
}

TEST(Aead, KeyOfAnotherLengthIsRefused) {
  EXPECT_THAT(Aead::Create(SecretBytes(16)),
              IsError(absl::StatusCode::kInvalidArgument, "32 bytes"));
  EXPECT_THAT(Kek::FromBytes(SecretBytes(31)),
              IsError(absl::StatusCode::kInvalidArgument, "32 bytes"));
}

TEST(KeyWrap, OnlyForItsPurposeAndItsKek) {
  const Kek kek = *Kek::Random();
  const Kek other = *Kek::Random();
  EXPECT_NE(kek.id(), other.id());
  const SecretBytes key = Fresh();
  const std::vector<uint8_t> wrapped = *WrapKey(kek, "blobs", key);
  EXPECT_EQ(Hex(UnwrapKey(kek, "blobs", wrapped)->span()), Hex(key.span()));
  EXPECT_THAT(UnwrapKey(kek, "database", wrapped),
              IsError(absl::StatusCode::kDataLoss, "database"));
  EXPECT_THAT(UnwrapKey(other, "blobs", wrapped),
              IsError(absl::StatusCode::kDataLoss, "another KEK"));
  for (size_t at = 0; at < wrapped.size(); ++at) {
    std::vector<uint8_t> bad = wrapped;
    bad[at] ^= 1;
    EXPECT_FALSE(UnwrapKey(kek, "blobs", bad).ok()) << at;
  }
}

}  // namespace
}  // namespace consilium
