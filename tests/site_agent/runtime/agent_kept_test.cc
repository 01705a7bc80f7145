// What a site keeps from task to task lies sealed in its store: through the end of its process at
// any moment, until a version includes a later update. What is personal serves it, and never
// leaves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

class AgentKeptTest : public AgentTest {
 protected:
  AgentKeptTest() { Take(v1::AggregationConfig::SCAFFOLD, ""); }

  // The plan becomes one of that preset, with layers after those that it has.
  void Take(v1::AggregationConfig::Preset preset, const std::string& layers) {
    v1::RunPlan plan = plan_;
    plan.mutable_config()->clear_aggregation();
    plan.mutable_config()->mutable_aggregation()->set_preset(preset);
    plan.mutable_config()->mutable_training()->clear_tasks_in_flight_max();
    if (!layers.empty()) {
      EXPECT_THAT(MergeTextFormat(layers, "spec", *plan.mutable_spec()), IsOk());
      plan.mutable_config()->mutable_training()->mutable_personal()->add_layers("own");
    }
    plan_ = Must(ResolvePlan(plan));
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
  // Else a process that ends sends it again.
  void WaitUntilAccepted() {
    WaitForStatus([](const nlohmann::json& now) { return TasksIn(now, "accepted") == 1; });
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
  WaitUntilAccepted();
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

class AgentPersonalTest : public AgentKeptTest {
 protected:
  AgentPersonalTest() {
    Take(v1::AggregationConfig::FEDPER, "layers { name: 'own' linear { units: '1' } }");
  }

  // What a site says of a version, per patient.
  double NextScore() {
    const v1::MetricSums sums =
        aggregator_.WaitFor(v1::SiteEvent::kEvaluation).evaluation().metrics();
    return sums.log_loss_sum() / static_cast<double>(sums.examples());
  }
};

TEST_F(AgentPersonalTest, APersonalLayerOutlivesTheProcessAndServesTheSite) {
  BringToRunning();
  GrantTask(7);
  const HeardUpload first = aggregator_.WaitForUpload();
  // The layer's two numbers, the last ones, are zeros; those before are not.
  std::vector<float> delta(first.payload.size() / sizeof(float));
  memcpy(delta.data(), first.payload.data(), delta.size() * sizeof(float));
  ASSERT_EQ(delta.size(), Must(GraphOf(plan_)).layout.elements());
  EXPECT_EQ(std::vector<float>(delta.end() - 2, delta.end()), std::vector<float>(2, 0));
  EXPECT_EQ(delta[0], 7);
  WaitUntilAccepted();
  Restart();
  Include(first);
  WaitUntilIncluded(1);
  Restart();
  EXPECT_TRUE(IsKept(first));
  AnnounceModel(1);
  EXPECT_DOUBLE_EQ(NextScore(), 7.25);
}

// Whatever trains: what is personal is not even made ready to be sent.
TEST_F(AgentPersonalTest, AnUpdateWithSomethingPersonalDoesNotLeave) {
  BringToRunning();
  trainer_.leaks = true;
  GrantTask(1);
  WaitForStatus([this](const nlohmann::json& now) {
    return trainer_.trainings > 0 && TasksIn(now, "granted") == 1;
  });
  StopAgent();
  trainer_.leaks = false;
  StartAgent();
  EXPECT_EQ(FirstOf(aggregator_.WaitForUpload()), 1);
}

}  // namespace
}  // namespace consilium::site
