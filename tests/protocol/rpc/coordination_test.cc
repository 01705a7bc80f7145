// The control stream between a real server and real clients over TLS.

#include <grpcpp/client_context.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "consilium/v1/coordination.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/coordination_link.h"
#include "protocol/rpc/coordination_service.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "tests/protocol/rpc/test_federation.h"
#include "tests/protocol/rpc/test_server.h"

namespace consilium {
namespace {

using ::consilium::testing::TestFederation;
using ::consilium::testing::TestServer;

constexpr absl::Duration kPatience = absl::Seconds(30);

// Waits for a condition under a mutex; a test fails where it does not come.
template <typename F>
void Await(absl::Mutex& mu, F condition) {
  absl::MutexLock lock(&mu);
  ASSERT_TRUE(mu.AwaitWithTimeout(absl::Condition(&condition), kPatience));
}

// Remembers what happened at the aggregator's side, per site.
class Recorder final : public CoordinationHandler {
 public:
  absl::Status Admit(const PeerIdentity& peer) override {
    return peer.name.id == "revoked" ? Refusal(v1::SITE_REVOKED, "revoked") : absl::OkStatus();
  }
  absl::Status OnEvent(const std::shared_ptr<SiteStream>& stream, v1::SiteEvent event) override {
    if (on_event) CONSILIUM_RETURN_IF_ERROR(on_event(stream, event));
    absl::MutexLock lock(&mu);
    streams[stream->peer().name.id] = stream;
    events[stream->peer().name.id].push_back(std::move(event));
    return absl::OkStatus();
  }
  void OnDetach(const std::shared_ptr<SiteStream>& stream, const absl::Status& why) override {
    absl::MutexLock lock(&mu);
    detached[stream->peer().name.id].push_back(why);
  }

  std::shared_ptr<SiteStream> AwaitStream(const std::string& site) {
    Await(mu, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return streams.contains(site); });
    absl::MutexLock lock(&mu);
    return streams[site];
  }
  absl::Status AwaitDetach(const std::string& site) {
    Await(mu, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return detached.contains(site); });
    absl::MutexLock lock(&mu);
    return detached[site].front();
  }

  std::function<absl::Status(const std::shared_ptr<SiteStream>&, const v1::SiteEvent&)> on_event;
  absl::Mutex mu;
  absl::flat_hash_map<std::string, std::shared_ptr<SiteStream>> streams ABSL_GUARDED_BY(mu);
  absl::flat_hash_map<std::string, std::vector<v1::SiteEvent>> events ABSL_GUARDED_BY(mu);
  absl::flat_hash_map<std::string, std::vector<absl::Status>> detached ABSL_GUARDED_BY(mu);
};

// Remembers what happened at a site's side.
class SiteRecorder final : public CoordinationLink::Handler {
 public:
  void OnDirective(v1::Directive directive) override {
    absl::MutexLock lock(&mu);
    directives.push_back(std::move(directive));
  }
  void OnClosed(const absl::Status& why) override {
    absl::MutexLock lock(&mu);
    closed.push_back(why);
  }
  absl::Status AwaitClosed() {
    Await(mu, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !closed.empty(); });
    absl::MutexLock lock(&mu);
    return closed.empty() ? absl::InternalError("never closed") : closed.front();
  }
  void AwaitDirectives(size_t count) {
    Await(mu, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return directives.size() >= count; });
  }

  absl::Mutex mu;
  std::vector<v1::Directive> directives ABSL_GUARDED_BY(mu);
  std::vector<absl::Status> closed ABSL_GUARDED_BY(mu);
};

v1::Hello Hello() {
  v1::Hello hello;
  hello.set_wire_version(limits::kWireVersion);
  hello.set_incarnation(7);
  return hello;
}

v1::SiteEvent Decision(int number) {
  v1::SiteEvent event;
  event.mutable_run_decision()->set_run_id(std::to_string(number));
  return event;
}

v1::Directive Offer(uint64_t task) {
  v1::Directive directive;
  directive.mutable_task_offer()->set_task_id(task);
  return directive;
}

class CoordinationTest : public ::testing::Test {
 protected:
  void Start(CoordinationLimits limits = {}) {
    service_ = std::make_unique<CoordinationService>(&recorder_, limits);
    server_ =
        std::make_unique<TestServer>(federation_, std::vector<grpc::Service*>{service_.get()});
  }
  std::shared_ptr<grpc::Channel> Control(const std::string& site) {
    return server_->ChannelOf(site, ChannelKind::kControl);
  }
  // A peer that sends `events` as they are, reads nothing until the end, and says how it ended.
  absl::Status SendRaw(const std::string& site, const std::vector<v1::SiteEvent>& events) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    const auto stub = v1::Coordination::NewStub(Control(site));
    const auto stream = stub->Attach(&context);
    for (const v1::SiteEvent& event : events) stream->Write(event);
    v1::Directive directive;
    while (stream->Read(&directive)) {
    }
    return FromGrpcStatus(stream->Finish());
  }

  TestFederation federation_;
  Recorder recorder_;
  std::unique_ptr<CoordinationService> service_;
  std::unique_ptr<TestServer> server_;
};

TEST_F(CoordinationTest, EventsAndDirectivesArriveInOrderAndAreTheirSites) {
  Start();
  SiteRecorder a_record, b_record;
  CoordinationLink a(Control("a"), Hello(), &a_record);
  CoordinationLink b(Control("b"), Hello(), &b_record);
  const auto a_stream = recorder_.AwaitStream("a");
  const auto b_stream = recorder_.AwaitStream("b");
  for (int i = 0; i < 300; ++i) {
    EXPECT_TRUE(a.Send(Decision(i)));
    EXPECT_TRUE(a_stream->Send(Offer(i)));
  }
  EXPECT_TRUE(b_stream->Send(Offer(1000)));
  a_record.AwaitDirectives(300);
  b_record.AwaitDirectives(1);
  Await(recorder_.mu,
        [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return recorder_.events["a"].size() >= 301; });
  absl::MutexLock lock(&recorder_.mu);
  EXPECT_EQ(recorder_.events["a"][0].hello().incarnation(), 7u);
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(recorder_.events["a"][i + 1].run_decision().run_id(), std::to_string(i));
  }
  EXPECT_EQ(recorder_.events["b"].size(), 1u);
  absl::MutexLock a_lock(&a_record.mu);
  for (uint64_t i = 0; i < 300; ++i) {
    EXPECT_EQ(a_record.directives[i].task_offer().task_id(), i);
  }
  absl::MutexLock b_lock(&b_record.mu);
  EXPECT_EQ(b_record.directives[0].task_offer().task_id(), 1000u);
}

TEST_F(CoordinationTest, ASiteThatLeavesIsDetachedOnce) {
  Start();
  SiteRecorder record;
  auto link = std::make_unique<CoordinationLink>(Control("a"), Hello(), &record);
  const auto stream = recorder_.AwaitStream("a");
  link.reset();
  EXPECT_EQ(record.AwaitClosed().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(recorder_.AwaitDetach("a").code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(stream->Send(Offer(1)));
  stream->Close(absl::OkStatus());
  server_->Stop();
  absl::MutexLock lock(&recorder_.mu);
  EXPECT_EQ(recorder_.detached["a"].size(), 1u);
}

TEST_F(CoordinationTest, WhatWasQueuedIsSentBeforeAnOrderlyEnd) {
  Start();
  SiteRecorder record;
  CoordinationLink link(Control("a"), Hello(), &record);
  const auto stream = recorder_.AwaitStream("a");
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(stream->Send(Offer(i)));
  stream->Close(absl::OkStatus());
  EXPECT_FALSE(stream->Send(Offer(100)));
  EXPECT_TRUE(record.AwaitClosed().ok());
  EXPECT_TRUE(recorder_.AwaitDetach("a").ok());
  absl::MutexLock lock(&record.mu);
  EXPECT_EQ(record.directives.size(), 100u);
}

TEST_F(CoordinationTest, RefusalsReachTheSiteWithTheirReason) {
  Start();
  recorder_.on_event = [](const std::shared_ptr<SiteStream>&, const v1::SiteEvent& event) {
    if (event.has_hello()) return absl::OkStatus();
    return Refusal(v1::BUSY, "the engine's queue is full");
  };
  SiteRecorder record;
  CoordinationLink link(Control("a"), Hello(), &record);
  recorder_.AwaitStream("a");
  EXPECT_TRUE(link.Send(Decision(1)));
  EXPECT_EQ(DetailOf(record.AwaitClosed()).reason(), v1::BUSY);
  EXPECT_EQ(DetailOf(recorder_.AwaitDetach("a")).reason(), v1::BUSY);
}

TEST_F(CoordinationTest, AStreamBeginsWithOneHello) {
  Start();
  v1::SiteEvent hello;
  *hello.mutable_hello() = Hello();
  EXPECT_EQ(DetailOf(SendRaw("a", {Decision(1)})).reason(), v1::MALFORMED);
  EXPECT_EQ(DetailOf(SendRaw("a", {hello, hello})).reason(), v1::MALFORMED);
  EXPECT_EQ(DetailOf(SendRaw("a", {hello, v1::SiteEvent()})).reason(), v1::MALFORMED);
  absl::MutexLock lock(&recorder_.mu);
  EXPECT_EQ(recorder_.events["a"].size(), 2u);  // The two Hellos alone.
}

TEST_F(CoordinationTest, AHelloMustComeInTime) {
  CoordinationLimits limits;
  limits.hello_timeout = absl::Milliseconds(200);
  Start(limits);
  EXPECT_EQ(DetailOf(SendRaw("a", {})).reason(), v1::MALFORMED);
}

TEST_F(CoordinationTest, RevokedSitesAreRefusedAndCutOff) {
  Start();
  SiteRecorder refused;
  CoordinationLink never(Control("revoked"), Hello(), &refused);
  EXPECT_EQ(DetailOf(refused.AwaitClosed()).reason(), v1::SITE_REVOKED);

  SiteRecorder record, bystander;
  CoordinationLink link(Control("a"), Hello(), &record);
  CoordinationLink other(Control("b"), Hello(), &bystander);
  recorder_.AwaitStream("a");
  const auto b_stream = recorder_.AwaitStream("b");
  service_->Disconnect(SiteId("a"), Refusal(v1::SITE_REVOKED, "revoked now"));
  EXPECT_EQ(DetailOf(record.AwaitClosed()).reason(), v1::SITE_REVOKED);
  EXPECT_TRUE(b_stream->Send(Offer(1)));
  bystander.AwaitDirectives(1);
}

TEST_F(CoordinationTest, ASiteThatDoesNotReadIsDisconnected) {
  CoordinationLimits limits;
  limits.directive_queue_max = 64;
  Start(limits);
  SiteRecorder bystander;
  CoordinationLink other(Control("b"), Hello(), &bystander);
  const auto b_stream = recorder_.AwaitStream("b");

  grpc::ClientContext context;
  const auto stub = v1::Coordination::NewStub(Control("slow"));
  const auto slow = stub->Attach(&context);
  v1::SiteEvent hello;
  *hello.mutable_hello() = Hello();
  slow->Write(hello);
  const auto stream = recorder_.AwaitStream("slow");
  v1::Directive large;
  large.mutable_run_ended()->set_why(std::string(1 << 20, 'x'));
  int sent = 0;
  while (sent < 10000 && stream->Send(large)) ++sent;
  EXPECT_LT(sent, 200);  // The queue's 64, and what lay in the network's buffers.
  EXPECT_EQ(DetailOf(recorder_.AwaitDetach("slow")).reason(), v1::BUSY);
  EXPECT_TRUE(b_stream->Send(Offer(1)));
  bystander.AwaitDirectives(1);
  context.TryCancel();
}

TEST_F(CoordinationTest, AnEventBeyondTheLimitEndsTheStream) {
  Start();
  grpc::ClientContext context;
  const auto stub = v1::Coordination::NewStub(Control("a"));
  const auto stream = stub->Attach(&context);
  v1::SiteEvent hello, large;
  *hello.mutable_hello() = Hello();
  stream->Write(hello);
  recorder_.AwaitStream("a");  // Else what comes after may end the stream before Hello is read.
  large.mutable_run_decision()->set_message(std::string(limits::kControlMessageBytesMax + 1, 'x'));
  stream->Write(large);
  EXPECT_FALSE(stream->Finish().ok());
  recorder_.AwaitDetach("a").IgnoreError();
  absl::MutexLock lock(&recorder_.mu);
  EXPECT_EQ(recorder_.events["a"].size(), 1u);
}

TEST_F(CoordinationTest, ASiteHearsThatTheAggregatorIsGone) {
  Start();
  SiteRecorder record;
  CoordinationLink link(Control("a"), Hello(), &record);
  recorder_.AwaitStream("a");
  const auto channel = Control("b");
  server_->Stop();
  EXPECT_TRUE(DetailOf(record.AwaitClosed()).retryable());
  EXPECT_FALSE(link.Send(Decision(1)));
  SiteRecorder never;
  CoordinationLink late(channel, Hello(), &never);
  EXPECT_EQ(never.AwaitClosed().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace consilium
