// What a site keeps from task to task lies sealed in its store: through the end of its process at
// any moment, until a version includes a later update.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

class AgentKeptTest : public AgentTest {
 protected:
  AgentKeptTest() {
    v1::RunPlan scaffold = plan_;
    scaffold.mutable_config()->clear_aggregation();
    scaffold.mutable_config()->mutable_aggregation()->set_preset(v1::AggregationConfig::SCAFFOLD);
    scaffold.mutable_config()->mutable_training()->clear_tasks_in_flight_max();
    plan_ = Must(ResolvePlan(scaffold));
  }

  // A process that ended anywhere: another one opens the store.
  void Restart() {
    StopAgent();
    StartAgent();
  }
  void Include(const HeardUpload& upload) {
    v1::Directive directive;
    *directive.mutable_receipt() = aggregator_.ReceiptFor(upload.header, v1::Receipt::INCLUDED);
    aggregator_.Tell(directive);
  }
  // The delta's first number: task + 100·(task that left what was kept) + 1,000·c.
  static float FirstOf(const HeardUpload& upload) {
    float value = 0;
    EXPECT_GE(upload.payload.size(), sizeof(value));
    if (upload.payload.size() >= sizeof(value))
      memcpy(&value, upload.payload.data(), sizeof(value));
    return value;
  }
  bool IsKept(const HeardUpload& upload) {
    return store_->blobs().Has(KeptBlobOf(UpdateIdOf(upload.header)));
  }
  // A later one has taken its place, as soon as the receipt is recorded.
  void WaitUntilIncluded(int tasks) {
    WaitForStatus([tasks](const nlohmann::json& now) { return TasksIn(now, "included") == tasks; });
  }
};

TEST_F(AgentKeptTest, OutlivesTheProcessUntilALaterUpdateIsIncluded) {
  BringToRunning();
  GrantTask(1);
  const HeardUpload first = aggregator_.WaitForUpload();
  EXPECT_EQ(FirstOf(first), 1);  // Version 0 has no control variate, and nothing was kept.
  // Nothing of what is kept is in what leaves.
  EXPECT_EQ(first.payload.size(), Must(GraphOf(plan_)).layout.payload_bytes());
  Restart();
  Include(first);
  WaitUntilIncluded(1);
  Restart();
  EXPECT_TRUE(IsKept(first));

  // The round closes without the second one: what it left goes with it.
  aggregator_.RefuseUploads(Refusal(v1::ROUND_CLOSED, "late"));
  AnnounceModel(1);
  GrantTask(2, 1);
  const HeardUpload second = aggregator_.WaitForUpload();
  EXPECT_EQ(FirstOf(second), 1102);
  WaitForStatus([](const nlohmann::json& now) { return TasksIn(now, "refused") == 1; });
  aggregator_.RefuseUploads(absl::OkStatus());
  Restart();
  EXPECT_TRUE(IsKept(first));
  EXPECT_FALSE(IsKept(second));

  AnnounceModel(2);
  GrantTask(3, 2);
  const HeardUpload third = aggregator_.WaitForUpload();
  EXPECT_EQ(FirstOf(third), 1103);
  Include(third);
  WaitUntilIncluded(2);
  Restart();
  EXPECT_FALSE(IsKept(first));
  EXPECT_TRUE(IsKept(third));
  AnnounceModel(3);
  GrantTask(4, 3);
  EXPECT_EQ(FirstOf(aggregator_.WaitForUpload()), 1304);
}

}  // namespace
}  // namespace consilium::site
