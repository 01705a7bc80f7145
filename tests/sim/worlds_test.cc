// Federations under what the scenario can do to them: each ends, with every update and receipt
// accounted for at both ends, and comes out bit by bit the same when it is run again.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

namespace fed = federation;

// What the aggregator knows of each task, and how often a version names it as new.
void ExpectEachUpdateEndsOnce(const fed::RunState& run) {
  std::map<std::pair<SiteId, TaskId>, int> named;
  for (const fed::VersionState& version : run.versions) {
    for (const fed::Contribution& part : version.contributions) {
      if (part.role == fed::Contribution::Role::kNew) ++named[{part.site, part.task}];
    }
  }
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [task, state] : participant.tasks) {
      EXPECT_NE(state.phase, fed::TaskPhase::kGranted) << site.value();
      EXPECT_NE(state.phase, fed::TaskPhase::kAccepted) << site.value();
      const int times = state.phase == fed::TaskPhase::kIncluded ? 1 : 0;
      EXPECT_EQ((named[{site, task}]), times) << site.value() << " " << task.value();
    }
  }
}

// A receipt that a site holds is one that the aggregator gave; and who is still there waits for
// none.
void ExpectReceiptsAgree(const Simulation& simulation, const SiteId& site) {
  const fed::RunState& run = simulation.run();
  const fed::Participant& known = run.participants.at(site);
  const bool is_there = known.decision == fed::Participant::Decision::kApproved;
  const auto found = simulation.EngineOf(site).runs().find(run.run);
  if (found == simulation.EngineOf(site).runs().end()) return;
  if (is_there) {
    EXPECT_TRUE(found->second.ended()) << site.value();
  }
  for (const auto& [task, state] : found->second.tasks) {
    const fed::TaskState& at_aggregator = known.tasks.at(task);
    if (is_there) {
      EXPECT_GE(state.phase, site::TaskPhase::kIncluded) << site.value();
    }
    if (state.acceptance != nullptr) {
      EXPECT_EQ(state.acceptance->sequence(), at_aggregator.accepted.value());
      EXPECT_EQ(state.update, at_aggregator.update);
    }
    if (state.phase == site::TaskPhase::kIncluded) {
      EXPECT_EQ(at_aggregator.phase, fed::TaskPhase::kIncluded);
      EXPECT_EQ(state.ending->version(), at_aggregator.included_in.value());
      EXPECT_EQ(state.ending->coefficient(), at_aggregator.coefficient);
    }
    if (state.phase == site::TaskPhase::kNotIncluded) {
      EXPECT_EQ(at_aggregator.phase, fed::TaskPhase::kNotIncluded);
    }
  }
}

void ExpectSound(const Simulation& simulation) {
  ExpectEachUpdateEndsOnce(simulation.run());
  for (const auto& [site, participant] : simulation.run().participants) {
    ExpectReceiptsAgree(simulation, site);
  }
}

constexpr const char* kRules[] = {
    "aggregation { preset: FEDBUFF trigger { buffer { updates: 3 } } }",
    "aggregation { preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 2 } } }",
    "aggregation { preset: FEDAVG trigger { barrier {} } } training { tasks_in_flight_max: 1 }",
};

struct Fault {
  const char* name;
  const char* sites;
  const char* aggregator = "";
};
constexpr Fault kFaults[] = {
    {"None", "latency_ms: 20"},
    {"SlowLinks",
     "latency_ms: 20 links { upload_bytes_per_s: 8 download_bytes_per_s: 16 "
     "slowdown { uniform_max: 4 } }"},
    {"HeavyTails", "task_speed { pareto_shape: 1.1 } speed { exponential_mean: 1 }"},
    {"Windows", "latency_ms: 20 availability { period_ms: 9000 open_share: 0.4 }"},
    {"LinkDrops", "latency_ms: 20 faults { link_drop_rate: 0.4 link_down_ms: 1500 }"},
    {"MessageLoss", "latency_ms: 20 faults { message_loss_rate: 0.1 link_down_ms: 300 }"},
    {"MessageDuplication", "latency_ms: 20 faults { message_duplicate_rate: 0.5 }"},
    {"Reorder", "latency_ms: 20 faults { reorder_rate: 0.5 reorder_ms: 2000 }"},
    {"UploadsLostAndTwice", "latency_ms: 20 faults { upload_loss_rate: 0.3 duplicate_rate: 0.5 }"},
    {"Crashes", "latency_ms: 20 task_ms: 1500 faults { crash_rate: 0.4 restart_ms: 4000 }"},
    {"Leaving", "latency_ms: 20 task_ms: 1500 faults { leave_rate: 0.08 removed_after_ms: 3000 }"},
    {"Clocks", "latency_ms: 20 faults { clock_ahead_max_ms: 90000 clock_drift_max_ppm: 50000 }"},
    {"SlowJournal", "latency_ms: 20", "journal_ms: 700"},
    {"AggregatorCrashes", "latency_ms: 20 faults { link_down_ms: 300 }",
     "journal_ms: 400 crash_every_ms: 2500"},
    {"Trace",
     "trace { site_id: 's0' time_s: 2 presence: AWAY } trace { site_id: 's0' time_s: 9 } "
     "trace { site_id: 's1' time_s: 0 slowdown: 5 upload_bytes_per_s: 3 }"},
    {"Everything",
     "latency_ms: 20 task_ms: 1500 task_speed { log_normal_sigma: 1 } "
     "links { upload_bytes_per_s: 50 } availability { period_ms: 20000 open_share: 0.7 } "
     "faults { upload_loss_rate: 0.1 duplicate_rate: 0.2 link_drop_rate: 0.1 link_down_ms: 700 "
     "message_loss_rate: 0.03 message_duplicate_rate: 0.1 reorder_rate: 0.2 reorder_ms: 700 "
     "crash_rate: 0.1 leave_rate: 0.01 removed_after_ms: 5000 clock_ahead_max_ms: 5000 "
     "clock_drift_max_ppm: 1000 }",
     "journal_ms: 90 crash_every_ms: 9000"},
};

class FaultTest : public testing::TestWithParam<Fault> {};

TEST_P(FaultTest, TheFederationEndsAndNothingIsLostOrCountedTwice) {
  for (const char* rule : kRules) {
    SCOPED_TRACE(rule);
    for (const uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(seed);
      SmallWorld world({.config = rule,
                        .scenario = absl::StrCat("seed: ", seed, " sites { ", GetParam().sites,
                                                 " } aggregator { ", GetParam().aggregator, " }")});
      const auto once = world.Run();
      ASSERT_NE(once, nullptr);
      ExpectSound(*once);
      const auto again = world.Run();
      ASSERT_NE(again, nullptr);
      EXPECT_EQ(ModelIds(*again), ModelIds(*once));
      EXPECT_EQ(again->now(), once->now());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scenario, FaultTest, testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

double SecondsOf(const Simulation& simulation) {
  return absl::ToDoubleSeconds(simulation.run().ended_at - simulation.run().submitted_at);
}

std::unique_ptr<Simulation> RunOf(const std::string& sites, const std::string& config = "") {
  SmallWorld world({.config = config, .scenario = absl::StrCat("seed: 1 sites { ", sites, " }")});
  return world.Run();
}

TEST(VirtualTimeTest, ATransferTakesItsBytes) {
  // Each of 6 rounds: fetch and upload of 4 floats, and the task; the last evaluation's fetch, and
  // the first offer.
  const char* rule = kRules[2];
  const double fast = SecondsOf(*RunOf("", rule));
  EXPECT_DOUBLE_EQ(fast, 6);
  EXPECT_DOUBLE_EQ(SecondsOf(*RunOf("links { upload_bytes_per_s: 4 }", rule)), 6 + 6 * 4);
  EXPECT_DOUBLE_EQ(SecondsOf(*RunOf("links { download_bytes_per_s: 8 }", rule)), 6 + 7 * 2);
}

TEST(VirtualTimeTest, AShorterTaskTakesAsMuchLess) {
  const double whole = SecondsOf(*RunOf("task_ms: 3000", kRules[2]));
  EXPECT_DOUBLE_EQ(whole, 6 * 3);
}

TEST(VirtualTimeTest, FaultsHappen) {
  const auto duplicated = RunOf("faults { duplicate_rate: 0.5 } latency_ms: 20");
  EXPECT_GT(duplicated->run().duplicates_absorbed, 0u);
  const double slower =
      SecondsOf(*RunOf("task_ms: 1000 faults { crash_rate: 0.5 restart_ms: 30000 }", kRules[2]));
  EXPECT_GT(slower, 36);
  const auto left = RunOf("task_ms: 1500 faults { leave_rate: 0.5 removed_after_ms: 100 }");
  EXPECT_LT(left->run().members.size(), 6u);
}

// Nothing leaves before its input is durable: each round waits for its updates' and for its
// version's.
TEST(VirtualTimeTest, ASlowJournalHoldsUpWhatFollows) {
  SmallWorld world({.config = kRules[2], .scenario = "aggregator { journal_ms: 500 }"});
  const double undisturbed = SecondsOf(*RunOf("", kRules[2]));
  const auto slow = world.Run();
  ASSERT_NE(slow, nullptr);
  EXPECT_GE(SecondsOf(*slow), undisturbed + 6 * 2 * 0.5);
  EXPECT_TRUE(slow->IsDurable());
}

// What it had not made durable comes again: of two sites, whose updates are one sum in any order,
// the same models.
TEST(VirtualTimeTest, AnAggregatorThatCrashesComesToTheSameModels) {
  const auto run = [](const std::string& scenario) {
    SmallWorld world({.sites = 2, .config = kRules[2], .scenario = scenario});
    SimulationInput input;
    input.plan = world.plan;
    input.scenario = world.scenario;
    input.data = &world.data;
    input.trainer = &world.trainer;
    Recording recording;
    input.recording = &recording;
    auto simulation = Simulation::Create(std::move(input));
    EXPECT_THAT(simulation, IsOk());
    EXPECT_THAT((*simulation)->Run(), IsOk());
    const auto starts =
        std::count_if(recording.entries.begin(), recording.entries.end(),
                      [](const v1::JournalEntry& entry) { return entry.has_started(); });
    return std::make_pair(ModelIds(**simulation), starts);
  };
  const auto [undisturbed, once] = run("sites { latency_ms: 20 }");
  EXPECT_EQ(once, 1);
  for (int seed = 1; seed <= 5; ++seed) {
    const auto [models, starts] =
        run(absl::StrCat("seed: ", seed, " sites { latency_ms: 20 } ",
                         "aggregator { journal_ms: 300 crash_every_ms: 2000 }"));
    EXPECT_EQ(models, undisturbed) << seed;
    EXPECT_GT(starts, 1) << seed;
  }
}

size_t UploadsOf(const Simulation& simulation) {
  const auto& activities = simulation.activity().activities();
  return static_cast<size_t>(std::count_if(
      activities.begin(), activities.end(),
      [](const Activity& activity) { return activity.kind == Activity::Kind::kUpload; }));
}

size_t MergedBy(const Simulation& simulation) {
  size_t merged = 0;
  for (const fed::VersionState& version : simulation.run().versions) {
    merged += static_cast<size_t>(
        std::count_if(version.contributions.begin(), version.contributions.end(),
                      [](const auto& part) { return part.role == fed::Contribution::Role::kNew; }));
  }
  return merged;
}

// Each beside the same federation without it, in rounds that wait for everybody.
class NetworkFaultTest : public testing::Test {
 protected:
  NetworkFaultTest() : undisturbed_(With("")) {}

  static std::unique_ptr<Simulation> With(const std::string& faults) {
    return RunOf(
        absl::StrCat("latency_ms: 20 links { upload_bytes_per_s: 16 } faults { ", faults, " }"),
        kRules[2]);
  }
  // By how much it takes longer; it merges as much.
  double DelayBy(const std::string& faults) const {
    const auto disturbed = With(faults);
    EXPECT_EQ(MergedBy(*disturbed), MergedBy(*undisturbed_)) << faults;
    return SecondsOf(*disturbed) - SecondsOf(*undisturbed_);
  }

  std::unique_ptr<Simulation> undisturbed_;
};

TEST_F(NetworkFaultTest, ALostUploadIsSentAgain) {
  EXPECT_EQ(UploadsOf(*undisturbed_), MergedBy(*undisturbed_));
  const auto lossy = With("upload_loss_rate: 0.5");
  EXPECT_EQ(MergedBy(*lossy), MergedBy(*undisturbed_));
  EXPECT_GT(UploadsOf(*lossy), UploadsOf(*undisturbed_) + 10);
  EXPECT_GT(SecondsOf(*lossy), SecondsOf(*undisturbed_));
}

// After nearly each upload, so that the next round waits for the stream.
TEST_F(NetworkFaultTest, ALinkThatDropsStaysDownForAsLongAsItSays) {
  EXPECT_GT(DelayBy("link_drop_rate: 0.9 link_down_ms: 30000"), 5 * 29);
}

TEST_F(NetworkFaultTest, ALostMessageBreaksItsStream) {
  EXPECT_GT(DelayBy("message_loss_rate: 0.1 link_down_ms: 30000"), 29);
}

TEST_F(NetworkFaultTest, AMessageOutOfOrderIsLate) {
  EXPECT_GT(DelayBy("reorder_rate: 0.9 reorder_ms: 20000"), 20);
}

TEST_F(NetworkFaultTest, AMessageThatComesTwiceIsOneEventMoreAndChangesNothing) {
  const auto twice = With("message_duplicate_rate: 0.9");
  EXPECT_EQ(ModelIds(*twice), ModelIds(*undisturbed_));
  EXPECT_EQ(SecondsOf(*twice), SecondsOf(*undisturbed_));
  EXPECT_GT(twice->steps(), undisturbed_->steps() + MergedBy(*undisturbed_));
}

// How far the clock of the site that is furthest ahead was ahead when it trained first.
absl::Duration FurthestAhead(const Simulation& simulation) {
  absl::Duration furthest = absl::ZeroDuration();
  for (const auto& [site, participant] : simulation.run().participants) {
    const auto& run = simulation.EngineOf(site).runs().at(simulation.run().run);
    furthest = std::max(furthest,
                        run.tasks.begin()->second.training_started - simulation.run().submitted_at);
  }
  return furthest;
}

TEST_F(NetworkFaultTest, ClocksAreAheadAndGoWrong) {
  EXPECT_LT(FurthestAhead(*undisturbed_), absl::Seconds(1));
  const absl::Duration ahead = FurthestAhead(*With("clock_ahead_max_ms: 90000"));
  EXPECT_GT(ahead, absl::Seconds(45));  // Of six sites, drawn uniformly.
  EXPECT_LT(ahead, absl::Seconds(91));
  // Tasks are held back for a second of the site's own clock; the slowest clock paces the rounds.
  EXPECT_GT(DelayBy("clock_drift_max_ppm: 100000"), 0.1);
}

TEST(VirtualTimeTest, ASiteIsIdleWhileOthersTrain) {
  // Rounds of three seconds, in which the others train for one, and nothing else takes time.
  const auto simulation = RunOf("overrides { site_id: 's0' slowdown: 3 }", kRules[2]);
  const absl::Time begin = simulation->run().submitted_at;
  const absl::Time end = simulation->run().ended_at;
  ASSERT_EQ(end - begin, absl::Seconds(18));
  EXPECT_EQ(simulation->activity().BusyOf(0).Within(begin, end), absl::Seconds(18));
  EXPECT_EQ(simulation->activity().BusyOf(1).Within(begin, end), absl::Seconds(6));
  // With transfers beside it.
  const auto sending =
      RunOf("links { upload_bytes_per_s: 8 } overrides { site_id: 's0' slowdown: 3 }", kRules[2]);
  const absl::Duration round = absl::Seconds(5);
  ASSERT_EQ(sending->run().ended_at - sending->run().submitted_at, 6 * round);
  EXPECT_EQ(sending->activity().BusyOf(1).Within(begin, begin + 6 * round), absl::Seconds(6 * 3));
}

// Where the word of the end is lost and everybody's window closes before the stream is there again.
TEST(VirtualTimeTest, WhoseStreamBreaksAtTheEndHearsOfItThoughItsWindowHasClosed) {
  const std::string lossy = "latency_ms: 20 faults { message_loss_rate: 0.3 link_down_ms: 5000 } ";
  const auto open = RunOf(lossy);
  ASSERT_NE(open, nullptr);
  std::string sites = lossy;
  for (int site = 0; site < 6; ++site) {
    absl::StrAppend(&sites, "trace { site_id: 's", site, "' time_s: ", SecondsOf(*open) + 1,
                    " presence: AWAY } ");
  }
  const auto closed = RunOf(sites);
  ASSERT_NE(closed, nullptr);
  EXPECT_EQ(SecondsOf(*closed), SecondsOf(*open));
  ExpectSound(*closed);
}

// As `consilium run stop`: the versions until then are those of the undisturbed run.
TEST(VirtualTimeTest, AnOperatorStopsTheRunAtAGivenTime) {
  const auto run_of = [](const std::string& scenario) {
    SmallWorld world({.config = kRules[0], .scenario = scenario + " sites { latency_ms: 20 }"});
    return world.Run();
  };
  const auto whole = run_of("");
  const auto stopped = run_of("stopped_after_ms: 2500");
  const std::vector<Digest> models = ModelIds(*whole);
  const std::vector<Digest> first = ModelIds(*stopped);
  ASSERT_GT(first.size(), 1U);
  ASSERT_LT(first.size(), models.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), models.begin()));
  EXPECT_TRUE(stopped->run().result.has_value());
  EXPECT_EQ(stopped->run().why_ended, "stopped by the scenario's stopped_after_ms");
  EXPECT_GE(SecondsOf(*stopped), 2.5);
  EXPECT_LT(SecondsOf(*stopped), 2.8);
  ExpectSound(*stopped);
  // Who is done before that hears nothing of it.
  const auto late = run_of("stopped_after_ms: 1000000000000");
  EXPECT_EQ(ModelIds(*late), models);
  EXPECT_EQ(SecondsOf(*late), SecondsOf(*whole));
}

// Everybody's clock is wrong by a minute and more, and nobody's training is another one.
TEST(VirtualTimeTest, ClocksChangeNoModel) {
  EXPECT_EQ(ModelIds(*RunOf("faults { clock_ahead_max_ms: 90000 }", kRules[2])),
            ModelIds(*RunOf("", kRules[2])));
}

// Partial participation: a twentieth of them is there at a time.
TEST(ManySitesTest, TenThousandSitesOfASmallModelEnd) {
  SmallWorld world(
      {.sites = 10'000,
       .rows_per_site = 12,
       .config = "data { split { validation: 0 test: 0.1 } } stop { versions_max: 10 } "
                 "aggregation { trigger { buffer { updates: 100 } } }",
       .scenario = "sites { latency_ms: 5 availability { period_ms: 60000 open_share: 0.05 } }"});
  const auto simulation = world.Run();
  ASSERT_NE(simulation, nullptr);
  EXPECT_EQ(simulation->run().current(), Version(10));
  ExpectSound(*simulation);
}

TEST(VirtualTimeTest, SaysSoWhereTrainingDiverges) {
  SmallWorld world({.config =
                        "training { optimizer { sgd { learning_rate: 100 weight_decay: 100 } } "
                        "local_steps: 1000 }"});
  auto simulation = world.Create();
  ASSERT_TRUE(simulation.ok());
  const absl::Status ran = (*simulation)->Run();
  EXPECT_THAT(ran, IsError(absl::StatusCode::kFailedPrecondition, "NOT_FINITE: training diverges"));
  EXPECT_THAT(ran, IsError(absl::StatusCode::kFailedPrecondition, "of step"));
  EXPECT_THAT(ran, IsError(absl::StatusCode::kFailedPrecondition, "Lower the learning rate"));
}

TEST(VirtualTimeTest, SaysSoWhereEverybodyIsKeptAway) {
  std::string trace;
  for (int site = 0; site < 6; ++site) {
    absl::StrAppend(&trace, "trace { site_id: 's", site, "' time_s: 2.5 presence: AWAY } ");
  }
  SmallWorld world({.scenario = absl::StrCat("sites { ", trace, "}")});
  auto simulation = world.Create();
  ASSERT_TRUE(simulation.ok());
  EXPECT_THAT((*simulation)->Run(), IsError(absl::StatusCode::kFailedPrecondition, "stands still"));
  // Rounds whose deadline comes again and again, of sites that are all refused, do not hide it.
  SmallWorld refused({.config =
                          "aggregation { preset: FEDAVG trigger { barrier { sites_per_round: 2 "
                          "sites_min: 2 deadline_ms: 500 } } "
                          "limits { update_norm_max: 1e-9 } }"});
  simulation = refused.Create();
  ASSERT_TRUE(simulation.ok());
  EXPECT_THAT((*simulation)->Run(), IsError(absl::StatusCode::kFailedPrecondition, "stands still"));
  // Windows that never end do not hide it.
  SmallWorld windows({.config = kRules[2],
                      .scenario = "sites { availability { period_ms: 1000 open_share: 0.5 } trace "
                                  "{ site_id: 's1' time_s: 2.5 presence: AWAY } }"});
  simulation = windows.Create();
  ASSERT_TRUE(simulation.ok());
  EXPECT_THAT((*simulation)->Run(), IsError(absl::StatusCode::kFailedPrecondition, "stands still"));
}

}  // namespace
}  // namespace consilium
