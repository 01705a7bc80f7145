#include "site_agent/runtime/engine_loop.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "consilium/v1/site_journal.pb.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::site {
namespace {

// Keeps what it is given, and at each action what the journal already held.
class RecordingSink final : public ActionSink {
 public:
  explicit RecordingSink(SiteStore* store) : store_(store) {}

  void Execute(const SiteEngine&, const Action& action) override {
    const uint64_t rows = store_->VerifyJournal()->sequence.value();
    absl::MutexLock lock(&mu_);
    actions_.push_back(action);
    rows_at_action_.push_back(rows);
  }
  void OnCommitted(const Event&) override {}
  void OnFailed(const absl::Status& why) override { FAIL() << why; }

  std::vector<Action> actions() const {
    absl::MutexLock lock(&mu_);
    return actions_;
  }
  std::vector<uint64_t> rows_at_action() const {
    absl::MutexLock lock(&mu_);
    return rows_at_action_;
  }

 private:
  SiteStore* const store_;
  mutable absl::Mutex mu_;
  std::vector<Action> actions_;
  std::vector<uint64_t> rows_at_action_;
};

class EngineLoopTest : public SiteFixture {
 protected:
  EngineLoopTest() : store_(Create()), sink_(store_.get()) {}

  static RunOffered SomeOffer(const std::string& run) {
    auto plan = std::make_shared<v1::RunPlan>();
    plan->mutable_config()->set_name(run);
    plan->mutable_config()->mutable_training()->set_local_steps(5);
    return {RunId(run), plan, PlanHash(*plan)};
  }

  std::unique_ptr<EngineLoop> Start(Incarnation incarnation) {
    auto loop = std::make_unique<EngineLoop>(
        *EngineLoop::Recover(store_.get(), SiteId("cleveland"), SiteOptions()), store_.get(),
        &clock_, &sink_);
    loop->Start(incarnation);
    return loop;
  }

  static Digest DigestOf(EngineLoop& loop) {
    Digest digest = {};
    EXPECT_TRUE(loop.Ask([&](const SiteEngine& engine) { digest = engine.StateDigest(); }));
    return digest;
  }

  std::unique_ptr<SiteStore> store_;
  SystemClock clock_;
  RecordingSink sink_;
};

TEST_F(EngineLoopTest, NoActionBeforeItsInputIsDurable) {
  auto loop = Start(Incarnation(1));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(loop->Post(SomeOffer(absl::StrCat("run-", i))));
  DigestOf(*loop);
  const std::vector<Action> actions = sink_.actions();
  ASSERT_EQ(actions.size(), 5u);
  for (size_t i = 0; i < actions.size(); ++i) {
    ASSERT_TRUE(std::holds_alternative<CheckPlan>(actions[i]));
    // Started is row 1, so the offer of action i is row i + 2.
    EXPECT_GE(sink_.rows_at_action()[i], i + 2);
  }
}

TEST_F(EngineLoopTest, TheJournalBringsTheStateBack) {
  Digest before = {};
  {
    auto loop = Start(Incarnation(1));
    loop->Post(SomeOffer("one"));
    loop->Post(PlanChecked{RunId("one"), PlanChecked::Answer::kApproved, {}, "", 40});
    loop->Post(TaskOffered{RunId("one"), TaskId(1), Version(0), 5});
    before = DigestOf(*loop);
  }
  const auto engine = EngineLoop::Recover(store_.get(), SiteId("cleveland"), SiteOptions());
  ASSERT_THAT(engine, IsOk());
  EXPECT_EQ(engine->StateDigest(), before);
  EXPECT_EQ(engine->runs().at(RunId("one")).tasks.size(), 1u);
}

// protobuf writes such a string, and does not read it back.
TEST_F(EngineLoopTest, WhatTheJournalCouldNotGiveBackIsPassedOver) {
  Digest before = {};
  {
    auto loop = Start(Incarnation(1));
    loop->Post(SomeOffer("one"));
    loop->Post(PlanChecked{RunId("one"), PlanChecked::Answer::kApproved, {}, "", 40});
    before = DigestOf(*loop);
    loop->Post(TrainFailed{RunId("one"), TaskId(1), "\xff"});
    EXPECT_EQ(DigestOf(*loop), before);
  }
  const auto engine = EngineLoop::Recover(store_.get(), SiteId("cleveland"), SiteOptions());
  ASSERT_THAT(engine, IsOk());
  EXPECT_EQ(engine->StateDigest(), before);
}

TEST_F(EngineLoopTest, APlanIsWrittenOnce) {
  auto plan = std::make_shared<v1::RunPlan>();
  plan->mutable_config()->set_name(std::string(1 << 20, 'x'));
  const RunOffered offer = {RunId("one"), plan, PlanHash(*plan)};
  RunOffered other = offer;
  other.run = RunId("two");
  other.plan_hash = Digest{};
  auto loop = Start(Incarnation(1));
  for (int i = 0; i < 8; ++i) {
    loop->Post(offer);
    loop->Post(other);
  }
  const Digest before = DigestOf(*loop);
  loop->Stop();
  size_t bytes = 0;
  ASSERT_THAT(store_->ReadJournal([&](const ChainRow& row) {
    bytes += row.payload.size();
    return absl::OkStatus();
  }),
              IsOk());
  EXPECT_LT(bytes, size_t{3} << 19);
  const auto engine = EngineLoop::Recover(store_.get(), SiteId("cleveland"), SiteOptions());
  ASSERT_THAT(engine, IsOk());
  EXPECT_EQ(engine->StateDigest(), before);
}

TEST_F(EngineLoopTest, ReleasesAreNoInputs) {
  v1::SiteJournalEntry entry;
  entry.mutable_release()->set_kind("hello");
  const std::string bytes = entry.SerializeAsString();
  ASSERT_THAT(store_->AppendJournal(std::vector<std::string>{bytes}), IsOk());
  const auto engine = EngineLoop::Recover(store_.get(), SiteId("cleveland"), SiteOptions());
  ASSERT_THAT(engine, IsOk());
  EXPECT_EQ(engine->sequence(), Sequence(0));
}

TEST_F(EngineLoopTest, ARowThatIsNoEntryStopsTheRecovery) {
  ASSERT_THAT(store_->AppendJournal(std::vector<std::string>{"\xff\xff\xff"}), IsOk());
  EXPECT_THAT(EngineLoop::Recover(store_.get(), SiteId("cleveland"), SiteOptions()),
              IsError(absl::StatusCode::kDataLoss, "row 1"));
}

TEST_F(EngineLoopTest, AfterItsEndNothingIsTaken) {
  auto loop = Start(Incarnation(1));
  loop->Stop();
  EXPECT_FALSE(loop->Post(LinkUp{}));
  EXPECT_FALSE(loop->Ask([](const SiteEngine&) { FAIL(); }));
}

}  // namespace
}  // namespace consilium::site
