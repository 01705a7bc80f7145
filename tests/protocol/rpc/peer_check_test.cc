#include "protocol/rpc/peer_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/wire/reasons.h"
#include "tests/protocol/rpc/test_federation.h"

namespace consilium {
namespace {

using ::consilium::testing::Must;
using ::consilium::testing::TestFederation;
using ::testing::HasSubstr;

const std::vector<PeerKind> kSites = {PeerKind::kSite};

struct Issued {
  std::string leaf, chain;
  ShownCertificates shown() const { return {leaf, chain}; }
};

Issued Split(const std::string& chain) {
  const auto certificates = Must(Certificate::ChainFromPem(chain));
  return {certificates[0].ToPem(), chain};
}

Issued Site(const TestFederation& federation, absl::Time now) {
  return Split(Must(federation.intermediate().IssueSite(
      Must(Must(TlsKey::Generate()).MakeRequestPem()), SiteId("a"), now)));
}

Issued Server(const TestFederation& federation) {
  return Split(Must(
      federation.intermediate().IssueServer(Must(Must(TlsKey::Generate()).MakeRequestPem()),
                                            {{"agg.example"}, {"127.0.0.1", "::1"}}, absl::Now())));
}

template <typename T>
v1::Reason ReasonOf(const absl::StatusOr<T>& result) {
  return DetailOf(result.status()).reason();
}

TEST(TrustAnchors, AcceptsASiteOfTheFederation) {
  const TestFederation federation;
  const Issued site = Site(federation, absl::Now());
  const PeerIdentity peer =
      Must(federation.anchors().CheckClient(site.shown(), kSites, absl::Now()));
  EXPECT_EQ(peer.site(), SiteId("a"));
  EXPECT_EQ(peer.fingerprint, Must(Certificate::FromPem(site.leaf)).Fingerprint());
}

TEST(TrustAnchors, TellsExpiredFromForeignFromNone) {
  const TestFederation federation;
  const TestFederation namesake;  // Same names, other keys.
  const TrustAnchors anchors = federation.anchors();
  const absl::Time now = absl::Now();

  EXPECT_EQ(ReasonOf(anchors.CheckClient({}, kSites, now)), v1::NO_CERTIFICATE);

  const Issued old = Site(federation, now - absl::Hours(8 * 24));
  const auto expired = anchors.CheckClient(old.shown(), kSites, now);
  EXPECT_EQ(ReasonOf(expired), v1::CERTIFICATE_EXPIRED);
  EXPECT_THAT(std::string(expired.status().message()),
              ::testing::AllOf(HasSubstr("expired at"), HasSubstr("spiffe://test/site/a")));

  const Issued early = Site(federation, now + absl::Hours(1));
  EXPECT_EQ(ReasonOf(anchors.CheckClient(early.shown(), kSites, now)), v1::CERTIFICATE_EXPIRED);

  const auto foreign = anchors.CheckClient(Site(namesake, now).shown(), kSites, now);
  EXPECT_EQ(ReasonOf(foreign), v1::FOREIGN_CERTIFICATE);
  EXPECT_THAT(std::string(foreign.status().message()), HasSubstr("not signed by the federation"));

  // Without the intermediate between, it can not be traced to the root.
  EXPECT_EQ(ReasonOf(anchors.CheckClient({old.leaf, ""}, kSites, now)), v1::FOREIGN_CERTIFICATE);
  EXPECT_EQ(ReasonOf(anchors.CheckClient({"garbage", ""}, kSites, now)), v1::FOREIGN_CERTIFICATE);
}

TEST(TrustAnchors, KeepsKindsApart) {
  const TestFederation federation;
  const TrustAnchors anchors = federation.anchors();
  const absl::Time now = absl::Now();
  const Issued site = Site(federation, now);
  const Issued server = Server(federation);
  // The purposes of the certificates differ...
  EXPECT_EQ(ReasonOf(anchors.CheckClient(server.shown(), {PeerKind::kAggregator}, now)),
            v1::FOREIGN_CERTIFICATE);
  EXPECT_EQ(ReasonOf(anchors.CheckServer(site.shown(), "127.0.0.1", now)), v1::FOREIGN_CERTIFICATE);
  // ... and the kinds of names.
  EXPECT_EQ(ReasonOf(anchors.CheckClient(site.shown(), {PeerKind::kOperator}, now)),
            v1::FOREIGN_CERTIFICATE);
}

TEST(TrustAnchors, AServerMustBeTheHostThatWasCalled) {
  const TestFederation federation;
  const TestFederation proxy;
  const TrustAnchors anchors = federation.anchors();
  const Issued server = Server(federation);
  for (const char* host : {"agg.example", "127.0.0.1", "::1"}) {
    EXPECT_TRUE(anchors.CheckServer(server.shown(), host, absl::Now()).ok()) << host;
  }
  for (const char* host : {"other.example", "127.0.0.2", "example"}) {
    EXPECT_EQ(ReasonOf(anchors.CheckServer(server.shown(), host, absl::Now())),
              v1::FOREIGN_CERTIFICATE)
        << host;
  }
  EXPECT_FALSE(anchors.CheckServer(server.shown(), "", absl::Now()).ok());
  const auto intercepted = anchors.CheckServer(Server(proxy).shown(), "agg.example", absl::Now());
  EXPECT_THAT(std::string(intercepted.status().message()), HasSubstr("proxy"));
}

TEST(TrustAnchors, ASiteCanNotIssueForAnother) {
  // A site that signs a certificate with its own key, as if it were an authority.
  const TestFederation federation;
  const CertificateAuthority impostor_root =
      Must(CertificateAuthority::CreateRoot("test", absl::Now()));
  const TlsKey key = Must(TlsKey::Generate());
  const std::string forged =
      Must(impostor_root.IssueSite(Must(key.MakeRequestPem()), SiteId("b"), absl::Now()));
  const Issued site = Site(federation, absl::Now());
  EXPECT_EQ(ReasonOf(federation.anchors().CheckClient({forged, absl::StrCat(forged, site.chain)},
                                                      kSites, absl::Now())),
            v1::FOREIGN_CERTIFICATE);
}

TEST(TrustAnchors, RootsMustBeRootsOfOneFederation) {
  const TestFederation a("a");
  const TestFederation b("b");
  const std::string root_a = a.root().certificate().ToPem();
  EXPECT_FALSE(TrustAnchors::FromPem("").ok());
  EXPECT_FALSE(TrustAnchors::FromPem(a.intermediate().certificate().ToPem()).ok());
  EXPECT_FALSE(TrustAnchors::FromPem(absl::StrCat(root_a, b.root().certificate().ToPem())).ok());
  // While roots are exchanged, both are trusted.
  const TestFederation next("a");
  const TrustAnchors both =
      Must(TrustAnchors::FromPem(absl::StrCat(root_a, next.root().certificate().ToPem())));
  EXPECT_TRUE(both.CheckClient(Site(a, absl::Now()).shown(), kSites, absl::Now()).ok());
  EXPECT_TRUE(both.CheckClient(Site(next, absl::Now()).shown(), kSites, absl::Now()).ok());
}

}  // namespace
}  // namespace consilium
