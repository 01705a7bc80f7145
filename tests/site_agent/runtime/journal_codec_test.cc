#include "site_agent/runtime/journal_codec.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::site {
namespace {

using absl::StatusCode;

template <typename T>
std::shared_ptr<const T> Message(const std::string& text) {
  auto message = std::make_shared<T>();
  EXPECT_THAT(ParseTextFormat(text, "message", *message), IsOk());
  return message;
}

// One of each alternative, with every field set.
std::vector<Event> OneOfEach() {
  const RunId run("heart-1");
  const Digest digest = Sha256Of("digest");
  v1::ErrorDetail error;
  error.set_reason(v1::BUSY);
  error.set_retryable(true);
  error.set_message("later");
  const std::string id = ToBytes(digest);
  auto receipt = std::make_shared<v1::Receipt>();
  receipt->set_run_id(run.value());
  receipt->set_update_id(id);
  receipt->set_kind(v1::Receipt::ACCEPTED);
  return {
      Started{Incarnation(3)},
      LinkUp{},
      LinkDown{},
      RunOffered{run, Message<v1::RunPlan>(R"pb(config { name: "heart" })pb"), digest},
      RunStarted{run, digest, Message<v1::Standardisation>("means: 1.5 deviations: 2")},
      TaskOffered{run, TaskId(4), Version(5), 6},
      ModelAvailable{run, Version(7), digest, 128, v1::VALIDATION},
      ReceiptReceived{receipt},
      UpdateRefused{run, TaskId(8), v1::TOO_STALE, "old"},
      RunEnded{run, Version(9), Version(8), "enough"},
      PlanChecked{run, PlanChecked::Answer::kRefused, v1::NO_DATASET, "none", 12},
      PlanChecked{run, PlanChecked::Answer::kApproved, v1::REASON_UNSPECIFIED, "", 12},
      PlanChecked{run, PlanChecked::Answer::kWaitsForPerson, v1::REASON_UNSPECIFIED, "", 12},
      PlanChecked{run, PlanChecked::Answer::kWaitsForData, v1::NO_DATASET, "none", 12},
      StatisticsComputed{run, Message<v1::StatisticsReport>(R"pb(run_id: "heart-1"
                                                                 counts: 5
                                                                 sums: 1
                                                                 sums_of_squares: 2)pb")},
      ModelFetched{run, Version(7)},
      FetchFailed{run, Version(7), error, 0.25},
      TrainDone{run, TaskId(4), digest, Message<v1::UpdateHeader>(R"pb(run_id: "heart-1"
                                                                       task_id: 4
                                                                       steps: 20)pb")},
      TrainFailed{run, TaskId(4), "not finite"},
      EvaluationComputed{run, Version(7), v1::TEST,
                         Message<v1::MetricSums>("examples: 9 correct: 8")},
      SendFailed{run, TaskId(4), error, 0.75},
      TimerFired{{run, Timer::Kind::kRetryFetch, 7}},
      RunWithdrawn{run, "a person"},
  };
}

TEST(JournalCodecTest, EveryInputComesBack) {
  std::vector<bool> seen(std::variant_size_v<Event>);
  for (const Event& event : OneOfEach()) {
    seen[event.index()] = true;
    const TimedEvent input{absl::FromUnixNanos(1'700'000'000'123'456'789), event};
    const std::string bytes = EntryOf(input).SerializeAsString();
    v1::SiteJournalEntry entry;
    ASSERT_TRUE(entry.ParseFromString(bytes));
    const auto back = EventOf(entry);
    ASSERT_THAT(back, IsOk());
    EXPECT_EQ(back->time, input.time);
    EXPECT_EQ(back->event.index(), event.index());
    // No field is lost on the way: the same entry comes out of what came back.
    EXPECT_EQ(EntryOf(*back).SerializeAsString(), bytes) << entry.ShortDebugString();
  }
  EXPECT_EQ(seen, std::vector<bool>(std::variant_size_v<Event>, true));
}

TEST(JournalCodecTest, EntriesThatAreNoInputAreRefused) {
  v1::SiteJournalEntry entry;
  EXPECT_THAT(EventOf(entry), IsError(StatusCode::kInvalidArgument, "no input"));
  entry.mutable_release()->set_kind("update");
  EXPECT_THAT(EventOf(entry), IsError(StatusCode::kInvalidArgument, "no input"));
  entry.mutable_policy()->set_run_id("heart-1");
  EXPECT_THAT(EventOf(entry), IsError(StatusCode::kInvalidArgument, "no input"));
  entry.mutable_timer_fired()->set_run_id("heart-1");
  EXPECT_THAT(EventOf(entry), IsError(StatusCode::kInvalidArgument, "kind"));
}

TEST(JournalCodecTest, DirectivesOfAHostilePeerAreRefused) {
  v1::Directive directive;
  EXPECT_FALSE(EventOf(directive).ok());
  directive.mutable_welcome();
  EXPECT_FALSE(EventOf(directive).ok());
  directive.mutable_run_offer()->set_run_id("../../etc");
  EXPECT_FALSE(EventOf(directive).ok());
  directive.mutable_run_offer()->set_run_id("heart-1");
  directive.mutable_run_offer()->set_plan_hash("short");
  EXPECT_THAT(EventOf(directive), IsError(StatusCode::kInvalidArgument, "32 bytes"));
  directive.mutable_receipt()->set_run_id("heart-1");
  EXPECT_THAT(EventOf(directive), IsError(StatusCode::kInvalidArgument, "update_id"));
}

}  // namespace
}  // namespace consilium::site
