// How much of a bare TLS socket's rate one transfer over gRPC reaches: an upload and a download of
// our services, with mutual TLS and a sink that forgets, against OpenSSL on a socket with the same
// cipher and certificates, all over loopback. Nothing is hashed or kept.

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/executor.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/pki.h"
#include "protocol/rpc/transfer_client.h"
#include "protocol/rpc/transfer_service.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "tests/bench/by_turns.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::bench {
namespace {

struct Options {
  uint64_t mebibytes = 256;
  int repetitions = kRepetitions;
  std::string json;
};

// A federation of one site, in a temporary folder.
class Federation {
 public:
  Federation() {
    const CertificateAuthority authority =
        Must(root_.CreateIntermediate(absl::Now()), "making an authority");
    const TlsKey server_key = Must(TlsKey::Generate(), "making a key");
    const TlsKey site_key = Must(TlsKey::Generate(), "making a key");
    const ServerNames names{{"localhost"}, {"127.0.0.1"}};
    const std::string of_server =
        Must(authority.IssueServer(Must(server_key.MakeRequestPem(), "making a request"), names,
                                   absl::Now()),
             "issuing the server's certificate");
    const std::string of_site =
        Must(authority.IssueSite(Must(site_key.MakeRequestPem(), "making a request"), SiteId("a"),
                                 absl::Now()),
             "issuing the site's certificate");
    Must(InstallCertificate(server(), server_key, of_server), "installing a certificate");
    Must(InstallCertificate(site(), site_key, of_site), "installing a certificate");
  }
  std::string server() const { return folder_.File("server"); }
  std::string site() const { return folder_.File("site"); }
  const Certificate& root() const { return root_.certificate(); }
  TrustAnchors Anchors() const {
    return Must(TrustAnchors::FromPem(root().ToPem()), "reading the root");
  }

 private:
  const TempFolder folder_;
  const CertificateAuthority root_ =
      Must(CertificateAuthority::CreateRoot("bench", absl::Now()), "making a root");
};

// The same megabyte again and again: the memory of a payload is no part of this.
class RepeatedSource final : public PayloadSource {
 public:
  absl::StatusOr<SharedBytes> Read(uint64_t) override { return SharedBytes{chunk_, *chunk_}; }

 private:
  std::shared_ptr<const std::vector<uint8_t>> chunk_ =
      std::make_shared<std::vector<uint8_t>>(limits::kChunkBytes, uint8_t{0x5a});
};

class DiscardSink final : public UploadSink {
 public:
  absl::Status OnHeader(const PeerIdentity&, const v1::UpdateHeader&) override {
    return absl::OkStatus();
  }
  absl::Status OnData(ByteSpans) override { return absl::OkStatus(); }
  void OnComplete(std::function<void(absl::StatusOr<v1::Receipt>)> answer) override {
    answer(v1::Receipt());
  }
  void OnCancelled(const absl::Status&) override {}
};

class DiscardModel final : public ModelSink {
 public:
  absl::Status OnHeader(const v1::ModelHeader&) override { return absl::OkStatus(); }
  absl::Status OnData(ByteSpans) override { return absl::OkStatus(); }
};

class GrpcSide {
 public:
  GrpcSide(const Federation& federation, uint64_t bytes) : bytes_(bytes) {
    TransferHandlers handlers;
    handlers.upload = [](const PeerIdentity&) { return std::make_unique<DiscardSink>(); };
    handlers.download = [this](const PeerIdentity&, const v1::FetchRequest&) {
      return Download{Model(), std::make_unique<RepeatedSource>()};
    };
    service_ = std::make_unique<TransferService>(std::move(handlers), &work_);
    grpc::ServerBuilder builder;
    ApplyServerLimits(builder);
    int port = 0;
    builder.AddListeningPort(
        "127.0.0.1:0",
        Must(MutualTlsServerCredentials({federation.server()},
                                        {federation.Anchors(), {PeerKind::kSite}, nullptr}),
             "using the server's certificate"),
        &port);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    channel_ = MakeChannel(absl::StrCat("127.0.0.1:", port),
                           Must(TlsChannelCredentials({federation.Anchors(), federation.site()}),
                                "using the site's certificate"),
                           ChannelKind::kBulk);
  }
  ~GrpcSide() {
    server_->Shutdown();
    server_->Wait();
  }

  void Upload() {
    v1::UpdateHeader header;
    header.set_wire_version(limits::kWireVersion);
    header.set_run_id("bench");
    header.set_site_id("a");
    header.set_task_id(1);
    header.set_base_model_id(std::string(32, 'b'));
    header.set_layout_hash(std::string(32, 'l'));
    header.set_payload_root(std::string(32, 'r'));
    header.set_encoding(v1::F32);
    header.set_payload_bytes(bytes_);
    RepeatedSource source;
    Must(UploadUpdate(channel_, header, source), "uploading");
  }
  void Fetch() {
    v1::FetchRequest request;
    request.set_run_id("bench");
    DiscardModel sink;
    Must(FetchModel(channel_, request, sink), "fetching");
  }

 private:
  v1::ModelHeader Model() const {
    v1::ModelHeader header;
    header.set_run_id("bench");
    header.set_model_id(std::string(32, 'm'));
    header.set_layout_hash(std::string(32, 'l'));
    header.set_payload_root(std::string(32, 'r'));
    header.set_encoding(v1::F32);
    header.set_payload_bytes(bytes_);
    return header;
  }

  const uint64_t bytes_;
  Executor work_{2, 512};
  std::unique_ptr<TransferService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

void Expect(bool good, const char* what) {
  Must(good ? absl::OkStatus() : absl::UnavailableError("OpenSSL or the system refused"), what);
}

// The control: one connection, made before the clock starts, as gRPC's is.
class SocketSide {
 public:
  SocketSide(const Federation& federation, uint64_t bytes) : bytes_(bytes) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    Expect(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
               listen(listener, 1) == 0 &&
               getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0,
           "listening");
    const int near = socket(AF_INET, SOCK_STREAM, 0);
    Expect(connect(near, reinterpret_cast<sockaddr*>(&address), size) == 0, "connecting");
    const int far = accept(listener, nullptr, nullptr);
    close(listener);
    client_ = Side(near, federation, federation.site(), TLS_client_method());
    server_ = Side(far, federation, federation.server(), TLS_server_method());
    std::thread accepting([this] { Expect(SSL_accept(server_) == 1, "SSL_accept"); });
    Expect(SSL_connect(client_) == 1, "SSL_connect");
    accepting.join();
  }

  ~SocketSide() {
    for (SSL* ssl : {client_, server_}) {
      close(SSL_get_fd(ssl));
      SSL_free(ssl);
    }
  }

  void Upload() {
    std::thread reader([this] {
      std::vector<uint8_t> buffer(limits::kChunkBytes);
      for (uint64_t left = bytes_; left > 0;) {
        const int n = SSL_read(server_, buffer.data(), static_cast<int>(buffer.size()));
        Expect(n > 0, "SSL_read");
        left -= static_cast<uint64_t>(n);
      }
      Expect(SSL_write(server_, "k", 1) == 1, "SSL_write");
    });
    const std::vector<uint8_t> chunk(limits::kChunkBytes, 0x5a);
    for (uint64_t left = bytes_; left > 0; left -= chunk.size()) {
      Expect(SSL_write(client_, chunk.data(), static_cast<int>(chunk.size())) > 0, "SSL_write");
    }
    char answer = 0;
    Expect(SSL_read(client_, &answer, 1) == 1, "SSL_read");
    reader.join();
  }

  std::string Cipher() const { return SSL_get_cipher_name(client_); }

 private:
  static SSL* Side(int socket, const Federation& federation, const std::string& folder,
                   const SSL_METHOD* method) {
    const int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL_CTX* context = SSL_CTX_new(method);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384");
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), federation.root().get());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    Expect(SSL_CTX_use_certificate_chain_file(context, InstalledChainPath(folder).c_str()) == 1 &&
               SSL_CTX_use_PrivateKey_file(context, InstalledKeyPath(folder).c_str(),
                                           SSL_FILETYPE_PEM) == 1,
           "loading a certificate");
    SSL* ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(ssl, socket);
    return ssl;
  }

  const uint64_t bytes_;
  SSL* client_ = nullptr;
  SSL* server_ = nullptr;
};

void Run(const Options& options) {
  const uint64_t bytes = options.mebibytes << 20;
  const Federation federation;
  GrpcSide over_grpc(federation, bytes);
  SocketSide over_socket(federation, bytes);
  Comparison comparison("transport");
  comparison.State("openssl", OpenSSL_version(OPENSSL_VERSION));
  comparison.State("grpc", grpc::Version());
  comparison.State("cipher", over_socket.Cipher());
  Series& raw = comparison.Measure("OpenSSL socket", bytes);
  Series& upload = comparison.Measure("gRPC upload", bytes);
  Series& download = comparison.Measure("gRPC download", bytes);
  comparison.Compare("upload", upload, raw);
  comparison.Compare("download", download, raw);
  const auto time = [](Series& series, const std::function<void()>& transfer) {
    const absl::Duration cpu = CpuOfThisProcess();
    const absl::Time start = absl::Now();
    transfer();
    series.Note(absl::Now() - start, CpuOfThisProcess() - cpu);
  };
  comparison.Run(options.repetitions, [&] {
    time(raw, [&] { over_socket.Upload(); });
    time(upload, [&] { over_grpc.Upload(); });
    time(download, [&] { over_grpc.Fetch(); });
  });
  comparison.Report(options.json);
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  consilium::bench::Options options;
  CLI::App app("One stream over gRPC and one over a bare TLS socket, by turns.");
  app.add_option("--mebibytes", options.mebibytes, "Of one transfer")->check(CLI::Range(1, 65536));
  app.add_option("--repetitions", options.repetitions, "Counted ones")->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  consilium::InitRpc();
  consilium::bench::Run(options);
}
