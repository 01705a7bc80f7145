// What a hospital tells of a survival run in intervals of time.

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/site_agent/runtime/agent_fixture.h"

namespace consilium::site {
namespace {

class AgentHazardTest : public AgentTest {
 protected:
  AgentHazardTest() {
    v1::RunPlan plan;
    EXPECT_THAT(
        ReadTextFormatFile(CONSILIUM_ZOO_FOLDER "/discrete_hazard.textproto", *plan.mutable_spec()),
        IsOk());
    *plan.mutable_config() = plan_.config();
    plan.mutable_config()->mutable_stop()->clear_select_by();
    EXPECT_THAT(ParseTextFormat(R"pb(name: "small"
                                     columns {
                                       name: "x"
                                       number { min: 0 max: 1000 }
                                     }
                                     label {
                                       column: "days"
                                       survival {
                                         time_max: 1000
                                         event_column: "died"
                                         observed: "1"
                                         censored: "0"
                                         interval_ends: 10
                                         interval_ends: 20
                                       }
                                     }
                                     patient_id_column: "id")pb",
                                "contract", *plan.mutable_contract()),
                IsOk());
    plan_ = Must(ResolvePlan(plan));
  }

  // Half of 200 patients had the event: `early` at once, the others after the last interval.
  static std::string Patients(int early) {
    std::string csv = "id,x,days,died\n";
    for (int i = 0; i < 200; ++i) {
      const bool dies = i % 2 == 0;
      const char* const days = !dies ? "900" : i / 2 < early ? "5" : "800";
      absl::StrAppend(&csv, "p", i, ",", i, ",", days, ",", dies ? 1 : 0, "\n");
    }
    return csv;
  }

  // What the site says of version 0 on its validation patients.
  v1::MetricSums ToldOf(int early) {
    Enrol();
    ImportCsvText(Patients(early));
    EXPECT_THAT(Approve(place_, std::nullopt), IsOk());
    StartAgent();
    OfferRun();
    StartRun(aggregator_.WaitFor(v1::SiteEvent::kStatistics).statistics());
    AnnounceModel();
    return aggregator_.WaitFor(v1::SiteEvent::kEvaluation).evaluation().metrics();
  }
};

TEST_F(AgentHazardTest, TellsScoresOfManyEventsWithinTheIntervals) {
  EXPECT_TRUE(ToldOf(96).has_log_loss_sum());
}

// As a life through all intervals is all that the loss knows of the others, the sum would be those
// few patients'.
TEST_F(AgentHazardTest, HidesScoresOfFewEventsWithinTheIntervals) {
  const v1::MetricSums told = ToldOf(10);
  EXPECT_EQ(trainer_.evaluations, 1);  // The site has computed them.
  EXPECT_FALSE(told.has_log_loss_sum());
  EXPECT_EQ(told.examples(), 0u);
}

}  // namespace
}  // namespace consilium::site
