// A site's engine with a clock of its own and shortcuts to where most tests begin.

#ifndef CONSILIUM_TESTS_SITE_AGENT_CORE_ENGINE_FIXTURE_H_
#define CONSILIUM_TESTS_SITE_AGENT_CORE_ENGINE_FIXTURE_H_

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/site_agent/core/messages.h"

namespace consilium::site {

class EngineFixture : public ::testing::Test {
 protected:
  const RunId kRun{"run-1"};

  std::vector<Action> Step(const Event& event) {
    journal_.emplace_back(now_, event);
    return engine_.Step(now_, event);
  }
  void Pass(absl::Duration duration) { now_ += duration; }

  // What a crash leaves: a fresh engine that took the journal.
  SiteEngine Refold() const {
    SiteEngine engine(SiteId(kSiteName), {});
    for (const auto& [now, event] : journal_) engine.Step(now, event);
    return engine;
  }
  std::vector<Action> CrashAndStart() {
    engine_ = Refold();
    return Step(Started{Incarnation(++incarnation_)});
  }

  // An approved run that has started, with the link up.
  void StartRun(const RunId& run, const PlanInput& plan) {
    Step(LinkUp{});
    Step(OfferOf(run, PlanOf(plan)));
    Step(Approval(run));
    Step(StatisticsOf(run));
    Step(StartOf(run));
  }
  // Announces a version and fetches it. What followed from the fetch.
  std::vector<Action> HaveModel(const RunId& run, const AnnouncementInput& input) {
    Step(Announcement(run, input));
    return Step(ModelFetched{run, Version(input.version)});
  }
  std::vector<Action> Grant(const RunId& run, uint64_t task) {
    return Step(TaskOffered{run, TaskId(task), Version(0), kLocalSteps});
  }
  // A task that has been trained and is being sent.
  TrainDone SendTask(uint64_t task) {
    const std::vector<Train> trains = Of<Train>(Grant(kRun, task));
    EXPECT_EQ(trains.size(), 1U);
    const TrainDone trained = TrainedOf(trains.at(0));
    EXPECT_EQ(Of<Send>(Step(trained)).size(), 1U);
    return trained;
  }
  const RunState& Run() const { return engine_.runs().at(kRun); }
  TaskPhase PhaseOf(uint64_t task) const { return Run().tasks.at(TaskId(task)).phase; }

  SiteEngine engine_{SiteId(kSiteName), {}};
  absl::Time now_ = absl::FromUnixSeconds(1700000000);
  uint64_t incarnation_ = 1;
  std::vector<std::pair<absl::Time, Event>> journal_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_CORE_ENGINE_FIXTURE_H_
