// Real servers on 127.0.0.1 with real TLS: who gets in, who does not, and what the log says.

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "consilium/v1/enrolment.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/connection_log.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/peer_identity.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/reasons.h"
#include "tests/protocol/rpc/test_federation.h"

namespace consilium {
namespace {

using ::consilium::testing::Must;
using ::consilium::testing::TestFederation;
using ::testing::HasSubstr;

// Keeps every line of the log, and lets a test wait for one.
class LogLines : public spdlog::sinks::base_sink<std::mutex> {
 public:
  bool WaitFor(const std::string& part) {
    const auto found = [this, &part] {
      for (const std::string& line : lines_) {
        if (absl::StrContains(line, part)) return true;
      }
      return false;
    };
    absl::MutexLock lock(&lines_mu_);
    return lines_mu_.AwaitWithTimeout(absl::Condition(&found), absl::Seconds(20));
  }
  void Clear() {
    absl::MutexLock lock(&lines_mu_);
    lines_.clear();
  }
  std::string All() {
    absl::MutexLock lock(&lines_mu_);
    std::string text;
    for (const std::string& line : lines_) absl::StrAppend(&text, line, "\n");
    return text;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    absl::MutexLock lock(&lines_mu_);
    lines_.emplace_back(message.payload.data(), message.payload.size());
  }
  void flush_() override {}

 private:
  absl::Mutex lines_mu_;
  std::vector<std::string> lines_;
};

// Attached once and never taken off: gRPC's threads log at any time.
const std::shared_ptr<LogLines>& TheLog() {
  static const auto& log = *new std::shared_ptr<LogLines>([] {
    auto lines = std::make_shared<LogLines>();
    spdlog::default_logger()->sinks().push_back(lines);
    return lines;
  }());
  return log;
}

// Answers with who is asking.
class WhoAmI final : public v1::Renewal::CallbackService {
 public:
  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const v1::RenewRequest* request,
                                  v1::RenewResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const absl::StatusOr<PeerIdentity> peer = IdentifySite(*context);
    absl::Status status = peer.status();
    if (peer.ok()) {
      response->set_certificate_chain_pem(
          absl::StrCat(peer->site().value(), " ", ToHex(peer->fingerprint)));
      if (!request->csr_pem().empty()) status = CheckSender(*peer, request->csr_pem());
    }
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }
};

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() : log_(TheLog()) { log_->Clear(); }
  ~TlsTest() override {
    if (server_ != nullptr) server_->Shutdown();
    server_.reset();
  }

  void Start() {
    ClientCheck check{federation_.anchors(), {PeerKind::kSite}, [this](const PeerIdentity& peer) {
                        absl::MutexLock lock(&mu_);
                        if (peer.name.id != revoked_) return absl::OkStatus();
                        return Refusal(v1::SITE_REVOKED, absl::StrCat(peer.name.id, " is revoked"));
                      }};
    auto credentials = Must(MutualTlsServerCredentials(
        {federation_.InstallServer(), absl::Seconds(1)}, std::move(check)));
    StartWith(credentials);
  }
  void StartWith(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::ServerBuilder builder;
    ApplyServerLimits(builder);
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  std::shared_ptr<grpc::Channel> Channel(const std::string& certificate_folder) {
    return MakeChannel(
        absl::StrCat("127.0.0.1:", port_),
        Must(TlsChannelCredentials({federation_.anchors(), certificate_folder, absl::Seconds(1)})),
        ChannelKind::kControl);
  }
  // "<site> <fingerprint>", or how it was refused. `sender`: the site that the body names.
  absl::StatusOr<std::string> Ask(const std::shared_ptr<grpc::Channel>& channel,
                                  const std::string& sender = "") {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    v1::RenewRequest request;
    request.set_csr_pem(sender);
    v1::RenewResponse response;
    const grpc::Status status = v1::Renewal::NewStub(channel)->Renew(&context, request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response.certificate_chain_pem();
  }
  // A site that was connected all the while still is served.
  void ExpectUnaffected(const std::shared_ptr<grpc::Channel>& bystander) {
    EXPECT_THAT(Must(Ask(bystander)), ::testing::StartsWith("bystander "));
  }
  void Revoke(const std::string& site) {
    absl::MutexLock lock(&mu_);
    revoked_ = site;
  }

  TestFederation federation_;
  std::shared_ptr<LogLines> log_;
  WhoAmI service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  absl::Mutex mu_;
  std::string revoked_ ABSL_GUARDED_BY(mu_);
};

TEST_F(TlsTest, ASiteIsKnownByItsCertificate) {
  Start();
  const std::string folder = federation_.InstallSite("a");
  const auto fingerprint = Must(ReadInstalledCertificate(folder)).certificate.Fingerprint();
  EXPECT_EQ(Must(Ask(Channel(folder))), absl::StrCat("a ", ToHex(fingerprint)));
}

TEST_F(TlsTest, ABodyThatNamesAnotherSiteIsRefused) {
  Start();
  const auto channel = Channel(federation_.InstallSite("a"));
  EXPECT_TRUE(Ask(channel, "a").ok());
  const absl::Status status = Ask(channel, "b").status();
  EXPECT_EQ(DetailOf(status).reason(), v1::IDENTITY_MISMATCH);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(TlsTest, RefusesExpired) {
  Start();
  const auto bystander = Channel(federation_.InstallSite("bystander"));
  ExpectUnaffected(bystander);
  const auto expired = Channel(federation_.InstallSite("late", absl::Now() - absl::Hours(8 * 24)));
  EXPECT_FALSE(Ask(expired).ok());
  EXPECT_TRUE(log_->WaitFor("connection refused: CERTIFICATE_EXPIRED: the certificate expired at"))
      << log_->All();
  EXPECT_TRUE(log_->WaitFor("spiffe://test/site/late"));
  ExpectUnaffected(bystander);
}

TEST_F(TlsTest, RefusesAForeignAuthority) {
  Start();
  const auto bystander = Channel(federation_.InstallSite("bystander"));
  ExpectUnaffected(bystander);
  const TestFederation other("elsewhere");
  EXPECT_FALSE(Ask(Channel(other.InstallSite("stranger"))).ok());
  EXPECT_TRUE(
      log_->WaitFor("connection refused: FOREIGN_CERTIFICATE: the certificate was not "
                    "signed by the federation test"))
      << log_->All();
  EXPECT_TRUE(log_->WaitFor("spiffe://elsewhere/site/stranger"));
  ExpectUnaffected(bystander);
}

TEST_F(TlsTest, RefusesNoCertificate) {
  Start();
  const auto bystander = Channel(federation_.InstallSite("bystander"));
  ExpectUnaffected(bystander);
  EXPECT_FALSE(Ask(Channel("")).ok());
  EXPECT_TRUE(log_->WaitFor("connection refused: NO_CERTIFICATE")) << log_->All();
  ExpectUnaffected(bystander);
}

TEST_F(TlsTest, RefusesRevoked) {
  Start();
  const auto bystander = Channel(federation_.InstallSite("bystander"));
  ExpectUnaffected(bystander);
  Revoke("mallory");
  EXPECT_FALSE(Ask(Channel(federation_.InstallSite("mallory"))).ok());
  EXPECT_TRUE(log_->WaitFor("connection refused: SITE_REVOKED: mallory is revoked")) << log_->All();
  ExpectUnaffected(bystander);
}

TEST_F(TlsTest, RefusesAnOperatorWhereSitesTalk) {
  Start();
  EXPECT_FALSE(Ask(Channel(federation_.InstallOperator("anna"))).ok());
  EXPECT_TRUE(log_->WaitFor("FOREIGN_CERTIFICATE: spiffe://test/operator/anna")) << log_->All();
}

// What another TLS library's client says to the server, as the process `openssl s_client`.
std::string SClient(int port, const std::string& folder, const std::string& version) {
  const std::string command = absl::StrCat("openssl s_client -connect 127.0.0.1:", port, " ",
                                           version, " -alpn h2 -cert ", InstalledChainPath(folder),
                                           " -key ", InstalledKeyPath(folder), " </dev/null 2>&1");
  FILE* pipe = popen(command.c_str(), "r");
  std::string output(1 << 16, '\0');
  output.resize(fread(output.data(), 1, output.size(), pipe));
  pclose(pipe);
  return output;
}

TEST_F(TlsTest, SpeaksTls13Only) {
  Start();
  const auto bystander = Channel(federation_.InstallSite("bystander"));
  ExpectUnaffected(bystander);
  const std::string folder = federation_.InstallSite("a");
  EXPECT_THAT(SClient(port_, folder, "-tls1_3"), HasSubstr("New, TLSv1.3, Cipher is TLS_"));
  const std::string refused = SClient(port_, folder, "-tls1_2");
  EXPECT_THAT(refused, HasSubstr("Cipher is (NONE)"));
  EXPECT_TRUE(log_->WaitFor("the peer does not speak TLS 1.3")) << log_->All();
  ExpectUnaffected(bystander);
}

TEST_F(TlsTest, EnrolmentNeedsNoCertificateAndTellsNobodyApart) {
  StartWith(Must(EnrolmentServerCredentials({federation_.InstallServer()})));
  const absl::Status status = Ask(Channel("")).status();
  // The handshake went well; the call itself has no peer to go by.
  EXPECT_EQ(DetailOf(status).reason(), v1::NO_CERTIFICATE) << status;
}

TEST_F(TlsTest, ASiteRefusesAServerOfAnotherFederation) {
  const TestFederation other("elsewhere");
  StartWith(Must(EnrolmentServerCredentials({other.InstallServer()})));
  const absl::Status status = Ask(Channel("")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not signed by the federation test"));
}

TEST_F(TlsTest, ASiteRefusesAnotherSiteAsServer) {
  StartWith(Must(EnrolmentServerCredentials({federation_.InstallSite("a")})));
  const absl::Status status = Ask(Channel("")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("FOREIGN_CERTIFICATE"));
}

TEST_F(TlsTest, NewCertificatesAreTakenIntoUseWithoutARestart) {
  Start();
  const std::string site = federation_.InstallSite("a");
  const std::string before = Must(Ask(Channel(site)));
  federation_.InstallSite("a");
  const std::string renewed =
      absl::StrCat("a ", ToHex(Must(ReadInstalledCertificate(site)).certificate.Fingerprint()));
  ASSERT_NE(renewed, before);
  EXPECT_EQ(Must(Ask(Channel(site))), renewed);

  // The server's: s_client prints what it is shown.
  federation_.InstallServer();
  const std::string renewed_server =
      Must(ReadInstalledCertificate(federation_.Folder("server"))).certificate.ToPem();
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  bool seen = false;
  while (!seen && absl::Now() < deadline) {
    seen = absl::StrContains(SClient(port_, site, "-tls1_3"), renewed_server);
  }
  EXPECT_TRUE(seen);
}

TEST_F(TlsTest, AServerWithoutAUsablePairDoesNotStart) {
  EXPECT_EQ(EnrolmentServerCredentials({federation_.Folder("nothing")}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(TlsTest, CompressedMessagesAreNotInflated) {
  Start();
  const auto channel = Channel(federation_.InstallSite("a"));
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::RenewRequest request;
  request.set_csr_pem(std::string(3 << 20, 'a'));
  v1::RenewResponse response;
  const grpc::Status status = v1::Renewal::NewStub(channel)->Renew(&context, request, &response);
  // Refused by its header, before a byte is inflated or a limit on sizes asked.
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
}

TEST(ConnectionLog, AFloodOfRefusalsIsCounted) {
  TheLog()->Clear();
  for (int i = 0; i < 1000; ++i) LogRefusedConnection("flood");
  // Two windows, where the clock went from one to the next in between.
  const std::string lines = TheLog()->All();
  EXPECT_LE(std::count(lines.begin(), lines.end(), '\n'), 2 * (kRefusalsPerWindow + 1));
}

}  // namespace
}  // namespace consilium
