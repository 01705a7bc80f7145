// A server on 127.0.0.1 with mutual TLS and our limits, and channels to it as sites of a
// TestFederation.
//
// Threads: one.

#ifndef CONSILIUM_TESTS_PROTOCOL_RPC_TEST_SERVER_H_
#define CONSILIUM_TESTS_PROTOCOL_RPC_TEST_SERVER_H_

#include <grpcpp/channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/peer_check.h"
#include "tests/protocol/rpc/test_federation.h"

namespace consilium::testing {

class TestServer {
 public:
  TestServer(const TestFederation& federation, const std::vector<grpc::Service*>& services)
      : federation_(federation) {
    grpc::ServerBuilder builder;
    ApplyServerLimits(builder);
    builder.AddListeningPort(
        "127.0.0.1:0",
        Must(MutualTlsServerCredentials({federation.InstallServer()},
                                        {federation.anchors(), {PeerKind::kSite}, nullptr})),
        &port_);
    for (grpc::Service* service : services) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    EXPECT_NE(server_, nullptr);
  }
  ~TestServer() { Stop(); }

  // Ends all calls.
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
    server_->Wait();
    server_.reset();
  }

  std::shared_ptr<grpc::Channel> ChannelOf(const std::string& site, ChannelKind kind) const {
    return MakeChannel(
        absl::StrCat("127.0.0.1:", port_),
        Must(TlsChannelCredentials({federation_.anchors(), federation_.InstallSite(site)})), kind);
  }

 private:
  const TestFederation& federation_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace consilium::testing

#endif  // CONSILIUM_TESTS_PROTOCOL_RPC_TEST_SERVER_H_
