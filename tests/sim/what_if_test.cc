// A recorded federation, run again with changes: what must come out the same where nothing changes,
// what follows by hand where something does, and what is refused.

#include "sim/engine/what_if.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "sim/commands/what_if_command.h"
#include "tests/sim/same_again.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

using Mode = WhatIfSite::Mode;

// Each task of each site takes its own time, so that no two things happen at once.
constexpr char kUnlikeSites[] = R"(
    sites { task_ms: 1000 speed { uniform_max: 4 } task_speed { log_normal_sigma: 0.5 } } seed: 3)";

SmallWorldOptions Options(std::string config, std::string scenario = kUnlikeSites) {
  SmallWorldOptions options;
  options.sites = 4;
  options.config = std::move(config);
  options.scenario = std::move(scenario);
  return options;
}

// A small federation, recorded.
struct Recorded {
  SmallWorld world;
  Recording recording;
  std::unique_ptr<Simulation> simulation;

  explicit Recorded(const SmallWorldOptions& options)
      : world(options), simulation(Record(world, recording)) {}

  const federation::RunState& run() const { return simulation->run(); }

  RecordedRun Read() const {
    absl::StatusOr<RecordedRun> read = ReadRecordedRun(recording);
    EXPECT_TRUE(read.ok()) << read.status();
    return *std::move(read);
  }

  // With the data of these sites, under the recorded plan.
  WhatIfInput InputWith(const std::set<std::string>& with_data) {
    WhatIfInput input;
    input.plan = world.plan;
    input.trainer = &world.trainer;
    for (const std::string& site : with_data) {
      input.data[SiteId(site)] = world.data.at(SiteId(site));
    }
    return input;
  }
  v1::RunPlan Changed(const std::vector<std::string>& overrides) const {
    absl::StatusOr<v1::RunPlan> plan = ChangedPlan(world.plan, overrides, {});
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }
};

const std::set<std::string> kAll = {"s0", "s1", "s2", "s3"};

WhatIf Outcome(const RecordedRun& recorded, WhatIfInput input) {
  absl::StatusOr<WhatIf> result = RunWhatIf(recorded, std::move(input));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : WhatIf();
}

// Models, and when each was there.
void ExpectSameVersions(const federation::RunState& changed, const federation::RunState& recorded) {
  ASSERT_EQ(changed.versions.size(), recorded.versions.size());
  for (size_t i = 0; i < changed.versions.size(); ++i) {
    EXPECT_EQ(changed.versions[i].model_id, recorded.versions[i].model_id) << "version " << i;
    EXPECT_EQ(changed.versions[i].committed_at - changed.submitted_at,
              recorded.versions[i].committed_at - recorded.submitted_at)
        << "version " << i;
  }
}

uint64_t Accepted(const federation::RunState& run) {
  uint64_t accepted = 0;
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [id, task] : participant.tasks) {
      accepted += task.accepted != Sequence() ? 1 : 0;
    }
  }
  return accepted;
}

// --- Nothing changed --------------------------------------------------------------------------

struct Federation {
  std::string name;
  SmallWorldOptions options;
};
void PrintTo(const Federation& federation, std::ostream* out) { *out << federation.name; }

class NothingChanged : public testing::TestWithParam<Federation> {};

// Every update is trained again, and every task takes as long: the same models at the same times.
TEST_P(NothingChanged, RetrainedIsTheRecordedRun) {
  Recorded recorded(GetParam().options);
  recorded.recording.updates.clear();
  const RecordedRun read = recorded.Read();
  const WhatIf same = Outcome(read, recorded.InputWith(kAll));
  ExpectSameVersions(same.simulation->run(), recorded.run());
  EXPECT_EQ(same.simulation->run().result, recorded.run().result);
  for (const WhatIfSite& site : same.sites) EXPECT_EQ(site.mode, Mode::kRetrained);
}

// No table is at hand, and the recorded updates meet the models that they were made from.
TEST_P(NothingChanged, ReaggregatedIsTheRecordedRun) {
  Recorded recorded(GetParam().options);
  const RecordedRun read = recorded.Read();
  const WhatIf same = Outcome(read, recorded.InputWith({}));
  ExpectSameVersions(same.simulation->run(), recorded.run());
  for (const WhatIfSite& site : same.sites) EXPECT_EQ(site.mode, Mode::kReaggregated);
  // Nobody scores: the newest version is the result.
  EXPECT_EQ(same.simulation->run().result, same.simulation->run().current());
}

TEST_P(NothingChanged, NorDoesItHangOnWhoTrains) {
  Recorded recorded(GetParam().options);
  const RecordedRun read = recorded.Read();
  const WhatIf same = Outcome(read, recorded.InputWith({"s1", "s2"}));
  ExpectSameVersions(same.simulation->run(), recorded.run());
}

INSTANTIATE_TEST_SUITE_P(
    Federations, NothingChanged,
    testing::Values(
        Federation{"FedBuff", Options("")},
        Federation{"FedAvg", Options("aggregation { preset: FEDAVG trigger { barrier {} } }")},
        Federation{"Table", Options("aggregation { preset: STALENESS_WEIGHTED_TABLE } "
                                    "stop { versions_max: 15 }")},
        Federation{"FedAsync", Options("aggregation { preset: FEDASYNC trigger { buffer { "
                                       "updates: 1 } } } stop { versions_max: 15 }")},
        Federation{"OneTaskInFlight",
                   Options("training { tasks_in_flight_max: 1 } stop { versions_max: 9 }")},
        Federation{"Windows", Options("", R"(sites { task_ms: 1000 speed { uniform_max: 4 }
                                          availability { period_ms: 20000 open_share: 0.5 } }
                                  seed: 5)")},
        // A task that a crash cut short is trained again, from a newer version than at its grant.
        Federation{"Crashes",
                   Options("training { tasks_in_flight_max: 1 } stop { versions_max: 12 }",
                           R"(sites { task_ms: 1000 speed { uniform_max: 3 }
                                      task_speed { log_normal_sigma: 0.5 }
                                      faults { crash_rate: 0.5 restart_ms: 1500 } } seed: 4)")},
        Federation{"SlowLinks",
                   Options("stop { versions_max: 15 }",
                           R"(sites { task_ms: 500 speed { uniform_max: 3 } latency_ms: 170
                                      task_speed { log_normal_sigma: 0.5 }
                                      links { upload_bytes_per_s: 100 } } seed: 6)")}),
    [](const auto& info) { return info.param.name; });

// What a site keeps is the input of its next task; who plays back keeps nothing.
TEST(WhatIf, SitesThatKeepSomethingComeOutTheSameToo) {
  for (const std::string config : {"aggregation { preset: SCAFFOLD trigger { barrier {} } }",
                                   "aggregation { preset: DITTO trigger { barrier {} } }"}) {
    Recorded recorded(Options(config));
    const RecordedRun read = recorded.Read();
    ExpectSameVersions(Outcome(read, recorded.InputWith(kAll)).simulation->run(), recorded.run());
    ExpectSameVersions(Outcome(read, recorded.InputWith({})).simulation->run(), recorded.run());
  }
}

// A simulator merges at once; here each result comes a second later, and all after it with it.
TEST(WhatIf, MergingTakesAsLongAsItTook) {
  Recorded recorded(Options(""));
  int64_t later_ns = 0;
  for (v1::JournalEntry& entry : recorded.recording.entries) {
    if (entry.has_compute_done()) later_ns += absl::ToInt64Nanoseconds(absl::Seconds(1));
    entry.set_time_unix_ns(entry.time_unix_ns() + later_ns);
  }
  const RecordedRun read = recorded.Read();
  ASSERT_EQ(read.record.programs.size(), 7u);
  for (const absl::Duration time : read.record.programs) EXPECT_EQ(time, absl::Seconds(1));
  ExpectSameVersions(Outcome(read, recorded.InputWith(kAll)).simulation->run(), read.state());
}

// Work of a part of a second is what a jitter of links leaves of a longer task.
TEST(WhatIf, TheLeastDurationIsNotHeldToTwice) {
  Recorded recorded(Options("training { task_duration_min_ms: 1000 }"));
  RecordedRun read = recorded.Read();
  for (auto& [site, record] : read.record.sites) {
    for (RecordedTask& task : record.tasks) task.work = absl::Milliseconds(10);
  }
  const WhatIf changed = Outcome(read, recorded.InputWith(kAll));
  const federation::RunState& run = changed.simulation->run();
  EXPECT_LT(run.versions.back().committed_at - run.submitted_at, absl::Seconds(1));
}

TEST(WhatIf, AnOperatorStopsItAsThen) {
  Recorded recorded(Options("stop { versions_max: 50 }"));
  const absl::Time stopped = recorded.run().versions[4].committed_at + absl::Milliseconds(1);
  // As if the operator had: the journal up to then, and the stop.
  std::vector<v1::JournalEntry>& entries = recorded.recording.entries;
  while (absl::FromUnixNanos(entries.back().time_unix_ns()) > stopped) entries.pop_back();
  v1::JournalEntry stop;
  stop.set_sequence(entries.back().sequence() + 1);
  stop.set_time_unix_ns(absl::ToUnixNanos(stopped));
  stop.mutable_stop_requested()->set_run_id(recorded.recording.run.value());
  stop.mutable_stop_requested()->set_operator_name("ada");
  entries.push_back(stop);
  const RecordedRun read = recorded.Read();
  ASSERT_EQ(read.state().current(), Version(4));
  const WhatIf same = Outcome(read, recorded.InputWith(kAll));
  EXPECT_EQ(same.simulation->run().current(), Version(4));
  EXPECT_EQ(same.simulation->run().why_ended, "stopped by ada");
}

// --- Paces ------------------------------------------------------------------------------------

TEST(WhatIf, ReadsPacesOutOfTheJournal) {
  Recorded recorded(Options("training { task_duration_min_ms: 0 } stop { versions_max: 7 }",
                            R"(sites { task_ms: 1000 latency_ms: 50
                                       overrides { site_id: "s1" slowdown: 3 } })"));
  const RecordedRun read = recorded.Read();
  for (const auto& [name, work_ms] : std::map<std::string, int>{{"s0", 1000}, {"s1", 3000}}) {
    const SiteRecord& site = read.record.sites.at(SiteId(name));
    ASSERT_TRUE(site.decision.has_value());
    EXPECT_TRUE(site.decision->approved);
    // Attached, offered, answered: each over the link.
    EXPECT_EQ(site.decision->after, absl::Milliseconds(3 * 50));
    ASSERT_GE(site.tasks.size(), 2u);
    uint64_t arrived = 0;
    for (const RecordedTask& task : site.tasks) {
      if (task.end == RecordedTask::End::kOpen) continue;
      ++arrived;
      // The first waits for grant, model and upload too; a later one trains while one is sent.
      EXPECT_GE(task.total(), absl::Milliseconds(work_ms)) << name;
      EXPECT_LE(task.total(), absl::Milliseconds(work_ms + 4 * 50)) << name;
      EXPECT_EQ(task.local_steps, 5u);
      ASSERT_NE(task.update.delta, nullptr);
    }
    EXPECT_GE(arrived, 2u) << name;
  }
}

// What had not arrived at the end takes longer than it had, and no less than usual.
TEST(WhatIf, ATaskThatWasOpenAtTheEndTakesLonger) {
  Recorded recorded(Options("training { task_duration_min_ms: 0 } stop { versions_max: 7 }",
                            R"(sites { task_ms: 1000
                                       overrides { site_id: "s1" slowdown: 3 }
                                       overrides { site_id: "s2" slowdown: 1000 } })"));
  const RecordedRun read = recorded.Read();
  const SiteRecord& slow = read.record.sites.at(SiteId("s1"));
  ASSERT_FALSE(slow.tasks.empty());
  ASSERT_EQ(slow.tasks.back().end, RecordedTask::End::kOpen);
  EXPECT_GE(slow.tasks.back().total(), absl::Seconds(3));
  // Nothing ever came of that one.
  EXPECT_TRUE(read.record.sites.at(SiteId("s2")).tasks.empty());
  const WhatIf changed = Outcome(read, recorded.InputWith({"s0", "s1", "s2", "s3"}));
  const auto& participants = changed.simulation->run().participants;
  EXPECT_EQ(participants.at(SiteId("s2")).influence, 0);
  EXPECT_GT(participants.at(SiteId("s0")).influence, 0);
}

TEST(WhatIf, LongerTasksTakeLonger) {
  Recorded recorded(Options(
      "training { task_duration_min_ms: 0 local_steps: 5 } aggregation { preset: FEDAVG trigger { "
      "barrier {} } } stop { versions_max: 3 }",
      "sites { task_ms: 1000 }"));
  const RecordedRun read = recorded.Read();
  WhatIfInput input = recorded.InputWith(kAll);
  input.plan = recorded.Changed({"training.local_steps=20"});
  const WhatIf changed = Outcome(read, std::move(input));
  const federation::RunState& run = changed.simulation->run();
  ASSERT_EQ(run.versions.size(), 4u);
  for (size_t i = 1; i < run.versions.size(); ++i) {
    EXPECT_EQ(run.versions[i].committed_at - run.versions[i - 1].committed_at, absl::Seconds(4));
  }
}

// --- Another plan -----------------------------------------------------------------------------

TEST(WhatIf, VersionsOfAnotherBufferAreThoseThatTheUpdatesMake) {
  Recorded recorded(Options(""));
  const RecordedRun read = recorded.Read();
  const uint64_t accepted = Accepted(recorded.run());
  ASSERT_EQ(accepted, 3u * 6);  // Six versions of three updates; the last one ended the run.
  WhatIfInput input = recorded.InputWith({});
  input.plan = recorded.Changed({"aggregation.trigger.buffer.updates=4"});
  const WhatIf changed = Outcome(read, std::move(input));
  const federation::RunState& run = changed.simulation->run();
  // 18 = 4·4 + 2.
  EXPECT_EQ(run.current(), Version(4));
  for (const federation::VersionState& version : run.versions) {
    if (version.version != Version(0)) {
      EXPECT_EQ(version.contributions.size(), 4u);
    }
  }
  uint64_t done = 0;
  for (const WhatIfSite& site : changed.sites) {
    EXPECT_EQ(site.done, site.recorded);
    EXPECT_TRUE(site.used_up);
    done += site.done;
  }
  EXPECT_EQ(done, accepted);
  EXPECT_EQ(run.why_ended, "stopped by the end of the recorded updates");
}

TEST(WhatIf, WhoTrainsGoesOnAsLongAsThePlanSays) {
  Recorded recorded(Options(""));
  const RecordedRun read = recorded.Read();
  WhatIfInput input = recorded.InputWith(kAll);
  input.plan = recorded.Changed({"aggregation.trigger.buffer.updates=4", "stop.versions_max=12"});
  const WhatIf changed = Outcome(read, std::move(input));
  EXPECT_EQ(changed.simulation->run().current(), Version(12));
  EXPECT_TRUE(changed.simulation->run().versions.back().validation_score.has_value());
  bool any_used_up = false;
  for (const WhatIfSite& site : changed.sites) any_used_up = any_used_up || site.used_up;
  EXPECT_TRUE(any_used_up);  // 48 updates out of the durations of fewer tasks.
}

// w ← w + Σ_{i≠s1} n_i/(n − n_1)·Δ_i with the recorded Δ of each round.
TEST(WhatIf, ReaggregatedFedAvgIsTheWeightedMeanOfTheRecordedUpdates) {
  SmallWorldOptions options =
      Options("aggregation { preset: FEDAVG trigger { barrier {} } } stop { versions_max: 3 }");
  options.sites = 3;
  Recorded recorded(options);
  const RecordedRun read = recorded.Read();
  const federation::RunState& was = recorded.run();
  ASSERT_EQ(was.current(), Version(3));

  WhatIfInput input = recorded.InputWith({});
  input.without = {SiteId("s1")};
  const WhatIf changed = Outcome(read, std::move(input));
  const federation::RunState& run = changed.simulation->run();
  ASSERT_EQ(run.current(), Version(3));
  EXPECT_FALSE(run.participants.contains(SiteId("s1")));

  const auto initial = recorded.simulation->ModelOf(Version(0));
  ASSERT_TRUE(initial.ok());
  std::vector<double> expected((*initial)->begin(), (*initial)->end());
  const double n0 = static_cast<double>(was.participants.at(SiteId("s0")).train_examples);
  const double n2 = static_cast<double>(was.participants.at(SiteId("s2")).train_examples);
  for (uint64_t v = 1; v <= 3; ++v) {
    for (const federation::Contribution& part : was.versions[v].contributions) {
      if (part.site == SiteId("s1")) continue;
      const double share = (part.site == SiteId("s0") ? n0 : n2) / (n0 + n2);
      const std::vector<float>& delta = recorded.recording.updates.at(part.update);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += share * delta[i];
    }
    const auto model = changed.simulation->ModelOf(Version(v));
    ASSERT_TRUE(model.ok());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR((**model)[i], expected[i], 1e-6);
  }
}

TEST(WhatIf, WhoIsLeftOutHasNoPart) {
  Recorded recorded(Options(""));
  const RecordedRun read = recorded.Read();
  for (const std::set<std::string>& with_data : {kAll, std::set<std::string>{"s0"}}) {
    WhatIfInput input = recorded.InputWith(with_data);
    input.without = {SiteId("s2")};
    const WhatIf changed = Outcome(read, std::move(input));
    const federation::RunState& run = changed.simulation->run();
    EXPECT_FALSE(run.participants.contains(SiteId("s2")));
    for (const federation::VersionState& version : run.versions) {
      EXPECT_FALSE(version.validation.contains(SiteId("s2")));
      for (const federation::Contribution& part : version.contributions) {
        EXPECT_NE(part.site, SiteId("s2"));
      }
    }
    EXPECT_EQ(changed.sites.size(), 3u);
    EXPECT_GT(run.current(), Version(0));
  }
}

// A barrier does not wait for ever for who has no more updates.
TEST(WhatIf, WhoHasUsedUpItsUpdatesIsWaitedForNoLonger) {
  Recorded recorded(
      Options("aggregation { preset: FEDAVG trigger { barrier {} } } stop { versions_max: 6 }"));
  // Of s3 only the first two updates are at hand.
  for (const auto& [id, task] : recorded.run().participants.at(SiteId("s3")).tasks) {
    if (id > TaskId(2)) recorded.recording.updates.erase(task.update);
  }
  const RecordedRun read = recorded.Read();
  const WhatIf changed = Outcome(read, recorded.InputWith({"s0", "s1", "s2"}));
  const federation::RunState& run = changed.simulation->run();
  EXPECT_EQ(run.current(), Version(6));
  for (uint64_t v = 1; v <= 6; ++v) {
    EXPECT_EQ(run.versions[v].contributions.size(), v <= 2 ? 4u : 3u) << "version " << v;
  }
  const WhatIfSite& last = changed.sites.back();
  EXPECT_EQ(last.site, SiteId("s3"));
  EXPECT_EQ(last.recorded, 2u);
  EXPECT_EQ(last.not_at_hand, 4u);
  EXPECT_TRUE(last.used_up);
}

TEST(WhatIf, OnlyWhoHasDataScores) {
  Recorded recorded(Options(""));
  const RecordedRun read = recorded.Read();
  const WhatIf changed = Outcome(read, recorded.InputWith({"s0", "s3"}));
  const federation::RunState& run = changed.simulation->run();
  ASSERT_TRUE(run.result.has_value());
  for (const auto& [site, sums] : run.versions[run.result->value()].test) {
    const bool has_data = site == SiteId("s0") || site == SiteId("s3");
    EXPECT_EQ(sums->examples() > 0, has_data) << site.value();
  }
  EXPECT_EQ(changed.sites[0].mode, Mode::kRetrained);
  EXPECT_EQ(changed.sites[1].mode, Mode::kReaggregated);
}

// --- What is refused --------------------------------------------------------------------------

class Refused : public testing::Test {
 protected:
  void Expect(WhatIfInput input, absl::StatusCode code, const std::vector<std::string>& words) {
    const absl::Status status = RunWhatIf(read_, std::move(input)).status();
    EXPECT_EQ(status.code(), code) << status;
    for (const std::string& word : words) {
      EXPECT_TRUE(absl::StrContains(status.message(), word)) << status << "\nlacks " << word;
    }
  }

  Recorded recorded_{Options("")};
  RecordedRun read_ = recorded_.Read();
};

TEST_F(Refused, SitesThatAreNone) {
  WhatIfInput input = recorded_.InputWith(kAll);
  input.without = {SiteId("s7")};
  Expect(std::move(input), absl::StatusCode::kInvalidArgument, {"--without s7", "s0, s1, s2, s3"});
  input = recorded_.InputWith(kAll);
  input.data[SiteId("s8")] = recorded_.world.data.at(SiteId("s0"));
  Expect(std::move(input), absl::StatusCode::kInvalidArgument, {"--data s8"});
  input = recorded_.InputWith(kAll);
  for (const std::string& site : kAll) input.without.insert(SiteId(site));
  Expect(std::move(input), absl::StatusCode::kInvalidArgument, {"no site", "left"});
}

TEST_F(Refused, AParticipantThatTheRecordingDoesNotHave) {
  WhatIfInput input = recorded_.InputWith(kAll);
  input.plan = recorded_.Changed({"participation.sites=\"s0\"", "participation.sites=\"s9\""});
  Expect(std::move(input), absl::StatusCode::kInvalidArgument, {"participation.sites", "s9"});
}

TEST_F(Refused, WhatRecordedUpdatesCanNotFollow) {
  for (const auto& [field, override] :
       std::map<std::string, std::string>{{"training:", "training.local_steps=7"},
                                          {"data:", "data.split.validation=0.1"},
                                          {"seed:", "seed=2"},
                                          {"spec:", "spec.layers.logit.name=\"other\""}}) {
    WhatIfInput input = recorded_.InputWith({"s0", "s1", "s3"});
    input.plan = recorded_.Changed({override});
    Expect(input, absl::StatusCode::kInvalidArgument, {field, "'s2'", "--data s2=FILE"});
    input.without = {SiteId("s2")};
    EXPECT_TRUE(RunWhatIf(read_, std::move(input)).ok()) << override;
  }
  WhatIfInput input = recorded_.InputWith({"s0"});
  input.plan = recorded_.Changed({"training.tasks_in_flight_max=1"});
  EXPECT_TRUE(RunWhatIf(read_, std::move(input)).ok());
}

TEST_F(Refused, UpdatesThatAreNotThere) {
  recorded_.recording.updates.clear();
  read_ = recorded_.Read();
  Expect(recorded_.InputWith({"s0", "s1", "s3"}), absl::StatusCode::kNotFound,
         {"'s2'", "--data s2=FILE"});
}

TEST_F(Refused, UpdatesOfAnotherLength) {
  for (auto& [id, update] : recorded_.recording.updates) update.pop_back();
  read_ = recorded_.Read();
  Expect(recorded_.InputWith({}), absl::StatusCode::kInvalidArgument, {"another length"});
}

TEST_F(Refused, PlansThatOverrideWhatAReplayDoesNotRead) {
  for (const std::string override : {"scenario.seed=2", "model.spec_file=other.textproto",
                                     "data.contract_file=x", "no.such=1"}) {
    EXPECT_EQ(ChangedPlan(recorded_.world.plan, {override}, {}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << override;
  }
}

// Times of a hostile recording: back, before 1970, and for ever.
TEST_F(Refused, TimesOfAHostileRecording) {
  Recording hostile = recorded_.recording;
  const auto at = [&hostile](size_t i) -> v1::JournalEntry& { return hostile.entries[i]; };
  for (size_t i = hostile.entries.size() / 2; i < hostile.entries.size(); ++i) {
    at(i).set_time_unix_ns(-1'000'000'000'000'000'000);
  }
  const auto back = ReadRecordedRun(hostile);
  ASSERT_TRUE(back.ok()) << back.status();
  for (const auto& [site, record] : back->record.sites) {
    for (const RecordedTask& task : record.tasks) {
      EXPECT_GE(task.wait, absl::ZeroDuration());
      EXPECT_GE(task.work, absl::ZeroDuration());
    }
  }
  EXPECT_TRUE(RunWhatIf(*back, recorded_.InputWith(kAll)).ok());

  hostile = recorded_.recording;
  at(hostile.entries.size() / 2).set_time_unix_ns(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(ReadRecordedRun(hostile).status().code(), absl::StatusCode::kInvalidArgument);
  hostile = recorded_.recording;
  at(1).set_sequence(1);
  EXPECT_EQ(ReadRecordedRun(hostile).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadRecordedRun(recorded_.recording, 4).status().code(),
            absl::StatusCode::kResourceExhausted);
  hostile = recorded_.recording;
  hostile.run = RunId("another");
  EXPECT_EQ(ReadRecordedRun(hostile).status().code(), absl::StatusCode::kNotFound);
}

// An update that comes when the run is over tells how long its task took, unless that is nonsense.
TEST_F(Refused, ResultsAfterTheRunsEndOfNonsenseTimes) {
  const federation::RunState& run = recorded_.run();
  std::optional<v1::JournalEntry> late;
  for (const v1::JournalEntry& entry : recorded_.recording.entries) {
    if (!entry.has_update_staged()) continue;
    const auto& tasks = run.participants.at(SiteId(entry.update_staged().site_id())).tasks;
    if (tasks.rbegin()->second.accepted != Sequence()) continue;
    late = entry;
    v1::UpdateStaged& staged = *late->mutable_update_staged();
    staged.mutable_header()->set_task_id(tasks.rbegin()->first.value());
    staged.set_update_id(ToBytes(UpdateIdOf(staged.header())));
  }
  ASSERT_TRUE(late.has_value());
  const SiteId site(late->update_staged().site_id());
  Recording recording = recorded_.recording;
  late->set_sequence(recording.entries.back().sequence() + 1);
  recording.entries.push_back(*late);
  const auto read_after = [&](absl::Duration time) {
    recording.entries.back().set_time_unix_ns(absl::ToUnixNanos(run.ended_at + time));
    return ReadRecordedRun(recording);
  };
  const auto read = read_after(absl::Hours(1));
  ASSERT_TRUE(read.ok()) << read.status();
  const RecordedTask& task = read->record.sites.at(site).tasks.back();
  EXPECT_EQ(task.end, RecordedTask::End::kArrived);
  EXPECT_GE(task.total(), absl::Hours(1));
  for (const absl::Duration time :
       {kRecordedTimeMax + absl::Hours(1), 100 * kRecordedTimeMax / 5}) {
    const absl::Status status = read_after(time).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "for one task or program")) << status;
  }
}

// --- Plans ------------------------------------------------------------------------------------

TEST(ChangedPlan, AnotherPresetComesWithItsOwnDefaults) {
  const SmallWorld world(Options(""));
  const auto plan =
      ChangedPlan(world.plan, {"aggregation.preset=FEDAVG", "stop.versions_max=9"}, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->config().aggregation().trigger().has_barrier());
  EXPECT_EQ(plan->config().stop().versions_max(), 9u);
  // The same one named again leaves what was recorded of it.
  const auto same = ChangedPlan(world.plan, {"aggregation.preset=FEDBUFF"}, {});
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->config().aggregation().trigger().buffer().updates(), 3u);
}

// Half of four live sites: 2.
constexpr char kAdaptive[] =
    "aggregation { preset: ADAPTIVE trigger { buffer { live_share_min: 0.5 } } }";

TEST(ChangedPlan, AKThatIsGivenTakesThePlaceOfTheRecordedShare) {
  const std::string k = "aggregation.trigger.buffer.updates=3";
  const std::string share = "aggregation.trigger.buffer.live_share_min=0.25";
  const SmallWorld world(Options(kAdaptive));
  const auto share_with = [&world](const std::vector<std::string>& overrides) {
    const auto plan = ChangedPlan(world.plan, overrides, {});
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan->config().aggregation().trigger().buffer().live_share_min();
  };
  EXPECT_EQ(share_with({"stop.versions_max=9"}), 0.5);
  EXPECT_EQ(share_with({k}), 0);
  EXPECT_EQ(share_with({k, share}), 0.25);
}

// All four take part. Of a K of 1 each update is a version.
TEST(ChangedPlan, AKThatIsGivenIsHowManyUpdatesAVersionHas) {
  Recorded recorded(Options(kAdaptive));
  const RecordedRun read = recorded.Read();
  for (const size_t k : {1, 3}) {
    WhatIfInput input = recorded.InputWith(kAll);
    input.plan = recorded.Changed({absl::StrCat("aggregation.trigger.buffer.updates=", k)});
    const WhatIf changed = Outcome(read, std::move(input));
    const federation::RunState& run = changed.simulation->run();
    ASSERT_GT(run.versions.size(), 1u);
    for (size_t i = 1; i < run.versions.size(); ++i) {
      EXPECT_EQ(run.versions[i].contributions.size(), k) << "version " << i;
    }
  }
}

TEST(ChangedPlan, LeavesOutWhoIsLeftOut) {
  const SmallWorld world(
      Options("participation { sites: \"s0\" sites: \"s1\" sites: \"s2\" sites_min: 2 }"));
  const auto plan = ChangedPlan(world.plan, {}, {"s1"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->config().participation().sites_size(), 2);
  EXPECT_EQ(plan->config().participation().sites(1), "s2");
  const absl::Status few = ChangedPlan(world.plan, {}, {"s1", "s0"}).status();
  EXPECT_EQ(few.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(few.message(), "participation.sites_min")) << few;
}

}  // namespace
}  // namespace consilium
