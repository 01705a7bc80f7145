// The test gate itself: whose turn it is, and which versions a site may hear of.

#include "aggregator/server/arrival_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/core/files.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using federation::Action;
using federation::AnnounceModel;
using federation::Event;
using federation::MakePlan;
using federation::Of;
using federation::OfferTask;
using federation::TestFederation;

class ArrivalGateTest : public ::testing::Test {
 protected:
  std::vector<Action> Step(const Event& event) {
    gate_.BeforeStep(federation_.engine, event);
    std::vector<Action> actions = federation_.Step(event);
    gate_.AfterStep(federation_.engine, actions);
    return actions;
  }
  std::vector<Action> Answer() {
    std::vector<Action> actions = federation_.Answer();
    gate_.AfterStep(federation_.engine, actions);
    return actions;
  }
  bool Admits(const SiteId& site) {
    return gate_.Admits(federation_.engine, federation_.Update(site));
  }

  TestFederation federation_{{10, 10}};
  SiteId a_ = TestFederation::Site(0);
  SiteId b_ = TestFederation::Site(1);
  ArrivalGate gate_{{b_, a_, a_}};
};

TEST_F(ArrivalGateTest, AdmitsOneSiteAfterTheOther) {
  federation_.StartRun(
      MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 2 } }"}));
  EXPECT_FALSE(Admits(a_));
  EXPECT_TRUE(Admits(b_));
  const auto first = federation_.Update(b_);
  Step(first);
  EXPECT_TRUE(Admits(a_));
  EXPECT_FALSE(Admits(b_));
  // A duplicate needs no turn and takes none.
  EXPECT_TRUE(gate_.Admits(federation_.engine, first));
  Step(first);
  Step(federation_.Update(a_));
  // The buffer is full: nobody is next before the program has ended.
  EXPECT_FALSE(Admits(a_));
  Answer();
  EXPECT_TRUE(Admits(a_));
  Step(federation_.Update(a_));
  EXPECT_TRUE(Admits(b_));  // The list is used up.
}

TEST_F(ArrivalGateTest, GivesNoTurnToWhatADeadProcessHasSent) {
  federation_.StartRun(
      MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 2 } }"}));
  const auto from_dead_process = federation_.Update(b_);
  Step(federation::SiteLost{b_, from_dead_process.incarnation});
  federation_.Attach(b_);
  ASSERT_EQ(Of<federation::RefuseUpdate>(Step(from_dead_process)).size(), 1);
  EXPECT_TRUE(Admits(b_));
  EXPECT_FALSE(Admits(a_));
}

TEST_F(ArrivalGateTest, WithholdsVersionsThatAnOpenGrantMustNotUse) {
  federation_.StartRun(
      MakePlan({.aggregation = "preset: FEDBUFF trigger { buffer { updates: 1 } }"}));
  // Both have two grants on version 0, which were made before the gate looked; a is told again.
  federation_.Step(federation::SiteLost{a_, Incarnation(federation_.attaches[a_])});
  std::vector<Action> told = federation_.Attach(a_);
  gate_.AfterStep(federation_.engine, told);
  ASSERT_EQ(Of<OfferTask>(told).size(), 2);
  Step(federation_.Update(b_));
  const std::vector<Action> made = Answer();
  for (const AnnounceModel& announcement : Of<AnnounceModel>(made)) {
    if (announcement.site == a_) {
      EXPECT_EQ(announcement.version, Version(0));
    }
  }
  // The first of a's two grants is taken: the other one still needs version 0.
  std::vector<Action> after = Step(federation_.Update(a_));
  EXPECT_TRUE(Of<AnnounceModel>(after).empty());
  Answer();
  after = Step(federation_.Update(a_));
  // What is left was granted at version 1 and later, so a hears of version 1 now.
  const std::vector<AnnounceModel> heard = Of<AnnounceModel>(after);
  ASSERT_FALSE(heard.empty());
  EXPECT_EQ(heard[0].site, a_);
  EXPECT_EQ(heard[0].version, Version(1));
}

TEST(ArrivalGateFile, IsAListOfSites) {
  TempFolder folder;
  const std::string path = folder.File("order");
  ASSERT_THAT(WriteFileDurably(path, "# first\nnorth\n\n south \n"), IsOk());
  EXPECT_THAT(ArrivalGate::FromFile(path), IsOk());
  ASSERT_THAT(WriteFileDurably(path, "North!\n"), IsOk());
  EXPECT_THAT(ArrivalGate::FromFile(path), IsError(absl::StatusCode::kInvalidArgument, "site id"));
}

}  // namespace
}  // namespace consilium
