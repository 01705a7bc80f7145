#include "protocol/wire/identity.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "absl/strings/escaping.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "protocol/wire/signing_key.h"

namespace consilium {
namespace {

v1::UpdateHeader GoodHeader() {
  v1::UpdateHeader header;
  header.set_wire_version(limits::kWireVersion);
  header.set_run_id("wdbc-1");
  header.set_site_id("north");
  header.set_task_id(3);
  header.set_incarnation(1);
  header.set_base_version(2);
  header.set_base_model_id(std::string(32, 'b'));
  header.set_layout_hash(std::string(32, 'l'));
  header.set_encoding(v1::F32);
  header.set_payload_bytes(124);
  header.set_payload_root(std::string(32, 'r'));
  header.set_steps(20);
  header.set_examples(300);
  header.set_training_loss(0.25);
  return header;
}

TEST(UpdateIdTest, EveryFieldButTheIncarnationCounts) {
  const Digest id = UpdateIdOf(GoodHeader());
  v1::UpdateHeader header = GoodHeader();
  header.set_incarnation(9);
  EXPECT_EQ(UpdateIdOf(header), id);
  std::set<Digest> ids = {id};
  const auto changed = [&ids](auto change) {
    v1::UpdateHeader other = GoodHeader();
    change(other);
    return ids.insert(UpdateIdOf(other)).second;
  };
  EXPECT_TRUE(changed([](auto& h) { h.set_run_id("wdbc-2"); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_site_id("south"); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_task_id(4); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_base_version(1); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_base_model_id(std::string(32, 'c')); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_layout_hash(std::string(32, 'm')); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_payload_bytes(128); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_payload_root(std::string(32, 's')); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_steps(21); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_examples(301); }));
  EXPECT_TRUE(changed([](auto& h) { h.set_training_loss(0.5); }));
}

TEST(CheckUpdateHeaderTest, RefusesWhatCouldCostOrConfuse) {
  EXPECT_TRUE(CheckUpdateHeader(GoodHeader()).ok());
  const auto refused = [](auto change) {
    v1::UpdateHeader header = GoodHeader();
    change(header);
    return !CheckUpdateHeader(header).ok();
  };
  EXPECT_TRUE(refused([](auto& h) { h.set_wire_version(limits::kWireVersion + 1); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_run_id("../../etc"); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_site_id(std::string(64, 'a')); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_task_id(0); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_base_model_id("short"); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_payload_root(std::string(33, 'x')); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_payload_bytes(0); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_payload_bytes(6); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_payload_bytes(limits::kPayloadBytesMax + 4); }));
  EXPECT_TRUE(refused([](auto& h) { h.set_encoding(v1::ENCODING_UNSPECIFIED); }));
  EXPECT_TRUE(
      refused([](auto& h) { h.set_training_loss(std::numeric_limits<double>::quiet_NaN()); }));
}

TEST(NamesTest, SiteIds) {
  EXPECT_TRUE(CheckSiteId("a").ok());
  EXPECT_TRUE(CheckSiteId("st-thomas-2").ok());
  for (const char* bad : {"", "-a", "A", "a_b", "a/b", "a.b", "ä"}) {
    EXPECT_FALSE(CheckSiteId(bad).ok()) << bad;
  }
}

// RFC 8032, section 7.1, test 2: the key pair; the signature is over a digest of ours.
TEST(SigningKeyTest, PublishedKeyPairAndRoundTrip) {
  const std::string secret =
      absl::HexStringToBytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const auto key = SigningKey::FromPrivateBytes(SecretBytes(
      std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(secret.data()), secret.size())));
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(ToHex(std::span<const uint8_t>(key->public_key())),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Digest digest = Sha256Of(absl::string_view("receipt"));
  std::string signature = key->Sign(digest);
  EXPECT_EQ(signature, key->Sign(digest)) << "the same receipt has the same bytes";
  EXPECT_TRUE(VerifySignature(key->public_key(), digest, signature).ok());
  EXPECT_FALSE(
      VerifySignature(key->public_key(), Sha256Of(absl::string_view("other")), signature).ok());
  signature[10] ^= 1;
  EXPECT_FALSE(VerifySignature(key->public_key(), digest, signature).ok());
  EXPECT_FALSE(VerifySignature(key->public_key(), digest, "").ok());
}

TEST(ReasonsTest, TheDetailTravelsWithTheStatus) {
  const absl::Status status = Refusal(v1::TOO_STALE, "12 versions old; at most 10 are taken");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const v1::ErrorDetail detail = DetailOf(status);
  EXPECT_EQ(detail.reason(), v1::TOO_STALE);
  EXPECT_FALSE(detail.retryable());
  EXPECT_EQ(detail.message(), "12 versions old; at most 10 are taken");
  EXPECT_TRUE(DetailOf(Refusal(v1::BUSY, "later")).retryable());
  EXPECT_TRUE(DetailOf(absl::UnavailableError("gone")).retryable());
  EXPECT_FALSE(DetailOf(absl::InternalError("broken")).retryable());
}

}  // namespace
}  // namespace consilium
