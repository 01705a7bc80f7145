// How sites come in: tokens are spent once, and only by whom they were made for.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/spdlog.h>

#include <array>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "consilium/v1/enrolment.grpc.pb.h"
#include "protocol/core/files.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/join_token.h"
#include "protocol/rpc/pki.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

void Sign(const SigningKey& key, v1::EnrolRequest& request) {
  request.set_signing_public_key(ToBytes(key.public_key()));
  request.set_signature(key.Sign(EnrolmentDigest(request)));
}

v1::EnrolRequest RequestOf(const v1::JoinFile& join) {
  v1::EnrolRequest request;
  request.set_site_id(join.site_id());
  request.set_token(join.token());
  const auto key = TlsKey::Generate();
  request.set_csr_pem(*key->MakeRequestPem());
  Sign(*SigningKey::Generate(), request);
  return request;
}

absl::StatusOr<v1::EnrolResponse> Enrol(const v1::JoinFile& join, const v1::EnrolRequest& request) {
  const auto credentials = TlsChannelCredentials(
      {.anchors = *TrustAnchors::FromPem(join.root_certificate_pem()), .certificate_folder = ""});
  const auto stub = v1::Enrolment::NewStub(
      MakeChannel(join.enrolment_address(), *credentials, ChannelKind::kControl));
  grpc::ClientContext context;
  v1::EnrolResponse response;
  const absl::Status status = FromGrpcStatus(stub->Enrol(&context, request, &response));
  if (!status.ok()) return status;
  return response;
}

v1::Reason ReasonOf(const absl::StatusOr<v1::EnrolResponse>& response) {
  return DetailOf(response.status()).reason();
}

TEST(Enrolment, SpendsATokenOnce) {
  LiveAggregator aggregator;
  const v1::JoinFile join = aggregator.AddSite("north");
  ASSERT_THAT(Enrol(join, RequestOf(join)), IsOk());
  EXPECT_EQ(ReasonOf(Enrol(join, RequestOf(join))), v1::TOKEN_REFUSED);
}

TEST(Enrolment, RefusesATokenOfAnotherSiteAnInventedOneAndAnOlderOne) {
  LiveAggregator aggregator;
  const v1::JoinFile north = aggregator.AddSite("north");
  const v1::JoinFile south = aggregator.AddSite("south");
  v1::EnrolRequest request = RequestOf(north);
  request.set_token(south.token());
  EXPECT_EQ(ReasonOf(Enrol(north, request)), v1::TOKEN_REFUSED);
  request.set_token(std::string(32, 'x'));
  EXPECT_EQ(ReasonOf(Enrol(north, request)), v1::TOKEN_REFUSED);
  const v1::JoinFile newer = aggregator.AddSite("north");
  EXPECT_EQ(ReasonOf(Enrol(north, RequestOf(north))), v1::TOKEN_REFUSED);
  EXPECT_THAT(Enrol(newer, RequestOf(newer)), IsOk());
}

TEST(Enrolment, RefusesARequestThatIsNone) {
  LiveAggregator aggregator;
  const v1::JoinFile join = aggregator.AddSite("north");
  v1::EnrolRequest request = RequestOf(join);
  request.set_csr_pem("no request");
  Sign(*SigningKey::Generate(), request);
  EXPECT_THAT(Enrol(join, request), IsError(absl::StatusCode::kInvalidArgument, ""));
  request = RequestOf(join);
  request.set_signing_public_key("short");
  EXPECT_EQ(ReasonOf(Enrol(join, request)), v1::MALFORMED);
  // Neither has spent the token.
  EXPECT_THAT(Enrol(join, RequestOf(join)), IsOk());
}

// The public key of the signature's maker and of nobody else: a token alone does not make its
// holder another site's double.
TEST(Enrolment, RefusesAKeyThatTheSenderDoesNotHold) {
  LiveAggregator aggregator;
  FakeSite south(aggregator, "south");
  const v1::JoinFile join = aggregator.AddSite("north");
  const v1::EnrolRequest good = RequestOf(join);
  v1::EnrolRequest request = good;
  request.set_signing_public_key(ToBytes(south.store().KeyPair().public_key()));
  const auto stolen = Enrol(join, request);
  EXPECT_EQ(ReasonOf(stolen), v1::MALFORMED);
  EXPECT_THAT(stolen, IsError(absl::StatusCode::kInvalidArgument, "not signed by the key"));
  request = good;
  request.clear_signature();
  EXPECT_EQ(ReasonOf(Enrol(join, request)), v1::MALFORMED);
  // The signature is over all of the request.
  request = good;
  request.set_csr_pem(*TlsKey::Generate()->MakeRequestPem());
  EXPECT_EQ(ReasonOf(Enrol(join, request)), v1::MALFORMED);
  // None of them has spent the token.
  EXPECT_THAT(Enrol(join, good), IsOk());
}

// Its certificate has ended, or a copy of its store was first.
TEST(Enrolment, ASiteThatHasAttachedComesBackWithItsOwnStoreAlone) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  ASSERT_THAT(site.Attach(), IsOk());
  const v1::JoinFile join = aggregator.AddSite("north", AggregatorAccess::Occasion::kAgain);
  v1::EnrolRequest request = RequestOf(join);
  const auto other_store = Enrol(join, request);
  EXPECT_EQ(ReasonOf(other_store), v1::TOKEN_REFUSED);
  EXPECT_THAT(other_store, IsError(absl::StatusCode::kPermissionDenied, "a new site name"));

  // Nothing has happened to the site, and the token is still good.
  const TlsKey key = *TlsKey::Generate();
  request.set_csr_pem(*key.MakeRequestPem());
  Sign(site.store().KeyPair(), request);
  const auto response = Enrol(join, request);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(DetailOf(site.AwaitClosed()).reason(), v1::LEASE_FENCED);
  EXPECT_FALSE(site.Attach().ok());
  site.store().lease = response->initial_lease();
  ASSERT_THAT(
      InstallCertificate(site.store().certificate_folder, key, response->certificate_chain_pem()),
      IsOk());
  FakeSite back(aggregator, "north", site.store());
  EXPECT_THAT(back.Attach(), IsOk());
}

TEST(Enrolment, ARevokedSiteStaysOut) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  ASSERT_THAT(site.Attach(), IsOk());
  const v1::JoinFile join = aggregator.AddSite("north", AggregatorAccess::Occasion::kAgain);
  grpc::ClientContext context;
  v1::RevokeSiteRequest revoke;
  revoke.set_site_id("north");
  v1::RevokeSiteResponse revoked;
  ASSERT_THAT(FromGrpcStatus(aggregator.admin().RevokeSite(&context, revoke, &revoked)), IsOk());
  v1::EnrolRequest request = RequestOf(join);
  Sign(site.store().KeyPair(), request);
  EXPECT_FALSE(Enrol(join, request).ok());
  grpc::ClientContext again;
  v1::AddSiteRequest add;
  add.set_site_id("north");
  v1::AddSiteResponse none;
  EXPECT_THAT(FromGrpcStatus(aggregator.admin().AddSite(&again, add, &none)),
              IsError(absl::StatusCode::kFailedPrecondition, "was revoked, which is for good"));
}

// Two join files, the first of them stolen.
TEST(Enrolment, ATokenThatWasNotSpentDoesNotOutliveTheFirstAttach) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  const v1::JoinFile second = aggregator.AddSite("north");
  ASSERT_THAT(site.Attach(), IsOk());
  EXPECT_EQ(ReasonOf(Enrol(second, RequestOf(second))), v1::TOKEN_REFUSED);
  // The hospital's certificate is as good as before.
  site.Detach();
  absl::Status attached = site.Attach();
  while (DetailOf(attached).reason() == v1::LEASE_IN_USE) attached = site.Attach();
  EXPECT_THAT(attached, IsOk());
}

TEST(Enrolment, WhoHasNoTokenFillsNoLog) {
  // Exchanged while nothing else runs.
  const std::shared_ptr<spdlog::logger> logger = spdlog::default_logger();
  const auto lines = std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(10000);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", lines));
  {
    LiveAggregator aggregator;
    const v1::JoinFile join = aggregator.AddSite("north");
    v1::EnrolRequest request = RequestOf(join);
    request.set_token(std::string(32, 'x'));
    for (int i = 0; i < 200; ++i) EXPECT_EQ(ReasonOf(Enrol(join, request)), v1::TOKEN_REFUSED);
    // And nobody is kept out who has one.
    EXPECT_THAT(Enrol(join, RequestOf(join)), IsOk());
  }
  spdlog::set_default_logger(logger);
  int written = 0;
  for (const std::string& line : lines->last_formatted()) {
    written += line.find("TOKEN_REFUSED") != std::string::npos ||
                       line.find("enrolment from") != std::string::npos
                   ? 1
                   : 0;
  }
  EXPECT_GT(written, 0);
  EXPECT_LT(written, 150);
}

class RenewalOfASite : public ::testing::Test {
 protected:
  absl::StatusOr<std::string> Renew(const TlsKey& key) {
    const auto credentials =
        TlsChannelCredentials({.anchors = *TrustAnchors::FromPem(site_.store().root_pem),
                               .certificate_folder = site_.store().certificate_folder});
    const auto stub = v1::Renewal::NewStub(
        MakeChannel(aggregator_.aggregator().main_address(), *credentials, ChannelKind::kControl));
    grpc::ClientContext context;
    v1::RenewRequest request;
    request.set_csr_pem(*key.MakeRequestPem());
    v1::RenewResponse response;
    const absl::Status status = FromGrpcStatus(stub->Renew(&context, request, &response));
    if (!status.ok()) return status;
    return response.certificate_chain_pem();
  }
  // The certificate that the site has, as if it had been made so long ago.
  void Age(absl::Duration age) {
    const auto newest = Certificate::FromPem(
        *ReadFile(site_.store().certificate_folder + "/current/chain.pem", 1 << 16));
    const auto authority =
        CertificateAuthority::FromPem(*TlsKey::Read(aggregator_.pki() + "/intermediate.key"),
                                      *ReadFile(aggregator_.pki() + "/intermediate.pem", 1 << 16));
    const auto key = TlsKey::Generate();
    const auto chain =
        authority->IssueSite(*key->MakeRequestPem(), SiteId("north"), absl::Now() - age);
    ASSERT_THAT(InstallCertificate(site_.store().certificate_folder, *key, *chain), IsOk());
    const auto certificate = Certificate::FromPem(*chain);
    aggregator_.Stop();
    {
      const auto store = aggregator_.OpenStore();
      ASSERT_THAT(store->AddCertificate({.site = SiteId("north"),
                                         .fingerprint = certificate->Fingerprint(),
                                         .ends = certificate->not_after()},
                                        std::array<Digest, 1>{newest->Fingerprint()}),
                  IsOk());
    }
    aggregator_.Restart();
  }

  LiveAggregator aggregator_;
  FakeSite site_{aggregator_, "north"};
};

TEST_F(RenewalOfASite, GivesACertificateWithWhichTheSiteGoesOn) {
  Age(limits::kSiteCertificateLifetime / 2);
  const auto key = TlsKey::Generate();
  const auto chain = Renew(*key);
  ASSERT_THAT(chain, IsOk());
  ASSERT_THAT(InstallCertificate(site_.store().certificate_folder, *key, *chain), IsOk());
  EXPECT_THAT(site_.Attach(), IsOk());
  // The certificate is on record also after a restart.
  site_.Detach();
  aggregator_.Restart();
  EXPECT_THAT(site_.Attach(), IsOk());
}

TEST_F(RenewalOfASite, ComesNotAsOftenAsASiteLikes) {
  const auto key = TlsKey::Generate();
  const absl::Status early = Renew(*key).status();
  EXPECT_EQ(DetailOf(early).reason(), v1::BUSY);
  EXPECT_GT(DetailOf(early).retry_after_ms(), 0u);
  EXPECT_THAT(site_.Attach(), IsOk());
}

TEST(Certificates, OfTheFederationButNotOnRecordAreRefused) {
  LiveAggregator aggregator;
  FakeSite site(aggregator, "north");
  // As a thief of the intermediate's key would make one.
  const auto authority =
      CertificateAuthority::FromPem(*TlsKey::Read(aggregator.pki() + "/intermediate.key"),
                                    *ReadFile(aggregator.pki() + "/intermediate.pem", 1 << 16));
  const auto key = TlsKey::Generate();
  const auto chain = authority->IssueSite(*key->MakeRequestPem(), SiteId("north"), absl::Now());
  ASSERT_THAT(InstallCertificate(site.store().certificate_folder, *key, *chain), IsOk());
  EXPECT_FALSE(site.Attach().ok());
}

}  // namespace
}  // namespace consilium::testing
