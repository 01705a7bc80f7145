#include "protocol/rpc/credentials.h"

#include <grpc/support/log.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/connection_log.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

namespace tls = grpc::experimental;

// gRPC's threads outlive main(). OpenSSL's cleanup at exit would take from under them what they may
// be using, and leave what they free when they end. OpenSSL settles whether it cleans up at its
// first use in the process, which may be any hash or certificate long before the first connection,
// so nothing later than before main() is early enough.
[[maybe_unused]] const bool kOpensslStaysTillTheEnd =
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1;

absl::string_view View(grpc::string_ref text) {
  return absl::string_view(text.data(), text.size());
}

std::string Brief(const absl::Status& status) {
  return absl::StrCat(v1::Reason_Name(DetailOf(status).reason()), ": ", status.message());
}

// gRPC's hook for checking the other side, with both certificates at hand.
class PeerVerifier : public tls::ExternalCertificateVerifier {
 public:
  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* result) override {
    const ShownCertificates shown{View(request->peer_cert()),
                                  View(request->peer_cert_full_chain())};
    const absl::Status status = Check(shown, std::string(View(request->target_name())));
    if (!status.ok()) *result = grpc::Status(grpc::UNAUTHENTICATED, Brief(status));
    return true;  // Done synchronously.
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  virtual absl::Status Check(const ShownCertificates& shown, const std::string& host) = 0;
};

class ClientVerifier final : public PeerVerifier {
 public:
  explicit ClientVerifier(ClientCheck check) : check_(std::move(check)) {}

 private:
  absl::Status Check(const ShownCertificates& shown, const std::string&) override {
    const absl::Status status = [&]() -> absl::Status {
      CONSILIUM_ASSIGN_OR_RETURN(const PeerIdentity peer,
                                 check_.anchors.CheckClient(shown, check_.kinds, absl::Now()));
      return check_.admit ? check_.admit(peer) : absl::OkStatus();
    }();
    if (!status.ok()) LogRefusedConnection(Brief(status));
    return status;
  }

  const ClientCheck check_;
};

class ServerVerifier final : public PeerVerifier {
 public:
  explicit ServerVerifier(TrustAnchors anchors) : anchors_(std::move(anchors)) {}

 private:
  absl::Status Check(const ShownCertificates& shown, const std::string& host) override {
    return anchors_.CheckServer(shown, host, absl::Now()).status();
  }

  const TrustAnchors anchors_;
};

absl::StatusOr<std::shared_ptr<tls::CertificateProviderInterface>> Watch(
    const std::string& folder, absl::Duration reload_interval) {
  // gRPC would only log that it can not read them, again and again, and refuse every peer.
  CONSILIUM_RETURN_IF_ERROR(ReadInstalledCertificate(folder).status());
  const int64_t seconds = std::max<int64_t>(1, absl::ToInt64Seconds(reload_interval));
  return std::make_shared<tls::FileWatcherCertificateProvider>(
      InstalledKeyPath(folder), InstalledChainPath(folder), static_cast<unsigned int>(seconds));
}

}  // namespace

void InitRpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // gRPC 1.51 can not be told a lowest TLS version. All our certificates are ECDSA, so with an
    // RSA suite as the only one below 1.3, no 1.2 handshake can agree on anything, while the
    // suites of 1.3 are another list that this does not touch. gRPC reads it once, at the first
    // credentials of the process.
    setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", 1);
    // A channel that lost its peer makes progress only while some thread waits on it. Between two
    // attempts of ours nobody does: then gRPC looks every 5 s by itself, so that a handshake, which
    // takes several looks, runs into its time limit again and again.
    setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "200", 1);
    RouteLibraryLogs();
  });
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MutualTlsServerCredentials(
    const ServerTls& server, ClientCheck check) {
  InitRpc();
  CONSILIUM_ASSIGN_OR_RETURN(auto provider,
                             Watch(server.certificate_folder, server.reload_interval));
  tls::TlsServerCredentialsOptions options(std::move(provider));
  options.watch_identity_key_cert_pairs();
  // DONT_VERIFY: ClientVerifier does it. A client without any certificate ends in the handshake.
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<ClientVerifier>(std::move(check)));
  options.set_check_call_host(false);
  return tls::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> EnrolmentServerCredentials(
    const ServerTls& server) {
  InitRpc();
  CONSILIUM_ASSIGN_OR_RETURN(auto provider,
                             Watch(server.certificate_folder, server.reload_interval));
  tls::TlsServerCredentialsOptions options(std::move(provider));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsChannelCredentials(
    const ClientTls& client) {
  InitRpc();
  tls::TlsChannelCredentialsOptions options;
  if (!client.certificate_folder.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(auto provider,
                               Watch(client.certificate_folder, client.reload_interval));
    options.set_certificate_provider(std::move(provider));
    options.watch_identity_key_cert_pairs();
  }
  // ServerVerifier does it, host name included.
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<ServerVerifier>(client.anchors));
  return tls::TlsCredentials(options);
}

}  // namespace consilium
