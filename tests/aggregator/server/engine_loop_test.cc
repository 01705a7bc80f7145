// Between an input and its consequences: nothing leaves before it is durable, a full disk
// acknowledges nothing, a restart finds the same state.

#include "aggregator/server/engine_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/journal_codec.h"
#include "aggregator/server/journal_head.h"
#include "aggregator/server/upload_session.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/server/server_parts.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

using federation::MakePlan;

const SiteId kSite("north");
const RunId kRun("run-1");

class RecordingLink final : public SiteLink {
 public:
  enum class Life { kLives, kHasEnded };
  explicit RecordingLink(Life life = Life::kLives) : life_(life) {}
  bool Welcome() override { return life_ == Life::kLives; }
  void Send(v1::Directive directive) override {
    absl::MutexLock lock(&mu_);
    directives_.push_back(std::move(directive));
  }
  void End(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    ended_ = status;
  }
  v1::Directive Await(v1::Directive::DirectiveCase kind) {
    absl::MutexLock lock(&mu_);
    const auto find = [&] {
      return std::find_if(directives_.begin(), directives_.end(),
                          [kind](const v1::Directive& d) { return d.directive_case() == kind; });
    };
    const auto is_there = [&] { return find() != directives_.end(); };
    if (!mu_.AwaitWithTimeout(absl::Condition(&is_there), absl::Seconds(60))) {
      ADD_FAILURE() << "the directive did not come";
      return {};
    }
    const v1::Directive found = *find();
    directives_.erase(directives_.begin(), std::next(find()));
    return found;
  }

 private:
  const Life life_;
  absl::Mutex mu_;
  std::deque<v1::Directive> directives_;
  absl::Status ended_;
};

class EngineLoopTest : public ::testing::Test {
 protected:
  // The site is added, attached, approved, and has version 0 and a task.
  void BeginRun(const federation::PlanOptions& plan = {}) {
    ASSERT_THAT(parts_.loop().PostAndWait(federation::SiteAdded{kSite, Lease(0)}), IsOk());
    Attach();
    ASSERT_THAT(parts_.loop().PostAndWait(federation::RunSubmitted{kRun, MakePlan(plan)}), IsOk());
    const v1::RunOffer offer = link_->Await(v1::Directive::kRunOffer).run_offer();
    federation::RunDecided decided;
    decided.site = kSite;
    decided.run = kRun;
    decided.plan_hash = *DigestFromBytes(offer.plan_hash());
    decided.answer = federation::RunDecided::Answer::kApproved;
    decided.train_examples = 10;
    ASSERT_THAT(parts_.loop().PostAndWait(decided), IsOk());
    // Which of the two comes first is the engine's business.
    task_ = link_->Await(v1::Directive::kTaskOffer).task_offer();
    model_ = *parts_.runs().FindModel(kRun, Version(0));
  }
  void Attach(const std::vector<federation::SiteAttached::Held>& held = {}) {
    link_ = std::make_shared<RecordingLink>();
    EngineInput input;
    federation::SiteAttached attached;
    attached.site = kSite;
    attached.incarnation = Incarnation(++attaches_);
    attached.lease_presented_hash = Lease(attaches_ - 1);
    attached.lease_next_hash = Lease(attaches_);
    attached.held_receipts = held;
    input.event = attached;
    input.link = link_;
    ASSERT_TRUE(parts_.loop().Post(std::move(input)));
    ASSERT_THAT(parts_.loop().PostAndWait(federation::LeaseConfirmed{kSite, Lease(attaches_)}),
                IsOk());
  }
  static Digest Lease(uint64_t number) { return Sha256Of(absl::StrCat("lease ", number)); }

  v1::UpdateHeader HeaderOf(const std::vector<float>& values) const {
    v1::UpdateHeader header;
    header.set_wire_version(limits::kWireVersion);
    header.set_run_id(kRun.value());
    header.set_site_id(kSite.value());
    header.set_task_id(task_.task_id());
    header.set_incarnation(attaches_);
    header.set_base_model_id(model_.model_id());
    header.set_layout_hash(model_.layout_hash());
    header.set_encoding(v1::F32);
    header.set_payload_bytes(values.size() * sizeof(float));
    header.set_payload_root(ToBytes(MerkleRootOf(BytesOf(values))));
    header.set_steps(3);
    header.set_examples(10);
    return header;
  }
  static std::span<const uint8_t> BytesOf(const std::vector<float>& values) {
    return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
  }
  static PeerIdentity Peer() {
    PeerIdentity peer;
    peer.name = {.federation = "f", .kind = PeerKind::kSite, .id = kSite.value()};
    return peer;
  }
  UploadSession::Staged Stage(const std::vector<float>& values, size_t portion) {
    auto session = UploadSession::Begin(
        {.runs = parts_.runs(), .vectors = parts_.vectors(), .staged = parts_.staged()}, Peer(),
        HeaderOf(values));
    EXPECT_THAT(session, IsOk());
    std::span<const uint8_t> bytes = BytesOf(values);
    while (!bytes.empty()) {
      const size_t size = std::min(portion, bytes.size());
      EXPECT_THAT((*session)->Append(bytes.first(size)), IsOk());
      bytes = bytes.subspan(size);
    }
    auto staged = (*session)->Finish();
    EXPECT_THAT(staged, IsOk());
    return *std::move(staged);
  }
  absl::StatusOr<v1::Receipt> Deliver(UploadSession::Staged staged) {
    absl::Notification answered;
    absl::StatusOr<v1::Receipt> answer;
    EngineInput input;
    input.event = std::move(staged.event);
    input.hold = std::move(staged.hold);
    input.answer = [&](absl::StatusOr<v1::Receipt> receipt) {
      answer = std::move(receipt);
      answered.Notify();
    };
    EXPECT_TRUE(parts_.loop().TryPost(std::move(input)));
    answered.WaitForNotification();
    return answer;
  }
  // Delivers the same numbers for the next `count` tasks.
  void DeliverEach(const std::vector<float>& values, int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_THAT(Deliver(Stage(values, 100)), IsOk());
      task_ = link_->Await(v1::Directive::kTaskOffer).task_offer();
    }
  }
  void AwaitVersion(Version version) {
    bool there = false;
    while (!there) {
      ASSERT_THAT(parts_.loop().Inspect([&](const federation::FederationEngine& engine) {
        there = engine.runs().at(kRun).versions.size() > version.value();
      }),
                  IsOk());
    }
  }
  std::vector<float> WeightsOf(Version version) {
    std::vector<float> weights(4);
    const auto vectors = parts_.vectors().Get(kRun, weights.size());
    EXPECT_THAT(vectors, IsOk());
    const auto reader = (*vectors)->OpenForReading(VectorName::Model(version));
    EXPECT_THAT(reader, IsOk());
    const auto read = (*reader)->Read(0, weights);
    EXPECT_THAT(read, IsOk());
    return std::vector<float>(read->begin(), read->end());
  }
  // What lies on disk, once the engine has settled everything before.
  size_t Blobs() {
    EXPECT_THAT(parts_.loop().Inspect([](const federation::FederationEngine&) {}), IsOk());
    EXPECT_THAT(parts_.loop().Inspect([](const federation::FederationEngine&) {}), IsOk());
    return (*parts_.store().Blobs(kRun))->List()->size();
  }

  ServerParts parts_;
  std::shared_ptr<RecordingLink> link_;
  uint64_t attaches_ = 0;
  v1::TaskOffer task_;
  v1::ModelHeader model_;
};

TEST_F(EngineLoopTest, TheJournalIsTheState) {
  BeginRun();
  ASSERT_THAT(Deliver(Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100)), IsOk());
  const Digest state = parts_.StateDigest();
  federation::FederationEngine replayed;
  ASSERT_THAT(parts_.store().ReadJournal(
                  Sequence(1),
                  [&replayed](const ChainRow& row) {
                    v1::JournalEntry entry;
                    entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size()));
                    const auto input = federation::DecodeJournalEntry(std::move(entry));
                    replayed.Step(input->now, input->event);
                    return input.status();
                  }),
              IsOk());
  EXPECT_EQ(replayed.StateDigest(), state);
}

TEST_F(EngineLoopTest, ARestartGoesOn) {
  BeginRun();
  const auto receipt = Deliver(Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100));
  parts_.Start();
  Attach();
  const auto again = Deliver(Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100));
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->SerializeAsString(), receipt->SerializeAsString());
  task_ = link_->Await(v1::Directive::kTaskOffer).task_offer();
  EXPECT_THAT(Deliver(Stage({1, 2, 3, 4}, 100)), IsOk());
}

// Its two updates are in a version while its stream is gone.
TEST_F(EngineLoopTest, SignsReceiptsForThoseWhoReceiveThem) {
  BeginRun();
  const auto first = Deliver(Stage({1, 2, 3, 4}, 100));
  ASSERT_THAT(first, IsOk());
  task_ = link_->Await(v1::Directive::kTaskOffer).task_offer();
  parts_.links().Remove(kSite, link_.get());
  ASSERT_THAT(Deliver(Stage({4, 3, 2, 1}, 100)), IsOk());
  AwaitVersion(Version(1));
  Blobs();
  EXPECT_EQ(parts_.receipts().signed_receipts, 2);  // Of acceptance, which the uploads waited for.
  // What was not sent is, when it is asked for, and as often the same.
  std::string included;
  for (int times = 1; times <= 2; ++times) {
    ASSERT_THAT(parts_.loop().PostAndWait(federation::SiteLost{kSite, Incarnation(attaches_)}),
                IsOk());
    Attach({{kRun, TaskId(first->task_id()), *DigestFromBytes(first->update_id())}});
    const v1::Receipt receipt = link_->Await(v1::Directive::kReceipt).receipt();
    EXPECT_EQ(receipt.kind(), v1::Receipt::INCLUDED);
    EXPECT_EQ(receipt.version(), 1);
    if (times == 1) included = receipt.SerializeAsString();
    EXPECT_EQ(receipt.SerializeAsString(), included);
    EXPECT_EQ(parts_.receipts().signed_receipts, 2 + times);
  }
}

// The rule decides by distances: its first program's answer is durable, its second one has written
// the model and the momentum, and dies before that is.
TEST_F(EngineLoopTest, ARestartBetweenTheProgramsOfAVersionStepsOnce) {
  BeginRun({.aggregation = "preset: GEOMETRIC_MEDIAN trigger { buffer { updates: 3 } } "
                           "server { sgd { momentum: 0.5 } }",
            .config = "training { tasks_in_flight_max: 1 }"});
  const std::vector<float> delta = {1, -2, 3, 0.5F};
  DeliverEach(delta, 3);
  AwaitVersion(Version(1));
  parts_.store().results_max = 4;  // Version 0, two programs of version 1, the first of version 2.
  DeliverEach(delta, 3);
  parts_.store().result_refused.WaitForNotification();
  parts_.Stop();
  parts_.store().results_max = 1000;
  parts_.Start();
  AwaitVersion(Version(2));
  // m = Δ, then ½Δ + Δ: together 2.5 of it.
  const std::vector<float> begin = WeightsOf(Version(0));
  const std::vector<float> end = WeightsOf(Version(2));
  for (size_t i = 0; i < delta.size(); ++i) EXPECT_NEAR(end[i] - begin[i], 2.5F * delta[i], 1e-5);
}

TEST_F(EngineLoopTest, AFullDiskAcknowledgesNothingAndTheRunGoesOn) {
  BeginRun();
  UploadSession::Staged staged = Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100);
  const federation::UpdateStaged event = staged.event;
  parts_.store().full = true;
  const ChainHead before = *parts_.store().Head();
  EXPECT_EQ(DetailOf(Deliver(std::move(staged)).status()).reason(), v1::STORAGE);
  EXPECT_EQ(*parts_.store().Head(), before);
  parts_.store().full = false;
  // The same update again: it was committed meanwhile, and has its receipt.
  const auto receipt = Deliver(Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100));
  ASSERT_THAT(receipt, IsOk());
  EXPECT_EQ(receipt->update_id(), ToBytes(event.update));
  EXPECT_GE(parts_.store().refused, 1);
  EXPECT_EQ(Blobs(), 2);  // Version 0 and the update.
}

TEST_F(EngineLoopTest, HoldsOnlySoManyBytesThatWait) {
  BeginRun();
  parts_.store().full = true;
  // From here on the engine waits for the disk, and takes nothing.
  EXPECT_EQ(DetailOf(Deliver(Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100)).status()).reason(), v1::STORAGE);
  const auto waiting = [](size_t bytes) {
    EngineInput input;
    input.event = federation::LeaseConfirmed{kSite, Lease(9)};
    input.bytes = bytes;
    return input;
  };
  EXPECT_TRUE(parts_.loop().TryPost(waiting(kEngineQueueBytesMax - 10)));
  EXPECT_FALSE(parts_.loop().TryPost(waiting(11)));
  EXPECT_TRUE(parts_.loop().TryPost(waiting(10)));
  parts_.store().full = false;
  ASSERT_THAT(parts_.loop().Inspect([](const federation::FederationEngine&) {}), IsOk());
  EXPECT_TRUE(parts_.loop().TryPost(waiting(kEngineQueueBytesMax)));
}

TEST_F(EngineLoopTest, HowAnUploadIsCutChangesNothing) {
  BeginRun();
  const std::vector<float> values = {0.1F, -2, 3e10F, 1e-20F};
  const federation::UpdateStaged whole = Stage(values, 100).event;
  for (const size_t portion : {1, 2, 3, 5, 7}) {
    const federation::UpdateStaged cut = Stage(values, portion).event;
    EXPECT_EQ(cut.update, whole.update);
    EXPECT_EQ(cut.norm, whole.norm);
    EXPECT_EQ(cut.values, whole.values);
  }
}

TEST_F(EngineLoopTest, WhatIsRefusedLeavesNoBlobAndADuplicateHarmsNone) {
  BeginRun();
  const std::vector<float> values = {0.1F, 0.2F, 0.3F, 0.4F};
  UploadSession::Staged stale = Stage(values, 100);
  UploadSession::Staged good = Stage(values, 100);
  // The same update from an older process is refused while the good one is under way.
  stale.event.incarnation = Incarnation(0);
  EXPECT_EQ(DetailOf(Deliver(std::move(stale)).status()).reason(), v1::INCARNATION_FENCED);
  EXPECT_EQ(Blobs(), 2);
  UploadSession::Staged other = Stage({9, 9, 9, 9}, 100);
  EXPECT_EQ(Blobs(), 3);
  EXPECT_THAT(Deliver(std::move(good)), IsOk());
  EXPECT_EQ(DetailOf(Deliver(std::move(other)).status()).reason(), v1::TASK_CONFLICT);
  EXPECT_EQ(Blobs(), 2);
  const auto vectors = parts_.vectors().Get(kRun, 4);
  EXPECT_THAT((*vectors)->blobs().Read(Stage(values, 3).event.update), IsOk());
  // Of a task that was decided on nothing is kept any more, whatever comes.
  UploadSession::Staged late = Stage({8, 8, 8, 8}, 100);
  EXPECT_EQ(Blobs(), 2);
  EXPECT_EQ(DetailOf(Deliver(std::move(late)).status()).reason(), v1::TASK_CONFLICT);
}

TEST_F(EngineLoopTest, ASessionThatIsGivenUpLeavesNothing) {
  BeginRun();
  {
    auto session = UploadSession::Begin(
        {.runs = parts_.runs(), .vectors = parts_.vectors(), .staged = parts_.staged()}, Peer(),
        HeaderOf({1, 2, 3, 4}));
    ASSERT_THAT(session, IsOk());
    const std::vector<float> half = {1, 2};
    ASSERT_THAT((*session)->Append(BytesOf(half)), IsOk());
    EXPECT_EQ(DetailOf((*session)->Finish().status()).reason(), v1::TRUNCATED);
    EXPECT_EQ(DetailOf((*session)->Append(BytesOf({1, 2, 3}))).reason(), v1::OVERSIZE);
  }
  EXPECT_EQ(Blobs(), 1);
}

TEST_F(EngineLoopTest, AStreamThatEndedBeforeItsWelcomeIsLost) {
  BeginRun();
  ASSERT_THAT(parts_.loop().PostAndWait(federation::SiteLost{kSite, Incarnation(attaches_)}),
              IsOk());
  EngineInput input;
  federation::SiteAttached attached;
  attached.site = kSite;
  attached.incarnation = Incarnation(++attaches_);
  attached.lease_presented_hash = Lease(attaches_ - 1);
  attached.lease_next_hash = Lease(attaches_);
  input.event = attached;
  input.link = std::make_shared<RecordingLink>(RecordingLink::Life::kHasEnded);
  ASSERT_TRUE(parts_.loop().Post(std::move(input)));
  // The loss follows at once, in the engine's own next batch.
  auto link = federation::SiteState::Link::kAttached;
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(parts_.loop().Inspect([&link](const federation::FederationEngine& engine) {
      link = engine.sites().at(kSite).link;
    }),
                IsOk());
  }
  EXPECT_EQ(link, federation::SiteState::Link::kLost);
  EXPECT_EQ(parts_.links().size(), 0);
}

TEST_F(EngineLoopTest, WhatALaterStartCouldNotReadIsNotKept) {
  BeginRun();
  const ChainHead before = *parts_.store().Head();
  federation::RunDecided decided;
  decided.site = kSite;
  decided.run = kRun;
  decided.message = "not UTF-8: \xC3";
  EXPECT_FALSE(parts_.loop().PostAndWait(decided).ok());
  EXPECT_EQ(*parts_.store().Head(), before);
  // The engine has not seen it either, and goes on.
  EXPECT_THAT(Deliver(Stage({0.1F, 0.2F, 0.3F, 0.4F}, 100)), IsOk());
  // A start on this journal, which fails the test where it can not be read.
  parts_.Start();
}

TEST_F(EngineLoopTest, SignsItsHeadBeforeTheFirstEntryAndNowAndThen) {
  const auto signed_sequence = [this] {
    const auto known = KnownHeads(parts_.store(), parts_.receipts().key().public_key());
    EXPECT_THAT(known, IsOk());
    return known->empty() ? Sequence(0) : known->back().sequence;
  };
  EXPECT_TRUE(parts_.store().Value("journal_head")->has_value());
  BeginRun();
  // Version 0 is a version.
  const Sequence first = signed_sequence();
  EXPECT_GT(first, Sequence(0));
  for (uint64_t i = 0; i <= kHeadEntriesMax; ++i) {
    ASSERT_THAT(parts_.loop().PostAndWait(federation::LeaseConfirmed{kSite, Lease(9)}), IsOk());
  }
  EXPECT_GE(signed_sequence().value(), first.value() + kHeadEntriesMax);
}

TEST_F(EngineLoopTest, RefusesToStartOnADamagedJournal) {
  BeginRun();
  ASSERT_THAT(parts_.store().Append(std::vector<std::string>{"no entry"}), IsOk());
  ServerParts other;
  const SystemClock clock;
  auto loop = EngineLoop::Start({.store = parts_.store(),
                                 .clock = clock,
                                 .receipts = parts_.receipts(),
                                 .links = other.links(),
                                 .runs = other.runs(),
                                 .vectors = other.vectors(),
                                 .staged = other.staged(),
                                 .compute_threads = 1,
                                 .gate = std::nullopt});
  EXPECT_THAT(loop.status(), IsError(absl::StatusCode::kDataLoss, "journal entry"));
}

}  // namespace
}  // namespace consilium::testing
