// Uploads and downloads through a real server over TLS: what arrives, what is refused and how, and
// what it costs.

#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/core/executor.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/rpc/transfer_client.h"
#include "protocol/rpc/transfer_service.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "tests/protocol/rpc/test_federation.h"
#include "tests/protocol/rpc/test_server.h"

namespace consilium {
namespace {

using ::consilium::testing::Must;
using ::consilium::testing::TestFederation;
using ::consilium::testing::TestServer;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

v1::UpdateHeader Header(const std::string& site, uint64_t payload_bytes) {
  v1::UpdateHeader header;
  header.set_wire_version(limits::kWireVersion);
  header.set_run_id("run");
  header.set_site_id(site);
  header.set_task_id(1);
  header.set_base_model_id(std::string(32, 'b'));
  header.set_layout_hash(std::string(32, 'l'));
  header.set_payload_root(std::string(32, 'r'));
  header.set_encoding(v1::F32);
  header.set_payload_bytes(payload_bytes);
  return header;
}

SharedBytes Payload(size_t size) {
  auto owner = std::make_shared<std::vector<uint8_t>>(size);
  for (size_t i = 0; i < size; ++i) (*owner)[i] = static_cast<uint8_t>((i * 2654435761u) >> 13);
  return {owner, *owner};
}

v1::Reason ReasonOf(const absl::Status& status) { return DetailOf(status).reason(); }

// What the sinks of one test do and have seen.
struct SinkScript {
  std::function<void()> during_data = [] {};
  // Otherwise the receipt is given at once.
  std::function<void(std::function<void(absl::StatusOr<v1::Receipt>)>)> answer;

  absl::Mutex mu;
  absl::Status at_header ABSL_GUARDED_BY(mu), at_data ABSL_GUARDED_BY(mu);
  int opened ABSL_GUARDED_BY(mu) = 0;
  int completed ABSL_GUARDED_BY(mu) = 0;
  std::vector<absl::Status> cancelled ABSL_GUARDED_BY(mu);

  absl::Status WaitForCancelled() {
    absl::MutexLock lock(&mu);
    const auto has_one = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !cancelled.empty(); };
    if (!mu.AwaitWithTimeout(absl::Condition(&has_one), kPatience)) {
      return absl::InternalError("no sink was cancelled");
    }
    return cancelled.front();
  }
};

class ScriptedSink final : public UploadSink {
 public:
  explicit ScriptedSink(SinkScript* script) : script_(script) {
    absl::MutexLock lock(&script_->mu);
    ++script_->opened;
  }
  absl::Status OnHeader(const PeerIdentity& peer, const v1::UpdateHeader& header) override {
    receipt_.set_kind(v1::Receipt::ACCEPTED);
    receipt_.set_site_id(peer.site().value());
    receipt_.set_task_id(header.task_id());
    absl::MutexLock lock(&script_->mu);
    return script_->at_header;
  }
  absl::Status OnData(ByteSpans data) override {
    for (const auto& piece : data) hasher_.Update(piece);
    script_->during_data();
    absl::MutexLock lock(&script_->mu);
    return script_->at_data;
  }
  void OnComplete(std::function<void(absl::StatusOr<v1::Receipt>)> answer) override {
    receipt_.set_update_id(ToBytes(hasher_.Finish()));
    {
      absl::MutexLock lock(&script_->mu);
      ++script_->completed;
    }
    if (script_->answer) return script_->answer(std::move(answer));
    answer(receipt_);
  }
  void OnCancelled(const absl::Status& why) override {
    absl::MutexLock lock(&script_->mu);
    script_->cancelled.push_back(why);
  }

 private:
  SinkScript* const script_;
  v1::Receipt receipt_;
  MerkleHasher hasher_;
};

class TransferTest : public ::testing::Test {
 protected:
  void Start(TransferLimits limits = {}) {
    TransferHandlers handlers;
    handlers.admit = [this](const PeerIdentity& peer) {
      const bool revoked = peer.name.id == "revoked" ||
                           (peer.name.id == "revoked-meanwhile" && admitted_.fetch_add(1) % 2 == 1);
      return revoked ? Refusal(v1::SITE_REVOKED, "revoked") : absl::OkStatus();
    };
    handlers.upload = [this](const PeerIdentity&) {
      return std::make_unique<ScriptedSink>(&script_);
    };
    handlers.download = [this](const PeerIdentity&,
                               const v1::FetchRequest& request) -> absl::StatusOr<Download> {
      if (request.version() != 3) return Refusal(v1::VERSION_UNKNOWN, "no such version");
      return Download{model_, std::make_unique<BufferSource>(model_payload_)};
    };
    service_ = std::make_unique<TransferService>(std::move(handlers), work_.get(), limits);
    server_ =
        std::make_unique<TestServer>(federation_, std::vector<grpc::Service*>{service_.get()});
  }
  void Serve(SharedBytes payload) {
    model_payload_ = payload;
    model_.set_run_id("run");
    model_.set_version(3);
    model_.set_model_id(std::string(32, 'm'));
    model_.set_layout_hash(std::string(32, 'l'));
    model_.set_payload_root(ToBytes(MerkleRootOf(payload.bytes)));
    model_.set_encoding(v1::F32);
    model_.set_payload_bytes(payload.bytes.size());
  }
  std::shared_ptr<grpc::Channel> Bulk(const std::string& site) {
    return server_->ChannelOf(site, ChannelKind::kBulk);
  }
  absl::StatusOr<v1::Receipt> Upload(const std::string& site, size_t bytes,
                                     const TransferOptions& options = {}) {
    BufferSource source(Payload(bytes));
    return UploadUpdate(Bulk(site), Header(site, bytes), source, options);
  }

  // Whatever a peer may send instead: `messages` as they are, then the end of the stream or, where
  // it `lingers`, nothing more.
  enum class Ending { kHalfClose, kCancel, kLinger };
  absl::Status SendRaw(const std::string& site, const std::vector<std::string>& messages,
                       Ending ending) {
    grpc::GenericStub stub(Bulk(site));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    grpc::CompletionQueue queue;
    const auto stream = stub.PrepareCall(&context, "/consilium.v1.Transfer/Submit", &queue);
    void* tag = nullptr;
    bool ok = false;
    stream->StartCall(&tag);
    queue.Next(&tag, &ok);
    for (const std::string& message : messages) {
      const grpc::Slice slice(message);
      stream->Write(grpc::ByteBuffer(&slice, 1), &tag);
      queue.Next(&tag, &ok);
    }
    if (ending == Ending::kHalfClose) {
      stream->WritesDone(&tag);
      queue.Next(&tag, &ok);
    } else if (ending == Ending::kCancel) {
      // The server has begun to take it: nothing is tested by a call that never arrived.
      absl::MutexLock lock(&script_.mu);
      const auto opened = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return script_.opened > 0; };
      script_.mu.AwaitWithTimeout(absl::Condition(&opened), kPatience);
      context.TryCancel();
    }
    grpc::Status status;
    stream->Finish(&status, &tag);
    queue.Next(&tag, &ok);
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
    return FromGrpcStatus(status);
  }
  // Nothing of the server runs after this: for tests whose sinks refer to their local variables.
  void Drain() {
    server_->Stop();
    work_.reset();
  }
  static std::string ChunkOf(const v1::UpdateHeader* header, size_t data_bytes) {
    v1::Chunk chunk;
    if (header != nullptr) *chunk.mutable_update() = *header;
    chunk.set_data(std::string(data_bytes, 'd'));
    return chunk.SerializeAsString();
  }

  TestFederation federation_;
  SinkScript script_;
  std::atomic<int> admitted_ = 0;  // Of "revoked-meanwhile".
  v1::ModelHeader model_;
  SharedBytes model_payload_;
  std::unique_ptr<Executor> work_ = std::make_unique<Executor>(4, 512);
  std::unique_ptr<TransferService> service_;
  std::unique_ptr<TestServer> server_;
};

TEST_F(TransferTest, FortyMegabytesUpArriveWhole) {
  Start();
  const size_t bytes = (40 << 20) + 12;
  const v1::Receipt receipt = Must(Upload("a", bytes));
  EXPECT_EQ(receipt.site_id(), "a");
  EXPECT_EQ(receipt.update_id(), ToBytes(MerkleRootOf(Payload(bytes).bytes)));
}

class Collector final : public ModelSink {
 public:
  absl::Status OnHeader(const v1::ModelHeader& header) override {
    header_ = header;
    return absl::OkStatus();
  }
  absl::Status OnData(ByteSpans data) override {
    for (const auto& piece : data) {
      hasher_.Update(piece);
      bytes_ += piece.size();
    }
    return stop_after_ != 0 && bytes_ >= stop_after_ ? absl::AbortedError("enough")
                                                     : absl::OkStatus();
  }
  v1::ModelHeader header_;
  MerkleHasher hasher_;
  size_t bytes_ = 0;
  size_t stop_after_ = 0;
};

v1::FetchRequest Request(const std::string& have = "") {
  v1::FetchRequest request;
  request.set_run_id("run");
  request.set_version(3);
  request.set_have_model_id(have);
  return request;
}

TEST_F(TransferTest, FortyMegabytesDownArriveWhole) {
  Serve(Payload((40 << 20) + 8));
  Start();
  Collector sink;
  const v1::ModelHeader header = Must(FetchModel(Bulk("a"), Request(), sink));
  EXPECT_EQ(ToBytes(sink.hasher_.Finish()), header.payload_root());
  EXPECT_EQ(sink.bytes_, header.payload_bytes());
}

TEST_F(TransferTest, AModelThatTheSiteHasIsNotSentAgain) {
  Serve(Payload(1 << 20));
  Start();
  Collector sink;
  EXPECT_EQ(Must(FetchModel(Bulk("a"), Request(std::string(32, 'm')), sink)).version(), 3u);
  EXPECT_EQ(sink.bytes_, 0u);
}

TEST_F(TransferTest, DownloadErrorsComeWithTheirReason) {
  Serve(Payload(8 << 20));
  Start();
  Collector sink;
  v1::FetchRequest request = Request();
  request.set_version(4);
  EXPECT_EQ(ReasonOf(FetchModel(Bulk("a"), request, sink).status()), v1::VERSION_UNKNOWN);
  EXPECT_EQ(ReasonOf(FetchModel(Bulk("revoked"), Request(), sink).status()), v1::SITE_REVOKED);
  request.set_run_id(std::string(100000, 'x'));
  EXPECT_EQ(ReasonOf(FetchModel(Bulk("a"), request, sink).status()), v1::MALFORMED);
  // The sink's own error ends it too.
  sink.stop_after_ = 1 << 20;
  EXPECT_EQ(FetchModel(Bulk("a"), Request(), sink).status(), absl::AbortedError("enough"));
}

TEST_F(TransferTest, AModelThatIsNotItsHeaderIsRefusedByTheSite) {
  Serve(Payload(4 << 20));
  model_.set_version(2);
  Start();
  Collector sink;
  EXPECT_EQ(ReasonOf(FetchModel(Bulk("a"), Request(), sink).status()), v1::MALFORMED);
}

TEST_F(TransferTest, AnotherSitesIdInTheHeaderIsRefused) {
  Start();
  BufferSource source(Payload(1024));
  const absl::Status status = UploadUpdate(Bulk("a"), Header("b", 1024), source).status();
  EXPECT_EQ(ReasonOf(status), v1::IDENTITY_MISMATCH);
  EXPECT_TRUE(Upload("b", 1024).ok());
}

TEST_F(TransferTest, ARevokedSiteIsRefused) {
  Start();
  EXPECT_EQ(ReasonOf(Upload("revoked", 1024).status()), v1::SITE_REVOKED);
}

// A revocation between the first look and the entry among the calls that Disconnect() ends.
TEST_F(TransferTest, ASiteThatIsRevokedWhileItsCallBeginsIsRefused) {
  Start();
  Serve(Payload(1024));
  EXPECT_EQ(ReasonOf(Upload("revoked-meanwhile", 1024).status()), v1::SITE_REVOKED);
  Collector sink;
  EXPECT_EQ(ReasonOf(FetchModel(Bulk("revoked-meanwhile"), Request(), sink).status()),
            v1::SITE_REVOKED);
}

TEST_F(TransferTest, HeadersAreChecked) {
  Start();
  const auto send = [this](const v1::UpdateHeader& header) {
    return ReasonOf(SendRaw("a", {ChunkOf(&header, 4)}, Ending::kHalfClose));
  };
  v1::UpdateHeader header = Header("a", 4);
  header.set_wire_version(99);
  EXPECT_EQ(send(header), v1::WIRE_VERSION);
  EXPECT_EQ(send(Header("a", limits::kPayloadBytesMax + 4)), v1::OVERSIZE);
  header = Header("a", 4);
  header.set_payload_root("short");
  EXPECT_EQ(send(header), v1::MALFORMED);
  absl::MutexLock lock(&script_.mu);
  EXPECT_EQ(script_.opened, 0);
}

TEST_F(TransferTest, WhatIsNoUploadIsRefused) {
  Start();
  const v1::UpdateHeader header = Header("a", 1 << 20);
  const auto send = [this](const std::vector<std::string>& messages) {
    return ReasonOf(SendRaw("a", messages, Ending::kHalfClose));
  };
  EXPECT_EQ(send({"\xff\xff\xff\xff"}), v1::MALFORMED);
  EXPECT_EQ(send({""}), v1::MALFORMED);
  EXPECT_EQ(send({ChunkOf(nullptr, 4)}), v1::MALFORMED);
  EXPECT_EQ(send({ChunkOf(&header, 4), ChunkOf(&header, 4)}), v1::MALFORMED);
  // Endless empty chunks would never reach a limit of bytes.
  EXPECT_EQ(send({ChunkOf(&header, 4), ""}), v1::MALFORMED);
  EXPECT_EQ(send({ChunkOf(&header, 4), ChunkOf(nullptr, limits::kChunkBytesMax + 1)}),
            v1::OVERSIZE);
  EXPECT_EQ(send({}), v1::TRUNCATED);
}

TEST_F(TransferTest, BytesBeyondTheDeclaredAreRefused) {
  Start();
  const v1::UpdateHeader header = Header("a", 1000);
  EXPECT_EQ(
      ReasonOf(SendRaw("a", {ChunkOf(&header, 1000), ChunkOf(nullptr, 1)}, Ending::kHalfClose)),
      v1::OVERSIZE);
  EXPECT_EQ(ReasonOf(script_.WaitForCancelled()), v1::OVERSIZE);
  absl::MutexLock lock(&script_.mu);
  EXPECT_EQ(script_.completed, 0);
}

TEST_F(TransferTest, ATruncatedStreamIsRefusedAndItsSinkTold) {
  Start();
  const v1::UpdateHeader header = Header("a", 1000);
  EXPECT_EQ(ReasonOf(SendRaw("a", {ChunkOf(&header, 996)}, Ending::kHalfClose)), v1::TRUNCATED);
  EXPECT_EQ(ReasonOf(script_.WaitForCancelled()), v1::TRUNCATED);
}

TEST_F(TransferTest, APeerThatVanishesLeavesNothingBehind) {
  Start();
  const v1::UpdateHeader header = Header("a", 1000);
  SendRaw("a", {ChunkOf(&header, 4)}, Ending::kCancel).IgnoreError();
  EXPECT_EQ(ReasonOf(script_.WaitForCancelled()), v1::TRUNCATED);
}

TEST_F(TransferTest, ASilentStreamIsGivenUp) {
  TransferLimits limits;
  limits.idle_max = absl::Milliseconds(200);
  Start(limits);
  const v1::UpdateHeader header = Header("a", 1000);
  const absl::Status status = SendRaw("a", {ChunkOf(&header, 4)}, Ending::kLinger);
  EXPECT_EQ(ReasonOf(status), v1::TRUNCATED);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nothing moved"));
  EXPECT_EQ(ReasonOf(script_.WaitForCancelled()), v1::TRUNCATED);
  // Before its first byte, too.
  EXPECT_EQ(ReasonOf(SendRaw("a", {}, Ending::kLinger)), v1::TRUNCATED);
}

TEST_F(TransferTest, ErrorsOfTheSinkReachThePeer) {
  Start();
  const auto script = [this](const absl::Status& at_header, const absl::Status& at_data) {
    absl::MutexLock lock(&script_.mu);
    script_.at_header = at_header;
    script_.at_data = at_data;
  };
  script(Refusal(v1::TASK_UNKNOWN, "no such task"), absl::OkStatus());
  EXPECT_EQ(ReasonOf(Upload("a", 4 << 20).status()), v1::TASK_UNKNOWN);
  script(absl::OkStatus(), Refusal(v1::NOT_FINITE, "a NaN"));
  EXPECT_EQ(ReasonOf(Upload("a", 64 << 20).status()), v1::NOT_FINITE);
  script(absl::OkStatus(), absl::OkStatus());
  script_.answer = [](auto answer) { answer(Refusal(v1::HASH_MISMATCH, "other bytes")); };
  EXPECT_EQ(ReasonOf(Upload("a", 1024).status()), v1::HASH_MISMATCH);
  absl::MutexLock lock(&script_.mu);
  EXPECT_TRUE(script_.cancelled.empty());
}

TEST_F(TransferTest, TheAnswerMayComeLateAndFromElsewhere) {
  Start();
  Executor elsewhere(1, 1);
  script_.answer = [&elsewhere](std::function<void(absl::StatusOr<v1::Receipt>)> answer) {
    elsewhere.Run([answer = std::move(answer)] {
      v1::Receipt receipt;
      receipt.set_sequence(42);
      answer(receipt);
    });
  };
  EXPECT_EQ(Must(Upload("a", 1024)).sequence(), 42u);
  Drain();
}

TEST_F(TransferTest, AnAnswerToAPeerThatIsGoneIsDropped) {
  Start();
  absl::Mutex mu;
  std::function<void(absl::StatusOr<v1::Receipt>)> late;
  absl::Notification asked;
  script_.answer = [&](std::function<void(absl::StatusOr<v1::Receipt>)> answer) {
    absl::MutexLock lock(&mu);
    late = std::move(answer);
    asked.Notify();
  };
  TransferCancel cancel;
  TransferOptions options;
  options.cancel = &cancel;
  std::thread canceller([&] {
    asked.WaitForNotification();
    cancel.Cancel();
  });
  EXPECT_EQ(Upload("a", 1024, options).status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  Drain();
  absl::MutexLock lock(&mu);
  late(v1::Receipt());
}

TEST_F(TransferTest, StreamsBeyondTheLimitAreToldToComeBack) {
  TransferLimits limits;
  limits.uploads_per_site_max = 2;
  limits.uploads_max = 3;
  Start(limits);
  absl::Notification go;
  absl::Mutex mu;
  int inside = 0;
  script_.during_data = [&] {
    {
      absl::MutexLock lock(&mu);
      ++inside;
    }
    go.WaitForNotification();
  };
  std::vector<std::thread> threads;
  std::atomic<int> accepted{0};
  for (const char* site : {"a", "a", "b"}) {
    const auto wait_for = static_cast<int>(threads.size()) + 1;
    threads.emplace_back([this, site, &accepted] { accepted += Upload(site, 1024).ok(); });
    absl::MutexLock lock(&mu);
    const auto entered = [&inside, wait_for] { return inside >= wait_for; };
    ASSERT_TRUE(mu.AwaitWithTimeout(absl::Condition(&entered), kPatience));
  }
  const absl::Status of_site = Upload("a", 1024).status();
  EXPECT_EQ(ReasonOf(of_site), v1::BUSY);
  EXPECT_GT(DetailOf(of_site).retry_after_ms(), 0u);
  EXPECT_TRUE(DetailOf(of_site).retryable());
  EXPECT_EQ(ReasonOf(Upload("c", 1024).status()), v1::BUSY);
  go.Notify();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(accepted, 3);
  EXPECT_TRUE(Upload("c", 1024).ok());
  Drain();
}

TEST_F(TransferTest, ARevokedSitesTransfersEnd) {
  Start();
  const v1::UpdateHeader header = Header("a", 1000);
  std::thread revoker([this] {
    absl::MutexLock lock(&script_.mu);
    const auto opened = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return script_.opened > 0; };
    script_.mu.AwaitWithTimeout(absl::Condition(&opened), kPatience);
    service_->Disconnect(SiteId("other"), Refusal(v1::SITE_REVOKED, "not this one"));
    service_->Disconnect(SiteId("a"), Refusal(v1::SITE_REVOKED, "revoked now"));
  });
  EXPECT_EQ(SendRaw("a", {ChunkOf(&header, 4)}, Ending::kLinger).message(), "revoked now");
  revoker.join();
  EXPECT_EQ(ReasonOf(script_.WaitForCancelled()), v1::SITE_REVOKED);
}

// A payload of any length that is nowhere in memory, and counts what was asked of it.
class ZeroSource final : public PayloadSource {
 public:
  absl::StatusOr<SharedBytes> Read(uint64_t offset) override {
    asked_ = offset;
    return SharedBytes{chunk_, *chunk_};
  }
  std::atomic<uint64_t> asked_{0};

 private:
  std::shared_ptr<const std::vector<uint8_t>> chunk_ =
      std::make_shared<std::vector<uint8_t>>(limits::kChunkBytes);
};

TEST_F(TransferTest, ASlowSinkHoldsThePeerBack) {
  Start();
  absl::Notification late;
  script_.during_data = [&] { late.WaitForNotification(); };
  ZeroSource source;
  TransferOptions options;
  options.idle_max = absl::Seconds(2);
  // The sink takes nothing: the peer soon can not send, and gives up.
  const absl::Status status =
      UploadUpdate(Bulk("a"), Header("a", uint64_t{1} << 30), source, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(source.asked_, uint64_t{64} << 20);
  late.Notify();
  Drain();
}

TEST_F(TransferTest, ATransferCanBeCancelledBeforeAndWhileItRuns) {
  Start();
  TransferCancel before;
  before.Cancel();
  TransferOptions options;
  options.cancel = &before;
  EXPECT_EQ(Upload("a", 1024, options).status().code(), absl::StatusCode::kCancelled);

  TransferCancel during;
  options.cancel = &during;
  script_.during_data = [&during] { during.Cancel(); };
  ZeroSource source;
  EXPECT_EQ(
      UploadUpdate(Bulk("a"), Header("a", uint64_t{1} << 34), source, options).status().code(),
      absl::StatusCode::kCancelled);
  Drain();
}

TEST_F(TransferTest, NoServerIsUnavailable) {
  Start();
  const auto channel = Bulk("a");
  server_->Stop();
  BufferSource source(Payload(1024));
  const absl::Status status = UploadUpdate(channel, Header("a", 1024), source).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(DetailOf(status).retryable());
}

}  // namespace
}  // namespace consilium
