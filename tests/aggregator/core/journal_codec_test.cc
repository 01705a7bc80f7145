#include "aggregator/core/journal_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

using ::testing::HasSubstr;

// Events with every field drawn, so that a field that gets lost is seen.
class RandomEvents {
 public:
  explicit RandomEvents(uint64_t seed) : random_(seed) {}

  Event Next() {
    switch (kind_++ % 15) {
      case 0:
        return Started{};
      case 1:
        return SiteAdded{
            Site(), Hash(),
            Number() % 2 == 0 ? SiteAdded::Occasion::kFirst : SiteAdded::Occasion::kAgain};
      case 2:
        return SiteRemoved{Site()};
      case 3: {
        SiteAttached attach = {Site(), Incarnation(Number()), Hash(), Hash(), {}, {}};
        for (uint64_t i = Number() % 4; i > 0; --i) {
          attach.held_receipts.push_back({Run(), TaskId(Number()), Hash()});
          attach.runs.push_back({Run(), TaskId(Number())});
        }
        return attach;
      }
      case 4:
        return SiteLost{Site(), Incarnation(Number())};
      case 5:
        return LeaseConfirmed{Site(), Hash()};
      case 6:
        return RunSubmitted{Run(), MakePlan({})};
      case 7:
        return RunDecided{
            Site(),
            Run(),
            Hash(),
            Number() % 2 == 0 ? RunDecided::Answer::kApproved : RunDecided::Answer::kRefused,
            v1::NOT_APPROVED,
            absl::StrCat("because ", Number()),
            Number()};
      case 8: {
        auto report = std::make_shared<v1::StatisticsReport>();
        report->set_run_id(Run().value());
        report->add_counts(Number());
        report->add_sums(Real());
        report->add_sums_of_squares(Real());
        return StatisticsReported{Site(), report};
      }
      case 9: {
        UpdateStaged update;
        update.site = Site();
        update.run = Run();
        update.task = TaskId(Number());
        update.incarnation = Incarnation(Number());
        update.base = Version(Number());
        update.base_model_id = Hash();
        update.layout_hash = Hash();
        update.update = Hash();
        update.examples = Number();
        update.steps = static_cast<uint32_t>(Number());
        update.training_loss = Real();
        update.norm = Real();
        if (Number() % 2 == 0) update.values = UpdateStaged::Values::kNotFinite;
        return update;
      }
      case 10:
        return ComputeDone{Run(), Number(), {Real(), Real()}, Hash()};
      case 11: {
        auto sums = std::make_shared<v1::MetricSums>();
        sums->set_examples(Number());
        sums->set_auroc_comparable(Real());
        return EvaluationReported{Site(), Run(), Version(Number()), v1::TEST, sums};
      }
      case 12:
        return TimerFired{{Run(), static_cast<Timer::Kind>(1 + Number() % kTimerKinds), Number()}};
      case 13:
        return StopRequested{Run(), "an operator"};
      default:
        return PurgeRequested{Run(), "an operator"};
    }
  }
  uint64_t Number() { return random_(); }

 private:
  static constexpr uint64_t kTimerKinds = static_cast<uint64_t>(Timer::Kind::kRetryWait);

  double Real() { return static_cast<double>(random_()) * 0x1.0p-40; }
  SiteId Site() { return SiteId(absl::StrCat("site-", random_() % 1000)); }
  RunId Run() { return RunId(absl::StrCat("run-", random_() % 1000)); }
  Digest Hash() { return Sha256Of(absl::StrCat(random_())); }

  std::mt19937_64 random_;
  uint64_t kind_ = 0;
};

v1::JournalEntry Entry(const Event& event) {
  return EncodeJournalEntry({Sequence(7), absl::FromUnixNanos(1'700'000'000'123'456'789), event});
}

TEST(JournalCodec, GivesBackWhatWasWritten) {
  RandomEvents events(1);
  for (int i = 0; i < 1500; ++i) {
    const Event event = events.Next();
    const std::string written = Entry(event).SerializeAsString();
    v1::JournalEntry read;
    ASSERT_TRUE(read.ParseFromString(written));
    const absl::StatusOr<JournalledEvent> decoded = DecodeJournalEntry(std::move(read));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->sequence, Sequence(7));
    EXPECT_EQ(decoded->now, absl::FromUnixNanos(1'700'000'000'123'456'789));
    EXPECT_EQ(decoded->event.index(), event.index());
    EXPECT_EQ(DeterministicBytes(EncodeJournalEntry(*decoded)), DeterministicBytes(Entry(event)));
  }
}

// Two events that differ in one field have different entries: no field is left out.
TEST(JournalCodec, WritesEachFieldOfAnUpdate) {
  const UpdateStaged update;
  std::vector<UpdateStaged> others(13, update);
  others[0].site = SiteId("x");
  others[1].run = RunId("x");
  others[2].task = TaskId(1);
  others[3].incarnation = Incarnation(1);
  others[4].base = Version(1);
  others[5].base_model_id = Sha256Of("x");
  others[6].layout_hash = Sha256Of("x");
  others[7].update = Sha256Of("x");
  others[8].examples = 1;
  others[9].steps = 1;
  others[10].training_loss = 1;
  others[11].norm = 1;
  others[12].values = UpdateStaged::Values::kNotFinite;
  for (size_t i = 0; i < others.size(); ++i) {
    EXPECT_NE(Entry(others[i]).SerializeAsString(), Entry(update).SerializeAsString()) << i;
  }
}

TEST(JournalCodec, KeepsTheLeasesHashesAndWhatTheSiteHolds) {
  SiteAttached attach;
  attach.site = SiteId("a");
  attach.incarnation = Incarnation(4);
  attach.lease_presented_hash = Sha256Of("one");
  attach.lease_next_hash = Sha256Of("two");
  attach.held_receipts.push_back({RunId("r"), TaskId(3), Sha256Of("update")});
  attach.runs.push_back({RunId("r"), TaskId(5)});
  const auto decoded = DecodeJournalEntry(Entry(attach));
  ASSERT_TRUE(decoded.ok());
  const auto& out = std::get<SiteAttached>(decoded->event);
  EXPECT_EQ(out.incarnation, Incarnation(4));
  EXPECT_EQ(out.lease_presented_hash, Sha256Of("one"));
  EXPECT_EQ(out.lease_next_hash, Sha256Of("two"));
  ASSERT_EQ(out.held_receipts.size(), 1u);
  EXPECT_EQ(out.held_receipts[0].update, Sha256Of("update"));
  ASSERT_EQ(out.runs.size(), 1u);
  EXPECT_EQ(out.runs[0].newest_task, TaskId(5));
}

TEST(JournalCodec, NamesWhatCanNotBe) {
  const auto message = [](const v1::JournalEntry& entry) {
    const auto decoded = DecodeJournalEntry(entry);
    EXPECT_EQ(decoded.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(decoded.status().message());
  };
  EXPECT_THAT(message({}), HasSubstr("no input"));
  v1::JournalEntry digest = Entry(SiteAdded{SiteId("a"), {}});
  digest.mutable_site_added()->set_initial_lease_hash("short");
  EXPECT_THAT(message(digest), HasSubstr("site_added.initial_lease_hash: has 5 bytes"));
  v1::JournalEntry site = Entry(SiteRemoved{SiteId("a")});
  site.mutable_site_removed()->set_site_id("../a");
  EXPECT_THAT(message(site), HasSubstr("site id"));
  v1::JournalEntry run = Entry(StopRequested{RunId("r"), "someone"});
  run.mutable_stop_requested()->clear_run_id();
  EXPECT_THAT(message(run), HasSubstr("run id"));
  v1::JournalEntry timer = Entry(TimerFired{{RunId("r"), Timer::Kind::kStartDeadline, 0}});
  timer.mutable_timer_fired()->set_kind(9);
  EXPECT_THAT(message(timer), HasSubstr("timer_fired.kind"));
  v1::JournalEntry plan = Entry(RunSubmitted{RunId("r"), MakePlan({})});
  plan.mutable_run_submitted()->clear_plan();
  EXPECT_THAT(message(plan), HasSubstr("run_submitted.plan"));
}

}  // namespace
}  // namespace consilium::federation
