#include "protocol/rpc/pki.h"

#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/core/files.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/openssl_ptr.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "tests/protocol/rpc/test_federation.h"

namespace consilium {
namespace {

using ::consilium::testing::Must;
using ::consilium::testing::TemporaryFolder;
using ::consilium::testing::TestFederation;
using ::testing::HasSubstr;

std::string RequestPem() { return Must(Must(TlsKey::Generate()).MakeRequestPem()); }

TEST(PeerUri, RoundTripsAndRefusesEverythingElse) {
  for (const PeerName& name : {PeerName{"heart", PeerKind::kSite, "cleveland"},
                               PeerName{"heart", PeerKind::kOperator, "anna"},
                               PeerName{"heart", PeerKind::kAggregator, ""}}) {
    EXPECT_EQ(Must(ParsePeerUri(name.Uri())), name);
  }
  for (const char* bad :
       {"", "spiffe://", "spiffe://heart", "spiffe://heart/", "spiffe://heart/site",
        "spiffe://heart/site/", "spiffe://heart/site/a/b", "spiffe://heart/site/A",
        "spiffe://heart/site/a b", "spiffe://heart/site/../x", "spiffe://heart/aggregator/x",
        "spiffe://heart/robot/x", "https://heart/site/a", "spiffe:///site/a",
        "spiffe://heart/site/a?x", "SPIFFE://heart/site/a"}) {
    EXPECT_FALSE(ParsePeerUri(bad).ok()) << bad;
  }
}

TEST(Pki, SiteCertificateNamesTheSiteForSevenDays) {
  const TestFederation federation("heart");
  const absl::Time now = absl::Now();
  const auto chain = Must(Certificate::ChainFromPem(
      Must(federation.intermediate().IssueSite(RequestPem(), SiteId("cleveland"), now))));
  ASSERT_EQ(chain.size(), 2u);
  EXPECT_EQ(Must(chain[0].Name()), (PeerName{"heart", PeerKind::kSite, "cleveland"}));
  EXPECT_LT(absl::AbsDuration(chain[0].not_after() - now - absl::Hours(7 * 24)), absl::Seconds(2));
  EXPECT_EQ(chain[1].Fingerprint(), federation.intermediate().certificate().Fingerprint());
  EXPECT_EQ(X509_check_purpose(chain[0].get(), X509_PURPOSE_SSL_CLIENT, 0), 1);
  EXPECT_EQ(X509_check_purpose(chain[0].get(), X509_PURPOSE_SSL_SERVER, 0), 0);
  EXPECT_EQ(X509_check_ca(chain[0].get()), 0);
}

TEST(Pki, NothingThatTheRequestAsksForIsGranted) {
  const TestFederation federation;
  const TlsKey key = Must(TlsKey::Generate());
  const openssl::X509ReqPtr request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key.get());
  X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const uint8_t*>("root"), -1, -1, 0);
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  for (const auto& [nid, value] :
       {std::pair<int, const char*>{NID_subject_alt_name, "URI:spiffe://test/site/other"},
        {NID_basic_constraints, "critical,CA:TRUE"}}) {
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
  }
  X509_REQ_add_extensions(request.get(), extensions);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  X509_REQ_sign(request.get(), key.get(), EVP_sha256());
  const openssl::BioPtr pem = openssl::MemoryBio();
  PEM_write_bio_X509_REQ(pem.get(), request.get());

  const Certificate issued = Must(Certificate::FromPem(Must(federation.intermediate().IssueSite(
      openssl::TextOf(pem.get()), SiteId("mine"), absl::Now()))));
  EXPECT_EQ(Must(issued.Name()).id, "mine");
  EXPECT_EQ(X509_check_ca(issued.get()), 0);
  EXPECT_THAT(issued.Describe(), HasSubstr("CN = mine"));
}

TEST(Pki, RefusesRequestsThatAreNotForAP256KeyOfTheAsker) {
  const TestFederation federation;
  const auto refuse = [&](const std::string& pem) {
    return federation.intermediate().IssueSite(pem, SiteId("a"), absl::Now()).status();
  };
  EXPECT_EQ(refuse("").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refuse("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refuse(std::string(limits::kCertificateBytesMax + 1, 'x')).code(),
            absl::StatusCode::kResourceExhausted);
  // Must return at once, and not ask the terminal for a passphrase.
  EXPECT_EQ(refuse("-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\n"
                   "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
                   "-----END CERTIFICATE REQUEST-----\n")
                .code(),
            absl::StatusCode::kInvalidArgument);

  // A key of another kind, and another curve.
  for (EVP_PKEY* raw : {EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_EC_gen("P-384")}) {
    const openssl::PkeyPtr key(raw);
    const openssl::X509ReqPtr request(X509_REQ_new());
    X509_REQ_set_pubkey(request.get(), key.get());
    X509_REQ_sign(request.get(), key.get(),
                  EVP_PKEY_get_base_id(raw) == EVP_PKEY_EC ? EVP_sha256() : nullptr);
    const openssl::BioPtr pem = openssl::MemoryBio();
    PEM_write_bio_X509_REQ(pem.get(), request.get());
    EXPECT_THAT(std::string(refuse(openssl::TextOf(pem.get())).message()), HasSubstr("P-256"));
  }

  // Someone else's public key, signed by one's own: no proof that one holds it.
  const TlsKey victim = Must(TlsKey::Generate());
  const TlsKey thief = Must(TlsKey::Generate());
  const openssl::X509ReqPtr request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), victim.get());
  X509_REQ_sign(request.get(), thief.get(), EVP_sha256());
  const openssl::BioPtr pem = openssl::MemoryBio();
  PEM_write_bio_X509_REQ(pem.get(), request.get());
  EXPECT_THAT(std::string(refuse(openssl::TextOf(pem.get())).message()),
              HasSubstr("not signed by its own key"));
}

TEST(Pki, RefusesNamesThatWouldMeanSomethingElse) {
  const TestFederation federation;
  for (const char* bad : {"", "A", "a/b", "a,URI:spiffe://x", "-a", "a\n"}) {
    EXPECT_FALSE(federation.intermediate().IssueSite(RequestPem(), SiteId(bad), absl::Now()).ok());
    EXPECT_FALSE(federation.intermediate().IssueOperator(RequestPem(), bad, absl::Now()).ok());
    EXPECT_FALSE(CertificateAuthority::CreateRoot(bad, absl::Now()).ok());
  }
  for (const ServerNames& bad :
       {ServerNames{}, ServerNames{{"a,b"}, {}}, ServerNames{{""}, {}},
        ServerNames{{}, {"300.1.1.1"}}, ServerNames{std::vector<std::string>(33, "a"), {}}}) {
    EXPECT_FALSE(federation.intermediate().IssueServer(RequestPem(), bad, absl::Now()).ok());
  }
}

TEST(Pki, SerialsAreLongAndNeverTheSame) {
  const TestFederation federation;
  const std::string request = RequestPem();
  std::set<std::string> serials;
  for (int i = 0; i < 50; ++i) {
    const Certificate certificate = Must(Certificate::FromPem(
        Must(federation.intermediate().IssueSite(request, SiteId("a"), absl::Now()))));
    const openssl::BignumPtr number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
    EXPECT_EQ(BN_num_bits(number.get()), 127);
    char* hex = BN_bn2hex(number.get());
    serials.insert(hex);
    OPENSSL_free(hex);
  }
  EXPECT_EQ(serials.size(), 50u);
}

TEST(Pki, AuthoritiesAreReadBackAndNestOnce) {
  const TestFederation federation("heart");
  const SecretBytes pem = federation.intermediate().key().ToPem();
  const std::string key_pem(pem.span().begin(), pem.span().end());
  const CertificateAuthority again = Must(CertificateAuthority::FromPem(
      Must(TlsKey::FromPem(key_pem)), federation.intermediate().certificate().ToPem()));
  EXPECT_EQ(again.federation(), "heart");
  EXPECT_FALSE(again.is_root());
  EXPECT_TRUE(federation.root().is_root());
  EXPECT_FALSE(again.CreateIntermediate(absl::Now()).ok());
  EXPECT_EQ(CertificateAuthority::FromPem(Must(TlsKey::FromPem(key_pem)),
                                          federation.root().certificate().ToPem())
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  // A site's pair is no authority.
  const TlsKey site = Must(TlsKey::Generate());
  EXPECT_FALSE(CertificateAuthority::FromPem(site, Must(again.IssueSite(Must(site.MakeRequestPem()),
                                                                        SiteId("a"), absl::Now())))
                   .ok());
}

TEST(Pki, NoCertificateOutlivesItsIssuer) {
  const absl::Time past = absl::Now() - kRootLifetime + absl::Hours(1);
  const CertificateAuthority root = Must(CertificateAuthority::CreateRoot("old", past));
  const CertificateAuthority intermediate = Must(root.CreateIntermediate(absl::Now()));
  EXPECT_EQ(intermediate.certificate().not_after(), root.certificate().not_after());
  const Certificate site = Must(
      Certificate::FromPem(Must(intermediate.IssueSite(RequestPem(), SiteId("a"), absl::Now()))));
  EXPECT_EQ(site.not_after(), root.certificate().not_after());
  EXPECT_EQ(intermediate.IssueSite(RequestPem(), SiteId("a"), absl::Now() + absl::Hours(2))
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(Pki, FingerprintIsTheDigestOfTheDerForm) {
  const TestFederation federation;
  uint8_t* der = nullptr;
  const int size = i2d_X509(federation.root().certificate().get(), &der);
  EXPECT_EQ(federation.root().certificate().Fingerprint(),
            Sha256Of(std::span<const uint8_t>(der, static_cast<size_t>(size))));
  OPENSSL_free(der);
}

TEST(CertificateFolder, KeysArePrivateAndPairsAreExchangedWhole) {
  const TestFederation federation;
  const std::string folder = federation.InstallSite("a");
  struct stat info;
  ASSERT_EQ(stat(InstalledKeyPath(folder).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const InstalledCertificate first = Must(ReadInstalledCertificate(folder));

  // A certificate of another key is refused, and what was there stays.
  const TlsKey other = Must(TlsKey::Generate());
  EXPECT_EQ(InstallCertificate(folder, other, first.chain_pem).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Must(ReadInstalledCertificate(folder)).certificate.Fingerprint(),
            first.certificate.Fingerprint());

  for (int i = 0; i < 3; ++i) federation.InstallSite("a");
  EXPECT_NE(Must(ReadInstalledCertificate(folder)).certificate.Fingerprint(),
            first.certificate.Fingerprint());
  int pairs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    pairs += entry.is_directory() && !entry.is_symlink();
  }
  EXPECT_EQ(pairs, 2);  // The present one and the one before.

  ASSERT_EQ(chmod(InstalledKeyPath(folder).c_str(), 0644), 0);
  EXPECT_EQ(ReadInstalledCertificate(folder).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(CertificateFolder, AReaderInTheMiddleOfAnExchangeGetsOnePairWhole) {
  const TestFederation federation;
  const std::string folder = federation.InstallSite("a");
  std::atomic<int> reads{0};
  std::atomic<bool> over{false};
  absl::Status first_failure;
  std::thread reader([&] {
    for (; !over; ++reads) first_failure.Update(ReadInstalledCertificate(folder).status());
  });
  // One exchange a read: a reader that two of them overtake may find its pair removed.
  for (int i = 0; i < 50; ++i) {
    for (const int seen = reads; reads == seen;) std::this_thread::yield();
    federation.InstallSite("a");
  }
  over = true;
  reader.join();
  EXPECT_TRUE(first_failure.ok()) << first_failure;
}

TEST(CertificateFolder, SaysThatNothingIsInstalled) {
  const TemporaryFolder empty;
  EXPECT_EQ(ReadInstalledCertificate(empty.path()).status().code(), absl::StatusCode::kNotFound);
}

TEST(TlsKey, RefusesWhatIsNoUnencryptedP256Key) {
  EXPECT_FALSE(TlsKey::FromPem("").ok());
  EXPECT_FALSE(TlsKey::FromPem(std::string(limits::kCertificateBytesMax + 1, 'x')).ok());
  const openssl::PkeyPtr other(EVP_EC_gen("P-384"));
  const openssl::BioPtr pem = openssl::MemoryBio();
  PEM_write_bio_PKCS8PrivateKey(pem.get(), other.get(), nullptr, nullptr, 0, nullptr, nullptr);
  EXPECT_FALSE(TlsKey::FromPem(openssl::TextOf(pem.get())).ok());
  const TlsKey good = Must(TlsKey::Generate());
  const openssl::BioPtr locked = openssl::MemoryBio();
  PEM_write_bio_PKCS8PrivateKey(locked.get(), good.get(), EVP_aes_128_cbc(), "secret", 6, nullptr,
                                nullptr);
  EXPECT_FALSE(TlsKey::FromPem(openssl::TextOf(locked.get())).ok());
}

}  // namespace
}  // namespace consilium
