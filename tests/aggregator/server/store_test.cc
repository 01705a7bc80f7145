// The one implementation of Store: what it keeps, keeps over a restart, and gives up on purge.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "aggregator/server/journal_head.h"
#include "aggregator/server/site_directory.h"
#include "aggregator/server/sqlcipher_store.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto kek = Kek::Random();
    ASSERT_THAT(kek, IsOk());
    kek_ = std::make_unique<Kek>(*std::move(kek));
    auto store = SqlcipherStore::Create(*kek_, folder_.File("store"));
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }
  void SetUpAnotherStore() {
    auto store = SqlcipherStore::Create(*kek_, folder_.File("another"));
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }
  void Reopen() {
    store_.reset();
    auto store = SqlcipherStore::Open(*kek_, folder_.File("store"));
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }

  TempFolder folder_;
  std::unique_ptr<Kek> kek_;
  std::unique_ptr<SqlcipherStore> store_;
};

TEST_F(StoreTest, KeepsValues) {
  const auto absent = store_->Value("name");
  ASSERT_THAT(absent, IsOk());
  EXPECT_FALSE(absent->has_value());
  ASSERT_THAT(store_->PutValue("name", "one"), IsOk());
  ASSERT_THAT(store_->PutValue("name", std::string("t\0o", 3)), IsOk());
  Reopen();
  EXPECT_EQ(store_->Value("name")->value(), std::string("t\0o", 3));
}

TEST_F(StoreTest, TokensEndWithTheirTimeAndWithTheirUse) {
  const SiteId site("north");
  std::string token;
  {
    const auto directory = SiteDirectory::Load(*store_);
    token = (*directory)->Invite(site, kNow, Invitation::Joining::kFirst)->token;
    EXPECT_EQ(*(*directory)->CheckToken(token, site, kNow - absl::Seconds(1)),
              Invitation::Joining::kFirst);
    EXPECT_EQ(DetailOf((*directory)->CheckToken(token, site, kNow).status()).reason(),
              v1::TOKEN_REFUSED);
    EXPECT_EQ(
        DetailOf((*directory)->CheckToken(token, SiteId("south"), kNow - absl::Seconds(1)).status())
            .reason(),
        v1::TOKEN_REFUSED);
  }
  Reopen();
  const auto directory = SiteDirectory::Load(*store_);
  EXPECT_THAT((*directory)->CheckToken(token, site, kNow - absl::Seconds(1)), IsOk());
  EnrolledSite enrolled{.token_hash = JoinTokenHash(token), .site = site, .certificate_ends = kNow};
  enrolled.certificate_fingerprint[0] = 1;
  ASSERT_THAT((*directory)->Enrol(enrolled), IsOk());
  EXPECT_FALSE((*directory)->CheckToken(token, site, kNow - absl::Seconds(1)).ok());
  enrolled.certificate_fingerprint[0] = 2;
  EXPECT_EQ(DetailOf((*directory)->Enrol(enrolled)).reason(), v1::TOKEN_REFUSED);
  // The try that was refused left nothing.
  EXPECT_EQ(store_->Certificates()->size(), 1);
}

TEST_F(StoreTest, ADroppedTokenIsGoneAlsoFromTheDisk) {
  const auto directory = SiteDirectory::Load(*store_);
  const SiteId site("north");
  const std::string token =
      (*directory)->Invite(site, kNow + absl::Hours(1), Invitation::Joining::kFirst)->token;
  ASSERT_THAT((*directory)->DropFirstToken(site), IsOk());
  ASSERT_THAT((*directory)->DropFirstToken(site), IsOk());
  EXPECT_FALSE((*directory)->CheckToken(token, site, kNow).ok());
  EXPECT_TRUE(store_->Invitations()->empty());
}

class RenewalTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    directory_ = *SiteDirectory::Load(*store_);
    const std::string token =
        directory_->Invite(kSite, kNow + absl::Hours(1), Invitation::Joining::kFirst)->token;
    ASSERT_THAT(directory_->Enrol({.token_hash = JoinTokenHash(token),
                                   .site = kSite,
                                   .certificate_fingerprint = PeerOf(0).fingerprint,
                                   .certificate_ends = kNow + limits::kSiteCertificateLifetime}),
                IsOk());
  }
  // The one that shows the certificate of this number.
  static PeerIdentity PeerOf(uint8_t number) {
    PeerIdentity peer;
    peer.name = {.federation = "f", .kind = PeerKind::kSite, .id = kSite.value()};
    peer.fingerprint[0] = number;
    return peer;
  }
  absl::Status Renew(uint8_t shown, uint8_t made, absl::Time now) {
    if (absl::Status status = directory_->CheckRenewal(PeerOf(shown), now); !status.ok()) {
      return status;
    }
    return directory_->AddCertificate({.site = kSite,
                                       .fingerprint = PeerOf(made).fingerprint,
                                       .ends = now + limits::kSiteCertificateLifetime},
                                      PeerOf(shown), now);
  }
  bool IsGood(uint8_t number) { return directory_->Admit(PeerOf(number)).ok(); }

  inline static const SiteId kSite{"north"};
  static constexpr absl::Duration kLife = limits::kSiteCertificateLifetime;
  std::unique_ptr<SiteDirectory> directory_;
};

TEST_F(RenewalTest, NotBeforeAThirdOfACertificatesLife) {
  const absl::Status early = Renew(0, 1, kNow + kLife / 3 - absl::Seconds(1));
  EXPECT_EQ(DetailOf(early).reason(), v1::BUSY);
  EXPECT_EQ(DetailOf(early).retry_after_ms(), 1000u);
  EXPECT_THAT(Renew(0, 1, kNow + kLife / 3), IsOk());
  EXPECT_TRUE(IsGood(0));
  EXPECT_TRUE(IsGood(1));
}

// Answers that are lost on the way: the site shows its old certificate again and again.
TEST_F(RenewalTest, AtMostOnceInAPauseAndThreeAtATime) {
  absl::Time now = kNow + kLife / 2;
  ASSERT_THAT(Renew(0, 1, now), IsOk());
  for (uint8_t made = 2; made < 10; ++made) {
    EXPECT_EQ(DetailOf(Renew(0, made, now + kRenewalPause - absl::Seconds(1))).reason(), v1::BUSY);
    now += kRenewalPause;
    ASSERT_THAT(Renew(0, made, now), IsOk());
    EXPECT_TRUE(IsGood(0));
    EXPECT_TRUE(IsGood(made));
    EXPECT_LE(store_->Certificates()->size(), kCertificatesPerSiteMax);
  }
  EXPECT_FALSE(IsGood(1));
  // The same from the disk.
  directory_ = *SiteDirectory::Load(*store_);
  EXPECT_TRUE(IsGood(0));
  EXPECT_FALSE(IsGood(1));
  EXPECT_TRUE(IsGood(9));
}

TEST_F(RenewalTest, ForgetsWhatHasEnded) {
  absl::Time now = kNow;
  for (uint8_t made = 1; made < 20; ++made) {
    now += kLife / 2;
    ASSERT_THAT(Renew(made - 1, made, now), IsOk());
  }
  EXPECT_LE(store_->Certificates()->size(), kCertificatesPerSiteMax);
  EXPECT_FALSE(IsGood(0));
}

TEST_F(StoreTest, EnrollingAgainRevokesOlderCertificates) {
  for (uint8_t i = 1; i <= 2; ++i) {
    Digest token{};
    token[0] = i;
    ASSERT_THAT(store_->Invite({.site = SiteId("north"), .token_hash = token, .expires = kNow}),
                IsOk());
    EnrolledSite enrolled{
        .token_hash = token, .site = SiteId("north"), .certificate_ends = kNow + absl::Hours(i)};
    enrolled.certificate_fingerprint[0] = i;
    ASSERT_THAT(store_->Enrol(enrolled), IsOk());
  }
  const auto certificates = store_->Certificates();
  ASSERT_EQ(certificates->size(), 2);
  EXPECT_EQ((*certificates)[0].state, CertificateRecord::State::kRevoked);
  EXPECT_EQ((*certificates)[1].state, CertificateRecord::State::kGood);
}

TEST_F(StoreTest, JournalIsReadFromAnyPlaceAndVerifies) {
  ASSERT_THAT(store_->Append(std::vector<std::string>{"one", "two"}), IsOk());
  ASSERT_THAT(store_->Append(std::vector<std::string>{"three"}), IsOk());
  Reopen();
  std::vector<std::string> read;
  ASSERT_THAT(store_->ReadJournal(Sequence(2),
                                  [&read](const ChainRow& row) {
                                    read.emplace_back(row.payload.begin(), row.payload.end());
                                    return absl::OkStatus();
                                  }),
              IsOk());
  EXPECT_THAT(read, ::testing::ElementsAre("two", "three"));
}

TEST_F(StoreTest, EntriesWithoutASignedHeadAreDamage) {
  const auto key = SigningKey::Generate();
  EXPECT_TRUE(KnownHeads(*store_, key->public_key())->empty());
  ASSERT_THAT(KeepHead(*store_, *key), IsOk());
  EXPECT_TRUE(KnownHeads(*store_, key->public_key())->empty());
  SetUpAnotherStore();
  ASSERT_THAT(store_->Append(std::vector<std::string>{"one"}), IsOk());
  EXPECT_THAT(KnownHeads(*store_, key->public_key()),
              IsError(absl::StatusCode::kDataLoss, "is missing"));
}

TEST_F(StoreTest, SignedHeadRevealsAnotherSigner) {
  const auto key = SigningKey::Generate();
  const auto other = SigningKey::Generate();
  ASSERT_THAT(store_->Append(std::vector<std::string>{"one"}), IsOk());
  ASSERT_THAT(KeepHead(*store_, *key), IsOk());
  const auto known = KnownHeads(*store_, key->public_key());
  ASSERT_THAT(known, IsOk());
  ASSERT_EQ(known->size(), 1);
  EXPECT_EQ((*known)[0], *store_->Head());
  EXPECT_THAT(KnownHeads(*store_, other->public_key()),
              IsError(absl::StatusCode::kDataLoss, "signed head"));
}

TEST_F(StoreTest, PurgedBlobsAreGoneWithTheirKey) {
  const RunId run("run-1");
  const Digest name = Sha256Of(absl::string_view("blob"));
  {
    const auto blobs = store_->Blobs(run);
    ASSERT_THAT(blobs, IsOk());
    auto writer = (*blobs)->NewWriter();
    ASSERT_THAT(writer, IsOk());
    ASSERT_THAT((*blobs)->Seal(*writer, name), IsOk());
    ASSERT_THAT(writer->Sync(), IsOk());
    ASSERT_THAT((*blobs)->Commit(*std::move(writer)), IsOk());
  }
  Reopen();
  EXPECT_TRUE((*store_->Blobs(run))->Has(name));
  EXPECT_EQ(*store_->RemoveBlobs(run), 1);
  EXPECT_EQ(*store_->RemoveBlobs(run), 0);
  EXPECT_FALSE((*store_->Blobs(run))->Has(name));
}

TEST_F(StoreTest, DirectoryAdmitsWhatIsOnRecordOnly) {
  auto directory = SiteDirectory::Load(*store_);
  ASSERT_THAT(directory, IsOk());
  PeerIdentity peer;
  peer.name = {.federation = "f", .kind = PeerKind::kSite, .id = "north"};
  peer.fingerprint[0] = 1;
  EXPECT_EQ(DetailOf((*directory)->Admit(peer)).reason(), v1::SITE_UNKNOWN);
  const auto invited = (*directory)->Invite(SiteId("north"), kNow, Invitation::Joining::kFirst);
  ASSERT_THAT(invited, IsOk());
  EXPECT_EQ(DetailOf((*directory)->Admit(peer)).reason(), v1::SITE_REVOKED);
  EnrolledSite enrolled{.token_hash = JoinTokenHash(invited->token),
                        .site = SiteId("north"),
                        .certificate_fingerprint = peer.fingerprint,
                        .certificate_ends = kNow};
  ASSERT_THAT((*directory)->Enrol(enrolled), IsOk());
  EXPECT_THAT((*directory)->Admit(peer), IsOk());
  PeerIdentity other = peer;
  other.name.id = "south";
  EXPECT_EQ(DetailOf((*directory)->Admit(other)).reason(), v1::SITE_UNKNOWN);
  ASSERT_THAT((*directory)->Revoke(SiteId("north")), IsOk());
  EXPECT_EQ(DetailOf((*directory)->Admit(peer)).reason(), v1::SITE_REVOKED);
  // The same from the disk.
  EXPECT_EQ(DetailOf((*SiteDirectory::Load(*store_))->Admit(peer)).reason(), v1::SITE_REVOKED);
  EXPECT_EQ(
      DetailOf((*directory)->AddCertificate({.site = SiteId("north"), .ends = kNow}, peer, kNow))
          .reason(),
      v1::SITE_REVOKED);
}

}  // namespace
}  // namespace consilium
